"""Beyond one run on one process: torchrun, compile, averages, reports, comparisons, Llama's layout."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lm import checkpoint as ckpt
from lm import compare, evaluate, export, huggingface, llama, plot, report, stories, train
from lm.config import ConfigError, OptimConfig, read_toml
from lm.data import TokenFileError
from lm.devices import SelfTestError, pick_device
from lm.model import TransformerLM
from lm.optim import make_optimizer
from lm.plot import read_metrics
from lm.report import write_report
from lm.sampling import Sampling, generate_ids
from lm.text import END_OF_TEXT as END
from lm_tools import equal, tiny_config, tiny_data, tiny_model, write_tokens
from safetensors.torch import save as save_tensors


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


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    """The same data and, up to rounding, the same losses and weights over 50 steps; with accumulation."""
    one = train.train(tiny_config(tmp_path, "one", accumulate=2, max_iters=50))
    done = torchrun(tmp_path, "two", accumulate=2, max_iters=50)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("device    ") == 1  # one of them speaks
    two = tmp_path / "two"
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    a, b = ckpt.load(ckpt.find(one)), ckpt.load(ckpt.find(two))
    assert a.state["identity"] == b.state["identity"]
    for name, tensor in a.model.items():
        torch.testing.assert_close(tensor, b.model[name], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_stop_of_the_first_process_alone_ends_all(tmp_path: Path) -> None:
    """It alone evaluates; the others, in their next step, may not be waited for."""
    program = tmp_path / "program.py"
    program.write_text(
        "import dataclasses, math\n"
        "from lm import cli, train, trainer\n"
        "evaluate = trainer.Trainer.evaluate\n"
        "trainer.Trainer.evaluate = lambda *a, **b: dataclasses.replace(evaluate(*a, **b), loss=math.nan)\n"
        "cli.leave(train.main)\n"
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
    assert page.count('src="data:image/png;base64,') == 1  # the perplexity would show the losses once more
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page
    for part in ("whole_valid_loss", "d_model = 8", "t" * 64, ckpt.read_state(ckpt.find(run))["sha256"]):
        assert part in page
    last = read_metrics(run / "metrics.jsonl")[-1]
    for name, value in (
        ("loss, whole validation file", f"{last['whole_valid_loss']:.4g}"),
        ("bits per byte", f"{last['whole_valid_bits_per_byte']:.3g}"),
        ("training tokens read", "384"),
        ("parameters", "2,120"),
        ("device", "cpu"),
    ):
        assert f"<td>{name}</td><td>{value}</td>" in page
    places = [page.index(part) for part in ("bits per byte", "The last story", "<img", "Settings")]
    assert places == sorted(places)
    before = re.sub(r'"data:[^"]*"', "", page).split("Settings")[0]
    digits = [found.replace(".", "").lstrip("0") for found in re.findall(r"\d+\.\d+", before)]
    assert max(map(len, digits)) <= 4
    (run / "report.html").unlink()
    assert report.main([str(run)]) == 0
    assert (run / "report.html").read_text() == page
    with pytest.raises(SystemExit):
        report.main([str(tmp_path / "none")])
    assert not re.search(r'(?:src|href)="(?!data:)', page)


def test_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [train.train(tiny_config(tmp_path, name, seed=seed)) for name, seed in (("a", 1), ("b", 2))]
    capsys.readouterr()
    picture = tmp_path / "both.png"
    assert compare.main([*map(str, runs), "--out", str(picture)]) == 0
    assert picture.read_bytes()[:4] == b"\x89PNG"
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line] == ["run", "a", "b", "what", "seed", str(picture)]
    assert len(lines[1].split()) == 6
    assert lines[5].split() == ["seed", "1", "2"]
    with pytest.raises(SystemExit):
        compare.main([str(runs[0]), str(tmp_path / "none")])
    assert "does not exist" in capsys.readouterr().err


def test_runs_of_different_tokenizers_are_compared_in_bits_per_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[str, list[plot.Curves]]] = []

    def drawn(path: Path, _: str, ylabel: str, curves: list[plot.Curves]) -> None:
        path.write_bytes(b"")
        calls.append((ylabel, curves))

    monkeypatch.setattr(compare, "draw_picture", drawn)
    monkeypatch.chdir(tmp_path)
    a = train.train(tiny_config(tmp_path, "a"))
    for name in ("train", "valid"):
        ids = np.fromfile(tmp_path / f"{name}.bin", "<u2")
        write_tokens(tmp_path / f"{name}.bin", ids, tokenizer_sha256="u" * 64, num_bytes=5 * len(ids))
    b = train.train(tiny_config(tmp_path, "b"))
    capsys.readouterr()
    assert compare.main([str(a), str(b)]) == 0
    assert "Different tokenizers: only bits per byte compare" in capsys.readouterr().out
    ((ylabel, curves),) = calls
    assert ylabel == "loss, bits per byte of text"
    for curve, run, per_token in zip(curves, (a, b), (3, 5), strict=True):
        rows = read_metrics(run / "metrics.jsonl")
        assert curve.valid[1] == pytest.approx([r["valid_bits_per_byte"] for r in rows if "valid_loss" in r])
        assert curve.train[1] == pytest.approx([x / math.log(2) / per_token for x in losses(run)])
    for path in tmp_path.glob("*.bin.json"):
        held = json.loads(path.read_text())
        path.write_text(json.dumps({**held, "num_bytes": None, "tokenizer_sha256": "v" * 64}))
    c = train.train(tiny_config(tmp_path, "c"))
    with pytest.raises(SystemExit):
        compare.main([str(a), str(c)])
    assert "c has no bits per byte" in capsys.readouterr().err
    assert compare.main([str(c), str(c)]) == 0
    assert calls[-1][0] == "loss, nats per token"


# -- Llama's layout --


@pytest.mark.fault("S6")
@pytest.mark.parametrize("tied", [False, True])
def test_transformers_loads_the_export(
    tmp_path: Path, tied: bool, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert export.main(["--ckpt", str(run), "--out", str(tmp_path / "out"), "--overwrite"]) == 0
    told = capsys.readouterr().out
    assert "check     same ids, logits within" in told
    for name, expected in (
        ("config.json", {"bos_token_id": None, "eos_token_id": 299}),
        ("generation_config.json", {"bos_token_id": None, "eos_token_id": 299, "pad_token_id": 299}),
        ("tokenizer_config.json", {"eos_token": END, "pad_token": END, "model_max_length": 256}),
    ):
        held = json.loads((tmp_path / "out" / name).read_text())
        assert expected.items() <= held.items()
    assert "bos_token" not in json.loads((tmp_path / "out/tokenizer_config.json").read_text())
    assert "pad_token_id" not in json.loads((tmp_path / "out/config.json").read_text())
    assert "parameters: 2 layers of width 32" in (tmp_path / "out/README.md").read_text()
    reader = AutoTokenizer.from_pretrained(tmp_path / "out")
    batch = reader(["Once upon", "Once upon a time there was"], padding=True)["input_ids"]
    assert batch[0][:1] == [299]
    assert len(batch[0]) == len(batch[1])
    if not tied:  # the next line can be pasted
        line = next(line for line in told.splitlines() if line.startswith("next")).split(None, 1)[1]
        line = line.replace("python", sys.executable, 1)
        ran = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=250)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.startswith("Once upon a time")


def given(*flags: str) -> dict[str, object]:
    own = ("config", "preset", "resume", "overwrite", "check")
    return {k: v for k, v in vars(train.make_parser().parse_args(flags)).items() if k not in own}


def imported(folder: Path) -> tuple[Path, list[str]]:
    """A run of a small import, and flags that train it."""
    config, tensors = llama.to_llama(TransformerLM(tiny_model(d_model=16)))
    (folder / "hf").mkdir(parents=True)
    (folder / "hf/config.json").write_text(json.dumps(config))
    (folder / "hf/model.safetensors").write_bytes(save_tensors(tensors))
    assert export.main(["--from-llama", str(folder / "hf"), "--out", str(folder / "imp")]) == 0
    files = tiny_data(folder)
    flags = ["--ckpt-path", str(folder / "imp"), "--train-bin", str(files[0]), "--valid-bin", str(files[1])]
    return folder / "imp", [*flags, "--device=cpu", "--batch-size=4", "--eval-every=2", "--sample-tokens=0"]


@pytest.mark.fault("L4")
def test_an_import_is_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its shape is its own, all else the preset's; it is resumed like any run."""
    run, flags = imported(tmp_path)
    weights = ckpt.load(ckpt.find(run)).model
    assert train.main(["--resume", *flags, "--max-iters", "2", "--lr", "1e-9"]) == 0
    assert "begins    with the imported weights" in capsys.readouterr().out
    config = read_toml(run / "config.toml")
    assert (config["d_model"], config["vocab_size"], config["head_lr_scale"]) == (16, 50, 14.0)
    for name, tensor in ckpt.load(ckpt.find(run)).model.items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-4, atol=1e-4)
    assert train.main(["--resume", "--ckpt-path", str(run), "--max-iters", "4"]) == 0
    assert [row["step"] for row in read_metrics(run / "metrics.jsonl") if "valid_loss" in row] == [2, 4]
    with pytest.raises(SystemExit):
        export.main(["--from-llama", str(tmp_path / "hf"), "--out", str(run)])
    assert "is there already and differs" in capsys.readouterr().err


@pytest.mark.fault("L4")
def test_an_import_is_not_trained_on_with_another_shape_or_tokenizer(tmp_path: Path) -> None:
    run, flags = imported(tmp_path)
    for wrong, problem in ((["--d-model", "32"], "has shape"), (["--num-layers", "1"], "does not belong")):
        settled, _ = train.settle(given(*flags, *wrong), None, None, "strict")
        with pytest.raises(ckpt.CheckpointError, match=problem):
            train.train(settled, resume="strict")
    run, flags = imported(tmp_path / "other")
    held = ckpt.load(ckpt.find(run))
    held.state["tokenizer_sha256"] = "o" * 64
    ckpt.save(run, held)
    settled, _ = train.settle(given(*flags), None, None, "strict")
    with pytest.raises(TokenFileError, match="another tokenizer than the model"):
        train.train(settled, resume="strict")


def test_the_check_finds_what_transformers_would_read_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = imported(tmp_path)
    model = ckpt.load_model(run)[0]
    llama.export(run, tmp_path / "out")
    assert "logits within" in huggingface.check(tmp_path / "out", model)
    with torch.no_grad():
        model.norm.weight.mul_(2)
    with pytest.raises(SelfTestError, match="other logits"):
        huggingface.check(tmp_path / "out", model)
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "not installed" in huggingface.check(tmp_path / "out", model)


@pytest.mark.fault("S5")
def test_export_refuses_what_llama_cannot_be() -> None:
    with pytest.raises(ConfigError, match="--qk-norm"):
        llama.to_llama(TransformerLM(tiny_model(qk_norm=True)))
    config, tensors = llama.to_llama(TransformerLM(tiny_model()))
    with pytest.raises(ConfigError, match="num_key_value_heads"):
        llama.from_llama({**config, "num_key_value_heads": 1}, tensors)
    with pytest.raises(ConfigError, match="vocab_size"):
        llama.from_llama({k: v for k, v in config.items() if k != "vocab_size"}, tensors)
    for name in ("model.layers.1.mlp.up_proj.weight", "lm_head.weight"):
        with pytest.raises(ckpt.CheckpointError, match="missing"):
            llama.from_llama(config, {k: v for k, v in tensors.items() if k != name})
    with pytest.raises(ckpt.CheckpointError, match="does not belong"):
        llama.from_llama(config, {**tensors, "extra.weight": torch.zeros(1)})
