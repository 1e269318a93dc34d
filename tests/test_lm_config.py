"""Settings: defaults, presets, files, flags, and the message that lists what is wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from lm import train
from lm.config import FIELDS, ConfigError, UserError, from_values, preset_names, read_toml, resolve

REFERENCE = (
    "--train_bin t.bin --valid_bin v.bin --vocab_size 10000 --context_length 256 --batch_size 16 "
    "--d_model 256 --num_layers 4 --num_heads 8 --d_ff 1024 --rope_theta 10000 --lr 3e-4 --min_lr 3e-5 "
    "--warmup_iters 500 --cosine_cycle_iters 5000 --weight_decay 0.1 "
    "--grad_clip 1.0 --max_iters 5000 --log_every 10 "
    "--eval_every 500 --eval_iters 50 --ckpt_path runs/x/ckpt.pt --device cpu --resume --seed 1337"
)


def parse(line: str) -> dict[str, object]:
    values = vars(train.make_parser().parse_args(line.split()))
    return {k: v for k, v in values.items() if k in FIELDS}


def test_reference_command_line_is_the_reference_run() -> None:
    given = parse(REFERENCE)
    assert given["cosine_cycle_iters"] == 5000
    config, name = resolve(given, None, None)
    assert name == "reference"
    assert (config.optim.beta2, config.optim.decay_all, config.optim.schedule) == (0.999, True, "cosine")
    assert (config.model.init, config.data.sampler) == ("torch", "random")
    assert parse(REFERENCE.replace("_", "-")) == given
    tuned, name = resolve(given, "default", None)
    assert (tuned.optim.lr, tuned.optim.beta2, name) == (3e-4, 0.95, "default")


def test_precedence(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("max_iters = 70\n[optim]\nlr = 0.5\nbeta1 = 0.8\n")
    config, name = resolve({"lr": 0.25}, None, str(file))
    assert (config.optim.lr, config.optim.beta1, config.run.max_iters, name) == (0.25, 0.8, 70, "default")
    assert config.optim.cosine_cycle_iters == 70
    assert config.optim.warmup_iters == 7
    file.write_text('preset = "muon"\n')
    assert resolve({}, None, str(file))[0].optim.optimizer == "muon"


def test_written_file_reads_back(tmp_path: Path) -> None:
    config = from_values({"train_bin": 'odd "name"\\.bin', "lr": 1e-5, "tie_embeddings": True})
    (tmp_path / "c.toml").write_text(config.to_toml())
    assert from_values(read_toml(tmp_path / "c.toml")) == config
    tomllib.loads(config.to_toml())


@pytest.mark.parametrize("name", preset_names())
def test_presets_resolve(name: str) -> None:
    assert resolve({}, name, None)[1] == name


@pytest.mark.fault("L10")
def test_all_problems_in_one_message() -> None:
    bad = {"lr": -1.0, "num_heads": 3, "device": "tpu", "speling": 1, "batch_size": 2.5, "beta1": 1.0}
    with pytest.raises(ConfigError) as caught:
        from_values(bad)
    text = str(caught.value)
    for part in (
        "unknown setting `speling`",
        "`--lr` is -1.0",
        "`--device` is 'tpu'",
        "`--batch-size` is 2.5",
    ):
        assert part in text
    assert len(caught.value.problems) == 5
    with pytest.raises(ConfigError, match="256, not a multiple of `--num-heads` 3"):
        from_values({"num_heads": 3})


@pytest.mark.fault("L10")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": float("nan")}, "finite"),
        ({"lr": float("inf")}, "finite"),
        ({"lr": 0.0}, "nothing would be learned"),
        ({"seed": True}, "expected int"),
        ({"min_lr": 1.0}, "above `--lr`"),
        ({"warmup_iters": 9, "max_iters": 5}, "of only 5 steps"),
        ({"d_model": 24, "num_heads": 8}, "odd"),
        ({"batch_size": 16, "accumulate": 3}, "16 is not a multiple of `--accumulate` 3"),
        ({"vocab_size": 0}, "at least 1"),
        ({"train_bin": 3}, "expected str or list or nothing"),
    ],
)
def test_bad_values(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_values(values)


@pytest.mark.fault("L10")
@pytest.mark.parametrize(
    ("code", "line"),
    [
        (2, "--no-such-flag"),
        (2, "--lr fast"),
        (2, "--device tpu"),
        (2, "--preset nope"),
        (1, "--config missing.toml"),
        (2, "--num-heads 7"),
        (2, ""),
        (1, "--train-bin missing.uint16.bin --valid-bin missing.uint16.bin"),
        (1, "--resume --ckpt-path nowhere --train-bin x --valid-bin x --vocab-size 9"),
        (2, "--device mps --check"),
    ],
)
def test_exit_codes(
    code: int,
    line: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """2 for flags and settings, 1 for files; nothing is left."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        train.main(line.split())
    assert caught.value.code == code
    assert not list(tmp_path.iterdir())
    err = capsys.readouterr().err
    assert err.startswith("python -m lm.train: ")
    assert "Traceback" not in err


def test_help_names_every_field_and_the_rule(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        train.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "repeats its run" in text
    for name, (_, f) in FIELDS.items():
        assert "--" + name.replace("_", "-") in text
        assert f.metadata["doc"]
        assert f.metadata["doc"][-1] != "."


@pytest.mark.fault("L10")
def test_toml_errors(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("lr = = 3")
    with pytest.raises(ConfigError, match="is not TOML"):
        read_toml(file)
    with pytest.raises(UserError, match="cannot read"):
        read_toml(tmp_path)
