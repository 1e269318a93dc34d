"""Training: `python -m lm.train --train-bin train.bin --valid-bin valid.bin`.

Takes the reference project's command line as it stands, with hyphens or underscores. The run folder holds, at
the end, config.toml, metrics.jsonl, checkpoints/, loss_curve.png, ppl_curve.png, samples/ and tokenizer/.
"""

import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from lm import checkpoint as ckpt
from lm.cli import Parser, clear_errors
from lm.config import (
    FIELDS,
    Config,
    ConfigError,
    Values,
    add_flags,
    fault,
    from_values,
    layers,
    read_toml,
    resolve,
)
from lm.data import to_device
from lm.devices import SelfTestError, pick_device, self_test, set_precision
from lm.optim import clip_gradients
from lm.processes import joined, largest, leave, rank, world_size
from lm.report import write_report
from lm.runlog import duration, lock, say
from lm.token_files import vocab_size_of
from lm.trainer import DivergedError, Interrupted, Trainer

DESCRIPTION = """Train a Transformer language model on a token file. Settings that are not given come from
--preset; without it, from `reference` if --cosine-cycle-iters is given (the reference project's command line,
which then repeats its run), else from `default`."""
RESUME = "continue from the newest checkpoint; `auto` falls back to an older one, or to the beginning"


def make_parser() -> Parser:
    """Return the parser of the command."""
    parser = Parser("python -m lm.train", description=DESCRIPTION)
    parser.add_argument("--resume", nargs="?", const="strict", choices=("strict", "auto"), help=RESUME)
    parser.add_argument("--overwrite", action="store_true", help="remove the run that is in the folder")
    parser.add_argument("--check", action="store_true", help="only test the device, then leave")
    add_flags(parser)
    return parser


def settle(given: Values, preset: str | None, file: str | None, resume: str | None) -> tuple[Config, str]:
    """Return the settings of the run and a line that says where they come from.

    A resumed run starts from its own settings instead of a preset's; the vocabulary size, if nobody gives it,
    is that of the token file's sidecar.
    """
    saved = ckpt.run_folder(given.get("ckpt_path", "runs/default")) / "config.toml"
    base, chosen, name = layers(given, preset, file)
    if resume and saved.exists():
        planned = read_toml(saved)
        if all(
            FIELDS[key][0] == "model" for key in planned if key in FIELDS
        ):  # of an import: its shape alone
            return from_values(base | planned | chosen), f"preset {name}, the model of {saved}"
        if chosen.get("max_iters", planned.get("max_iters")) != planned.get("max_iters"):
            say("more or fewer steps than planned: the schedule stays unless --cosine-cycle-iters is given")
        return from_values(planned | (base if preset else {}) | chosen), f"from {saved}"
    take_vocab_size(chosen)
    note = f"preset {name}"
    if name == "reference" and preset is None and "cosine_cycle_iters" in given:
        note += " (--cosine-cycle-iters is given; `--preset default` reaches a lower loss)"
    return from_values(base | chosen), note


def take_vocab_size(chosen: Values) -> None:
    """Add the vocabulary size of the token file's sidecar, if nobody has given one."""
    given = chosen.get("train_bin")
    if "vocab_size" in chosen or not given or fault(FIELDS["train_bin"][1], given):
        return
    if size := vocab_size_of(given):
        chosen["vocab_size"] = size


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


def make_room(run: Path, *, resume: bool, overwrite: bool) -> None:
    """Remove the run that is in a folder, unless it is resumed; ConfigError if it may not be overwritten."""
    found = ckpt.steps(run)
    if found and not resume and not overwrite:
        raise ConfigError(f"{run} holds {found[-1].name} of a run already: add `--resume`, or `--overwrite`")
    if not resume:
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
        (run / "metrics.jsonl").unlink(missing_ok=True)


def start(trainer: Trainer, source: str, resume: str | None) -> None:
    """Say what is about to happen, test the device, restore what there is, write the settings, compile."""
    config, model, run, sampler = trainer.config, trainer.model, trainer.run, trainer.sampler
    say(f"run       {run}")
    say(f"settings  {source}")
    c = config.model
    shape = f"{c.num_layers} layers of width {c.d_model}, {c.num_heads} heads, vocabulary {c.vocab_size:,}"
    say(f"model     {model.num_parameters():,} parameters: {shape}")
    read, num_valid = f"{sampler.epoch(config.run.max_iters):.2f} times", trainer.valid_tokens.num_tokens
    say(f"data      {sampler.num_tokens:,} training tokens, read {read}; {num_valid:,} validation tokens")
    say(f"text      {trainer.tokenizer_note}" + ("" if trainer.tokenizer else ": no sample stories"))
    say(f"device    {trainer.device.type}, {torch.get_num_threads()} CPU threads, torch {torch.__version__}")
    say("self-test " + "; ".join(self_test(config.model, config.optim, trainer.device)))
    set_precision(config.run.matmul, trainer.device)
    if resume:
        trainer.restore(resume)
    if rank() == 0:
        ckpt.replace_file(run / "config.toml", config.to_toml().encode())
        if trainer.tokenizer:  # also over that of a run which was here before
            trainer.tokenizer.save(run / "tokenizer", overwrite=True)
    if config.run.compile:
        compile_model(trainer)
    if world_size() > 1:
        trainer.forward = DistributedDataParallel(trainer.forward)


def compile_model(trainer: Trainer) -> None:
    """Use the compiled model if it gives the same loss and gradients, else say why not."""
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
    run = ckpt.run_folder(config.run.ckpt_path)
    device = pick_device(config.run.device)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    with ExitStack() as stack:
        stack.enter_context(joined(device))
        if rank() == 0:
            run.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock(run))
            make_room(run, resume=resume is not None, overwrite=overwrite)
        else:
            stack.enter_context(redirect_stdout(stack.enter_context(Path(os.devnull).open("w"))))
        largest(0)  # the others go on when the folder is ready
        trainer = Trainer(config, run, device)
        start(trainer, source, resume)
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
            trainer.run_steps()
            if rank() == 0:
                say(f"whole     {trainer.valid_tokens.name}: {trainer.finish()}")
        except Interrupted:
            return f"stopped at step {trainer.step}; continue with the same command and --resume"
        except DivergedError as error:
            return f"stopped: {error}"
    return ""


def finish(trainer: Trainer, stopped: str) -> None:
    """Write the report and say what there is now."""
    run, best, took = trainer.run, trainer.best, duration(trainer.elapsed_s)
    try:
        write_report(run)
    except (OSError, ValueError) as error:
        say(f"warning: no report: {error}")
    if stopped:
        say(stopped)
        return
    say(f"trained   {trainer.step} steps in {took}; best validation at step {best[1] if best else 0}")
    say(f"curves    {run / 'loss_curve.png'}, ppl_curve.png; all on one page: {run / 'report.html'}")
    say(f"next      python -m lm.generate --ckpt {run}")
    if trainer.save_failed:
        say("warning: at least one checkpoint could not be written")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser()
    given = vars(parser.parse_args(argv))
    own = {name: given.pop(name) for name in ("config", "preset", "resume", "overwrite", "check")}
    with clear_errors(parser.prog):
        if own["check"]:
            config, _ = resolve(given, own["preset"], own["config"])
            print(*self_test(config.model, config.optim, pick_device(config.run.device)), sep="\n")
        else:
            config, source = settle(given, own["preset"], own["config"], own["resume"])
            train(config, source, resume=own["resume"], overwrite=own["overwrite"])
    return 0


if __name__ == "__main__":
    leave(main)
