"""A training step of `lm` beside a plain rendering of the reference project's style, by stage.

    uv run python benches/bench_lm.py --steps 3

The plain rendering loops over heads, builds mask and rotation tables anew in each layer, holds all logits at
once, and steps AdamW parameter by parameter. Both compute the same model, which is checked on the first loss.
They run in turns, so that a busy machine is busy for both; the median of each stage counts. Eager mode.
"""

from __future__ import annotations

import argparse
import itertools
import math
import platform
import statistics
import time

import torch
from lm.config import ModelConfig, OptimConfig
from lm.model import Block, TransformerLM
from lm.nn import RMSNorm
from lm.optim import clip_gradients, make_optimizer
from torch import Tensor

STAGES = ("forward and loss", "backward", "clipping", "optimizer")


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each, after one to warm up")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=0, help="0 leaves the choice to torch")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    config, optim = ModelConfig(), OptimConfig(lr=3e-4)
    torch.manual_seed(0)
    ours, plain = TransformerLM(config), TransformerLM(config)
    plain.load_state_dict(ours.state_dict())
    optimizer, plain_optimizer = make_optimizer(ours, optim), PlainAdamW(plain, optim)
    batch = torch.randint(0, config.vocab_size, (args.batch_size, config.context_length + 1))
    ids, targets = batch[:, :-1].contiguous(), batch[:, 1:].contiguous()
    assert abs(float(ours(ids, targets).detach()) - float(plain_loss(plain, ids, targets).detach())) < 1e-4

    def step_ours() -> list[float]:
        marks = [time.perf_counter()]
        loss = ours(ids, targets)
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        clip_gradients(ours.parameters(), 1.0)
        marks.append(time.perf_counter())
        optimizer.step()
        optimizer.zero_grad()
        return [*marks, time.perf_counter()]

    def step_plain() -> list[float]:
        marks = [time.perf_counter()]
        loss = plain_loss(plain, ids, targets)
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        plain_optimizer.clip(1.0)
        marks.append(time.perf_counter())
        plain_optimizer.step()
        return [*marks, time.perf_counter()]

    times: dict[str, list[list[float]]] = {"plain": [], "lm": []}
    for turn in range(args.steps + 1):
        for name, step in (("plain", step_plain), ("lm", step_ours)):
            marks = step()
            if turn:
                times[name].append([b - a for a, b in itertools.pairwise(marks)])
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, eager")
    print(f"{args.batch_size} windows of {config.context_length}; median of {args.steps} steps, ms")
    print(f"{'stage':18}{'plain':>9}{'lm':>9}{'times':>7}")
    rows = [
        (stage, *(statistics.median(t[i] for t in times[n]) for n in times)) for i, stage in enumerate(STAGES)
    ]
    rows.append(("step", *(statistics.median(map(sum, times[n])) for n in times)))
    for stage, a, b in rows:
        print(f"{stage:18}{a * 1e3:9.1f}{b * 1e3:9.1f}{a / b:7.2f}")


if __name__ == "__main__":
    main()
