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

from lm.config import ConfigError, ModelConfig
from lm.folders import (
    FILES,
    FORMAT,
    VERSION,
    CheckpointError,
    find,
    flush_folder,
    read_state,
    state_digest,
    steps,
    write_file,
)
from lm.model import TransformerLM

MAX_CONTEXT_LENGTH = 1 << 22  # no tensor confirms it, and the rotary tables grow with it


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


def digest(tensor: Tensor) -> str:
    """Return the SHA-256 of a CPU tensor's type, shape and bytes."""
    hasher = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    hasher.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()


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
