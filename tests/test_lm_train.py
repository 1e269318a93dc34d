"""Whole runs at width 8: files, resume bit for bit, signals, divergence, failing disks."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lm import attention, devices, runlog, train, trainer
from lm import checkpoint as ckpt
from lm.config import ConfigError, OptimConfig, UserError, from_values
from lm.data import TokenFileError
from lm.outputs import OutputError
from lm.plot import read_metrics
from lm_tools import ByteTokenizer, tiny_config, tiny_data, tiny_model, write_tokens


def rows(run: Path) -> list[dict[str, Any]]:
    """The rows, without what the clock decides."""
    clock = ("tokens_per_s", "elapsed_s", "mfu", "memory_mb")
    return [{k: v for k, v in row.items() if k not in clock} for row in read_metrics(run / "metrics.jsonl")]


def final(run: Path) -> ckpt.Checkpoint:
    return ckpt.load(ckpt.find(run))


def same_end(a: Path, b: Path) -> None:
    """Equal weights, optimizer, random state and rows, to the last bit."""
    one, two = final(a), final(b)
    assert one.step == two.step
    for part in ("model", "optimizer"):
        for name, tensor in getattr(one, part).items():
            assert torch.equal(tensor, getattr(two, part)[name]), name
    for key in ("loss_sum", "loss_count", "best", "identity"):
        assert one.state[key] == two.state[key]
    assert rows(a) == rows(b)


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int = signal.SIGTERM) -> None:
    """Send this process a signal in the middle of a step."""
    original = trainer.Trainer.train_step

    def stepping(self: trainer.Trainer) -> torch.Tensor:
        if self.step == step - 1:
            os.kill(os.getpid(), number)
        return original(self)

    monkeypatch.setattr(trainer.Trainer, "train_step", stepping)


def test_whole_run_writes_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train.train(tiny_config(tmp_path))
    names = {p.name for p in run.iterdir() if not p.name.startswith(".")}
    assert names == {
        "config.toml", "metrics.jsonl", "checkpoints", "loss_curve.png", "ppl_curve.png", "report.html"
    }  # fmt: skip
    for picture in ("loss_curve.png", "ppl_curve.png"):
        assert (run / picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    found = read_metrics(run / "metrics.jsonl")
    assert [r["step"] for r in found if "loss" in r] == [3, 6, 9, 12]
    assert [r["step"] for r in found if "valid_loss" in r] == [6, 12]
    assert [r["step"] for r in found if "whole_valid_loss" in r] == [12]
    losses = [r["loss"] for r in found if "loss" in r]
    assert losses[-1] < losses[0]
    out = capsys.readouterr().out
    for part in (
        "parameters",
        "device    cpu, 1 CPU thread, torch",
        "validation loss",
        "bits_per_byte",
        "python -m lm.generate --ckpt",
    ):
        assert part in out


@pytest.mark.fault("L2")
@pytest.mark.parametrize("preset", [{}, {"optimizer": "muon", "accumulate": 2}, {"sampler": "random"}])
@pytest.mark.parametrize("stop", [5, 6])
def test_resume_equals_never_having_stopped(
    tmp_path: Path, preset: dict[str, Any], stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between log steps and at an evaluation; 12 steps of 4 windows cross the end of an epoch."""
    tiny_data(tmp_path, 260)
    whole = train.train(tiny_config(tmp_path, "whole", **preset))
    with monkeypatch.context() as patch:
        stop_at(patch, stop)
        with pytest.raises(SystemExit) as caught:
            train.train(tiny_config(tmp_path, "parts", **preset))
    assert caught.value.code == 143
    assert final(tmp_path / "parts").step == stop
    parts = train.train(tiny_config(tmp_path, "parts", **preset), resume="strict")
    same_end(whole, parts)


@pytest.mark.fault("L1", "L2")
def test_killed_run_with_auto_equals_never_having_stopped(tmp_path: Path) -> None:
    """SIGKILL leaves rows after the last checkpoint and a half-written checkpoint; both have to go."""
    whole = train.train(tiny_config(tmp_path, "whole"))
    run = train.train(tiny_config(tmp_path, "killed"))
    ckpt.shutil.rmtree(ckpt.find(run))
    (run / "checkpoints/.tmp-00000012-1").mkdir()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 12, "lo')
    train.train(tiny_config(tmp_path, "killed"), resume="auto")
    same_end(whole, run)
    assert not list(run.glob("checkpoints/.tmp*"))


@pytest.mark.fault("L1", "L2", "L6")
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("changes", [{}, {"optimizer": "muon", "accumulate": 2, "tie_embeddings": True}])
def test_killed_ten_times_and_stopped_once_equals_one_run(tmp_path: Path, changes: dict[str, Any]) -> None:
    """400 steps, over several epochs: at once; stopped by SIGTERM at 150; killed at ten random moments."""
    steps = {"max_iters": 400, "eval_every": 40, "log_every": 20, "threads": 1, **changes}
    whole = train.train(tiny_config(tmp_path, "whole", **steps))
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 150)
        with pytest.raises(SystemExit):
            train.train(tiny_config(tmp_path, "parts", **steps))
    assert final(tmp_path / "parts").step == 150
    same_end(whole, train.train(tiny_config(tmp_path, "parts", **steps), resume="strict"))
    run, file = tmp_path / "killed", tmp_path / "killed.toml"
    file.write_text(tiny_config(tmp_path, "killed", **steps).to_toml())
    command = [sys.executable, "-m", "lm.train", "--config", str(file), "--resume", "auto"]
    rng = random.Random(0)
    for _ in range(10):
        seen = len(ckpt.steps(run)) and final(run).step
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        for line in process.stdout:  # killed a random time after training has begun
            if line.startswith("step"):
                break
        time.sleep(rng.random() * 0.3)
        process.kill()
        process.communicate()
        assert seen == 0 or final(run).step >= seen
    assert subprocess.run(command, capture_output=True).returncode == 0
    same_end(whole, run)


@pytest.mark.fault("L6")
def test_interrupt_exits_130_and_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 2, signal.SIGINT)
    with pytest.raises(SystemExit) as caught:
        train.train(tiny_config(tmp_path))
    assert caught.value.code == 130
    assert final(tmp_path / "run").step == 2


@pytest.mark.fault("L6")
def test_signal_to_a_real_process(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, max_iters=100_000, eval_every=100_000)
    file = tmp_path / "c.toml"
    file.write_text(config.to_toml())
    command = [sys.executable, "-m", "lm.train", "--config", str(file), "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step"):
            break
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.read()
    assert process.wait(30) == 143
    assert "--resume" in rest
    assert "Traceback" not in rest
    assert final(tmp_path / "run").step > 0


@pytest.mark.fault("L4")
def test_resume_refuses_another_run(tmp_path: Path) -> None:
    train.train(tiny_config(tmp_path))
    with pytest.raises(ckpt.CheckpointError) as caught:
        train.train(tiny_config(tmp_path, d_ff=24, seed=8), resume="auto")
    assert "model.d_ff: 16 -> 24" in str(caught.value)
    assert "seed: 7 -> 8" in str(caught.value)
    write_tokens(tmp_path / "train.bin", torch.arange(600).numpy() % 50, tokenizer_sha256="u" * 64)
    write_tokens(tmp_path / "valid.bin", torch.arange(100).numpy() % 50, tokenizer_sha256="u" * 64)
    with pytest.raises(ckpt.CheckpointError, match=r"train data tokenizer_sha256: tttt.* -> uuuu"):
        train.train(tiny_config(tmp_path), resume="strict")
    assert final(tmp_path / "run").step == 12


@pytest.mark.fault("L3")
def test_damaged_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Strict refuses; auto falls back to the one before it, aloud, and ends as if nothing had happened."""
    whole = train.train(tiny_config(tmp_path, "whole"))
    run = train.train(tiny_config(tmp_path, "hurt"))
    path = ckpt.find(run) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ckpt.CheckpointError, match="damaged"):
        train.train(tiny_config(tmp_path, "hurt"), resume="strict")
    train.train(tiny_config(tmp_path, "hurt"), resume="auto")
    assert "WARNING" in capsys.readouterr().out
    same_end(whole, run)


def test_resume_from_flags_alone_and_longer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The settings of a run are its own: `--resume` with a folder is enough, more steps are allowed."""
    run = train.train(tiny_config(tmp_path))
    assert train.main(["--resume", "--ckpt_path", str(run), "--max-iters", "15"]) == 0
    assert final(run).step == 15
    assert [r["step"] for r in rows(run) if "loss" in r] == [3, 6, 9, 12, 15]
    out = capsys.readouterr().out
    for line in ("max_iters: 12 -> 15", "cosine_cycle_iters: 12 -> 15", "warmup_iters: 1 -> 2"):
        assert f"changed since the checkpoint: {line}" in out
    assert "learning rate of 0" not in out
    assert read_metrics(run / "metrics.jsonl")[-1]["step"] == 15


@pytest.mark.fault("L11")
def test_a_folder_with_a_run_is_not_trained_over(tmp_path: Path) -> None:
    run = train.train(tiny_config(tmp_path))
    with pytest.raises(OutputError, match=r"`--resume`, or `--overwrite`"):
        train.train(tiny_config(tmp_path))
    train.train(tiny_config(tmp_path, max_iters=3), overwrite=True)
    assert final(run).step == 3
    for options in ({"resume": "auto"}, {"overwrite": True}):
        with runlog.lock(run), pytest.raises(UserError, match="another process"):
            train.train(tiny_config(tmp_path), **options)
    assert final(run).step == 3  # of a run that another process trains, nothing is removed


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(ckpt.CheckpointError, match="no checkpoint"):
        train.train(tiny_config(tmp_path), resume="strict")
    assert train.train(tiny_config(tmp_path), resume="auto").exists()


@pytest.mark.fault("L7")
def test_divergence_stops_and_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = trainer.Trainer.train_step

    def exploding(self: trainer.Trainer) -> torch.Tensor:
        if self.step == 7:
            with torch.no_grad():
                self.model.norm.weight.fill_(float("nan"))
        return original(self)

    monkeypatch.setattr(trainer.Trainer, "train_step", exploding)
    with pytest.raises(SystemExit) as caught:
        train.train(tiny_config(tmp_path))
    assert caught.value.code == 1
    assert "not finite at step 9" in capsys.readouterr().out
    assert final(tmp_path / "run").step == 6


@pytest.mark.fault("L5")
def test_full_disk_does_not_stop_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(run: Path, held: ckpt.Checkpoint) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ckpt, "save", failing)
    with pytest.raises(SystemExit) as caught:
        train.train(tiny_config(tmp_path))
    assert caught.value.code == 1
    assert capsys.readouterr().out.count("warning: no checkpoint") == 4
    assert [r["step"] for r in rows(tmp_path / "run") if "loss" in r][-1] == 12


def test_samples_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Saved(ByteTokenizer):
        def save(self, folder: Path) -> None:
            folder.mkdir()

    monkeypatch.setattr(trainer, "find_tokenizer", lambda *_: (Saved(), "tokenizer of bytes"))
    run = train.train(tiny_config(tmp_path, vocab_size=257, sample_tokens=6, prompt="Hi"))
    stories = sorted(p.name for p in (run / "samples").iterdir())
    assert stories == ["step-00000006.txt", "step-00000012.txt"]
    assert (run / "samples" / stories[0]).read_text(errors="replace").startswith("Hi")
    assert (run / "tokenizer").exists()


def test_accumulation_changes_nothing_but_rounding(tmp_path: Path) -> None:
    one = final(train.train(tiny_config(tmp_path, "one")))
    two = final(train.train(tiny_config(tmp_path, "two", accumulate=2)))
    for name, tensor in one.model.items():
        torch.testing.assert_close(tensor, two.model[name], rtol=1e-3, atol=1e-4)


@pytest.mark.fault("B5")
def test_bad_data(tmp_path: Path) -> None:
    tiny_data(tmp_path)
    with pytest.raises(TokenFileError, match="too few for one window"):
        train.train(tiny_config(tmp_path, context_length=1000))
    write_tokens(tmp_path / "valid.bin", torch.arange(100).numpy() % 50, tokenizer_sha256="u" * 64)
    with pytest.raises(TokenFileError, match="different tokenizers"):
        train.train(tiny_config(tmp_path))
    with pytest.raises(ConfigError, match="both `--train-bin` and `--valid-bin`"):
        train.train(from_values({"ckpt_path": str(tmp_path / "r"), "device": "cpu"}))


@pytest.mark.fault("L9")
def test_self_test_notices_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config_model()
    cpu = torch.device("cpu")
    assert len(devices.self_test(config, OptimConfig(warmup_iters=1, cosine_cycle_iters=2), cpu)) == 3
    with monkeypatch.context() as patch:
        patch.setattr(attention.nn.functional, "scaled_dot_product_attention", leaking)
        with pytest.raises(devices.SelfTestError, match="future tokens"):
            devices.self_test(config, OptimConfig(warmup_iters=1, cosine_cycle_iters=2), cpu)
    monkeypatch.setattr(torch, "_foreach_addcdiv_", lambda *args, **kwargs: None)
    with pytest.raises(devices.SelfTestError, match="leaves parameters as they were"):
        devices.self_test(config, OptimConfig(warmup_iters=1, cosine_cycle_iters=2, weight_decay=0.0), cpu)


def leaking(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **_: object) -> torch.Tensor:
    return attention.scaled_dot_product_attention(q, k, v)


def tiny_config_model() -> Any:
    return tiny_model()


@pytest.mark.fault("L9")
def test_check_alone(capsys: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    assert train.main(["--check", "--device", "cpu"]) == 0
    assert time.monotonic() - started < 2
    assert capsys.readouterr().out.count("\n") == 3


@pytest.mark.fault("L9")
def test_the_apple_path_on_the_cpu(tmp_path: Path) -> None:
    """`--attention masked` is what "auto" takes on Apple GPUs."""
    masked = final(train.train(tiny_config(tmp_path, "masked", attention="masked")))
    fused = final(train.train(tiny_config(tmp_path, "fused")))
    for name, tensor in fused.model.items():
        torch.testing.assert_close(tensor, masked.model[name], rtol=1e-3, atol=1e-4)


def test_loss_curve_stays_what_it_is(tmp_path: Path) -> None:
    """A fixed seed gives this curve; a change of it is a change of the training, to be made knowingly."""
    found = [row["loss"] for row in rows(train.train(tiny_config(tmp_path))) if "loss" in row]
    assert found == pytest.approx(GOLDEN, rel=1e-4)


GOLDEN = [3.85636, 3.76581, 3.63826, 3.6305]
