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

from lm.config import ConfigError, ModelConfig, OptimConfig
from lm.model import TransformerLM
from lm.optim import clip_gradients, make_optimizer
from lm.processes import world_size

NAMES = ("auto", "cpu", "cuda", "mps")


class SelfTestError(RuntimeError):
    """The device computes something else than it should."""


def pick_device(name: str) -> torch.device:
    """Return the device of a name; "auto" is CUDA, then Apple, then CPU.

    Raises:
        ConfigError: not available here, or several processes on an Apple GPU.
    """
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

    Measured, in a fraction of a second, rather than taken from a table: a table goes stale, and holds for
    precisions that a run may not use. On a busy machine the result is low.
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
    """Run the three checks on a small model with the run's kernels and optimizer; return a line for each.

    Raises:
        SelfTestError: naming the check that failed.
    """
    length, num_layers = min(32, model.context_length), min(2, model.num_layers)
    sizes: dict[str, Any] = {"vocab_size": 64, "d_model": 32, "num_heads": 2, "d_ff": 64}
    small = dataclasses.replace(model, context_length=length, num_layers=num_layers, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        cpu_model = TransformerLM(small)
        ids = torch.randint(0, 64, (4, length + 1))
    inputs, targets = ids[:, :-1], ids[:, 1:]
    there = copy.deepcopy(cpu_model).to(device)
    lines = [check_causality(there, inputs.to(device))]
    loss = there(inputs.to(device), targets.to(device))
    gap = abs(float(loss.detach()) - float(cpu_model(inputs, targets).detach()))
    if not gap < 1e-2:
        raise SelfTestError(f"the loss on {device.type} differs from the CPU's by {gap:.2g}")
    lines.append(f"loss equals the CPU's: within {gap:.1g}")
    return [*lines, check_movement(there, optim.optimizer, loss)]


@torch.no_grad()
def check_causality(model: TransformerLM, ids: torch.Tensor) -> str:
    """Check that outputs do not change when later tokens do."""
    half = ids.shape[1] // 2
    changed = ids.clone()
    changed[:, half:] = (ids[:, half:] + 1) % model.config.vocab_size
    before, after = model(ids)[:, :half], model(changed)[:, :half]
    leak = float((before - after).abs().max()) if half else 0.0
    if not leak <= 1e-5:
        raise SelfTestError(f"future tokens change past outputs by {leak:.2g}: the causal mask does not work")
    return f"future tokens do not move past outputs: within {leak:.1g}"


def check_movement(model: TransformerLM, algorithm: str, loss: torch.Tensor) -> str:
    """Check that one step changes every parameter, by its gradient alone: decay could hide a missing step."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, OptimConfig(optimizer=algorithm, weight_decay=0.0))
    loss.backward()  # type: ignore[no-untyped-call]
    clip_gradients(model.parameters(), 1.0)
    optimizer.step()
    if still := [name for name, p in model.named_parameters() if torch.equal(p, before[name])]:
        raise SelfTestError(f"a step leaves parameters as they were: {', '.join(still)}")
    return f"one step moves all {len(before)} parameters"
