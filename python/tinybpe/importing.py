"""The command `tinybpe import`: a tokenizer of another library becomes a directory of its own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinybpe.cli import TOKENIZER_FILES, add_overwrite, add_quiet, say, suggest
from tinybpe.errors import PatternError, SpecialTokenError
from tinybpe.flags import not_stdout
from tinybpe.outputs import refuse_read
from tinybpe.patterns import PATTERNS
from tinybpe.progress import format_count
from tinybpe.tokenizer import Tokenizer


def add_commands(commands: Any) -> None:
    """Add the command to the parser of the command line."""
    parser = commands.add_parser("import", help="read a tokenizer of another library, write a directory")
    parser.add_argument(
        "file",
        metavar="FILE",
        help="tokenizer.json, tiktoken's ranks, tekken.json, SentencePiece's .model, GGUF, or a directory",
    )
    parser.add_argument(
        "--out", type=not_stdout, required=True, metavar="DIR", help="the tokenizer directory to write"
    )
    parser.add_argument(
        "--family", metavar="NAME", help="for ranks: brings pattern and special tokens, such as llama3"
    )
    parser.add_argument(
        "--pattern", action="append", help=f"for ranks: {', '.join(PATTERNS)} or a regex; several in turn"
    )
    parser.add_argument(
        "--special",
        dest="special_tokens",
        action="append",
        default=[],
        metavar="TOKEN",
        help="for ranks: a special token; once for each",
    )
    add_overwrite(parser, "another tokenizer in DIR")
    add_quiet(parser)
    parser.set_defaults(run=run_import, usage_errors=(PatternError, SpecialTokenError))


def run_import(arguments: argparse.Namespace) -> None:
    """`tinybpe import`."""
    patterns: list[str] | None = arguments.pattern
    tokenizer = Tokenizer.load(
        arguments.file,
        family=arguments.family,
        pattern=patterns[0] if patterns and len(patterns) == 1 else patterns,
        special_tokens=arguments.special_tokens,
    )
    for name in TOKENIZER_FILES:
        refuse_read(Path(arguments.out) / name, tokenizer.files)
    tokenizer.save(arguments.out, overwrite=arguments.overwrite)
    specials = format_count(len(tokenizer.special_tokens), "special token")
    say(arguments, f"{arguments.out}: {format_count(tokenizer.vocab_size, 'id')}, {specials}")
    suggest(arguments, "tinybpe", "info", arguments.out)
