"""Choice of device, and the test at the start that a backend computes what it should.

Silent faults have been common enough (see `attention.py`, `optim.py`) that each run begins by checking, in a
second: future tokens leave past outputs alone; the device's loss is the CPU's; one step moves every
parameter.
"""

import copy
import dataclasses
import os
import sys
import time
from typing import Any

import torch

from lm.config import ConfigError, ModelConfig, OptimConfig, UserError
from lm.model import TransformerLM
from lm.optim import clip_gradients, make_optimizer
from lm.processes import world_size


class SelfTestError(UserError):
    """The device computes something else than it should."""


def pick_device(name: str) -> torch.device:
    """Return the device of a name; "auto" is CUDA, then Apple, then CPU; ConfigError if it is not usable."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    usable = [device for device in there if there[device]]
    name = usable[0] if name == "auto" else name
    alone = "Apple GPUs work in a single process (pytorch#189853): leave out torchrun, or `--device cpu`"
    ConfigError.unless(name != "mps" or world_size() == 1, alone)
    ConfigError.unless(
        name in usable, f"`--device {name}` is not available here; there is {', '.join(usable)}"
    )
    if name == "cuda" and world_size() > 1:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return torch.device(name)


def set_precision(matmul: str, device: torch.device) -> None:
    """Choose the precision of fp32 matrix products."""
    if device.type == "cpu":
        torch.backends.mkldnn.matmul.fp32_precision = "bf16" if matmul == "bf16" else "ieee"  # type: ignore[attr-defined]
    elif device.type == "cuda":
        torch.backends.cuda.matmul.fp32_precision = "tf32" if matmul == "bf16" else "ieee"


def synchronize(device: torch.device) -> None:
    """Wait until the device has done everything asked of it."""
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()


def peak_flops(device: torch.device) -> float:
    """Return the floating-point operations a second of a large matrix product, at the precision set.

    Measured, since a table goes stale, and holds for precisions that a run may not use. On a busy machine the
    result is low.
    """
    size = 1024 if device.type == "cpu" else 4096
    matrix = torch.ones(size, size, device=device)
    best_s = float("inf")
    for _ in range(6):
        started_s = time.perf_counter()
        matrix @ matrix
        synchronize(device)
        best_s = min(best_s, time.perf_counter() - started_s)
    return 2.0 * size**3 / best_s


def memory_mb(device: torch.device) -> int:
    """Return the most memory taken so far: of the GPU, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() // 2**20
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() // 2**20
    if sys.platform == "win32":
        return 0  # the standard library does not tell there
    import resource  # which Windows does not have

    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20


def self_test(model: ModelConfig, optim: OptimConfig, device: torch.device) -> list[str]:
    """Check a small model with the run's kernels and optimizer; return what was found, or SelfTestError."""
    length, num_layers = min(32, model.context_length), min(2, model.num_layers)
    sizes: dict[str, Any] = {"vocab_size": 64, "d_model": 32, "num_heads": 2, "d_ff": 64}
    small = dataclasses.replace(model, context_length=length, num_layers=num_layers, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        on_cpu = TransformerLM(small)
        ids = torch.randint(0, 64, (4, length + 1))
    there = copy.deepcopy(on_cpu).to(device)
    inputs, targets = ids[:, :-1].to(device), ids[:, 1:].to(device)

    half = max(1, length // 2)
    changed = torch.cat((inputs[:, :half], (inputs[:, half:] + 1) % 64), dim=1)
    with torch.no_grad():
        leak = float((there(inputs) - there(changed))[:, :half].abs().max())
    if not leak <= 1e-5:
        raise SelfTestError(
            f"self-test failed: future tokens change past outputs by {leak:.2g}; the causal mask fails"
        )

    loss = there(inputs, targets)
    gap = abs(float(loss.detach()) - float(on_cpu(ids[:, :-1], ids[:, 1:]).detach()))
    if not gap < 1e-2:
        raise SelfTestError(
            f"self-test failed: the loss on {device.type} differs from the CPU's by {gap:.2g}"
        )

    # by its gradient alone: decay could hide a missing step
    optimizer = make_optimizer(there, OptimConfig(optimizer=optim.optimizer, weight_decay=0.0))
    before = {name: p.detach().clone() for name, p in there.named_parameters()}
    loss.backward()
    clip_gradients(there.parameters(), 1.0)
    optimizer.step()
    if still := [name for name, p in there.named_parameters() if torch.equal(p, before[name])]:
        raise SelfTestError(f"self-test failed: a step leaves parameters as they were: {', '.join(still)}")
    return [
        f"future tokens do not move past outputs: within {leak:.1g}",
        f"loss equals the CPU's: within {gap:.1g}",
        f"one step moves all {len(before)} parameters",
    ]
