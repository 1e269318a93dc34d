"""Several processes that train one model: `torchrun --nproc-per-node 2 -m lm.train ...`.

Each process takes its share of the rows of every micro-batch, and DDP averages the gradients while the
backward pass still runs. Since a step's windows follow from its number alone (`data.Sampler`), data order and
loss are those of one process with the same batch size, up to the rounding of sums. The first process (`main`)
alone evaluates, writes and speaks. Signals reach the processes at different times, so in each step they agree
on whether to stop.
"""

import atexit
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among the others; by default the only one, for which nothing below does anything."""

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return a module whose backward pass averages gradients over the processes."""
        return nn.parallel.DistributedDataParallel(model) if self.size > 1 else model

    def average(self, value: Tensor) -> None:
        """Replace a tensor by its mean over the processes."""
        if self.size > 1:
            dist.all_reduce(value)
            value /= self.size

    def largest(self, number: int) -> int:
        """Return the largest of the processes' numbers; waits for all, but not for a device."""
        held = torch.tensor(number)
        if self.size > 1:
            dist.all_reduce(held, dist.ReduceOp.MAX)
        return int(held)


def world_size() -> int:
    """Return the number of processes that torchrun has started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Meet the other processes, if there are any."""
    if world_size() == 1:
        yield Processes()
        return
    # numbers on the CPU always go through gloo, so that agreeing on them never waits for a GPU; the others
    # wait as long as the first evaluates
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(hours=2))
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def leave(command: Callable[[], int]) -> NoReturn:
    """Run a command and end the process with its exit code.

    One process of several skips the end of the interpreter: threads of gloo, which outlive the group once DDP
    has used it, may still let go of a tensor and ask for the interpreter, and then abort the process
    (pytorch#179291). `SystemExit` has to carry a number, as all commands' do.
    """
    try:
        code = command()
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        code = end.code
    if world_size() > 1:
        atexit._run_exitfuncs()  # TensorBoard's rows, for instance
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)
