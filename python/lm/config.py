"""Settings: four dataclasses, the flags generated from them, TOML files and presets.

Where a value comes from, strongest first: a flag, the file of `--config`, the preset, the default beside the
field. Every problem found is listed in one message, before anything is allocated.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any


class ConfigError(ValueError):
    """Settings that cannot be used; the message lists every problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        head = "bad settings:\n" if len(self.problems) > 1 else ""
        super().__init__(head + "\n".join(f"  - {p}" if head else p for p in self.problems))


def setting(
    default: Any, doc: str, *, choices: tuple[str, ...] | None = None, low: float | None = None
) -> Any:
    """Declare a field: its default, its sentence, and what it may be (`low` itself is allowed)."""
    return field(default=default, metadata={"doc": doc, "choices": choices, "low": low})


class Checked:
    """Base of the settings: `__post_init__` checks each field against its declaration."""

    def __post_init__(self) -> None:
        """Raise ConfigError listing every bad field."""
        if problems := self.problems():
            raise ConfigError(problems)

    def problems(self) -> list[str]:
        """Return a sentence for each bad field."""
        found = []
        for f in dataclasses.fields(typing.cast(Any, self)):
            found += check_value(f, getattr(self, f.name))
        return found


def flag(name: str) -> str:
    """Return the flag that sets a field."""
    return "--" + name.replace("_", "-")


def field_types(f: dataclasses.Field[Any]) -> tuple[type, ...]:
    """Return the types a field may have, from its annotation."""
    hint = eval(f.type, {"Path": Path}) if isinstance(f.type, str) else f.type
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def check_value(f: dataclasses.Field[Any], value: Any) -> list[str]:
    """Return what is wrong with one value: its type, its range, its choices."""
    allowed = field_types(f)
    name, low, choices = flag(f.name), f.metadata["low"], f.metadata["choices"]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (type(value) in allowed or (float in allowed and type(value) is int)):
        wanted = " or ".join("nothing" if t is type(None) else t.__name__ for t in allowed)
        return [f"`{name}` is {value!r}, expected {wanted}"]
    if number and not abs(value) < float("inf"):
        return [f"`{name}` is {value}, expected a finite number"]
    if number and low is not None and value < low:
        return [f"`{name}` is {value}, expected at least {low}"]
    if choices is not None and value is not None and value not in choices:
        return [f"`{name}` is {value!r}, expected one of {', '.join(choices)}"]
    return []


@dataclass(slots=True, kw_only=True)
class ModelConfig(Checked):
    """The architecture."""

    vocab_size: int = setting(10_000, "number of token ids, special tokens included", low=1)
    context_length: int = setting(256, "tokens the model sees at once", low=1)
    d_model: int = setting(256, "width of the residual stream", low=2)
    num_layers: int = setting(4, "number of Transformer blocks", low=1)
    num_heads: int = setting(8, "attention heads; divides d_model", low=1)
    d_ff: int = setting(1024, "inner width of SwiGLU", low=1)
    rope_theta: float = setting(10_000.0, "base of the rotary frequencies", low=1.0)
    init: str = setting("scaled", "first weights: scaled normal, or torch's own", choices=("scaled", "torch"))
    init_std: float = setting(0.02, "standard deviation of the scaled initialisation", low=0.0)
    tie_embeddings: bool = setting(False, "share one matrix between embedding and output head")
    qk_norm: bool = setting(False, "normalise queries and keys of each head")
    attention: str = setting(
        "auto",
        "attention kernel: torch's fused one, torch's with an explicit mask (for Apple GPUs), or ours",
        choices=("auto", "fused", "masked", "explicit"),
    )

    def problems(self) -> list[str]:
        """Add the rules between fields."""
        found = Checked.problems(self)
        if not found and self.d_model % self.num_heads:
            found.append(f"`--d-model` is {self.d_model}, not a multiple of `--num-heads` {self.num_heads}")
        elif not found and self.d_model // self.num_heads % 2:
            found.append(
                f"the head dimension {self.d_model // self.num_heads} is odd; rotary positions need pairs"
            )
        return found


@dataclass(slots=True, kw_only=True)
class OptimConfig(Checked):
    """The optimizer and its schedule."""

    optimizer: str = setting(
        "adamw", "AdamW for all, or Muon for matrices inside blocks", choices=("adamw", "muon")
    )
    lr: float = setting(3e-3, "highest learning rate of AdamW", low=0.0)
    min_lr: float = setting(0.0, "learning rate at the end of the schedule", low=0.0)
    schedule: str = setting(
        "linear",
        "way down from lr to min_lr after warmup; wsd stays at lr and decays over the last part",
        choices=("cosine", "linear", "wsd", "constant"),
    )
    warmup_iters: int | None = setting(None, "steps of linear warmup; a tenth of all if not given", low=0)
    cosine_cycle_iters: int | None = setting(
        None, "step at which min_lr is reached; max_iters if not given", low=1
    )
    decay_fraction: float = setting(0.4, "wsd: part of the steps spent on decay", low=0.0)
    beta1: float = setting(0.9, "AdamW: decay of the mean gradient", low=0.0)
    beta2: float = setting(0.95, "AdamW: decay of the mean squared gradient", low=0.0)
    eps: float = setting(1e-8, "AdamW: added to the root of the mean square", low=0.0)
    weight_decay: float = setting(0.1, "decoupled weight decay", low=0.0)
    decay_all: bool = setting(False, "decay norms and embeddings too, as the reference does")
    embedding_lr_scale: float = setting(1.0, "learning rate of the embedding, as a multiple of lr", low=0.0)
    head_lr_scale: float = setting(1.0, "learning rate of the output head, as a multiple of lr", low=0.0)
    grad_clip: float = setting(1.0, "largest norm of the gradient; 0 for no limit", low=0.0)
    ema: float = setting(
        0.0, "decay of the averaged weights that are evaluated and exported; 0: none", low=0.0
    )
    muon_lr: float = setting(0.02, "Muon: highest learning rate", low=0.0)
    muon_momentum: float = setting(0.95, "Muon: decay of the momentum", low=0.0)
    muon_weight_decay: float = setting(0.0, "Muon: decoupled weight decay", low=0.0)

    def problems(self) -> list[str]:
        """Add the rules between fields."""
        found = Checked.problems(self)
        for name in ("beta1", "beta2", "muon_momentum", "ema"):
            if not found and getattr(self, name) >= 1:
                found.append(f"`{flag(name)}` is {getattr(self, name)}, expected less than 1")
        if not found and self.lr == 0:
            found.append("`--lr` is 0: nothing would be learned")
        if not found and self.decay_fraction > 1:
            found.append(f"`--decay-fraction` is {self.decay_fraction}, expected at most 1")
        return found


@dataclass(slots=True, kw_only=True)
class DataConfig(Checked):
    """Token files and how windows are drawn from them."""

    train_bin: str | None = setting(None, "token file to train on")
    valid_bin: str | None = setting(None, "token file to evaluate on")
    dtype: str | None = setting(None, "type of ids in files that do not tell", choices=("uint16", "uint32"))
    batch_size: int = setting(16, "windows in each step, over all processes and micro-batches", low=1)
    sampler: str = setting(
        "shuffled",
        "windows of the training file: each once an epoch in random order, or at random places",
        choices=("shuffled", "random"),
    )
    tokenizer: str | None = setting(
        None, "tokenizer folder, for samples; looked for beside the token file if not given"
    )


@dataclass(slots=True, kw_only=True)
class RunConfig(Checked):
    """Length, logging, checkpoints, device."""

    ckpt_path: str = setting(
        "runs/default", "run folder; of a file name such as runs/x/ckpt.pt the folder is taken"
    )
    max_iters: int = setting(5000, "optimizer steps", low=1)
    log_every: int = setting(10, "steps between rows of metrics.jsonl", low=1)
    eval_every: int = setting(
        500, "steps between evaluations, each with curves, a sample and a checkpoint", low=1
    )
    eval_iters: int = setting(
        20, "batches in an evaluation during training, evenly spread; 0 for the whole file", low=0
    )
    device: str = setting("auto", "device to compute on", choices=("auto", "cpu", "cuda", "mps"))
    seed: int = setting(1337, "random seed of weights, data order and samples", low=0)
    accumulate: int = setting(1, "micro-batches a step is split into, to save memory", low=1)
    checkpoint_activations: bool = setting(
        False, "recompute activations in the backward pass, to save memory"
    )
    matmul: str = setting(
        "fp32", "precision of matrix products; bf16 pays where the hardware has it", choices=("fp32", "bf16")
    )
    compile: bool = setting(False, "compile the model, after a check against the eager loss")
    tensorboard: bool = setting(
        False, "write the rows of metrics.jsonl for TensorBoard too, if it is installed"
    )
    keep_last: int = setting(2, "newest checkpoints kept, beside the best one", low=1)
    threads: int = setting(0, "CPU threads; 0 leaves the choice to torch", low=0)
    sample_tokens: int = setting(
        160, "length of the sample story at each evaluation, in tokens; 0 for none", low=0
    )
    prompt: str = setting("Once upon a time", "start of the sample stories")


@dataclass(slots=True, kw_only=True)
class Config:
    """All settings of a run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    data: DataConfig = field(default_factory=DataConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return nested plain values, as `from_values` takes them flat."""
        return dataclasses.asdict(self)

    def to_toml(self) -> str:
        """Return a TOML file that `--config` reads back; settings without a value are left out."""
        lines = []
        for section, values in self.to_dict().items():
            lines.append(f"[{section}]")
            # JSON's numbers, booleans and strings are TOML's
            lines += [f"{k} = {json.dumps(v)}" for k, v in values.items() if v is not None] + [""]
        return "\n".join(lines)


SECTIONS: dict[str, type] = {"model": ModelConfig, "optim": OptimConfig, "data": DataConfig, "run": RunConfig}
FIELDS = {f.name: (section, f) for section, cls in SECTIONS.items() for f in dataclasses.fields(cls)}


def from_values(values: dict[str, Any]) -> Config:
    """Build a configuration from flat values and fill in what depends on other settings.

    Raises:
        ConfigError: listing everything that is wrong.
    """
    problems = [f"unknown setting `{name}`" for name in values if name not in FIELDS]
    parts: dict[str, Any] = {}
    for section, cls in SECTIONS.items():
        try:
            parts[section] = cls(
                **{k: v for k, v in values.items() if k in FIELDS and FIELDS[k][0] == section}
            )
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    config = Config(**parts)
    optim, steps = config.optim, config.run.max_iters
    if optim.cosine_cycle_iters is None:
        optim.cosine_cycle_iters = steps
    if optim.warmup_iters is None:
        optim.warmup_iters = max(1, round(0.1 * optim.cosine_cycle_iters))
    if optim.warmup_iters > optim.cosine_cycle_iters:
        problems.append(f"`--warmup-iters` {optim.warmup_iters} of only {optim.cosine_cycle_iters} steps")
    if optim.min_lr > optim.lr:
        problems.append(f"`--min-lr` {optim.min_lr} is above `--lr` {optim.lr}")
    if config.data.batch_size % config.run.accumulate:
        problems.append("`--batch-size` is not a multiple of `--accumulate`")
    if problems:
        raise ConfigError(problems)
    return config


def read_toml(path: Path, text: str | None = None) -> dict[str, Any]:
    """Return the flat settings of a TOML file, whose tables are optional.

    Raises:
        ConfigError: unreadable, or no TOML, or tables nested deeper.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8") if text is None else text)
    except OSError as error:
        raise ConfigError([f"cannot read {path}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError([f"{path} is not TOML: {error}"]) from None
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        flat.update(value if key in SECTIONS and isinstance(value, dict) else {key: value})
    return {key.replace("-", "_"): value for key, value in flat.items()}


def preset_names() -> list[str]:
    """Return the names `--preset` takes."""
    names = [entry.name for entry in (resources.files("lm") / "presets").iterdir()]
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def read_preset(name: str) -> dict[str, Any]:
    """Return the flat settings of a preset that ships with the package."""
    if name not in preset_names():
        raise ConfigError([f"unknown preset `{name}`; there are {', '.join(preset_names())}"])
    entry = resources.files("lm") / "presets" / f"{name}.toml"
    return read_toml(Path(f"presets/{name}.toml"), entry.read_text("utf-8"))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each field; what is not given stays away from the result."""
    for section, cls in SECTIONS.items():
        group = parser.add_argument_group(section, cls.__doc__)
        for f in dataclasses.fields(cls):
            kinds = field_types(f)
            doc = f.metadata["doc"] + ("" if f.default is None else f" (default {f.default})")
            options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": doc.replace("%", "%%")}
            if bool in kinds:
                options["action"] = argparse.BooleanOptionalAction
            else:
                kind = next(t for t in kinds if t is not type(None))
                options |= {"type": kind, "metavar": kind.__name__.upper()}
                if f.metadata["choices"]:
                    options |= {"choices": f.metadata["choices"], "metavar": "|".join(f.metadata["choices"])}
            group.add_argument(flag(f.name), **options)


def layers(
    given: dict[str, Any], preset: str | None, config_file: str | None
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Return the values of the preset that applies, those of file and flags over it, and the preset's name.

    Without a preset, `cosine_cycle_iters` among the flags marks the reference project's command line, which
    then gives the reference project's run; all others get `default`.
    """
    from_file = read_toml(Path(config_file)) if config_file else {}
    in_file = from_file.pop("preset", None)
    name = preset or in_file or ("reference" if "cosine_cycle_iters" in given else "default")
    return read_preset(name), {**from_file, **given}, name


def resolve(given: dict[str, Any], preset: str | None, config_file: str | None) -> tuple[Config, str]:
    """Join flags, file and preset into a configuration; also return the name of the preset that applies."""
    base, chosen, name = layers(given, preset, config_file)
    return from_values({**base, **chosen}), name
