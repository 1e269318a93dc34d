"""The first minute with the real tokenizer, shortened; and what goes through both packages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lm import __main__ as first
from lm import evaluate, generate, stories, train
from lm.data import TokenFile
from lm.plot import read_metrics
from lm_tools import TINY


def test_first_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        first, "SMALL", {**first.SMALL, "d_model": 16, "num_layers": 1, "d_ff": 16, "num_heads": 2}
    )
    assert first.main(["--minutes", "0.001", "--device", "cpu", "--threads", "1"]) == 0
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
    run = tmp_path / "runs/first/run"
    assert (run / "loss_curve.png").exists()
    assert (run / "tokenizer/tokenizer.json").exists()
    assert len(list((run / "samples").iterdir())) == 4
    assert (
        first.main(["--minutes", "0.001", "--device", "cpu", "--threads", "1"]) == 0
    )  # again, over the old one
    capsys.readouterr()
    assert evaluate.main(["--ckpt", str(run), "--bin", "runs/first/valid.bin", "--device", "cpu"]) == 0
    whole = read_metrics(run / "metrics.jsonl")[-1]
    assert capsys.readouterr().out.split()[1] == f"{whole['whole_valid_loss']:.4f}"
    assert generate.main(["--ckpt", str(run), "--max-tokens", "9", "--prompt", "", "--device", "cpu"]) == 0
    for bad in (["--minutes", "0"], ["--minutes", "nan"], ["--megabytes", "-1"]):
        with pytest.raises(SystemExit) as caught:
            first.main(bad)
        assert caught.value.code == 2


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
    lengths = evaluate.count_bytes(tokenizer, 300)
    ids = np.asarray(tokens.read(0, tokens.num_tokens))
    assert lengths[ids].sum() == text.stat().st_size
    assert evaluate.bytes_by_sidecar(tokens, len(ids)) == text.stat().st_size
    found, note = evaluate.find_tokenizer(None, tokens)
    assert found == tokenizer
    assert "tok" in note
    other = Tokenizer.train([text], vocab_size=290, special_tokens=["<|endoftext|>"])
    other.save(tmp_path / "other")
    with pytest.raises(ValueError, match="made with another tokenizer"):
        evaluate.find_tokenizer(tmp_path / "other", tokens)
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
