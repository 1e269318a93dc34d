"""Several processes that train one model: `torchrun --nproc-per-node 2 -m lm.train ...`.

Each process takes its share of the rows of every micro-batch, and DDP averages the gradients while the
backward pass still runs. Since a step's windows follow from its number alone (`data.Sampler`), data order and
loss are those of one process with the same batch size, up to the rounding of sums. The first process
alone evaluates, writes and speaks. Signals reach the processes at different times, so in each step they agree
on whether to stop.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Return the number of processes that torchrun has started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return the number of this process; 0 evaluates, writes and speaks."""
    return int(os.environ.get("RANK", "0"))


def average(value: Tensor) -> None:
    """Replace a tensor by its mean over the processes."""
    if world_size() > 1:
        dist.all_reduce(value)
        value /= world_size()


def largest(number: int) -> int:
    """Return the largest of the processes' numbers; waits for all, but not for a device."""
    held = torch.tensor(number)
    if world_size() > 1:
        dist.all_reduce(held, dist.ReduceOp.MAX)
    return int(held)


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Meet the other processes, if there are any."""
    if world_size() > 1:
        # gloo for numbers on the CPU: agreeing on them never waits for a GPU; hours, for evaluations
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(hours=2))
    try:
        yield
    finally:
        if world_size() > 1:
            dist.destroy_process_group()
