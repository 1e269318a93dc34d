"""Checkpoints: safetensors and JSON, complete or absent, never pickle.

    RUN/checkpoints/step-00000500/model.safetensors      weights
                                  optimizer.safetensors  optimizer state, random state
                                  state.json             step, settings, data, digest of every tensor

A checkpoint is written into a temporary folder, flushed to the disk, and renamed; so whatever has the name of
a checkpoint is whole, and the newest is the one with the highest step. safetensors does not notice a flipped
bit in its payload, so `state.json` holds a digest for each tensor, and one of itself. Loading refuses
anything that does not fit, naming the tensor.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from lm.config import ConfigError, ModelConfig, UserError
from lm.model import TransformerLM

FORMAT, VERSION = "lm-checkpoint", 1
FILES = ("model", "optimizer")
MAX_CONTEXT_LENGTH = 1 << 22  # no tensor confirms it, and the rotary tables grow with it
FILE_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")


class CheckpointError(UserError):
    """A checkpoint that is damaged, or does not belong to this run."""


@dataclass(slots=True, kw_only=True)
class Checkpoint:
    """Weights, optimizer state, and `state`: step, settings, data, running sums; anything JSON can hold."""

    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return int(self.state["step"])


def run_folder(ckpt_path: str | Path) -> Path:
    """Return the run folder of a `--ckpt-path`: of a file name such as runs/x/ckpt.pt the folder it is in."""
    path = Path(ckpt_path)
    return path.parent if path.suffix in FILE_SUFFIXES and not path.is_dir() else path


def digest(tensor: Tensor) -> str:
    """Return the SHA-256 of a CPU tensor's type, shape and bytes."""
    hasher = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    hasher.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()


def state_digest(state: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a state, its own digest left out."""
    rest = {key: value for key, value in state.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def write_file(path: Path, content: bytes) -> None:
    """Write a file and flush it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it and rename it: readers see the old content or the new."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        write_file(temporary, content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def flush_folder(path: Path) -> None:
    """Flush the names in a folder to the disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def save(run: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and return its folder; what an OSError leaves is not taken for a checkpoint."""
    target = run / "checkpoints" / f"step-{checkpoint.step:08d}"
    temporary, old = (target.with_name(f".tmp-{kind}-{target.name}-{os.getpid()}") for kind in ("new", "old"))
    told = {"format": FORMAT, "version": VERSION, "torch": torch.__version__}
    state = {**told, **checkpoint.state, "tensors": {}}
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            tensors = {key: t.detach().cpu().contiguous() for key, t in getattr(checkpoint, name).items()}
            state["tensors"][name] = {key: digest(t) for key, t in tensors.items()}
            write_file(temporary / f"{name}.safetensors", save_tensors(tensors))
        state["sha256"] = state_digest(state)
        write_file(temporary / "state.json", json.dumps(state, indent=1).encode())
        flush_folder(temporary)
        if target.exists():  # written before, by an earlier attempt at the same step
            target.rename(old)
        temporary.rename(target)
        flush_folder(target.parent)
    finally:
        for path in (temporary, old):
            shutil.rmtree(path, ignore_errors=True)
    return target


def steps(run: Path) -> list[Path]:
    """Return the checkpoint folders of a run, oldest first."""
    return sorted(p for p in (run / "checkpoints").glob("step-*") if p.is_dir())


def prune(run: Path, keep_last: int, best: int | None) -> None:
    """Remove all but the newest checkpoints and the best one, and what interrupted writes have left."""
    for path in steps(run)[:-keep_last]:
        if best is None or path.name != f"step-{best:08d}":
            # Removing takes several steps, and what a kill leaves must not have a checkpoint's name.
            with contextlib.suppress(OSError):
                path.rename(path.with_name(f".tmp-{path.name}"))
    for path in (run / "checkpoints").glob(".tmp-*"):
        shutil.rmtree(path, ignore_errors=True)


def load(folder: Path) -> Checkpoint:
    """Read a checkpoint; CheckpointError, naming the tensor if it is one, for what is damaged or foreign."""
    state = read_state(folder)
    parts: dict[str, dict[str, Tensor]] = {}
    for name in FILES:
        path = folder / f"{name}.safetensors"
        try:
            parts[name] = load_tensors(path.read_bytes())
        except FileNotFoundError:
            raise CheckpointError(f"{path} is missing") from None
        except (SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from None
        digests: dict[str, str] = state["tensors"][name]
        for key in digests | parts[name]:
            told = f"{path}: tensor `{key}`"
            CheckpointError.unless(key in parts[name], f"{told} is missing")
            CheckpointError.unless(key in digests, f"{told} does not belong here")
            tensor = parts[name][key]
            finite = not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
            CheckpointError.unless(finite, f"{told} holds values that are not finite")
            CheckpointError.unless(digest(tensor) == digests[key], f"{told} is damaged: another digest")
    return Checkpoint(**parts, state=state)


def read_state(folder: Path) -> dict[str, Any]:
    """Read and check `state.json`; CheckpointError if it is damaged or not of a checkpoint."""
    path, fits = folder / "state.json", CheckpointError.unless
    try:
        state = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: {folder} is not a checkpoint") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not the state of a checkpoint")
    version, step, tensors = (state.get(name) for name in ("version", "step", "tensors"))
    fits(version == VERSION, f"{path} has version {version}, this program reads version {VERSION}")
    fits(state.get("sha256") == state_digest(state), f"{path} is damaged: its digest does not match")
    # A digest that fits says that nothing was damaged, not that this program wrote it.
    fits(type(step) is int and step >= 0, f"{path} has step {step!r}, expected a whole number from 0")
    digests = [tensors.get(name) if isinstance(tensors, dict) else None for name in FILES]
    fits(all(isinstance(part, dict) for part in digests), f"{path} has no digests of the tensors")
    return state


def load_weights(model: TransformerLM, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Copy weights into a model; CheckpointError naming each that is missing, unknown or of another shape."""
    own = dict(model.named_parameters())
    faults = [f"`{name}` is missing" for name in own if name not in tensors]
    faults += [f"`{name}` does not belong to this model" for name in tensors if name not in own]
    for name in own.keys() & tensors.keys():
        if own[name].shape != tensors[name].shape:
            there, here = list(tensors[name].shape), list(own[name].shape)
            faults.append(f"`{name}` has shape {there}, the model {here}")
    if faults:
        raise CheckpointError(f"{where} does not fit the model: tensor " + "; tensor ".join(sorted(faults)))
    model.load_state_dict(tensors)


def find(path: str | Path) -> Path:
    """Return the checkpoint folder meant by a path to it, to a file in it, or to a run (its newest)."""
    folder = Path(path) if Path(path).is_dir() else run_folder(path)
    if (folder / "state.json").exists():
        return folder
    if found := steps(folder):
        return found[-1]
    raise CheckpointError(f"no checkpoint in {folder}")


def find_best(path: str | Path) -> Path:
    """Return the checkpoint of the lowest validation loss in a run; CheckpointError if there is none."""
    newest = find(path)
    best = read_state(newest).get("best")
    if not best:
        raise CheckpointError(f"{newest} names no best checkpoint: the run was not evaluated before it")
    folder = newest.with_name(f"step-{best[1]:08d}")
    if not folder.is_dir():
        raise CheckpointError(f"{folder}, the best checkpoint, is not there any more")
    return folder


def load_model(path: str | Path) -> tuple[TransformerLM, Checkpoint, Path]:
    """Return the model of a run or checkpoint on the CPU, the checkpoint, and its folder.

    Where the run kept averaged weights (`--ema`), these are the model's. CheckpointError if the settings are
    those of no model, or of a larger one than the tensors are: a stranger's file does not take all memory.
    """
    folder = find(path)
    checkpoint = load(folder)
    try:
        c = ModelConfig(**checkpoint.state["config"]["model"])
    except (KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{folder} has settings of no model: {error}") from None
    least = c.vocab_size * c.d_model + c.num_layers * (4 * c.d_model**2 + 3 * c.d_model * c.d_ff)
    held = sum(tensor.numel() for tensor in checkpoint.model.values())
    small = f"{folder} names a model of {least:,} weights or more, and holds {held:,}"
    CheckpointError.unless(least <= held, small)
    long = f"{folder} names a context of {c.context_length} tokens, the limit is {MAX_CONTEXT_LENGTH}"
    CheckpointError.unless(c.context_length <= MAX_CONTEXT_LENGTH, long)
    model = TransformerLM(c)
    averages = {name: checkpoint.optimizer.get(f"{name}.ema", t) for name, t in checkpoint.model.items()}
    load_weights(model, averages, folder)
    return model.eval(), checkpoint, folder


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for each setting that is not what it was."""
    return [f"{k}: {then.get(k)} -> {now[k]}" for k in now if then.get(k) != now[k]]
