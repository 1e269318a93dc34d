"""Training: `python -m lm.train --train-bin train.bin --valid-bin valid.bin`.

Takes the reference project's command line as it stands, with hyphens or underscores. The run folder holds, at
the end, config.toml, metrics.jsonl, checkpoints/, loss_curve.png, ppl_curve.png, samples/ and tokenizer/.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from lm.cli import Parser, clear_errors, leave, load_torch
from lm.config import FIELDS, Config, ConfigError, Values, fault, from_values, layers, read_toml, resolve
from lm.flags import add_flags
from lm.folders import CheckpointError, run_folder, steps
from lm.outputs import OVERWRITE, OutputError, check_new_run, same

DESCRIPTION = """Train a Transformer language model on a token file. Settings that are not given come from
--preset; without it, from `reference` if --cosine-cycle-iters is given (the reference project's
command line, which then repeats its run), else from `default`. Flags may be spelled with _ as with -."""
RESUME = "continue from the newest checkpoint; `auto` falls back to an older one, or to the beginning"
USAGE = "%(prog)s --train-bin FILE --valid-bin FILE [settings]"


def make_parser(argv: Sequence[str] = ()) -> Parser:
    """Return the parser of the command, whose help shows the defaults of a command line."""
    parser = Parser("python -m lm.train", description=DESCRIPTION, usage=USAGE)
    parser.add_argument("--resume", nargs="?", const="strict", choices=("strict", "auto"), help=RESUME)
    parser.add_argument("--overwrite", action="store_true", help=OVERWRITE)
    parser.add_argument("--check", action="store_true", help="only test the device, then leave")
    add_flags(parser, argv)
    return parser


def settle(given: Values, preset: str | None, file: str | None, resume: str | None) -> tuple[Config, str]:
    """Return the settings of the run and a line that says where they come from.

    A resumed run starts from its own settings instead of a preset's; the vocabulary size, if nobody gives it,
    is that of the token file's sidecar.
    """
    saved = run_folder(given.get("ckpt_path", "runs/default")) / "config.toml"
    base, chosen, name = layers(given, preset, file)
    if resume and saved.exists():
        planned = read_toml(saved)
        if all(FIELDS[key][0] == "model" for key in planned):  # of an import: its shape alone
            return from_values(base | planned | chosen), f"preset {name}, the model of {saved}"
        return from_values(planned | (base if preset else {}) | chosen), f"from {saved}"
    take_vocab_size(chosen)
    note = f"preset {name}"
    if name == "reference" and preset is None and "cosine_cycle_iters" in given:
        note += " (--cosine-cycle-iters); `--preset default` learns more"
    return from_values(base | chosen), note


def take_vocab_size(chosen: Values) -> None:
    """Add the vocabulary size of the token file's sidecar, if nobody has given one."""
    given = chosen.get("train_bin")
    if "vocab_size" in chosen or not given or fault(FIELDS["train_bin"][1], given):
        return
    from lm.token_files import vocab_size_of

    if size := vocab_size_of(given):
        chosen["vocab_size"] = size


def train(
    config: Config, source: str = "given", *, resume: str | None = None, overwrite: bool = False
) -> Path:
    """Train as configured and return the run folder; see `training.train`.

    What can be checked without torch is checked first, and nothing is written before.

    Raises:
        OutputError: The folder holds something that would be lost.
        UserError: Bad settings, data or checkpoint.
        SystemExit: Stopped by a signal (130, 143), diverged or not fully saved (1).
    """
    run, data = run_folder(config.run.ckpt_path), config.data
    if data.train_bin is None or data.valid_bin is None:
        raise ConfigError("give both `--train-bin` and `--valid-bin`")
    if not steps(run) or resume is None:
        CheckpointError.unless(resume != "strict", f"no checkpoint in {run}; `--resume auto` begins anew")
        check_new_run(run, read_files(config), overwrite=overwrite or resume is not None)
    load_torch()
    from lm.training import train

    return train(config, source, resume=resume, overwrite=overwrite)


def read_files(config: Config) -> list[Path]:
    """Return the files and folders that a run reads."""
    from lm.token_files import find_files

    data = config.data
    files = [path for given in (data.train_bin, data.valid_bin) if given for path in find_files(given)]
    return files + ([Path(data.tokenizer)] if data.tokenizer else [])


def check_device(config: Config) -> None:
    """Test the device and print what was found."""
    load_torch()
    from lm.devices import pick_device, self_test

    print(*self_test(config.model, config.optim, pick_device(config.run.device)), sep="\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(sys.argv[1:] if argv is None else argv)
    given = vars(parser.parse_args(argv))
    own = {name: given.pop(name) for name in ("config", "preset", "resume", "overwrite", "check")}
    with clear_errors(parser.prog):
        if own["check"]:
            check_device(resolve(given, own["preset"], own["config"])[0])
            return 0
        config, source = settle(given, own["preset"], own["config"], own["resume"])
        written = run_folder(config.run.ckpt_path) / "config.toml"
        if own["config"] and not own["resume"] and same(written, Path(own["config"])):
            raise OutputError(f"{written} is read and would be written over; give another `--ckpt-path`")
        train(config, source, resume=own["resume"], overwrite=own["overwrite"])
    return 0


if __name__ == "__main__":
    leave(main)
