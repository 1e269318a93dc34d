"""Beyond one run on one process: torchrun, compile, averages, reports, comparisons, Llama's layout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lm import checkpoint as ckpt
from lm import compare, evaluate, export, stories, train
from lm.config import ConfigError, OptimConfig
from lm.devices import pick_device
from lm.model import TransformerLM
from lm.optim import make_optimizer
from lm.plot import read_metrics
from lm.report import write_report
from lm.sampling import Sampling, generate_ids
from lm_tools import equal, tiny_config, tiny_model


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(run / "metrics.jsonl") if "loss" in row]


def torchrun(
    folder: Path, name: str, *flags: str, program: tuple[str, ...] = ("-m", "lm.train"), **changes: object
) -> subprocess.CompletedProcess[str]:
    file = folder / f"{name}.toml"
    file.write_text(tiny_config(folder, name, **changes).to_toml())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [*program, "--config", str(file), "--threads", "1", *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def test_two_processes_equal_one(tmp_path: Path) -> None:
    """The same data and, up to rounding, the same losses and weights over 50 steps; with accumulation."""
    one = train.train(tiny_config(tmp_path, "one", accumulate=2, max_iters=50))
    done = torchrun(tmp_path, "two", accumulate=2, max_iters=50)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("self-test") == 1  # one of them speaks
    two = tmp_path / "two"
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    a, b = ckpt.load(ckpt.find(one)), ckpt.load(ckpt.find(two))
    assert a.state["identity"] == b.state["identity"]
    for name, tensor in a.model.items():
        torch.testing.assert_close(tensor, b.model[name], rtol=1e-3, atol=1e-4)


def test_a_stop_of_the_first_process_alone_ends_all(tmp_path: Path) -> None:
    """It alone evaluates; the others, in their next step, may not be waited for."""
    program = tmp_path / "program.py"
    program.write_text(
        "import dataclasses, math\n"
        "from lm import processes, train, trainer\n"
        "evaluate = trainer.Trainer.evaluate\n"
        "trainer.Trainer.evaluate = lambda *a, **b: dataclasses.replace(evaluate(*a, **b), loss=math.nan)\n"
        "processes.leave(train.main)\n"
    )
    done = torchrun(tmp_path, "two", program=(str(program),), accumulate=2)
    assert done.returncode == 1
    assert "validation loss is not finite at step 6" in done.stdout


@pytest.mark.fault("L8")
def test_processes_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="pytorch#189853"):
        pick_device("mps")


@pytest.mark.slow
def test_compiled_training_equals_eager(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    eager = train.train(tiny_config(tmp_path, "eager"))
    capsys.readouterr()
    compiled = train.train(tiny_config(tmp_path, "compiled", compile=True))
    assert "compile   on" in capsys.readouterr().out
    assert losses(compiled) == pytest.approx(losses(eager), rel=1e-3)


@pytest.mark.fault("L9")
def test_compile_falls_back_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    eager = train.train(tiny_config(tmp_path, "eager"))
    wrong = TransformerLM(tiny_model())
    for name, compiler in {"raises": None, "wrong": lambda _: wrong}.items():
        with monkeypatch.context() as patch:
            patch.setattr(torch, "compile", compiler)
            run = train.train(tiny_config(tmp_path, name, compile=True))
        assert "compile   off" in capsys.readouterr().out
        assert losses(run) == losses(eager)


def test_averaged_weights() -> None:
    torch.manual_seed(0)
    model = TransformerLM(tiny_model())
    optimizer = make_optimizer(model, OptimConfig(ema=0.9, lr=1e-2))
    name, p = next(iter(model.named_parameters()))
    expected = p.detach().clone()
    ids = torch.randint(0, 50, (2, 9))
    for step in range(1, 30):
        model(ids[:, :-1], ids[:, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()
        expected.lerp_(p.detach(), max(0.1, 9 / (9 + step)))
    trained = p.detach().clone()
    equal(optimizer.state[f"{name}.ema"], expected)
    with optimizer.averaged():
        equal(p, expected)
    assert torch.equal(p, trained)


def test_averaged_weights_are_resumed_and_loaded(tmp_path: Path) -> None:
    whole = train.train(tiny_config(tmp_path, "whole", ema=0.9))
    config = tiny_config(tmp_path, "parts", ema=0.9, max_iters=6, cosine_cycle_iters=12, warmup_iters=1)
    train.train(config)
    config.run.max_iters = 12
    parts = train.train(config, resume="strict")
    model, held, _ = ckpt.load_model(whole)
    other = ckpt.load_model(parts)[0]
    for name, p in model.named_parameters():
        assert torch.equal(p, held.optimizer[f"{name}.ema"])
        assert not torch.equal(p, held.model[name])
        assert torch.equal(p, other.get_parameter(name))
    found = [row for row in read_metrics(whole / "metrics.jsonl") if "whole_valid_loss" in row]
    assert evaluate.main(["--ckpt", str(whole), "--bin", str(config.data.valid_bin), "--device", "cpu"]) == 0
    assert found[0]["whole_valid_loss"] > 0


def test_a_longer_run_is_evaluated_at_its_new_end(tmp_path: Path) -> None:
    run = train.train(tiny_config(tmp_path))
    train.train(tiny_config(tmp_path, max_iters=15), resume="strict")
    found = [row["step"] for row in read_metrics(run / "metrics.jsonl") if "whole_valid_loss" in row]
    assert found == [12, 15]


def test_preset_named_in_a_file(tmp_path: Path) -> None:
    """Also where the vocabulary size comes from the sidecar, and where a flag names another."""
    config = tiny_config(tmp_path)
    file = tmp_path / "c.toml"
    file.write_text(f'preset = "muon"\ntrain_bin = {json.dumps(config.data.train_bin)}\n')
    settled, note = train.settle({}, None, str(file), None)
    assert (settled.optim.optimizer, settled.model.vocab_size, note) == ("muon", 50, "preset muon")
    assert train.settle({}, "default", str(file), None)[0].optim.optimizer == "adamw"


@pytest.mark.fault("S3")
def test_report_holds_everything_and_escapes(tmp_path: Path) -> None:
    run = train.train(tiny_config(tmp_path))
    (run / "samples").mkdir()
    (run / "samples/step-00000012.txt").write_text("<script>alert(1)</script> & more")
    page = write_report(run).read_text()
    assert page.count('src="data:image/png;base64,') == 2
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page
    for part in ("whole_valid_loss", "d_model = 8", "t" * 64, ckpt.read_state(ckpt.find(run))["sha256"]):
        assert part in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)


def test_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [train.train(tiny_config(tmp_path, name, seed=seed)) for name, seed in (("a", 1), ("b", 2))]
    capsys.readouterr()
    picture = tmp_path / "both.png"
    assert compare.main([*map(str, runs), "--out", str(picture)]) == 0
    assert picture.read_bytes()[:4] == b"\x89PNG"
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "a", "b", str(picture)]
    assert len(lines[1].split()) == 5
    with pytest.raises(SystemExit) as caught:
        compare.main([str(tmp_path / "none")])
    assert caught.value.code == 2


# -- Llama's layout --


@pytest.mark.fault("S6")
@pytest.mark.parametrize("tied", [False, True])
def test_transformers_loads_the_export(tmp_path: Path, tied: bool) -> None:
    """Equal logits, equal greedy text over 200 tokens; and back, bit for bit."""
    from tinybpe import Tokenizer
    from transformers import AutoTokenizer, LlamaForCausalLM

    text = stories.write(tmp_path / "t.txt", 20_000)
    tokenizer = Tokenizer.train([text], vocab_size=300, special_tokens=["<|endoftext|>"])
    tokenizer.encode_file([text], tmp_path / "t.bin")
    tokenizer.save(tmp_path / "tok")
    changes = {"vocab_size": 300, "context_length": 256, "d_model": 32, "rope_theta": 500.0, "max_iters": 3}
    files = {"train_bin": str(tmp_path / "t.bin"), "valid_bin": str(tmp_path / "t.bin"), "eval_every": 3}
    config = tiny_config(tmp_path, **changes, **files, tie_embeddings=tied, init_std=0.2, sample_tokens=0)
    run = train.train(config)
    assert export.main(["--ckpt", str(run), "--out", str(tmp_path / "out")]) == 0
    theirs = LlamaForCausalLM.from_pretrained(tmp_path / "out").eval()
    ours = ckpt.load_model(run)[0]
    ids = torch.randint(0, 300, (2, 256))
    with torch.no_grad():
        equal(ours(ids), theirs(ids).logits, 1e-4)
    prompt = tokenizer.encode_ordinary("Once upon a time")
    told = [s[0] for s in generate_ids(ours, [prompt], 200, Sampling(temperature=0.0))]
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    expected = theirs.generate(torch.tensor([prompt]), max_new_tokens=200, **options)
    assert told == expected[0, len(prompt) :].tolist()
    assert theirs.config.eos_token_id == tokenizer.special_tokens["<|endoftext|>"]
    text_ids = AutoTokenizer.from_pretrained(tmp_path / "out")("Once upon a time")["input_ids"]
    assert text_ids == prompt
    assert export.main(["--from-llama", str(tmp_path / "out"), "--out", str(tmp_path / "back")]) == 0
    back = ckpt.load_model(tmp_path / "back")[0]
    assert back.config.rope_theta == 500.0
    for name, p in ours.named_parameters():
        assert torch.equal(p, back.get_parameter(name)), name
    with pytest.raises(ckpt.CheckpointError, match="of another run"):
        train.train(tiny_config(tmp_path, "back", **changes, **files), resume="strict")


@pytest.mark.fault("S5")
def test_export_refuses_what_llama_cannot_be() -> None:
    with pytest.raises(ConfigError, match="--qk-norm"):
        export.to_llama(TransformerLM(tiny_model(qk_norm=True)))
    config, tensors = export.to_llama(TransformerLM(tiny_model()))
    with pytest.raises(ConfigError, match="num_key_value_heads"):
        export.from_llama({**config, "num_key_value_heads": 1}, tensors)
    with pytest.raises(ConfigError, match="vocab_size"):
        export.from_llama({k: v for k, v in config.items() if k != "vocab_size"}, tensors)
    for name in ("model.layers.1.mlp.up_proj.weight", "lm_head.weight"):
        with pytest.raises(ckpt.CheckpointError, match="missing"):
            export.from_llama(config, {k: v for k, v in tensors.items() if k != name})
    with pytest.raises(ckpt.CheckpointError, match="does not belong"):
        export.from_llama(config, {**tensors, "extra.weight": torch.zeros(1)})
