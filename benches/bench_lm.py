"""A training step of `lm` beside a plain rendering of the reference project's style, by stage.

    uv run python benches/bench_lm.py --steps 3 --compile

The plain rendering loops over heads, builds mask and rotation tables anew in each layer, holds all logits at
once, and steps AdamW parameter by parameter. Both compute the same model, which is checked on the first loss.
`products` are a step's matrix products alone, in torch, on matrices of the same shapes: three for each weight
and six for the two products of attention. All run in turns, so that a busy machine is busy for all; the
median of each stage counts.

What did not pay at the reference size: a hand-written gate in chunks of rows (50 ms where torch's silu takes
29), chunks of the loss of 64 or 128 rows (more passes over the head's gradient), a thread that prefetches (a
batch takes less than a millisecond).
"""

from __future__ import annotations

import argparse
import itertools
import math
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm.config import ModelConfig, OptimConfig
from lm.data import Sampler, TokenFile, to_device
from lm.model import Block, TransformerLM
from lm.nn import RMSNorm
from lm.optim import clip_gradients, make_optimizer
from torch import Tensor

STAGES = ("data", "forward and loss", "backward", "clipping", "optimizer")


def plain_norm(norm: RMSNorm, x: Tensor) -> Tensor:
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + norm.eps) * norm.weight


def plain_rotate(x: Tensor, theta: float) -> Tensor:
    length, dim = x.shape[-2:]
    angles = torch.outer(torch.arange(length), theta ** (-torch.arange(0, dim, 2) / dim))
    even, odd = x[..., 0::2], x[..., 1::2]
    out = torch.empty_like(x)
    out[..., 0::2] = even * angles.cos() - odd * angles.sin()
    out[..., 1::2] = even * angles.sin() + odd * angles.cos()
    return out


def plain_attention(block: Block, x: Tensor, config: ModelConfig) -> Tensor:
    length, head_dim = x.shape[1], config.d_model // config.num_heads
    mask = torch.tril(torch.ones(length, length, dtype=torch.bool))
    q, k, v = (x @ w.T for w in block.attention.qkv.weight.chunk(3))
    heads = []
    for head in range(config.num_heads):
        part = slice(head * head_dim, (head + 1) * head_dim)
        q_head, k_head = (plain_rotate(t[..., part], config.rope_theta) for t in (q, k))
        scores = q_head @ k_head.transpose(-2, -1) / math.sqrt(head_dim)
        scores = scores.masked_fill(~mask, float("-inf"))
        weights = torch.exp(scores - scores.max(-1, keepdim=True).values)
        heads.append(weights / weights.sum(-1, keepdim=True) @ v[..., part])
    return torch.cat(heads, -1) @ block.attention.out.weight.T


def plain_loss(model: TransformerLM, ids: Tensor, targets: Tensor) -> Tensor:
    x = model.embedding.weight[ids]
    for block in model.layers:
        assert isinstance(block, Block)
        x = x + plain_attention(block, plain_norm(block.attention_norm, x), model.config)
        y = plain_norm(block.mlp_norm, x)
        gate, up = (y @ w.T for w in block.mlp.gate_up.weight.chunk(2))
        x = x + (gate * torch.sigmoid(gate) * up) @ block.mlp.down.weight.T
    logits = plain_norm(model.norm, x) @ model.head_weight.T
    shifted = logits - logits.max(-1, keepdim=True).values
    picked = shifted.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return (torch.log(torch.exp(shifted).sum(-1)) - picked).mean()


class PlainAdamW:
    def __init__(self, model: TransformerLM, config: OptimConfig) -> None:
        self.parameters, self.config, self.num_steps = list(model.parameters()), config, 0
        self.state = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters]

    @torch.no_grad()
    def clip(self, limit: float) -> None:
        norm = math.sqrt(sum(p.grad.pow(2).sum().item() for p in self.parameters if p.grad is not None))
        for p in self.parameters if norm > limit else ():
            assert p.grad is not None
            p.grad.mul_(limit / (norm + 1e-6))

    @torch.no_grad()
    def step(self) -> None:
        c = self.config
        self.num_steps += 1
        rate = c.lr * math.sqrt(1 - c.beta2**self.num_steps) / (1 - c.beta1**self.num_steps)
        for p, (mean, square) in zip(self.parameters, self.state, strict=True):
            assert p.grad is not None
            mean.copy_(c.beta1 * mean + (1 - c.beta1) * p.grad)
            square.copy_(c.beta2 * square + (1 - c.beta2) * p.grad**2)
            p.sub_(rate * mean / (torch.sqrt(square) + c.eps))
            p.mul_(1 - c.lr * c.weight_decay)
            p.grad = None


def products(config: ModelConfig, batch_size: int) -> Callable[[], None]:
    """Return a function that computes the matrix products of one step and nothing else."""
    rows, d, heads = batch_size * config.context_length, config.d_model, batch_size * config.num_heads
    shapes = [(d, 3 * d), (d, d), (d, 2 * config.d_ff), (config.d_ff, d)] * config.num_layers
    pairs = [(torch.randn(rows, a), torch.randn(b, a), torch.randn(rows, b)) for a, b in set(shapes)]
    pairs.append(
        (torch.randn(rows, d), torch.randn(config.vocab_size, d), torch.randn(rows, config.vocab_size))
    )
    counts = [config.num_layers] * len(set(shapes)) + [1]
    q, k = (torch.randn(heads, config.context_length, d // config.num_heads) for _ in range(2))
    scores = torch.randn(heads, config.context_length, config.context_length)

    @torch.no_grad()
    def run() -> None:
        for (x, weight, grad), count in zip(pairs, counts, strict=True):
            for _ in range(count):
                x @ weight.T, grad @ weight, grad.T @ x
        for _ in range(2 * config.num_layers):  # scores, and values weighted by them
            q @ k.mT, scores @ k, scores.mT @ q

    return run


def timed(
    draw: Callable[[], tuple[Tensor, Tensor]], loss: Any, clip: Callable[[], Any], update: Callable[[], None]
) -> list[float]:
    """Do a step; return the seconds of each stage."""
    marks = [time.perf_counter()]
    batch = draw()
    marks.append(time.perf_counter())
    value = loss(*batch)
    marks.append(time.perf_counter())
    value.backward()
    marks.append(time.perf_counter())
    clip()
    marks.append(time.perf_counter())
    update()
    marks.append(time.perf_counter())
    return [b - a for a, b in itertools.pairwise(marks)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each, after one to warm up")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=0, help="0 leaves the choice to torch")
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="adamw", help="of lm")
    parser.add_argument("--compile", action="store_true", help="also the compiled model")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    config, optim = ModelConfig(), OptimConfig(lr=3e-4, optimizer=args.optimizer)
    torch.manual_seed(0)
    ours, plain = TransformerLM(config), TransformerLM(config)
    plain.load_state_dict(ours.state_dict())
    optimizer, plain_optimizer = make_optimizer(ours, optim), PlainAdamW(plain, optim)
    length = config.context_length
    ids = np.random.default_rng(0).integers(0, config.vocab_size, 2_000_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.uint16.bin"
        ids.astype("<u2").tofile(path)
        tokens = TokenFile(path)
        sampler = Sampler(tokens.num_tokens, length, args.batch_size, seed=0)
        step_numbers = itertools.count()

        def draw() -> tuple[Tensor, Tensor]:
            windows = tokens.windows(sampler.starts(next(step_numbers)), length + 1)
            return to_device(windows, torch.device("cpu"))

        def draw_plain() -> tuple[Tensor, Tensor]:
            starts = np.random.default_rng(next(step_numbers)).integers(0, len(ids) - length, args.batch_size)
            return tuple(  # type: ignore[return-value]
                torch.stack([torch.from_numpy(ids[s + i : s + i + length]) for s in starts]) for i in (0, 1)
            )

        def update() -> None:
            optimizer.step()
            optimizer.zero_grad()

        def plain_step() -> list[float]:
            return timed(
                draw_plain,
                lambda *batch: plain_loss(plain, *batch),
                lambda: plain_optimizer.clip(1.0),
                plain_optimizer.step,
            )

        def our_step(loss: Any) -> list[float]:
            return timed(draw, loss, lambda: clip_gradients(ours.parameters(), 1.0), update)

        def product_step() -> list[float]:
            started = time.perf_counter()
            multiply()
            return [time.perf_counter() - started]

        batch = draw()
        multiply = products(config, args.batch_size)
        steps = {"plain": plain_step, "lm": lambda: our_step(ours)}
        expected = float(plain_loss(plain, *batch).detach())
        assert abs(float(ours(*batch).detach()) - expected) < 1e-4
        if args.compile:
            compiled = torch.compile(ours)
            assert abs(float(compiled(*batch).detach()) - expected) < 1e-4
            steps["compiled"] = lambda: our_step(compiled)
        steps["products"] = product_step
        times: dict[str, list[list[float]]] = {name: [] for name in steps}
        for turn in range(args.steps + 1):
            for name, step in steps.items():
                taken = step()
                if turn:
                    times[name].append(taken)
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads"
    print(f"{machine}, torch {torch.__version__}, {args.optimizer}")
    print(f"{args.batch_size} windows of {length}; median of {args.steps} steps, ms")
    print(f"{'stage':18}" + "".join(f"{name:>10}" for name in times))
    for index, stage in enumerate(STAGES):
        cells = (statistics.median(t[index] for t in rows) for rows in times.values() if len(rows[0]) > 1)
        print(f"{stage:18}" + "".join(f"{cell * 1e3:10.1f}" for cell in cells))
    whole = {name: statistics.median(map(sum, rows)) for name, rows in times.items()}
    print(f"{'step':18}" + "".join(f"{seconds * 1e3:10.1f}" for seconds in whole.values()))
    for base in ("plain", "products"):
        print(
            f"{f'{base} / step':18}" + "".join(f"{whole[base] / seconds:10.2f}" for seconds in whole.values())
        )


if __name__ == "__main__":
    main()
