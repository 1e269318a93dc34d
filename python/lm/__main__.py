"""The first minute: `python -m lm` goes from text to a story in one command.

Takes TinyStories from data/ if it is there, else stories made by `stories.py`; trains a tokenizer, encodes,
trains a small model for about two minutes (the number of steps follows from how long one takes here), and
tells a story.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lm import stories
from lm.cli import Parser, clear_errors
from lm.config import Config, ConfigError, from_values, read_preset
from lm.devices import pick_device, synchronize
from lm.generate import main as generate
from lm.runlog import duration, say
from lm.train import train
from lm.trainer import Trainer

# Chosen so that, on two slow cores, names and things are remembered through a story: two layers make more
# steps in the time than four, and short windows need only fast rotations.
SMALL: dict[str, Any] = {
    "vocab_size": 1024, "context_length": 160, "d_model": 128, "num_layers": 2, "num_heads": 4, "d_ff": 384,
    "rope_theta": 1000.0, "init": "torch", "tie_embeddings": False, "qk_norm": False, "lr": 6e-3,
    "muon_lr": 0.01, "batch_size": 8, "log_every": 10, "eval_iters": 16, "keep_last": 1,
}  # fmt: skip


def take_text(folder: Path, work: Path, num_bytes: int) -> tuple[Path, Path]:
    """Return training and validation text: the head of TinyStories, or synthetic stories."""
    train, valid = (folder / f"TinyStoriesV2-GPT4-{split}.txt" for split in ("train", "valid"))
    taken = work / "train.txt", work / "valid.txt"
    if train.exists() and valid.exists():
        say(f"text      {train}, its first {num_bytes / 1e6:.0f} MB, and {valid}")
        for source, target, size in ((train, taken[0], num_bytes), (valid, taken[1], num_bytes // 20)):
            with source.open("rb") as file:
                head = file.read(size)
            end = head.rfind(stories.END_OF_TEXT.encode())
            target.write_bytes(head[: end + len(stories.END_OF_TEXT)] + b"\n" if end > 0 else head)
        return taken
    say(f"text      synthetic stories from lm/stories.py, since {train} is not there")
    for seed, (target, size) in enumerate(zip(taken, (num_bytes // 4, num_bytes // 80), strict=True)):
        stories.write(target, size, seed)
    return taken


def make_tokens(texts: Sequence[Path], work: Path, vocab_size: int) -> list[Path]:
    """Train and save a tokenizer, encode both texts, return the token files."""
    try:
        from tinybpe import Tokenizer
    except ImportError as error:
        raise ConfigError([f"tinybpe is not installed: {error}"]) from None
    started_s = time.monotonic()
    tokenizer = Tokenizer.train([str(texts[0])], vocab_size=vocab_size, special_tokens=[stories.END_OF_TEXT])
    tokenizer.save(str(work / "tokenizer"))
    say(f"tokenizer {tokenizer.vocab_size:,} tokens, trained in {time.monotonic() - started_s:.1f}s")
    started_s = time.monotonic()
    files = [text.with_suffix(".bin") for text in texts]
    for text, file in zip(texts, files, strict=True):
        tokenizer.encode_file([str(text)], str(file))
    ratio = texts[0].stat().st_size / (files[0].stat().st_size / 2)
    say(f"encoding  {ratio:.2f} bytes per token, in {time.monotonic() - started_s:.1f}s")
    return files


def plan(texts: tuple[Path, Path], work: Path, run: Path, args: Any) -> Config:
    """Return the settings of the small run, its number of steps left open."""
    files = make_tokens(texts, work, SMALL["vocab_size"])
    values = {**read_preset("muon"), **SMALL, "ckpt_path": str(run), "seed": args.seed, "device": args.device}
    values |= {"train_bin": str(files[0]), "valid_bin": str(files[1]), "tokenizer": str(work / "tokenizer")}
    return from_values(values | {"threads": args.threads})


# Stories of the small model gain little after this (loss 0.30 after 800 steps, 0.28 after 2,200), and where
# the machine gets busy after its speed was measured, the run still ends in a few minutes.
MOST_STEPS = 1000


def seconds_per_step(config: Config, run: Path) -> float:
    """Return how long a step takes here; on CPU, leave the number of threads at what is faster, one or all.

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser("python -m lm", description="From text to a story in one command; see also lm.train.")
    parser.add_argument("--data", default="data", help="folder that may hold TinyStories (default data)")
    parser.add_argument(
        "--out", default="runs/first", help="folder for all that is made (default runs/first)"
    )
    parser.add_argument("--minutes", type=float, default=2.0, help="how long to train at most (default 2)")
    parser.add_argument("--megabytes", type=float, default=20.0, help="how much of TinyStories to take")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to torch")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    args = parser.parse_args(argv)
    with clear_errors(parser.prog):
        if not 0 < args.minutes < 1e6 or not 0 < args.megabytes < 1e6:
            raise ConfigError(["`--minutes` and `--megabytes` have to be more than 0"])
        started_s = time.monotonic()
        work = Path(args.out)
        work.mkdir(parents=True, exist_ok=True)
        texts = take_text(Path(args.data), work, int(args.megabytes * 1e6))
        run = work / "run"
        config = plan(texts, work, run, args)
        steps = min(MOST_STEPS, max(20, round(args.minutes * 60 / seconds_per_step(config, run))))
        values = {k: v for section in config.to_dict().values() for k, v in section.items()}
        values |= {
            "max_iters": steps,
            "eval_every": -(-steps // 4),
            "warmup_iters": None,
            "cosine_cycle_iters": None,
        }
        say(f"training  {steps} steps, at most about {duration(args.minutes * 60)}")
        train(from_values(values), "the preset muon, small", overwrite=True)
        say("\na story from the model:\n")
        generate(["--ckpt", str(run), "--max-tokens", "250", "--temperature", "0.6", "--seed", "1"])
        say(f"\ndone in {duration(time.monotonic() - started_s)}; the loss curve is {run / 'loss_curve.png'}")
        for line in NEXT.format(run=run, text="data/TinyStoriesV2-GPT4").strip().split("\n"):
            say(line)
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
