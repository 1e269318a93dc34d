"""The first minute with the real tokenizer, shortened; and what goes through both packages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lm import __main__ as command
from lm import evaluate, evaluation, first, generate, stories, train
from lm.data import TokenFile
from lm.plot import read_metrics
from lm.tokenizer import find_tokenizer
from lm_tools import TINY

SHORT = ["--minutes", "0.001", "--device", "cpu", "--threads", "1"]


@pytest.fixture
def tiny_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of one thin layer, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    tiny = {"d_model": 16, "num_layers": 1, "d_ff": 16, "num_heads": 2}
    monkeypatch.setattr(first, "SMALL", {**first.SMALL, **tiny})
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_first_minute(tiny_first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(SHORT) == 0
    out = capsys.readouterr().out
    for part in (
        "synthetic stories",
        "tokenizer 1,024",
        "training  ",
        "Once upon a time",
        "loss_curve.png",
        "lm.download",
    ):
        assert part in out
    run = tiny_first / "runs/first"
    assert (run / "loss_curve.png").exists()
    assert (run / "tokenizer/tokenizer.json").exists()
    assert len(list((run / "samples").iterdir())) == 4
    assert evaluate.main(["--ckpt", str(run), "--bin", "runs/first/data/valid.bin", "--device", "cpu"]) == 0
    whole = read_metrics(run / "metrics.jsonl")[-1]
    assert capsys.readouterr().out.split()[1] == f"{whole['whole_valid_loss']:.4f}"
    assert generate.main(["--ckpt", str(run), "--max-tokens", "9", "--prompt", "", "--device", "cpu"]) == 0


@pytest.mark.fault("L13")
def test_a_second_first_minute_keeps_the_first(tiny_first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Done: another folder, or a refusal where the folder was named. Stopped: continued."""
    assert command.main(SHORT) == 0
    run = tiny_first / "runs/first"
    before = content(run)
    assert command.main(SHORT) == 0
    assert "runs/first is kept" in capsys.readouterr().out
    assert content(run) == before
    assert (tiny_first / "runs/first-2/loss_curve.png").exists()
    with pytest.raises(SystemExit) as caught:
        command.main([*SHORT, "--out", "runs/first"])
    assert caught.value.code == 1
    assert "`--overwrite`" in capsys.readouterr().err
    assert content(run) == before
    # As if it had been stopped early.
    settings = (run / "config.toml").read_text()
    (run / "config.toml").write_text(settings.replace("max_iters = 20", "max_iters = 22"))
    assert command.main([*SHORT, "--out", "runs/first"]) == 0
    assert "runs/first was stopped" in capsys.readouterr().out
    assert read_metrics(run / "metrics.jsonl")[-1]["step"] == 22
    (run / "notes.txt").write_text("mine")
    assert command.main([*SHORT, "--out", "runs/first", "--overwrite"]) == 0
    assert read_metrics(run / "metrics.jsonl")[-1]["step"] == 20
    assert (run / "notes.txt").read_text() == "mine"
    with pytest.raises(SystemExit):
        command.main([*SHORT, "--out", str(tiny_first), "--overwrite"])
    assert (run / "notes.txt").exists()


def test_first_minute_refuses(tiny_first: Path) -> None:
    for bad in (["--minutes", "0"], ["--minutes", "nan"], ["--megabytes", "-1"]):
        with pytest.raises(SystemExit) as caught:
            command.main(bad)
        assert caught.value.code == 2
    assert not (tiny_first / "runs").exists()


def test_a_first_minute_that_ends_before_training_leaves_nothing(
    tiny_first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(first, "configure", interrupted)
    with pytest.raises(SystemExit) as caught:
        command.main(SHORT)
    assert caught.value.code == 130
    assert not (tiny_first / "runs/first").exists()


def test_real_text_is_taken_if_it_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "valid"):
        stories.write(tmp_path / f"TinyStoriesV2-GPT4-{split}.txt", 30_000, seed=5)
    train_text, valid_text = first.take_text(tmp_path, tmp_path, 10_000)
    text = train_text.read_text()
    assert (tmp_path / "TinyStoriesV2-GPT4-train.txt").read_text().startswith(text)
    assert text.endswith("<|endoftext|>\n")
    assert 8_000 < len(text) <= 10_001
    assert valid_text.exists()
    assert "synthetic" not in capsys.readouterr().out


def test_bytes_by_tokenizer_and_by_sidecar_agree(tmp_path: Path) -> None:
    """Both count the bytes of the file; the sidecar's share of the first token is all that differs."""
    from tinybpe import Tokenizer

    text = stories.write(tmp_path / "t.txt", 20_000)
    tokenizer = Tokenizer.train([text], vocab_size=300, special_tokens=["<|endoftext|>"])
    tokenizer.encode_file([text], tmp_path / "t.bin")
    tokenizer.save(tmp_path / "tok")
    tokens = TokenFile(tmp_path / "t.bin", vocab_size=300)
    lengths = evaluation.count_bytes(tokenizer, 300)
    ids = np.concatenate([shard.ids for shard in tokens.shards])
    assert lengths[ids].sum() == text.stat().st_size
    assert evaluation.bytes_by_sidecar(tokens, len(ids)) == text.stat().st_size
    found, note = find_tokenizer(None, tokens)
    assert found == tokenizer
    assert "tok" in note
    other = Tokenizer.train([text], vocab_size=290, special_tokens=["<|endoftext|>"])
    other.save(tmp_path / "other")
    with pytest.raises(ValueError, match="made with another tokenizer"):
        find_tokenizer(tmp_path / "other", tokens)
    run = [
        "--train-bin",
        str(tmp_path / "t.bin"),
        "--valid-bin",
        str(tmp_path / "t.bin"),
        "--ckpt-path",
        str(tmp_path / "r"),
    ]
    small = [f"--{k}={v}" for k, v in TINY.items() if k != "vocab_size"]
    assert train.main([*run, *small, "--sample_tokens=5"]) == 0  # the vocabulary size comes from the sidecar
    assert (tmp_path / "r/tokenizer/tokenizer.json").exists()
