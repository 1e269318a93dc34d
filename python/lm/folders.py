"""Run folders and their checkpoints as files: what can be known of them without torch.

`checkpoint.py` reads and writes the tensors.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm.config import UserError

FORMAT, VERSION = "lm-checkpoint", 1
FILES = ("model", "optimizer")
FILE_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")


class CheckpointError(UserError):
    """A checkpoint that is damaged, or does not belong to this run."""


def run_folder(ckpt_path: str | Path) -> Path:
    """Return the run folder of a `--ckpt-path`: of a file name such as runs/x/ckpt.pt the folder it is in."""
    path = Path(ckpt_path)
    return path.parent if path.suffix in FILE_SUFFIXES and not path.is_dir() else path


def existing_run(path: str | Path) -> Path:
    """Return the folder of a run that has begun; UserError if there is none."""
    run = run_folder(path)
    UserError.unless(run.exists(), f"{run} does not exist; give the folder of a run")
    UserError.unless((run / "metrics.jsonl").exists(), f"{run} is not a run: it has no metrics.jsonl")
    return run


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


def steps(run: Path) -> list[Path]:
    """Return the checkpoint folders of a run, oldest first."""
    return sorted(p for p in (run / "checkpoints").glob("step-*") if p.is_dir())


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


def find(path: str | Path) -> Path:
    """Return the checkpoint folder meant by a path to it, to a file in it, or to a run (its newest)."""
    folder = Path(path) if Path(path).is_dir() else run_folder(path)
    if (folder / "state.json").exists():
        return folder
    if found := steps(folder):
        return found[-1]
    CheckpointError.unless(folder.exists(), f"{folder} does not exist; give the folder of a run")
    inside = sorted({str(path.parents[1]) for path in folder.glob("*/checkpoints/step-*")})
    raise CheckpointError(f"no checkpoint in {folder}" + (f"; there is one in {inside[0]}" if inside else ""))
