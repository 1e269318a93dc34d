"""Settings: four dataclasses, TOML files and presets; `flags.py` makes the flags.

Where a value comes from, strongest first: a flag, the file of `--config`, the preset, the default beside the
field. Every problem found is listed in one message, before anything is allocated.
"""

import dataclasses
import json
import math
import re
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lm.hints import meant

PRESETS = Path(__file__).parent / "presets"
DEVICES = ("auto", "cpu", "cuda", "mps")
Values = dict[str, Any]  # settings by name, of all sections


class UserError(ValueError):
    """What the user can mend; commands end with the message and `exit_code`: 1, what files hold is wrong."""

    exit_code = 1

    @classmethod
    def unless(cls, fits: bool, message: str) -> None:
        """Raise the error if something does not fit."""
        if not fits:
            raise cls(message)


class ConfigError(UserError):
    """Settings that cannot be used, as wrong flags cannot; the message lists every problem."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        listed = "bad settings:" + "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(listed if len(problems) > 1 else problems[0])


def setting(default: Any, doc: str, choices: tuple[str, ...] = (), low: float | None = None) -> Any:
    """Declare a field: its default, its sentence, and what it may be (`low` itself is allowed)."""
    return field(default=default, metadata={"doc": doc, "choices": choices, "low": low})


def flag(name: str) -> str:
    """Return the flag that sets a field."""
    return "--" + name.replace("_", "-")


def field_types(f: dataclasses.Field[Any]) -> tuple[type, ...]:
    """Return the types a field may have."""
    return typing.get_args(f.type) or (typing.cast(type, f.type),)


def fault(f: dataclasses.Field[Any], value: Any, name: str | None = None) -> list[str]:
    """Return what is wrong with a value, if anything: its type, its range, its choices.

    `name` is what the value was given as, if not as the flag.
    """
    allowed, choices, low = field_types(f), f.metadata["choices"], f.metadata["low"]
    if isinstance(value, list) and list[str] in allowed:
        if value and all(type(item) is str for item in value):
            return []
        expected = "a list of names"
    elif type(value) not in allowed and not (float in allowed and type(value) is int):
        expected = " or ".join(
            "nothing" if t is type(None) else str(getattr(t, "__name__", t)) for t in allowed
        )
    elif value is None:
        return []
    elif isinstance(value, float) and not math.isfinite(value):
        expected = "a finite number"
    elif low is not None and value < low:
        expected = f"at least {low}"
    elif choices and value not in choices:
        expected = f"one of {', '.join(choices)}"
    else:
        return []
    return [f"`{name or flag(f.name)}` is {value!r}, expected {expected}"]


class Settings:
    """Base of the dataclasses, which raise ConfigError listing all that is wrong."""

    def __post_init__(self) -> None:
        fields = dataclasses.fields(typing.cast(Any, self))
        problems = [problem for f in fields for problem in fault(f, getattr(self, f.name))]
        if problems := problems or self.conflicts():
            raise ConfigError(*problems)

    def conflicts(self) -> list[str]:
        """Return what is wrong with fields that are right one by one."""
        return []


@dataclass(slots=True, kw_only=True)
class ModelConfig(Settings):
    """The architecture."""

    vocab_size: int = setting(10_000, "token ids, special ones too; what the token file says, else", low=1)
    context_length: int = setting(256, "tokens the model sees at once", low=1)
    d_model: int = setting(256, "width of the residual stream", low=2)
    num_layers: int = setting(4, "number of Transformer blocks", low=1)
    num_heads: int = setting(8, "attention heads; divides d_model", low=1)
    d_ff: int = setting(1024, "inner width of SwiGLU", low=1)
    rope_theta: float = setting(10_000.0, "base of the rotary frequencies", low=1.0)
    init: str = setting("scaled", "first weights: scaled normal, or torch's own", ("scaled", "torch"))
    init_std: float = setting(0.02, "standard deviation of the scaled initialisation", low=0.0)
    tie_embeddings: bool = setting(False, "share one matrix between embedding and output head")
    qk_norm: bool = setting(False, "normalise queries and keys of each head")
    attention: str = setting(
        "auto",
        "kernel: torch's fused one, torch's with an explicit mask (for Apple GPUs), or ours",
        ("auto", "fused", "masked", "explicit"),
    )

    def conflicts(self) -> list[str]:
        """Refuse heads that do not divide the width, or are of odd size."""
        if self.d_model % self.num_heads:
            return [f"`--d-model` is {self.d_model}, not a multiple of `--num-heads` {self.num_heads}"]
        size = self.d_model // self.num_heads
        return [f"the head dimension {size} is odd; rotary positions need pairs"] if size % 2 else []


@dataclass(slots=True, kw_only=True)
class OptimConfig(Settings):
    """The optimizer and its schedule."""

    optimizer: str = setting("adamw", "AdamW for all, or Muon for matrices inside blocks", ("adamw", "muon"))
    lr: float = setting(3e-3, "highest learning rate of AdamW", low=0.0)
    min_lr: float = setting(0.0, "learning rate at the end of the schedule", low=0.0)
    schedule: str = setting(
        "linear",
        "way down from lr to min_lr after warmup; wsd stays at lr and decays over the last part",
        ("cosine", "linear", "wsd", "constant"),
    )
    warmup_iters: int | None = setting(None, "steps of linear warmup; a tenth of all if not given", low=0)
    cosine_cycle_iters: int | None = setting(None, "step that reaches min_lr; max_iters if not given", low=1)
    decay_fraction: float = setting(0.4, "wsd: part of the steps spent on decay", low=0.0)
    beta1: float = setting(0.9, "AdamW: decay of the mean gradient", low=0.0)
    beta2: float = setting(0.95, "AdamW: decay of the mean squared gradient", low=0.0)
    eps: float = setting(1e-8, "AdamW: added to the root of the mean square", low=0.0)
    weight_decay: float = setting(0.1, "decoupled weight decay", low=0.0)
    decay_all: bool = setting(False, "decay norms and embeddings too, as the reference does")
    embedding_lr_scale: float = setting(1.0, "learning rate of the embedding, as a multiple of lr", low=0.0)
    head_lr_scale: float = setting(1.0, "learning rate of the output head, as a multiple of lr", low=0.0)
    grad_clip: float = setting(1.0, "largest norm of the gradient; 0 for no limit", low=0.0)
    ema: float = setting(0.0, "decay of averaged weights, evaluated and exported; 0 for none", low=0.0)
    muon_lr: float = setting(0.02, "Muon: highest learning rate", low=0.0)
    muon_momentum: float = setting(0.95, "Muon: decay of the momentum", low=0.0)
    muon_weight_decay: float = setting(0.0, "Muon: decoupled weight decay", low=0.0)

    def conflicts(self) -> list[str]:
        """Refuse what is too large, and a rate of zero."""
        below, part = ("beta1", "beta2", "muon_momentum", "ema"), self.decay_fraction
        values = {flag(name): getattr(self, name) for name in below}
        conflicts = {f"`{name}` is {v}, expected less than 1": v >= 1 for name, v in values.items()}
        conflicts["`--lr` is 0: nothing would be learned"] = self.lr == 0
        conflicts[f"`--decay-fraction` is {part}, expected at most 1"] = part > 1
        return [text for text, wrong in conflicts.items() if wrong]


@dataclass(slots=True, kw_only=True)
class DataConfig(Settings):
    """Token files and how windows are drawn from them."""

    train_bin: str | list[str] | None = setting(  # noqa: RUF009 - the default is no list
        None,
        "token files to train on: names, a folder, a pattern, or `web.bin` for `web-00000.bin` and so on",
    )
    valid_bin: str | list[str] | None = setting(None, "token files to evaluate on")  # noqa: RUF009
    dtype: str | None = setting(None, "type of ids in files that do not tell", ("uint16", "uint32"))
    batch_size: int = setting(16, "windows in each step, over all processes and micro-batches", low=1)
    sampler: str = setting("shuffled", "windows, each once an epoch or at random", ("shuffled", "random"))
    tokenizer: str | None = setting(None, "tokenizer folder, for samples; else looked for beside train_bin")


@dataclass(slots=True, kw_only=True)
class RunConfig(Settings):
    """Length, logging, checkpoints, device."""

    ckpt_path: str = setting("runs/default", "run folder; for runs/x/ckpt.pt and the like, runs/x")
    max_iters: int = setting(5000, "optimizer steps", low=1)
    log_every: int = setting(10, "steps between rows of metrics.jsonl", low=1)
    eval_every: int = setting(500, "steps between evaluations, with curves, sample and checkpoint", low=1)
    eval_iters: int = setting(20, "batches in an evaluation, evenly spread; 0 for the whole file", low=0)
    device: str = setting("auto", "device to compute on", DEVICES)
    seed: int = setting(1337, "random seed of weights, data order and samples", low=0)
    accumulate: int = setting(1, "micro-batches a step is split into, to save memory", low=1)
    checkpoint_activations: bool = setting(False, "recompute activations backward, to save memory")
    matmul: str = setting("fp32", "precision of products; bf16 pays where hardware has it", ("fp32", "bf16"))
    compile: bool = setting(False, "compile the model, after a check against the eager loss")
    tensorboard: bool = setting(False, "write the rows of metrics.jsonl for TensorBoard too")
    keep_last: int = setting(2, "newest checkpoints kept, beside the best one", low=1)
    threads: int = setting(0, "CPU threads; 0 leaves the choice to torch", low=0)
    sample_tokens: int = setting(160, "tokens of the sample story at each evaluation; 0 for none", low=0)
    prompt: str = setting("Once upon a time", "start of the sample stories")


@dataclass(slots=True, kw_only=True)
class Config:
    """All settings of a run; what depends on others is filled in."""

    model: ModelConfig
    optim: OptimConfig
    data: DataConfig
    run: RunConfig
    derived: list[str] = field(default_factory=list, init=False, compare=False)  # names of what is filled in

    def __post_init__(self) -> None:
        optim = self.optim
        if optim.cosine_cycle_iters is None:
            optim.cosine_cycle_iters = self.run.max_iters
            self.derived.append("cosine_cycle_iters")
        if optim.warmup_iters is None:
            optim.warmup_iters = max(1, round(0.1 * optim.cosine_cycle_iters))
            self.derived.append("warmup_iters")
        warmup, steps = optim.warmup_iters, optim.cosine_cycle_iters
        windows, parts = self.data.batch_size, self.run.accumulate
        conflicts = {
            f"`--warmup-iters` {warmup} of only {steps} steps": warmup > steps,
            f"`--min-lr` {optim.min_lr} is above `--lr` {optim.lr}": optim.min_lr > optim.lr,
            f"`--batch-size` {windows} is not a multiple of `--accumulate` {parts}": windows % parts,
        }
        if problems := [text for text, wrong in conflicts.items() if wrong]:
            raise ConfigError(*problems)

    def to_toml(self) -> str:
        """Return a TOML file that `--config` reads back; settings without a value are left out.

        What was filled in stays a comment: in a run that goes on for more steps, it follows these.
        """
        lines = []
        for section in SECTIONS:
            lines.append(f"[{section}]")
            for name, value in dataclasses.asdict(getattr(self, section)).items():
                # JSON's numbers, booleans and strings are TOML's
                line = f"{name} = {json.dumps(value)}"
                if value is not None:
                    lines.append(f"# {line}  (not given)" if name in self.derived else line)
            lines.append("")
        return "\n".join(lines)

    def flat(self) -> Values:
        """Return all settings by name."""
        return {name: getattr(getattr(self, section), name) for name, (section, _) in FIELDS.items()}


SECTIONS: dict[str, Any] = {f.name: f.type for f in dataclasses.fields(Config) if f.init}
FIELDS = {f.name: (section, f) for section, cls in SECTIONS.items() for f in dataclasses.fields(cls)}


def unknown(name: str) -> str:
    """Return what to say of a setting that does not exist."""
    return f"unknown setting `{name}`{meant(name, FIELDS)}"


def from_values(values: Values) -> Config:
    """Build a configuration; ConfigError listing everything that is wrong."""
    problems = [unknown(name) for name in values if name not in FIELDS]
    parts: dict[str, Any] = {}
    for section, cls in SECTIONS.items():
        own = values.keys() & {f.name for f in dataclasses.fields(cls)}
        try:
            parts[section] = cls(**{name: values[name] for name in own})
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)
    return Config(**parts)


def read_toml(path: Path) -> Values:
    """Return the flat settings of a TOML file, whose tables are optional, and `preset` if it names one.

    Raises:
        UserError: The file cannot be read.
        ConfigError: It is not TOML, or holds a setting that does not exist or a value that cannot be; the
            message names the lines.
    """
    try:
        text = path.read_text("utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    values: Values = {}
    for key, value in tables.items():
        values |= value if key in SECTIONS and isinstance(value, dict) else {key: value}
    problems = []
    for key, value in values.items():
        name = key.replace("-", "_")
        faults = fault(FIELDS[name][1], value, name) if name in FIELDS else [unknown(key)]
        problems += [f"{path}{line_of(key, text)}: {problem}" for problem in faults if name != "preset"]
    if problems:
        raise ConfigError(*problems)
    return {key.replace("-", "_"): value for key, value in values.items()}


def line_of(key: str, text: str) -> str:
    """Return where a TOML file sets a key, as `:7`; nothing if that is not plain."""
    found = re.search(rf"""^[ \t]*\[*[ \t]*(\w+\.)?["']?{re.escape(key)}["']?[ \t]*[.=\]]""", text, re.M)
    return f":{text[: found.start()].count(chr(10)) + 1}" if found else ""


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for each setting that is not what it was."""
    return [f"{k}: {then.get(k)} -> {now[k]}" for k in now if then.get(k) != now[k]]


def preset_names() -> list[str]:
    """Return the names `--preset` takes."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def layers(given: Values, preset: str | None, file: str | None) -> tuple[Values, Values, str]:
    """Return the values of the preset that applies, those of file and flags over it, and the preset's name.

    Without a preset, `cosine_cycle_iters` among the flags marks the reference project's command line, which
    then gives the reference project's run; all others get `default`.
    """
    from_file = read_toml(Path(file)) if file else {}
    in_file = from_file.pop("preset", None)
    name = preset or in_file or ("reference" if "cosine_cycle_iters" in given else "default")
    known = preset_names()
    if name not in known:
        raise ConfigError(f"unknown preset `{name}`; there are {', '.join(known)}{meant(str(name), known)}")
    return read_toml(PRESETS / f"{name}.toml"), {**from_file, **given}, name


def resolve(given: Values, preset: str | None, file: str | None) -> tuple[Config, str]:
    """Join flags, file and preset into a configuration; also return the name of the preset that applies."""
    base, chosen, name = layers(given, preset, file)
    return from_values(base | chosen), name
