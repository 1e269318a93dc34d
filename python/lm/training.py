"""A run from its settings to its report: the folder, the tests at the start, the end or what stopped it."""

import os
import signal
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from lm.config import Config
from lm.data import to_device
from lm.devices import SelfTestError, pick_device, self_test, set_precision
from lm.folders import replace_file, run_folder
from lm.optim import clip_gradients, rate_factor
from lm.outputs import clear_run, made_folder
from lm.plot import draw
from lm.processes import joined, largest, rank, world_size
from lm.report import write_report
from lm.runlog import counted, duration, keep_progress, lm_command, lock, say
from lm.tokenizer import keep_tokenizer
from lm.trainer import DivergedError, Interrupted, Trainer


def signals(trainer: Trainer) -> ExitStack:
    """Let the first SIGINT or SIGTERM stop the training after its step; a second one acts as before.

    Closing the stack puts the handlers back.
    """
    before = ExitStack()

    def first(number: int, _frame: object) -> None:
        before.close()
        trainer.stop_signal = number

    for number in (signal.SIGINT, signal.SIGTERM):
        before.callback(signal.signal, number, signal.signal(number, first))
    return before


def describe(trainer: Trainer, source: str) -> None:
    """Say what is about to be trained."""
    config, sampler = trainer.config, trainer.sampler
    c, num_valid = config.model, trainer.valid_tokens.num_tokens
    say(f"run       {trainer.run}")
    say(f"settings  {source}")
    say(f"model     {trainer.model.num_parameters():,} parameters, vocabulary {c.vocab_size:,}")
    shape = f"{counted(c.num_layers, 'layer')} of width {c.d_model}, {counted(c.num_heads, 'head')}"
    say(f"shape     {shape}, context {c.context_length:,}")
    say(f"data      {sampler.num_tokens:,} training tokens, {num_valid:,} validation tokens")
    say(
        f"length    {counted(config.run.max_iters, 'step')}: {sampler.epoch(config.run.max_iters):.2f} epochs"
    )
    say("text      " + ("" if trainer.tokenizer else "no stories: ") + trainer.tokenizer_note)
    threads = counted(torch.get_num_threads(), "CPU thread")
    say(f"device    {trainer.device.type}, {threads}, torch {torch.__version__}")


def start(trainer: Trainer, source: str, *, resume: str | None, overwrite: bool) -> None:
    """Say what is about to happen, test the device, restore what there is, write the settings, compile.

    Until the data, the model and the device are known to work, nothing in the run folder is touched.
    """
    config, run = trainer.config, trainer.run
    describe(trainer, source)
    found = self_test(config.model, config.optim, trainer.device)
    if trainer.device.type != "cpu":  # where it says little, for what is compared are the CPU's results
        say("self-test " + "; ".join(found))
    set_precision(config.run.matmul, trainer.device)
    if resume:
        trainer.restore(resume)
    elif rank() == 0:
        clear_run(run)
    warn_of_idle_steps(config, trainer.step)
    if rank() == 0:
        if trainer.tokenizer:
            keep_tokenizer(trainer.tokenizer, run / "tokenizer", overwrite=overwrite)
        replace_file(run / "config.toml", config.to_toml().encode())
    if config.run.compile:
        compile_model(trainer)
    if world_size() > 1:
        trainer.forward = DistributedDataParallel(trainer.forward)


def warn_of_idle_steps(config: Config, step: int) -> None:
    """Say which steps have a learning rate of 0, or that there are none left to do."""
    last, end = config.run.max_iters, config.optim.cosine_cycle_iters
    assert end is not None
    if step >= last:
        say(f"step {step} of {last} is reached: give more `--max-iters` to train on")
    elif last > end and rate_factor(end, config.optim) == 0:
        steps = f"steps {max(step, end) + 1} to {last} have a learning rate of 0 and learn nothing"
        say(f"warning: {steps}:")
        say(f"  the schedule ends at step {end}; `--cosine-cycle-iters {last}` stretches it")


def compile_model(trainer: Trainer) -> None:
    """Use the compiled model if it gives the same loss and gradients, else say why not."""
    say("compile   begins, which can take minutes ...")
    share = trainer.config.run.accumulate * world_size()
    starts, length = trainer.sampler.starts(0)[::share], trainer.config.model.context_length + 1
    ids = to_device(trainer.train_tokens.windows(starts, length), trainer.device)

    def loss_and_norm(forward: Any) -> tuple[float, float]:
        loss = forward(*ids)
        loss.backward()
        norm = clip_gradients(trainer.model.parameters(), 0.0)
        trainer.optimizer.zero_grad()
        return float(loss.detach()), float(norm)

    try:
        compiled: Any = torch.compile(trainer.model)
        eager, fast = loss_and_norm(trainer.model), loss_and_norm(compiled)
        gaps = [abs(a - b) for a, b in zip(eager, fast, strict=True)]
        if not all(gap < 1e-3 * value for gap, value in zip(gaps, eager, strict=True)):
            raise SelfTestError(f"the loss differs by {gaps[0]:.2g}, the gradient's norm by {gaps[1]:.2g}")
        trainer.forward = compiled
        say(f"compile   on; loss and gradient norm equal the eager ones within {max(gaps):.1g}")
    except Exception as error:  # a compiler may fail in any way; training then goes on without
        trainer.optimizer.zero_grad()
        say(f"compile   off: {(str(error) or type(error).__name__).splitlines()[0][:200]}")


def train(
    config: Config, source: str = "given", *, resume: str | None = None, overwrite: bool = False
) -> Path:
    """Train as configured and return the run folder.

    Raises:
        UserError: bad settings, data or checkpoint.
        SelfTestError: the device computes something else than it should.
        SystemExit: stopped by a signal (130, 143), diverged or not fully saved (1).
    """
    run = run_folder(config.run.ckpt_path)
    device = pick_device(config.run.device)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    with ExitStack() as stack:
        stack.enter_context(joined(device))
        if rank() == 0:
            stack.enter_context(made_folder(run, ".lock"))
            stack.enter_context(lock(run))
        else:
            stack.enter_context(redirect_stdout(stack.enter_context(Path(os.devnull).open("w"))))
        largest(0)  # the others go on when the folder is ready
        trainer = Trainer(config, run, device)
        start(trainer, source, resume=resume, overwrite=overwrite)
        stopped = follow(trainer)
        if rank() == 0:
            finish(trainer, stopped)
    if stopped or trainer.save_failed:
        raise SystemExit(128 + trainer.stop_signal if trainer.stop_signal else 1)
    return run


def follow(trainer: Trainer) -> str:
    """Train to the end; return why it was not reached, or nothing."""
    with signals(trainer):
        try:
            if trainer.step < trainer.config.run.max_iters:
                say(f"training  begins; a line every {counted(trainer.config.run.log_every, 'step')}")
            trainer.run_steps()
            if rank() == 0:
                tokens = trainer.valid_tokens
                say(f"whole     all {tokens.num_tokens:,} tokens of {tokens.name} ...")
                say(f"whole     {trainer.finish()}")
        except Interrupted:
            keep_progress()
            again = lm_command("train", "--resume", "--ckpt-path", trainer.run)
            return f"stopped at step {trainer.step}; to go on:\n  {again}"
        except DivergedError as error:
            keep_progress()
            return f"stopped: {error}"
    return ""


def finish(trainer: Trainer, stopped: str) -> None:
    """Write the curves and the report, and say what there is now."""
    run, best, took = trainer.run, trainer.best, duration(trainer.elapsed_s)
    try:
        if stopped:  # else they were drawn at the last evaluation
            draw(run)
        write_report(run)
    except (OSError, ValueError) as error:
        say(f"warning: no report: {error}")
    if stopped:
        say(stopped, always=True)
        return
    say(f"trained   {counted(trainer.step, 'step')} in {took}; best at step {best[1] if best else 0}")
    say(f"curves    {run / 'loss_curve.png'}")
    say(f"report    {run / 'report.html'}")
    say(f"next      {lm_command('generate', '--ckpt', run)}")
    if trainer.save_failed:
        say("warning: at least one checkpoint could not be written")
