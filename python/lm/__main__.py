"""The first minute: `python -m lm` goes from text to a story in one command.

Takes TinyStories from data/ if it is there, else stories made by `stories.py`; trains a tokenizer, encodes,
trains a small model for about two minutes (the number of steps follows from how long one takes here), and
tells a story. A run that was stopped is continued; one that is done is kept.
"""

import itertools
import shutil
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lm.cli import Parser, clear_errors, load_torch
from lm.config import ConfigError, UserError, from_values, read_toml
from lm.folders import read_state, steps
from lm.generate import main as generate
from lm.outputs import OutputError
from lm.runlog import duration, lm_command, say, to_type
from lm.train import train

DEFAULT_OUT = "runs/first"
DESCRIPTION = "From text to a story in one command."
COMMANDS = {
    "train": "train a model on a token file",
    "evaluate": "loss of a model over a token file",
    "generate": "text from a model",
    "compare": "curves of several runs in one picture, and a table",
    "report": "make the page about a run again",
    "plot": "draw the curves of a run again",
    "sweep": "rates and batch sizes, at a fixed number of tokens",
    "export": "write a model for other programs, or read one",
    "download": "fetch TinyStories",
}


def make_parser() -> Parser:
    """Return the parser of the command, whose help lists the others."""
    width = max(map(len, COMMANDS))
    lines = [f"  python -m lm.{name:{width}}  {line}" for name, line in COMMANDS.items()]
    epilog = "\n".join(["other commands, each with its own --help:", *lines])
    parser = Parser("python -m lm", description=DESCRIPTION, epilog=epilog)
    add = parser.add_argument
    add("--data", default="data", help="folder that may hold TinyStories")
    add("--out", help=f"folder for all that is made (default {DEFAULT_OUT}, or {DEFAULT_OUT}-2 and so on)")
    add("--minutes", type=float, default=2.0, help="how long to train at most")
    add("--megabytes", type=float, default=20.0, help="how much of TinyStories to take")
    parser.add_device()
    add("--threads", type=int, default=0, help="CPU threads; 0 takes what is faster, one or all")
    add("--seed", type=int, default=0, help="random seed")
    add("--overwrite", action="store_true", help="remove the run that is in the folder of --out")
    return parser


def stopped_early(run: Path) -> bool:
    """Return whether a folder holds a run that has not reached its last step."""
    try:
        planned = read_toml(run / "config.toml").get("max_iters", 0)
        done = read_state(steps(run)[-1])["step"] if steps(run) else 0
    except UserError:  # no run, or a damaged one
        return False
    return bool(done < planned)


def is_free(folder: Path) -> bool:
    """Return whether there is nothing in a folder, or no folder."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def choose_folder(out: str | None, *, overwrite: bool) -> tuple[Path, bool]:
    """Return the folder for the run, and whether the run that is in it is to be continued.

    Without `--out`, the first of runs/first, runs/first-2, ... that is free or holds a run that was stopped.

    Raises:
        OutputError: The folder of `--out` holds something that stays.
    """
    folder = Path(out or DEFAULT_OUT)
    if overwrite:
        if not is_free(folder) and not (folder / "config.toml").exists():
            raise OutputError(f"{folder} holds no run of `python -m lm`; give another `--out`")
        return folder, False
    for number in itertools.count(2):
        if is_free(folder) or stopped_early(folder):
            break
        if out:
            raise OutputError(f"{folder} is there already; give another `--out`, or `--overwrite`")
        say(f"{folder} is kept" + ("; `--overwrite` begins it anew" if number == 2 else ""))
        folder = Path(f"{DEFAULT_OUT}-{number}")
    return folder, not is_free(folder)


@contextmanager
def removed_if_not_begun(run: Path) -> Iterator[None]:
    """Remove a new folder again if what follows ends before the run has begun."""
    try:
        yield
    except BaseException:
        if not (run / "config.toml").exists():
            shutil.rmtree(run, ignore_errors=True)
        raise


def begin(run: Path, args: Namespace) -> None:
    """Make text, tokens and settings in a new folder, and train."""
    from lm import first

    with removed_if_not_begun(run):
        if args.overwrite:
            first.remove_made(run)
        texts = first.take_text(Path(args.data), run / "data", int(args.megabytes * 1e6))
        files = first.make_tokens(texts, run)
        say("speed     measuring how long a step takes here ...")
        config = first.configure(files, run, args)
        say(f"training  {config.run.max_iters} steps, at most about {duration(args.minutes * 60)}")
        train(config, "the preset muon, small", overwrite=args.overwrite)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser()
    args = parser.parse_args(argv)
    with clear_errors(parser.prog):
        in_range = 0 < args.minutes < 1e6 and 0 < args.megabytes < 1e6
        ConfigError.unless(in_range, "`--minutes` and `--megabytes` have to be more than 0")
        started_s = time.monotonic()
        run, resumes = choose_folder(args.out, overwrite=args.overwrite)
        load_torch()
        if resumes:
            say(f"continued: {run} was stopped; `--overwrite` begins it anew")
            train(from_values(read_toml(run / "config.toml")), f"from {run / 'config.toml'}", resume="auto")
        else:
            begin(run, args)
        say("\na story from the model:\n")
        generate(["--ckpt", str(run), "--max-tokens", "250", "--temperature", "0.6", "--seed", "1"])
        say(f"\ndone in {duration(time.monotonic() - started_s)}; the loss curve is {run / 'loss_curve.png'}")
        say_next(run)
    return 0


def say_next(run: Path) -> None:
    """Print what to type after the first minute, in lines that fit a terminal and can be pasted."""
    tok, text, end = "data/tokenizer", "data/TinyStoriesV2-GPT4", " \\\n    "
    say("\nmore stories:")
    say(f"  {lm_command('generate', '--ckpt', run, '--seed', '2')}")
    say("all commands:")
    say(f"  {to_type('python', '-m', 'lm', '--help')}")
    say("the real run:")
    say(f"  {lm_command('download', 'tinystories')}")
    train_text = to_type("tinybpe", "train", "--input", f"{text}-train.txt")
    say(f"  {train_text}{end}--vocab-size 10000 --special '<|endoftext|>' --out {tok}")
    for split in ("train", "valid"):
        encode = to_type("tinybpe", "encode", "--tok", tok)
        say(f"  {encode}{end}--input {text}-{split}.txt --output data/{split}.bin")
    files = "--train-bin data/train.bin --valid-bin data/valid.bin"
    say(f"  {lm_command('train', '--ckpt-path', 'runs/tinystories')}{end}{files}")


if __name__ == "__main__":
    raise SystemExit(main())
