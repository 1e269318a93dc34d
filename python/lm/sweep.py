"""Rate and batch size at a fixed number of tokens.

    python -m lm.sweep --rates 1e-3 3e-3 --batches 16 32 --tokens 1e6 --train-bin t.bin --valid-bin v.bin

Each pair is a run of its own, its warmup and decay scaled to its number of steps, judged on the whole
validation file; other settings are those of `lm.train`. Muon's rate and `--min-lr` keep their proportion to
`--lr`. Runs that are done are not done again, one that broke off is continued.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm.cli import Parser, clear_errors
from lm.config import Config, ConfigError, add_flags, flag, from_values, layers, preset_names
from lm.plot import new_axes, read_metrics, save_picture, series
from lm.runlog import say
from lm.train import take_vocab_size, train


def configure(values: dict[str, Any], rate: float, batch: int, tokens: float, out: Path) -> Config:
    """Return the settings of one run.

    Raises:
        ConfigError: something does not fit, such as a batch of more tokens than there are.
    """
    standard = from_values({**values, "batch_size": batch})
    optim, scale = standard.optim, rate / standard.optim.lr
    steps = round(tokens / (batch * standard.model.context_length))
    if steps < 1:
        raise ConfigError([f"`--tokens` {tokens:g} is less than one step of {batch} windows"])
    assert optim.warmup_iters is not None
    assert optim.cosine_cycle_iters is not None
    changed: dict[str, Any] = {
        "lr": rate, "min_lr": optim.min_lr * scale, "muon_lr": optim.muon_lr * scale, "batch_size": batch,
        "max_iters": steps, "cosine_cycle_iters": steps, "eval_every": steps,
        "warmup_iters": round(optim.warmup_iters * steps / optim.cosine_cycle_iters),
        "ckpt_path": str(out / f"lr-{rate:g}-batch-{batch}"),
    }  # fmt: skip
    return from_values({**values, **changed})


def result(run: Path, steps: int) -> float | None:
    """Return the loss of a finished run over the whole validation file, None if it is not there."""
    rows = [row for row in read_metrics(run / "metrics.jsonl") if row["step"] == steps]
    return next(iter(series(rows, "whole_valid_loss")[1]), None)


def draw_sweep(path: Path, losses: dict[tuple[float, int], float], tokens: float) -> None:
    """Draw the loss over the rate, a curve for each batch size."""
    axes = new_axes(
        f"loss after {tokens:,.0f} tokens", "highest learning rate", "validation loss, nats per token"
    )
    for batch in dict.fromkeys(batch for _, batch in losses):
        points = sorted((rate, loss) for (rate, b), loss in losses.items() if b == batch)
        axes.plot(*zip(*points, strict=True), marker="o", label=f"batch {batch}")
    axes.set_xscale("log")
    save_picture(path, axes)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser("python -m lm.sweep", description=__doc__)
    parser.add_argument(
        "--rates", nargs="+", type=float, required=True, metavar="RATE", help="values of `--lr`"
    )
    parser.add_argument(
        "--batches", nargs="+", type=int, required=True, metavar="N", help="windows in a step"
    )
    parser.add_argument(
        "--tokens", type=float, required=True, help="training tokens of each run, such as 1e6"
    )
    parser.add_argument(
        "--out", default="runs/sweep", help="folder of runs, table and picture (default runs/sweep)"
    )
    parser.add_argument("--config", help="TOML file of settings")
    parser.add_argument("--preset", help=f"settings to start from: {', '.join(preset_names())}")
    add_flags(parser)
    given = vars(parser.parse_args(argv))
    own = {name: given.pop(name) for name in ("rates", "batches", "tokens", "out", "config", "preset")}
    with clear_errors(parser.prog):
        if fixed := [flag(name) for name in ("lr", "batch_size", "max_iters", "ckpt_path") if name in given]:
            raise ConfigError(
                [f"`{fixed[0]}` is what the sweep decides: `--rates`, `--batches`, `--tokens`, `--out`"]
            )
        base, chosen, _ = layers(given, own["preset"], own["config"])
        take_vocab_size(chosen)
        out, tokens = Path(own["out"]), own["tokens"]
        pairs = [(rate, batch) for batch in own["batches"] for rate in own["rates"]]
        runs = {pair: configure({**base, **chosen}, *pair, tokens, out) for pair in pairs}
        losses: dict[tuple[float, int], float] = {}
        for number, ((rate, batch), config) in enumerate(runs.items(), 1):
            run, steps = Path(config.run.ckpt_path), config.run.max_iters
            say(f"\nrun {number} of {len(runs)}: rate {rate:g}, batch {batch}, {steps} steps")
            if result(run, steps) is None:
                try:
                    train(config, "lm.sweep", resume="auto")
                except SystemExit as stop:
                    if stop.code != 1:  # a signal; else this rate diverged, which others need not
                        raise
            losses[rate, batch] = result(run, steps) or math.inf
        draw_sweep(out / "sweep.png", losses, tokens)
        say("\n" + "rate".rjust(9) + "".join(f"{f'batch {batch}':>12}" for batch in own["batches"]))
        for rate in own["rates"]:
            say(f"{rate:9g}" + "".join(f"{losses[rate, batch]:12.4f}" for batch in own["batches"]))
        best = min(losses, key=lambda pair: losses[pair])
        say(f"lowest: {losses[best]:.4f} at rate {best[0]:g}, batch {best[1]}\n{out / 'sweep.png'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
