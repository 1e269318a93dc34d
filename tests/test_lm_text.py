"""Evaluation, generation, stories, curves and the download, without network and without the extension."""

from __future__ import annotations

import hashlib
import http.server
import json
import math
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lm import api, cli, download, evaluate, evaluation, generate, plot, sampling, stories, text, train
from lm.config import ConfigError
from lm.data import TokenFile, TokenFileError
from lm.model import TransformerLM
from lm_tools import ByteTokenizer, tiny_config, tiny_model, write_tokens

CPU = torch.device("cpu")


@pytest.fixture
def model() -> TransformerLM:
    torch.manual_seed(3)
    return TransformerLM(tiny_model(vocab_size=257, init_std=0.5)).eval()


# -- evaluation --


@pytest.mark.parametrize("num_tokens", [2, 8, 9, 10, 17, 60])
def test_every_token_but_the_first_is_scored_once(tmp_path: Path, num_tokens: int) -> None:
    torch.manual_seed(0)
    model = TransformerLM(tiny_model()).eval()
    ids = np.random.default_rng(0).integers(0, 50, num_tokens)
    file = TokenFile(write_tokens(tmp_path / "x.bin", ids))
    found = evaluation.evaluate(model, file, CPU, batch_size=3)
    total = 0.0
    for start in range(0, num_tokens - 1, 8):
        window = torch.from_numpy(ids[start : start + 9])
        logits = model(window[None, :-1])[0]
        total += float(torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum").detach())
    assert found.num_tokens == num_tokens - 1
    assert found.loss == pytest.approx(total / (num_tokens - 1), rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(found.loss))
    assert found.bits_per_byte == pytest.approx(found.loss / math.log(2) / 3)  # three bytes a token
    lengths = np.full(50, 2)
    counted = evaluation.evaluate(model, file, CPU, byte_lengths=lengths)
    assert counted.bits_per_byte == pytest.approx(found.loss / math.log(2) / 2)
    assert not model.training


def test_evaluation_line_and_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny_config(tmp_path)
    run = train.train(config)
    capsys.readouterr()
    assert evaluate.main(["--ckpt", str(run), "--bin", str(config.data.valid_bin), "--device", "cpu"]) == 0
    line = capsys.readouterr().out
    assert line.split()[::2] == ["loss", "perplexity", "bits_per_byte"]
    rows = plot.read_metrics(run / "metrics.jsonl")
    assert f"loss {rows[-1]['whole_valid_loss']:.4f}" in line
    command = ["--ckpt", str(run), "--bin", str(config.data.valid_bin), "--device", "cpu", "--sampled", "40"]
    assert evaluate.main(command) == 0
    sampled = float(capsys.readouterr().out.splitlines()[1].split()[1])
    assert sampled == pytest.approx(rows[-1]["whole_valid_loss"], abs=0.1)
    other = write_tokens(tmp_path / "o.bin", np.arange(20), tokenizer_sha256="u" * 64)
    for code, arguments in (
        (1, ["--ckpt", str(tmp_path / "none"), "--bin", "x"]),
        (1, ["--ckpt", str(run), "--bin", str(tmp_path / "none.uint16.bin")]),
        (1, ["--ckpt", str(run), "--bin", str(tmp_path)]),
        (1, ["--ckpt", str(run), "--bin", str(other)]),
        (2, ["--ckpt", str(run), "--bin", str(config.data.valid_bin), "--batch-size", "0"]),
        (2, ["--ckpt", str(run)]),
    ):
        with pytest.raises(SystemExit) as caught:
            evaluate.main(arguments)
        assert caught.value.code == code, arguments
        assert "Traceback" not in capsys.readouterr().err


@pytest.mark.fault("B5")
def test_one_token_is_nothing_to_predict(tmp_path: Path) -> None:
    file = TokenFile(write_tokens(tmp_path / "x.bin", np.array([1])))
    with pytest.raises(TokenFileError, match="nothing to predict"):
        evaluation.evaluate(TransformerLM(tiny_model()), file, CPU)


def test_byte_table_counts_special_tokens() -> None:
    table = evaluation.count_bytes(ByteTokenizer(), 260)  # type: ignore[arg-type]
    assert table[:256].tolist() == [1] * 256
    assert table[256] == len("<|endoftext|>")
    assert table[257:].tolist() == [0, 0, 0]


def test_evaluation_leaves_the_precision_as_it_was() -> None:
    from lm.devices import set_precision

    model = TransformerLM(tiny_model())
    set_precision("bf16", CPU)
    try:
        with evaluation.evaluating(model):
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"  # type: ignore[attr-defined]
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"  # type: ignore[attr-defined]
    finally:
        set_precision("fp32", CPU)
    assert model.training


# -- generation --


def collect(model: TransformerLM, prompts: list[list[int]], **options: Any) -> list[list[int | None]]:
    how = {name: options.pop(name) for name in ("temperature", "seed") if name in options}
    return list(sampling.generate_ids(model, prompts, how=sampling.Sampling(**how), **options))


@pytest.mark.fault("S1")
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_cache_equals_no_cache_beyond_the_context(model: TransformerLM, temperature: float) -> None:
    options: dict[str, Any] = {"max_tokens": 40, "temperature": temperature, "seed": 1}
    prompts = [[5, 6, 7], [9, 9, 9]]
    with_cache = collect(model, prompts, **options)
    assert with_cache == collect(model, prompts, use_cache=False, **options)
    assert len(with_cache) == 40
    long = [list(range(100))]  # only the last tokens of a long prompt count
    assert collect(model, long, **options) == collect(model, [long[0][-8:]], **options)


def test_batch_equals_one_by_one(model: TransformerLM) -> None:
    together = collect(model, [[5, 6], [7, 8]], max_tokens=6, temperature=0.0)
    for row, prompt in enumerate(([5, 6], [7, 8])):
        assert [step[row] for step in together] == [
            s[0] for s in collect(model, [prompt], max_tokens=6, temperature=0.0)
        ]


def test_stop(model: TransformerLM) -> None:
    ids = [s[0] for s in collect(model, [[5]], max_tokens=8, temperature=0.0)]
    stop = ids[3]
    expected = ids[: ids.index(stop)]
    assert [s[0] for s in collect(model, [[5]], max_tokens=8, temperature=0.0, stop_id=stop)] == expected


@pytest.mark.fault("S1")
def test_sample() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))

    def seen(**options: Any) -> set[int]:
        generator = torch.Generator().manual_seed(0)
        how = sampling.Sampling(**options)
        return {int(sampling.sample(logits, how, [generator])) for _ in range(300)}

    assert seen() == {0, 1, 2, 3}
    assert seen(top_k=2) == {0, 1}
    assert seen(top_k=99) == {0, 1, 2, 3}
    assert seen(top_p=0.5) == {0}
    assert seen(top_p=0.79) == {0, 1}
    assert seen(top_p=1e-9) == {0}
    assert seen(temperature=0) == seen(temperature=1e-9) == {0}
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([sampling.sample(logits, sampling.Sampling(), [generator]) for _ in range(4000)])
    shares = torch.bincount(draws.flatten(), minlength=4) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.03, rtol=0)


@pytest.mark.fault("S1")
def test_bad_sampling_settings_in_one_message() -> None:
    with pytest.raises(ConfigError) as caught:
        sampling.Sampling(temperature=-1, top_k=-1, top_p=0)
    assert len(caught.value.problems) == 3
    for value in (float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="temperature"):
            sampling.Sampling(temperature=value)


def told(ids: list[int], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    script = iter(ids)
    monkeypatch.setattr(sampling, "sample", lambda *_, **__: torch.tensor([next(script)]))
    model = TransformerLM(tiny_model(vocab_size=300, context_length=64))
    return list(text.stream_text(model, ByteTokenizer(), "a", len(ids), sampling.Sampling()))  # type: ignore[arg-type]


@pytest.mark.fault("E8")
def test_stream_never_splits_a_character(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(list("hé🙂!".encode()), monkeypatch) == ["h", "é", "🙂", "!"]
    assert told([*"é".encode()[:1], *b"x"], monkeypatch) == ["\ufffdx"]
    assert told([*b"x", *"🙂".encode()[:3]], monkeypatch) == ["x", "\ufffd"]


@pytest.mark.fault("S2")
def test_stream_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told([*b"ab", 256, *b"cd"], monkeypatch) == ["a", "b"]
    assert told([*b"ab", 299, *b"cd"], monkeypatch) == ["a", "b"]  # an id the tokenizer does not have


@pytest.mark.fault("S3")
def test_escape() -> None:
    assert cli.escape("ok\n\té🙂") == "ok\n\té🙂"
    assert cli.escape("\x1b[2J\x07\r\u202e\x9b") == "\\x1b[2J\\x07\\r\\u202e\\x9b"


@pytest.mark.fault("S2")
def test_prompt_is_ordinary_text() -> None:
    tokenizer: Any = ByteTokenizer()
    assert text.start_ids(tokenizer, "<|endoftext|>", 257) == list(b"<|endoftext|>")
    assert text.start_ids(tokenizer, "", 257) == [256]
    with pytest.raises(ConfigError, match="vocabulary has 50"):
        text.start_ids(tokenizer, "z", 50)


@pytest.mark.fault("S1", "S3")
def test_generate_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train.train(tiny_config(tmp_path, vocab_size=257))
    monkeypatch.setattr(api, "find_tokenizer", lambda *_: (ByteTokenizer(), ""))
    capsys.readouterr()
    command = ["--ckpt", str(run), "--prompt", "Hi\x1b", "--max-tokens", "5", "--device", "cpu"]
    with pytest.raises(SystemExit) as caught:
        generate.main(command)
    assert caught.value.code == 1
    assert "another tokenizer" in capsys.readouterr().err
    monkeypatch.setattr(ByteTokenizer, "sha256", "t" * 64)
    assert generate.main(command) == 0
    first = capsys.readouterr().out
    assert first.startswith("Hi\\x1b")
    assert generate.main(command) == 0
    assert capsys.readouterr().out == first
    assert generate.main([*command, "--num-samples", "2"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if " of 2, seed" in line] == [
        "[1 of 2, seed 0]",
        "[2 of 2, seed 1]",
    ]
    assert generate.main([*command, "--num-samples", "2", "--temperature", "0"]) == 0
    out, err = capsys.readouterr()
    assert out.count("Hi") == 1
    assert "samples are equal" in err
    with pytest.raises(SystemExit) as caught:
        generate.main([*command, "--top-p", "2", "--temperature", "-1"])
    assert caught.value.code == 2
    assert "`--top-p` is 2.0" in capsys.readouterr().err


# -- stories, curves, download --


def test_stories_are_seeded_varied_and_filled_in() -> None:
    text = "".join(stories.tell(200_000, 1))
    assert text == "".join(stories.tell(200_000, 1))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == STORIES_SHA256
    told = text.split("\n<|endoftext|>\n")
    assert told.pop() == ""
    assert len(set(told)) == len(told) > 300
    assert not set(text) & set("{}|") - set("|")
    assert text.count("|") == 2 * len(told)
    assert all(story[0].isupper() and story.endswith((".", "!", '"')) for story in told)
    assert 200_000 <= len(text.encode()) < 201_000


def test_curves(tmp_path: Path) -> None:
    assert plot.draw(tmp_path) == []
    rows: list[dict[str, Any]] = [{"step": i, "loss": 5 / (i + 1) + 1} for i in range(40)]
    rows += [{"step": 20, "valid_loss": 1.5, "valid_bits_per_byte": None}]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 41, "lo']))
    assert [p.name for p in plot.draw(tmp_path)] == ["loss_curve.png", "ppl_curve.png"]
    assert plot.series(plot.read_metrics(tmp_path / "metrics.jsonl"), "valid_loss") == ([20], [1.5])
    assert plot.smooth([1.0, 1.0, 1.0]) == pytest.approx([1, 1, 1])


def test_smoothing_does_not_lag() -> None:
    """A straight line stays where it is, a fast fall nearly so, noise shrinks."""
    line = [float(i) for i in range(1000)]
    assert plot.smooth(line)[:-20] == pytest.approx(line[:-20])
    assert max(abs(a - b) for a, b in zip(plot.smooth(line), line, strict=True)) <= 5
    falling = [0.3 + 7 * (1 + i) ** -0.8 for i in range(1000)]
    assert max(abs(a / b - 1) for a, b in zip(plot.smooth(falling), falling, strict=True)) < 0.08
    assert plot.smooth(falling)[0] == falling[0]
    noise = np.random.default_rng(0).normal(size=1000)
    assert np.std(plot.smooth(noise.tolist())[10:]) < 0.3


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the hub does for a small file."""

    def __init__(self, files: dict[str, bytes], *args: Any) -> None:
        self.files = files
        super().__init__(*args)

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.wfile.write(self.answer())

    def answer(self) -> bytes:
        content = self.files.get(self.path, b"")
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        return content

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, dict[str, bytes]]]:
    files: dict[str, bytes] = {}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, files))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", files
    server.shutdown()
    thread.join()


def test_download(
    tmp_path: Path, hub: tuple[str, dict[str, bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    address, files = hub
    command = ["tinystories", "--out", str(tmp_path), "--endpoint", address]
    with pytest.raises(SystemExit) as caught:
        download.main([*command, "--split", "valid"])
    assert caught.value.code == 1
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("python -m lm.download: cannot fetch TinyStories")
    assert "Traceback" not in err
    for name in download.FILES.values():
        files[f"/datasets/{download.DATASET}/resolve/main/{name}"] = f"{name} Once upon a time".encode() * 99
    assert download.main(command) == 0
    for name in download.FILES.values():
        assert (tmp_path / name).read_bytes() == f"{name} Once upon a time".encode() * 99
    own = tmp_path / download.FILES["valid"]
    own.write_text("mine")
    assert download.main(command) == 0
    assert own.read_text() == "mine"  # kept
    assert "`--overwrite` fetches it again" in capsys.readouterr().out
    assert download.main([*command, "--overwrite"]) == 0
    assert own.read_bytes() == f"{own.name} Once upon a time".encode() * 99


def test_download_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*_: object, **__: object) -> str:
        raise ConnectionError("[Errno 111] Connection refused\nand a long story")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    with pytest.raises(SystemExit) as caught:
        download.main(["tinystories", "--out", str(tmp_path)])
    assert caught.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit) as caught:
        download.main(["no-such-set"])
    assert caught.value.code == 2


STORIES_SHA256 = "17341b52a69de33f"
