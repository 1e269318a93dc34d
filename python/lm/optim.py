"""Optimizers, gradient clipping and learning-rate schedules.

All steps work on lists of tensors (`torch._foreach_*`): one call for all parameters instead of several for
each, which is what a step costs on devices where starting a kernel takes longer than running it. No step
waits for the device.

Muon (momentum, then orthogonalisation by Newton-Schulz) runs its iteration in fp32: bf16, as usually written,
gives NaN on Apple GPUs and is slower on CPUs without bf16 units. Weights that hold several matrices under one
another (see `nn.Linear.parts`) are orthogonalised matrix by matrix, in one batched product.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lm.config import OptimConfig
from lm.model import TransformerLM
from lm.nn import Linear


def rate_factor(step: int, config: OptimConfig) -> float:
    """Return the learning rate of a step, counted from 0, as a fraction of the highest one.

    Warmup rises linearly and reaches one at step `warmup_iters`; from there the schedule falls to `min_lr /
    lr`, which it has from step `cosine_cycle_iters` on. A pure function, so resuming needs no state.
    """
    assert config.warmup_iters is not None
    assert config.cosine_cycle_iters is not None
    warmup, end, low = config.warmup_iters, config.cosine_cycle_iters, config.min_lr / config.lr
    if step < warmup:
        # the reference starts from a rate of zero; elsewhere no first step is lost
        return (step if config.schedule == "cosine" else step + 1) / warmup
    if config.schedule == "constant":
        return 1.0
    if step >= end:
        return low
    progress = (step - warmup) / (end - warmup)
    if config.schedule == "cosine":
        return low + 0.5 * (1 + math.cos(math.pi * progress)) * (1 - low)
    if config.schedule == "wsd":
        progress = max(0.0, (progress - 1 + config.decay_fraction) / max(config.decay_fraction, 1e-9))
    return 1 + (low - 1) * progress


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scale all gradients so that their joint norm is at most `max_norm`; return the norm before.

    No limit if `max_norm` is 0. The result stays on the device: nothing waits for it.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    if max_norm > 0:
        torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


@torch.no_grad()
def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Return for each matrix of (..., rows, columns) its singular vectors with singular values near one.

    Newton-Schulz with the quintic of Muon's author, whose coefficients raise small singular values fastest.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.float()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    out: Tensor = x.mT if tall else x
    return out


@dataclass(slots=True)
class Group:
    """Parameters that share an algorithm and its settings; `lr` is the highest rate."""

    algorithm: str
    lr: float
    weight_decay: float
    names: list[str] = field(default_factory=list)
    parameters: list[Any] = field(default_factory=list)


class Optimizer:
    """AdamW for some groups, Muon for others; state is a flat dictionary of named tensors.

    `parts` has the number of matrices stacked in a weight, by the name of the weight.
    """

    def __init__(self, groups: list[Group], config: OptimConfig, parts: dict[str, int]) -> None:
        self.groups, self.config, self.parts = groups, config, parts
        self.num_steps = 0
        self.state: dict[str, Tensor] = {}
        for group in self.groups:
            for name, p in zip(group.names, group.parameters, strict=True):
                for slot in ("mean", "square") if group.algorithm == "adamw" else ("momentum",):
                    self.state[f"{name}.{slot}"] = torch.zeros_like(p, memory_format=torch.contiguous_format)
                if config.ema:
                    self.state[f"{name}.ema"] = p.detach().clone()

    def slots(self, group: Group, slot: str) -> list[Tensor]:
        """Return one kind of state for the parameters of a group."""
        return [self.state[f"{name}.{slot}"] for name in group.names]

    @torch.no_grad()
    def step(self, factor: float = 1.0) -> None:
        """Update all parameters, at `factor` times their highest learning rate.

        A parameter without a gradient is an error of the caller: every one is used in every step.
        """
        self.num_steps += 1
        for group in self.groups:
            gradients: list[Any] = [p.grad for p in group.parameters]
            rate = group.lr * factor
            if group.weight_decay:
                torch._foreach_mul_(group.parameters, 1 - rate * group.weight_decay)
            if group.algorithm == "adamw":
                self.adamw(group, gradients, rate)
            else:
                self.muon(group, gradients, rate)
            if self.config.ema:  # a shorter average at first, which would else remember the random start
                weight = max(1 - self.config.ema, 9 / (9 + self.num_steps))
                torch._foreach_lerp_(self.slots(group, "ema"), group.parameters, weight)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averaged weights in place of the trained ones for a while, if there are any."""

        @torch.no_grad()
        def swap() -> None:
            for group in self.groups if self.config.ema else ():
                for p, average in zip(group.parameters, self.slots(group, "ema"), strict=True):
                    kept = p.clone()
                    p.copy_(average)
                    average.copy_(kept)

        swap()
        try:
            yield
        finally:
            swap()

    def adamw(self, group: Group, gradients: list[Tensor], rate: float) -> None:
        """Step by the mean gradient over the root of the mean square, both corrected for starting at 0."""
        c = self.config
        means, squares = self.slots(group, "mean"), self.slots(group, "square")
        torch._foreach_lerp_(means, gradients, 1 - c.beta1)
        torch._foreach_mul_(squares, c.beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - c.beta2)
        denominators = torch._foreach_sqrt(squares)
        torch._foreach_div_(denominators, math.sqrt(1 - c.beta2**self.num_steps))
        torch._foreach_add_(denominators, c.eps)
        # writes in place: on Apple GPUs silently does nothing for non-contiguous parameters, pytorch#118115
        step_size = -rate / (1 - c.beta1**self.num_steps)
        torch._foreach_addcdiv_(group.parameters, means, denominators, value=step_size)

    def muon(self, group: Group, gradients: list[Tensor], rate: float) -> None:
        """Step by the orthogonalised Nesterov momentum."""
        momenta = self.slots(group, "momentum")
        beta = self.config.muon_momentum
        torch._foreach_lerp_(momenta, gradients, 1 - beta)
        updates = torch._foreach_lerp(gradients, momenta, beta)
        for name, p, update in zip(group.names, group.parameters, updates, strict=True):
            matrices = update.view(self.parts[name], -1, update.shape[-1])  # (parts, rows, columns)
            # a tall matrix gets a step as large, per output, as a square one
            scale = math.sqrt(max(1.0, matrices.shape[-2] / matrices.shape[-1]))
            p.add_(orthogonalize(matrices).reshape_as(p).to(p.dtype), alpha=-rate * scale)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for group in self.groups:
            for p in group.parameters:
                p.grad = None


def make_optimizer(model: TransformerLM, config: OptimConfig) -> Optimizer:
    """Sort the parameters of a model into groups: embedding, gains, matrices inside the layers, head."""
    lr, decay = config.lr, config.weight_decay
    groups = {
        "embedding": Group("adamw", lr * config.embedding_lr_scale, decay * config.decay_all),
        "gains": Group("adamw", lr, decay * config.decay_all),
        "layers": Group("adamw", lr, decay),
        "head": Group("adamw", lr * config.head_lr_scale, decay),
    }
    if config.optimizer == "muon":
        groups["layers"] = Group("muon", config.muon_lr, config.muon_weight_decay)
    for name, p in model.named_parameters():
        assert p.is_contiguous()  # see `adamw`
        group = groups[name.split(".")[0] if p.ndim == 2 else "gains"]
        group.names.append(name)
        group.parameters.append(p)
    modules = model.named_modules()
    parts = {f"{name}.weight": module.parts for name, module in modules if isinstance(module, Linear)}
    return Optimizer([group for group in groups.values() if group.names], config, parts)
