"""Flags made from the settings, with the defaults of the preset that applies."""

import argparse
import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

from lm.config import SECTIONS, UserError, Values, field_types, flag, layers, preset_names


class OneOrMore(argparse.Action):
    """Keeps one value as it is, several as a list."""

    def __call__(self, _parser: Any, namespace: Any, values: Any, _option: str | None = None) -> None:
        """Store what was given."""
        setattr(namespace, self.dest, values if len(values) > 1 else values[0])


def presets_of(argv: Sequence[str]) -> tuple[Values, str]:
    """Return what `--preset`, `--config` and the rest of a command line begin from, and the preset's name.

    Of a command line that is wrong, this is the preset `default`: its faults are told later.
    """
    early = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    for name in ("--preset", "--config", "--cosine-cycle-iters"):
        early.add_argument(name, nargs="?")
    with contextlib.suppress(argparse.ArgumentError, UserError):
        known, _ = early.parse_known_args([arg.replace("_", "-") if arg[:2] == "--" else arg for arg in argv])
        given = {"cosine_cycle_iters": known.cosine_cycle_iters} if known.cosine_cycle_iters else {}
        base, chosen, name = layers(given, known.preset, known.config)
        return {key: value for key, value in {**base, **chosen}.items() if key not in given}, name
    base, _, name = layers({}, None, None)
    return base, name


def add_flags(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add `--config`, `--preset` and a flag for each field; of these, what is not given stays away.

    The help tells the defaults that apply to the command line `argv`.
    """
    values, applies = presets_of(argv)
    presets = f"settings to start from: {', '.join(preset_names())} (default {applies})"
    parser.add_argument("--config", help="TOML file of settings; flags win over it, it wins over the preset")
    parser.add_argument("--preset", help=presets)
    for section, cls in SECTIONS.items():
        group = parser.add_argument_group(section, cls.__doc__)
        for f in dataclasses.fields(cls):
            default = values.get(f.name, f.default)
            shown = str(default).lower() if isinstance(default, bool) else default
            doc = f.metadata["doc"] + ("" if default is None else f" (default {shown})")
            options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": doc.replace("%", "%%")}
            kind, choices = field_types(f)[0], f.metadata["choices"]
            if kind is bool:
                options["action"] = argparse.BooleanOptionalAction
            else:
                options |= {"type": kind, "choices": choices or None}
                if list[str] in field_types(f):
                    options |= {"nargs": "+", "action": OneOrMore}
                options["metavar"] = "|".join(choices) or kind.__name__.upper()
            group.add_argument(flag(f.name), **options)
