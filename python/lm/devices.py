"""Choice of device, and the test at the start that a backend computes what it should.

Silent faults have been common enough (see `attention.py`, `optim.py`) that each run begins by checking, in a
second: future tokens leave past outputs alone; the device's loss is the CPU's; one step moves every
parameter.
"""

from __future__ import annotations

import copy
import os

import torch
from torch import nn

from lm.config import ConfigError, ModelConfig, OptimConfig
from lm.model import TransformerLM
from lm.optim import clip_gradients, make_optimizer


class SelfTestError(RuntimeError):
    """The device computes something else than it should."""


def pick_device(name: str) -> torch.device:
    """Return the device of a name; "auto" is CUDA, then Apple, then CPU.

    Raises:
        ConfigError: not available here, or several processes on an Apple GPU.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        usable = ", ".join(device for device, there in available.items() if there)
        raise ConfigError([f"`--device {name}` is not available here; there is {usable}"])
    if name == "mps" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(["Apple GPUs work in a single process (pytorch#189853); run without torchrun"])
    return torch.device(name)


def set_precision(matmul: str, device: torch.device) -> None:
    """Choose the precision of fp32 matrix products."""
    if device.type == "cpu":
        torch.backends.mkldnn.matmul.fp32_precision = "bf16" if matmul == "bf16" else "ieee"  # type: ignore[attr-defined]
    elif device.type == "cuda":
        torch.backends.cuda.matmul.fp32_precision = "tf32" if matmul == "bf16" else "ieee"


def synchronize(device: torch.device) -> None:
    """Wait until the device has done everything asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def self_test(model: ModelConfig, optim: OptimConfig, device: torch.device) -> list[str]:
    """Run the three checks on a small model with the run's settings; return a line for each.

    Raises:
        SelfTestError: naming the check that failed.
    """
    small = copy.copy(model)
    small.vocab_size, small.context_length, small.num_layers = (
        64,
        min(32, model.context_length),
        min(2, model.num_layers),
    )
    small.d_model, small.num_heads, small.d_ff = 32, 2, 64
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        cpu_model = TransformerLM(small)
    ids = torch.randint(0, 64, (4, small.context_length + 1), generator=generator)
    inputs, targets = ids[:, :-1], ids[:, 1:]
    there = copy.deepcopy(cpu_model).to(device)
    lines = [check_causality(there, inputs.to(device))]
    loss_there, loss_cpu = there(inputs.to(device), targets.to(device)), cpu_model(inputs, targets)
    gap = abs(float(loss_there.detach()) - float(loss_cpu.detach()))
    if not gap < 1e-2:
        raise SelfTestError(f"the loss on {device.type} differs from the CPU's by {gap:.2g}")
    lines.append(f"loss equals the CPU's: within {gap:.1g}")
    return [*lines, check_movement(there, optim, loss_there)]


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


def check_movement(model: nn.Module, optim: OptimConfig, loss: torch.Tensor) -> str:
    """Check that one step changes every parameter."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, optim)
    loss.backward()  # type: ignore[no-untyped-call]
    clip_gradients(model.parameters(), optim.grad_clip)
    optimizer.step()
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    if still:
        raise SelfTestError(f"a step leaves parameters as they were: {', '.join(still)}")
    return f"one step moves all {len(before)} parameters"
