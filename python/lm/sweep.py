"""Rate and batch size at a fixed number of tokens.

    python -m lm.sweep --rates 1e-3 3e-3 --batches 16 32 --tokens 1e6 --train-bin t.bin --valid-bin v.bin

Each pair is a run of its own, its warmup and decay scaled to its number of steps, judged on the whole
validation file; other settings are those of `lm.train`. Muon's rate and `--min-lr` keep their proportion
to `--lr`. Runs that are done are not done again, one that broke off is continued.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lm.cli import Parser, clear_errors, load_torch
from lm.config import Config, ConfigError, Values, differences, flag, from_values, layers, read_toml
from lm.flags import add_flags
from lm.folders import replace_file
from lm.outputs import OVERWRITE, OutputError
from lm.plot import picture, read_metrics, series
from lm.runlog import brief, counted, duration, say
from lm.train import take_vocab_size, train

Pair = tuple[float, int]  # learning rate, batch size
Losses = dict[Pair, float]
USAGE = """%(prog)s --rates RATE ... --batches N ... --tokens N
       --train-bin FILE --valid-bin FILE [settings]"""
DESCRIPTION = """Train a model for each learning rate and batch size, with the same number of tokens, and
compare their losses. Runs that are done are not done again, one that broke off is continued."""
# Settings that may differ from those of a run that was begun: results do not depend on them.
FREE = (
    "ckpt_path:",
    "device:",
    "threads:",
    "compile:",
    "tensorboard:",
    "keep_last:",
    "log_every:",
    "tokenizer:",
)


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


def trained_s(config: Config) -> float:
    """Return the seconds a run was trained, 0 if it never logged."""
    rows = read_metrics(Path(config.run.ckpt_path) / "metrics.jsonl")
    return max(series(rows, "elapsed_s")[1], default=0.0)


def draw_sweep(path: Path, losses: Losses, tokens: float) -> None:
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


def write_tables(out: Path, losses: Losses, seconds: Mapping[Pair, float]) -> None:
    """Write the losses as sweep.csv, a row for each run, and as sweep.md, a table of rates and batches."""
    rows = ["rate,batch,whole_valid_loss,elapsed_s"]
    for (rate, batch), loss in losses.items():
        rows.append(f"{rate:g},{batch},{loss:.6f},{seconds[rate, batch]:.1f}")
    replace_file(out / "sweep.csv", "\n".join([*rows, ""]).encode())
    rates, batches = (list(dict.fromkeys(values)) for values in zip(*losses, strict=True))
    lines = ["| rate |" + "".join(f" batch {batch} |" for batch in batches), "|---|" + "---|" * len(batches)]
    lines += [f"| {r:g} |" + "".join(f" {losses[r, batch]:.4f} |" for batch in batches) for r in rates]
    replace_file(out / "sweep.md", "\n".join([*lines, ""]).encode())


def check_kept(out: Path, runs: Mapping[Pair, Config]) -> None:
    """Raise OutputError if a folder holds runs of other settings, or a table with rows that would be lost."""
    for config in runs.values():
        run = Path(config.run.ckpt_path)
        if (run / "config.toml").exists():
            before = from_values(read_toml(run / "config.toml")).flat()
            if changed := [line for line in differences(before, config.flat()) if not line.startswith(FREE)]:
                raise OutputError(
                    f"{run} is a run of other settings ({'; '.join(changed)}): "
                    "give another `--out`, or `--overwrite`"
                )
    table = out / "sweep.csv"
    told = [line.split(",")[:2] for line in table.read_text().splitlines()[1:]] if table.exists() else []
    made = [[f"{rate:g}", str(batch)] for rate, batch in runs]
    if lost := [f"rate {row[0]}, batch {row[-1]}" for row in told if row not in made]:
        raise OutputError(
            f"{table} has results that this sweep has not ({'; '.join(lost)}): "
            "add these, give another `--out`, or `--overwrite`"
        )


def train_one(config: Config, *, overwrite: bool) -> float:
    """Train a run if it is not done, showing progress alone; return its loss, infinite if it diverged."""
    if overwrite or whole_loss(config) is None:
        try:
            with brief():
                train(config, "lm.sweep", resume=None if overwrite else "auto", overwrite=overwrite)
        except SystemExit as stop:
            if stop.code != 1:  # a signal; else this rate diverged, which others need not
                say("the same lm.sweep goes on where this one was stopped")
                raise
    loss = whole_loss(config)
    return math.inf if loss is None else loss


def make_parser(argv: Sequence[str] = ()) -> Parser:
    """Return the parser of the command, whose help shows the defaults of a command line."""
    parser = Parser("python -m lm.sweep", description=DESCRIPTION, usage=USAGE)
    add = parser.add_argument
    add("--rates", nargs="+", type=float, required=True, metavar="RATE", help="values of `--lr`")
    add("--batches", nargs="+", type=int, required=True, metavar="N", help="windows in a step")
    add("--tokens", type=float, required=True, help="training tokens of each run, such as 1e6")
    add("--out", default="runs/sweep", help="folder of runs, tables and picture")
    add("--overwrite", action="store_true", help=OVERWRITE)
    add_flags(parser, argv)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(sys.argv[1:] if argv is None else argv)
    given = vars(parser.parse_args(argv))
    own = ("rates", "batches", "tokens", "out", "config", "preset", "overwrite")
    rates, batches, tokens, folder, file, preset, overwrite = (given.pop(name) for name in own)
    with clear_errors(parser.prog):
        for name in {"lr", "batch_size", "max_iters", "ckpt_path"} & given.keys():
            raise ConfigError(f"`{flag(name)}` follows from `--rates`, `--batches`, `--tokens`, `--out`")
        base, chosen, _ = layers(given, preset, file)
        take_vocab_size(chosen)
        out = Path(folder)
        pairs = [(rate, batch) for batch in batches for rate in rates]
        runs = {pair: configure({**base, **chosen}, *pair, tokens, out) for pair in pairs}
        if not overwrite:
            check_kept(out, runs)
        load_torch()
        losses: Losses = {}
        seconds: dict[Pair, float] = {}
        for number, ((rate, batch), config) in enumerate(runs.items(), 1):
            what = f"run {number} of {len(runs)}: rate {rate:g}, batch {batch}"
            say(f"{what}, {counted(config.run.max_iters, 'step')} ...")
            losses[rate, batch] = train_one(config, overwrite=overwrite)
            seconds[rate, batch] = trained_s(config)
            say(f"{what}: loss {losses[rate, batch]:.4f} in {duration(seconds[rate, batch])}")
        show(losses)
        write_tables(out, losses, seconds)
        draw_sweep(out / "sweep.png", losses, tokens)
        say("\n".join(str(out / name) for name in ("sweep.png", "sweep.csv", "sweep.md")))
    return 0


def show(losses: Losses) -> None:
    """Print the losses as a table, and the lowest."""
    rates, batches = (list(dict.fromkeys(values)) for values in zip(*losses, strict=True))
    say("\n" + "rate".rjust(9) + "".join(f"{f'batch {batch}':>12}" for batch in batches))
    for rate in rates:
        say(f"{rate:9g}" + "".join(f"{losses[rate, batch]:12.4f}" for batch in batches))
    rate, batch = min(losses, key=lambda pair: losses[pair])
    say(f"lowest: {losses[rate, batch]:.4f} at rate {rate:g}, batch {batch}")


if __name__ == "__main__":
    raise SystemExit(main())
