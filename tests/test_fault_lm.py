"""Checkpoints of strangers, devices that are not there, logs that cannot be written, odd settings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lm import checkpoint as ckpt
from lm import cli, evaluate, generate, report, sampling, train
from lm import text as lm_text
from lm.config import ConfigError
from lm.data import TokenFile, TokenFileError
from lm.devices import pick_device
from lm.model import TransformerLM
from lm.plot import read_metrics
from lm.runlog import Metrics
from lm_tools import ByteTokenizer, tiny_config, tiny_model, write_tokens


def held() -> ckpt.Checkpoint:
    torch.manual_seed(0)
    model = TransformerLM(tiny_model())
    config = {"model": {name: getattr(tiny_model(), name) for name in tiny_model().__dataclass_fields__}}
    state = {"step": 5, "config": config}
    return ckpt.Checkpoint(model=dict(model.named_parameters()), optimizer={}, state=state)


# --- Checkpoints --------------------------------------------------------------------------------------------


@pytest.mark.fault("L3")
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_every_truncation_and_bit_flip_of_a_checkpoint(tmp_path: Path, name: str) -> None:
    small = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(1)}
    folder = ckpt.save(tmp_path, ckpt.Checkpoint(model=small, optimizer=small, state={"step": 1}))
    path = folder / name
    good = path.read_bytes()

    def same_or_refused(content: bytes) -> bool:
        path.write_bytes(content)
        try:
            back = ckpt.load(folder)
        except ckpt.CheckpointError:
            return True
        return back.step == 1 and all(torch.equal(back.model[key], small[key]) for key in small)

    for size in range(len(good)):
        assert same_or_refused(good[:size]), size
    # Every bit of the tensors' files; of the longer state, which has one digest, some of each byte.
    for bit in range(0, 8 * len(good), 1 if name != "state.json" else 5):
        changed = bytearray(good)
        changed[bit // 8] ^= 1 << bit % 8
        assert same_or_refused(bytes(changed)), bit


def crafted(folder: Path, **changes: Any) -> None:
    """Change the state of a checkpoint and give it the digest that fits."""
    path = folder / "state.json"
    state = json.loads(path.read_text())
    for name, value in changes.items():
        if value is ...:
            del state[name]
        else:
            state[name] = value
    state["sha256"] = ckpt.state_digest(state)
    path.write_text(json.dumps(state))


@pytest.mark.fault("L3", "V3")
@pytest.mark.parametrize(
    "changes",
    [
        {"config": {}}, {"config": ...}, {"config": {"model": []}}, {"config": {"model": {"d_model": "8"}}},
        {"config": {"model": {"unknown": 1}}}, {"config": {"model": {"d_model": 2**40, "num_heads": 2}}},
        {"config": {"model": {"vocab_size": 2**60}}}, {"config": {"model": {"num_layers": 10**12}}},
        {"config": {"model": {"context_length": 2**50}}}, {"tensors": ...}, {"tensors": {"model": {}}},
        {"tensors": []}, {"step": "5"}, {"step": -1}, {"step": ...}, {"version": 2}, {"format": "else"},
    ],
)  # fmt: skip
def test_a_strangers_checkpoint_is_refused_before_it_takes_memory(
    tmp_path: Path, changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ckpt.save(tmp_path, held())
    assert ckpt.load_model(folder)[1].step == 5
    if "model" in (model := changes.get("config", {}) or {} if changes.get("config") is not ... else {}):
        sizes = model["model"]
        if isinstance(sizes, dict):
            changes = {"config": {"model": {**held().state["config"]["model"], **sizes}}}
    crafted(folder, **changes)
    with pytest.raises(ckpt.CheckpointError, match="step-00000005"):
        ckpt.load_model(folder)
    with pytest.raises(SystemExit) as caught:
        generate.main(["--ckpt", str(folder), "--device", "cpu"])
    assert caught.value.code == 1
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.fault("L3", "S3")
def test_names_of_tensors_do_not_drive_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = held()
    evil.model["\x1b[2J\x9b"] = torch.zeros(1)
    folder = ckpt.save(tmp_path, evil)
    with pytest.raises(SystemExit):
        generate.main(["--ckpt", str(folder), "--device", "cpu"])
    printed = capsys.readouterr().err
    assert "\\x1b[2J" in printed
    assert not set(printed) & {"\x1b", "\x9b"}


@pytest.mark.fault("L3")
def test_resume_with_a_strangers_state(tmp_path: Path) -> None:
    run = train.train(tiny_config(tmp_path))
    for name in ("identity", "config", "loss_sum", "loss_count", "best", "elapsed_s", "threads"):
        folder = ckpt.find(run)
        before = (folder / "state.json").read_bytes()
        crafted(folder, **{name: ...})
        with pytest.raises(ckpt.CheckpointError, match="step-00000012"):
            train.train(tiny_config(tmp_path, max_iters=14), resume="strict")
        (folder / "state.json").write_bytes(before)


@pytest.mark.fault("B4", "L4")
def test_a_run_refuses_files_that_nest_without_end(tmp_path: Path) -> None:
    path = write_tokens(tmp_path / "x.bin", np.arange(20))
    for content in (b"[" * 100_000, b'{"format":' * 50_000, b"9" * 10_000):
        (tmp_path / "x.bin.json").write_bytes(content)
        with pytest.raises(TokenFileError, match=r"x\.bin\.json"):
            TokenFile(path)
        (tmp_path / "metrics.jsonl").write_bytes(content + b'\n{"step": 1}\n')
        assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1}]
        folder = ckpt.save(tmp_path, held())
        (folder / "state.json").write_bytes(content)
        with pytest.raises(ckpt.CheckpointError, match="damaged"):
            ckpt.load(folder)
    config = tmp_path / "c.toml"
    config.write_text("a = " + "[" * 100_000)
    with pytest.raises(SystemExit) as caught:
        train.main(["--config", str(config)])
    assert caught.value.code == 2


@pytest.mark.fault("B8")
def test_a_token_file_that_shrank_is_noticed_when_it_is_opened(tmp_path: Path) -> None:
    path = write_tokens(tmp_path / "x.bin", np.arange(2000))
    TokenFile(path)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(TokenFileError, match="1999 tokens, but its sidecar says 2000"):
        TokenFile(path)


# --- Signals, devices, logs ---------------------------------------------------------------------------------


@pytest.mark.fault("L6")
@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    """The first asks for a checkpoint at the end of the step; this step never ends."""
    program = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from lm import train, trainer
from lm_tools import tiny_config
def stuck(self):
    print("stuck", flush=True)
    while True:
        time.sleep(0.05)
trainer.Trainer.train_step = stuck
train.train(tiny_config(Path({str(tmp_path)!r})))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        while b"stuck" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) != 0


@pytest.mark.fault("L8")
def test_a_device_that_is_not_there() -> None:
    for name, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
        if not there:
            with pytest.raises(ConfigError, match=rf"`--device {name}` is not available"):
                pick_device(name)


@pytest.mark.fault("L8")
def test_a_device_without_memory_left(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, cli.clear_errors("lm"):
        raise torch.OutOfMemoryError("MPS backend out of memory (9 GB)\nand a long story")
    assert caught.value.code == 1
    printed = capsys.readouterr().err
    assert "`--batch-size`" in printed
    assert "`--device cpu`" in printed
    assert printed.count("\n") == 1


@pytest.mark.fault("L11")
def test_a_log_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = Metrics(tmp_path / "gone" / "metrics.jsonl")
    for step in range(3):
        metrics.write({"step": step})
    assert capsys.readouterr().out.count("training goes on") == 1


@pytest.mark.fault("L11")
def test_torn_and_foreign_rows_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"st\n[]\n3\n{"loss": 1}\n{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1}]


# --- Generation ---------------------------------------------------------------------------------------------


@pytest.fixture
def model() -> TransformerLM:
    torch.manual_seed(3)
    return TransformerLM(tiny_model(vocab_size=300, init_std=0.5)).eval()


@pytest.mark.fault("S1")
@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.0}, {"temperature": 1e-9}, {"temperature": 1e30}, {"top_k": 1}, {"top_k": 10**9},
        {"top_p": 1e-12}, {"top_p": 1.0}, {"temperature": 1e-9, "top_p": 0.5, "top_k": 3},
    ],
)  # fmt: skip
def test_sampling_at_the_edges_draws_ids_that_exist(model: TransformerLM, settings: dict[str, Any]) -> None:
    how = sampling.Sampling(**settings)
    for prompt in ([5], list(range(8)), list(range(100))):
        (drawn,) = zip(*sampling.generate_ids(model, [prompt], 20, how), strict=True)
        assert all(token_id is not None and 0 <= token_id < 300 for token_id in drawn)
    extreme = torch.tensor([[0.0, 1e30, -1e30, float("-inf")]])
    if settings.get("temperature", 1) <= 1:
        assert int(sampling.sample(extreme, how, [torch.Generator()])) == 1


@pytest.mark.fault("S2")
def test_generated_ids_without_bytes_end_the_text(model: TransformerLM) -> None:
    """The head is wider than the vocabulary, and random weights choose from all of it."""
    tokenizer: Any = ByteTokenizer()
    for seed in range(20):
        how = sampling.Sampling(seed=seed)
        text = "".join(lm_text.stream_text(model, tokenizer, "<|endoftext|>", 60, how))
        assert "<|endoftext|>" not in text


@pytest.mark.fault("S3")
def test_html_of_evil_names(tmp_path: Path) -> None:
    evil = "</pre></script><img src=x onerror=alert(1)>"
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "step-1.txt").write_text(evil)
    (tmp_path / "config.toml").write_text(f"# {evil}")
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, evil: evil}) + "\n")
    page = report.write_report(tmp_path).read_text("utf-8")
    assert "<img src=x" not in page
    assert "</script>" not in page


@pytest.mark.fault("S4")
def test_generated_text_on_an_ascii_terminal(tmp_path: Path) -> None:
    program = """
from lm import generate
from lm_tools import ByteTokenizer
import lm.api, lm.sampling, torch
lm.api.find_tokenizer = lambda *_: (ByteTokenizer(), "")
ids = iter("é🙂!".encode() * 9)
lm.sampling.sample = lambda *_, **__: torch.tensor([next(ids)])
generate.main(["--ckpt", RUN, "--prompt", "日本 ", "--max-tokens", "7", "--device", "cpu"])
"""
    tokenizer_sha256 = ByteTokenizer.sha256
    write_tokens(tmp_path / "train.bin", np.arange(600) % 50, 257, tokenizer_sha256=tokenizer_sha256)
    write_tokens(tmp_path / "valid.bin", np.arange(100) % 50, 257, tokenizer_sha256=tokenizer_sha256)
    run = train.train(tiny_config(tmp_path, vocab_size=257))
    ran = subprocess.run(
        [sys.executable, "-c", program.replace("RUN", repr(str(run)))],
        capture_output=True,
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.strip() == b"?? ??!"


@pytest.mark.fault("S4")
def test_nobody_reads_what_is_evaluated(tmp_path: Path) -> None:
    run = train.train(tiny_config(tmp_path))
    command = [sys.executable, "-m", "lm.evaluate", "--ckpt", str(run), "--bin", str(tmp_path / "valid.bin")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) in (0, 141)
    assert evaluate.main(["--ckpt", str(run), "--bin", str(tmp_path / "valid.bin"), "--device", "cpu"]) == 0
