"""The parts of the first minute: text, tokens, and settings for the time there is."""

import shutil
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch
from tinybpe import Tokenizer

from lm import stories
from lm.config import PRESETS, Config, Values, from_values, read_toml
from lm.devices import pick_device, synchronize
from lm.runlog import say
from lm.trainer import Trainer

# Chosen so that, on two slow cores, names and things are remembered through a story: two layers make more
# steps in the time than four, and short windows need only fast rotations.
SMALL: Values = {
    "vocab_size": 1024, "context_length": 160, "d_model": 128, "num_layers": 2, "num_heads": 4, "d_ff": 384,
    "rope_theta": 1000.0, "init": "torch", "tie_embeddings": False, "qk_norm": False, "lr": 6e-3,
    "muon_lr": 0.01, "batch_size": 8, "log_every": 10, "eval_iters": 16, "keep_last": 1,
}  # fmt: skip


def remove_made(run: Path) -> None:
    """Remove what an earlier call has made in a run folder, and nothing else in it."""
    for split in ("train", "valid"):
        for suffix in (".txt", ".bin", ".bin.json"):
            (run / "data" / f"{split}{suffix}").unlink(missing_ok=True)
    shutil.rmtree(run / "tokenizer", ignore_errors=True)


def take_text(folder: Path, work: Path, num_bytes: int) -> tuple[Path, Path]:
    """Return training and validation text, in the folder `work`: of TinyStories, or synthetic stories."""
    sources = [folder / f"TinyStoriesV2-GPT4-{split}.txt" for split in ("train", "valid")]
    work.mkdir(parents=True, exist_ok=True)
    taken = work / "train.txt", work / "valid.txt"
    if all(source.exists() for source in sources):
        say(f"text      the first {num_bytes / 1e6:.0f} MB of {sources[0]}")
        for source, target, size in zip(sources, taken, (num_bytes, num_bytes // 20), strict=True):
            with source.open("rb") as file:
                head = file.read(size)
            whole, end, _ = head.rpartition(stories.END_OF_TEXT.encode())
            target.write_bytes(whole + end + b"\n" if end else head)
    else:
        say(f"text      synthetic stories: there is no {sources[0]}")
        for seed, (target, size) in enumerate(zip(taken, (num_bytes // 4, num_bytes // 80), strict=True)):
            stories.write(target, size, seed)
    return taken


def make_tokens(texts: Sequence[Path], run: Path) -> list[Path]:
    """Train a tokenizer and save it in the run folder, encode both texts, return the token files."""
    started_s = time.monotonic()
    options = {"vocab_size": SMALL["vocab_size"], "special_tokens": [stories.END_OF_TEXT]}
    tokenizer = Tokenizer.train([texts[0]], **options)
    tokenizer.save(run / "tokenizer")
    files = [text.with_suffix(".bin") for text in texts]
    for text, file in zip(texts, files, strict=True):
        tokenizer.encode_file([text], file)
    ratio = texts[0].stat().st_size / (files[0].stat().st_size / 2)
    took = f"trained, and the text encoded, in {time.monotonic() - started_s:.1f} s"
    say(f"tokenizer {tokenizer.vocab_size:,} tokens of {ratio:.2f} bytes; {took}")
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
    values |= {"tokenizer": str(run / "tokenizer"), "threads": args.threads}
    trial = from_values(values)
    steps = min(MOST_STEPS, max(20, round(args.minutes * 60 / seconds_per_step(trial, run))))
    rest = {"max_iters": steps, "eval_every": -(-steps // 4), "threads": trial.run.threads}
    return from_values({**values, **rest})
