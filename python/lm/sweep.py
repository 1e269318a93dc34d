"""Rate and batch size at a fixed number of tokens.

    python -m lm.sweep --rates 1e-3 3e-3 --batches 16 32 --tokens 1e6 --train-bin t.bin --valid-bin v.bin

Each pair is a run of its own, its warmup and decay scaled to its number of steps, judged on the whole
validation file; other settings are those of `lm.train`. Muon's rate and `--min-lr` keep their proportion to
`--lr`. Runs that are done are not done again, one that broke off is continued.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from lm.cli import Parser, clear_errors
from lm.config import Config, ConfigError, Values, add_flags, flag, from_values, layers
from lm.plot import picture, read_metrics, series
from lm.runlog import say
from lm.train import take_vocab_size, train


def configure(values: Values, rate: float, batch: int, tokens: float, out: Path) -> Config:
    """Return the settings of one run; ConfigError if, for example, there are no tokens for a step."""
    standard = from_values({**values, "batch_size": batch})
    optim, scale = standard.optim, rate / standard.optim.lr
    steps = round(tokens / (batch * standard.model.context_length))
    ConfigError.unless(steps > 0, f"`--tokens` {tokens:g} is less than one step of {batch} windows")
    assert optim.warmup_iters is not None
    assert optim.cosine_cycle_iters is not None
    changed: Values = {
        "lr": rate, "min_lr": optim.min_lr * scale, "muon_lr": optim.muon_lr * scale, "batch_size": batch,
        "max_iters": steps, "cosine_cycle_iters": steps, "eval_every": steps,
        "warmup_iters": round(optim.warmup_iters * steps / optim.cosine_cycle_iters),
        "ckpt_path": str(out / f"lr-{rate:g}-batch-{batch}"),
    }  # fmt: skip
    return from_values({**values, **changed})


def whole_loss(config: Config) -> float | None:
    """Return the loss of a finished run over the whole validation file, None if it is not there."""
    rows = read_metrics(Path(config.run.ckpt_path) / "metrics.jsonl")
    last = [row for row in rows if row["step"] == config.run.max_iters]
    return next(iter(series(last, "whole_valid_loss")[1]), None)


def draw_sweep(path: Path, losses: dict[tuple[float, int], float], tokens: float) -> None:
    """Draw the loss over the rate, a curve for each batch size."""
    title = f"Validation loss after {tokens:,.0f} tokens"
    with picture(path, title, "highest learning rate", "validation loss, nats per token") as axes:
        for batch in dict.fromkeys(batch for _, batch in losses):
            points = sorted((rate, loss) for (rate, b), loss in losses.items() if b == batch)
            diverged = ", ".join(f"{rate:g}" for rate, loss in points if not math.isfinite(loss))
            label = f"batch {batch}" + (f" (diverged at {diverged})" if diverged else "")
            (line,) = axes.plot(*zip(*points, strict=True), marker="o", label=label)
            for point in points:
                place = {"xytext": (0, 9), "textcoords": "offset points", "ha": "center", "fontsize": 8}
                box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
                if math.isfinite(point[1]):
                    axes.annotate(f"{point[1]:.3f}", point, color=line.get_color(), bbox=box, **place)
        axes.set_xscale("log")
        rates = sorted({rate for rate, _ in losses})
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.minorticks_off()
        axes.margins(0.06, 0.12)
        (rate, batch), lowest = min(losses.items(), key=lambda item: item[1])
        if math.isfinite(lowest):
            label = f"lowest: {lowest:.4f} at rate {rate:g}, batch {batch}"
            mark = {"marker": "*", "markersize": 14, "linestyle": "none", "markeredgecolor": "black"}
            axes.plot(rate, lowest, color="gold", label=label, **mark)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser("python -m lm.sweep", description=__doc__)
    add = parser.add_argument
    add("--rates", nargs="+", type=float, required=True, metavar="RATE", help="values of `--lr`")
    add("--batches", nargs="+", type=int, required=True, metavar="N", help="windows in a step")
    add("--tokens", type=float, required=True, help="training tokens of each run, such as 1e6")
    add("--out", default="runs/sweep", help="folder of runs, table and picture (default runs/sweep)")
    add_flags(parser)
    given = vars(parser.parse_args(argv))
    own = ("rates", "batches", "tokens", "out", "config", "preset")
    rates, batches, tokens, out, file, preset = (given.pop(name) for name in own)
    with clear_errors(parser.prog):
        for name in {"lr", "batch_size", "max_iters", "ckpt_path"} & given.keys():
            raise ConfigError(f"`{flag(name)}` follows from `--rates`, `--batches`, `--tokens`, `--out`")
        base, chosen, _ = layers(given, preset, file)
        take_vocab_size(chosen)
        pairs = [(rate, batch) for batch in batches for rate in rates]
        runs = {pair: configure({**base, **chosen}, *pair, tokens, Path(out)) for pair in pairs}
        losses: dict[tuple[float, int], float] = {}
        for (rate, batch), config in runs.items():
            number = f"{len(losses) + 1} of {len(runs)}"
            say(f"\nrun {number}: rate {rate:g}, batch {batch}, {config.run.max_iters} steps")
            if whole_loss(config) is None:
                try:
                    train(config, "lm.sweep", resume="auto")
                except SystemExit as stop:
                    if stop.code != 1:  # a signal; else this rate diverged, which others need not
                        raise
            losses[rate, batch] = whole_loss(config) or math.inf
        drawn = Path(out) / "sweep.png"
        draw_sweep(drawn, losses, tokens)
        say("\n" + "rate".rjust(9) + "".join(f"{f'batch {batch}':>12}" for batch in batches))
        for rate in rates:
            say(f"{rate:9g}" + "".join(f"{losses[rate, batch]:12.4f}" for batch in batches))
        rate, batch = min(losses, key=lambda pair: losses[pair])
        say(f"lowest: {losses[rate, batch]:.4f} at rate {rate:g}, batch {batch}\n{drawn}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
