"""The first minute: `python -m lm` goes from text to a story in one command.

Takes TinyStories from data/ if it is there, else stories made by `stories.py`; trains a tokenizer, encodes,
trains a small model for about two minutes (the number of steps follows from how long one takes here), and
tells a story.
"""

import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch
from tinybpe import Tokenizer

from lm import stories
from lm.cli import Parser, clear_errors
from lm.config import PRESETS, Config, ConfigError, Values, from_values, read_toml
from lm.devices import NAMES, pick_device, synchronize
from lm.generate import main as generate
from lm.runlog import duration, say
from lm.train import train
from lm.trainer import Trainer

# Chosen so that, on two slow cores, names and things are remembered through a story: two layers make more
# steps in the time than four, and short windows need only fast rotations.
SMALL: Values = {
    "vocab_size": 1024, "context_length": 160, "d_model": 128, "num_layers": 2, "num_heads": 4, "d_ff": 384,
    "rope_theta": 1000.0, "init": "torch", "tie_embeddings": False, "qk_norm": False, "lr": 6e-3,
    "muon_lr": 0.01, "batch_size": 8, "log_every": 10, "eval_iters": 16, "keep_last": 1,
}  # fmt: skip


def take_text(folder: Path, work: Path, num_bytes: int) -> tuple[Path, Path]:
    """Return training and validation text: the head of TinyStories, or synthetic stories."""
    sources = [folder / f"TinyStoriesV2-GPT4-{split}.txt" for split in ("train", "valid")]
    taken = work / "train.txt", work / "valid.txt"
    if all(source.exists() for source in sources):
        say(f"text      the first {num_bytes / 1e6:.0f} MB of {sources[0]}, and of {sources[1]}")
        for source, target, size in zip(sources, taken, (num_bytes, num_bytes // 20), strict=True):
            with source.open("rb") as file:
                head = file.read(size)
            whole, end, _ = head.rpartition(stories.END_OF_TEXT.encode())
            target.write_bytes(whole + end + b"\n" if end else head)
    else:
        say(f"text      synthetic stories from lm/stories.py, since {sources[0]} is not there")
        for seed, (target, size) in enumerate(zip(taken, (num_bytes // 4, num_bytes // 80), strict=True)):
            stories.write(target, size, seed)
    return taken


def make_tokens(texts: Sequence[Path], work: Path) -> list[Path]:
    """Train and save a tokenizer, encode both texts, return the token files."""
    started_s = time.monotonic()
    options = {"vocab_size": SMALL["vocab_size"], "special_tokens": [stories.END_OF_TEXT]}
    tokenizer = Tokenizer.train([texts[0]], **options)
    tokenizer.save(work / "tokenizer", overwrite=True)
    files = [text.with_suffix(".bin") for text in texts]
    for text, file in zip(texts, files, strict=True):
        tokenizer.encode_file([text], file, overwrite=True)
    ratio = texts[0].stat().st_size / (files[0].stat().st_size / 2)
    took = f"trained, and the text encoded, in {time.monotonic() - started_s:.1f}s"
    say(f"tokenizer {tokenizer.vocab_size:,} tokens, {ratio:.2f} bytes each; {took}")
    return files


# Stories of the small model gain little after this (loss 0.30 after 800 steps, 0.28 after 2,200), and where
# the machine gets busy after its speed was measured, the run still ends in a few minutes.
MOST_STEPS = 1000


def seconds_per_step(config: Config, run: Path) -> float:
    """Return how long a step takes here; leave the number of threads at what is faster, one or all.

    Measured on a model that is thrown away. On a busy machine, one thread can be faster than two that wait
    for each other.
    """
    device = pick_device(config.run.device)
    trainer = Trainer(config, run, device)
    trainer.train_step()  # the first one also sets things up
    took_s: dict[int, float] = {}
    for threads in {config.run.threads} if config.run.threads else {1, torch.get_num_threads()}:
        torch.set_num_threads(threads)
        started_s = time.monotonic()
        for _ in range(5):
            trainer.train_step()
        synchronize(device)
        took_s[threads] = (time.monotonic() - started_s) / 5
    config.run.threads = min(took_s, key=lambda threads: took_s[threads])
    return took_s[config.run.threads]


def configure(files: Sequence[Path], run: Path, args: Namespace) -> Config:
    """Return the settings of the small run, with as many steps as there is time for."""
    values = {**read_toml(PRESETS / "muon.toml"), **SMALL, "ckpt_path": str(run), "seed": args.seed}
    values |= {"train_bin": str(files[0]), "valid_bin": str(files[1]), "device": args.device}
    values |= {"tokenizer": str(run.parent / "tokenizer"), "threads": args.threads}
    trial = from_values(values)
    steps = min(MOST_STEPS, max(20, round(args.minutes * 60 / seconds_per_step(trial, run))))
    rest = {"max_iters": steps, "eval_every": -(-steps // 4), "threads": trial.run.threads}
    return from_values({**values, **rest})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser("python -m lm", description="From text to a story in one command; see also lm.train.")
    add = parser.add_argument
    add("--data", default="data", help="folder that may hold TinyStories (default data)")
    add("--out", default="runs/first", help="folder for all that is made (default runs/first)")
    add("--minutes", type=float, default=2.0, help="how long to train at most (default 2)")
    add("--megabytes", type=float, default=20.0, help="how much of TinyStories to take")
    add("--device", default="auto", choices=NAMES)
    add("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to torch")
    add("--seed", type=int, default=0, help="random seed")
    args = parser.parse_args(argv)
    with clear_errors(parser.prog):
        in_range = 0 < args.minutes < 1e6 and 0 < args.megabytes < 1e6
        ConfigError.unless(in_range, "`--minutes` and `--megabytes` have to be more than 0")
        started_s = time.monotonic()
        work = Path(args.out)
        work.mkdir(parents=True, exist_ok=True)
        run = work / "run"
        files = make_tokens(take_text(Path(args.data), work, int(args.megabytes * 1e6)), work)
        config = configure(files, run, args)
        say(f"training  {config.run.max_iters} steps, at most about {duration(args.minutes * 60)}")
        train(config, "the preset muon, small", overwrite=True)
        say("\na story from the model:\n")
        generate(["--ckpt", str(run), "--max-tokens", "250", "--temperature", "0.6", "--seed", "1"])
        say(f"\ndone in {duration(time.monotonic() - started_s)}; the loss curve is {run / 'loss_curve.png'}")
        say(NEXT.format(run=run, text="data/TinyStoriesV2-GPT4").strip())
    return 0


NEXT = """
more stories:  python -m lm.generate --ckpt {run} --prompt "Once upon a time" --seed 2
the real run:  python -m lm.download tinystories
  tinybpe train --input {text}-train.txt --vocab-size 10000 --special "<|endoftext|>" --out data/tokenizer
  tinybpe encode --tok data/tokenizer --input {text}-train.txt --output data/train.bin
  tinybpe encode --tok data/tokenizer --input {text}-valid.txt --output data/valid.bin
  python -m lm.train --train-bin data/train.bin --valid-bin data/valid.bin --ckpt-path runs/tinystories
"""

if __name__ == "__main__":
    raise SystemExit(main())
