"""The commands that show something and write nothing: `info`, `tokens`, `count`.

Each prints for eyes on a terminal, and for programs where its output is redirected: fields between tabs with
a line of names above, numbers without separators.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tinybpe.cli import (
    add_form,
    add_inputs,
    add_quiet,
    add_threads,
    check_same_tokenizer,
    input_files,
    printable,
    suggest,
    wants_progress,
)
from tinybpe.corpus import STDIO
from tinybpe.describe import steps
from tinybpe.errors import TokenFileError
from tinybpe.summary import table
from tinybpe.token_file import FORMAT, FileCount, TokenFileInfo, open_ids, sidecar_path
from tinybpe.tokenizer import END_OF_TEXT, Tokenizer

# Of `.npy` and of llm.c's two versions, as the first bytes of a file.
MAGIC = (b"\x93NUMPY", struct.pack("<I", 20240520), struct.pack("<I", 20240801))
TOKEN_FILE_ENDINGS = (".bin", ".npy", ".ds")
TOKENIZER_ENDINGS = (".model", ".tiktoken")
SIDECAR_BYTES = 1 << 16
JSON_START_BYTES = 64
SHOWN_CHARACTERS = 300
FIRST_IDS = 1 << 16


def add_commands(commands: Any) -> None:
    """Add the commands to the parser of the command line."""
    info = commands.add_parser("info", help="show what a tokenizer or a token file is")
    add_inputs(info, "a tokenizer or token files; with --tok also text, to measure it", required=False)
    info.add_argument(
        "--tok", metavar="DIR", help="the tokenizer: decodes the start of a token file, measures text"
    )
    add_form(info)
    info.add_argument(
        "--verify", action="store_true", help="read all ids of the token files and compare their checksum"
    )
    info.add_argument("--json", action="store_true", help="print JSON")
    info.add_argument(
        "--longest", type=int, default=10, metavar="N", help="longest tokens shown (default: 10)"
    )
    add_quiet(info)
    info.set_defaults(run=run_info)

    tokens = commands.add_parser("tokens", help="show the ids and pieces of a text")
    tokens.add_argument("text", nargs="*", metavar="TEXT", help="one text, in quotes; - is standard input")
    add_required_tokenizer(tokens)
    tokens.add_argument("--ordinary", action="store_true", help="take special tokens in the text as text")
    tokens.set_defaults(run=run_tokens, parser=tokens, quiet=False)

    count = commands.add_parser("count", help="count the tokens of text files, without writing them")
    add_required_tokenizer(count)
    add_inputs(count, "text files; - is standard input; .gz and .zst are decompressed")
    add_form(count)
    count.add_argument(
        "--end-of-document",
        metavar="TOKEN",
        help=f"special token that ends documents (default: {END_OF_TEXT}, or the only one); '' for none",
    )
    count.add_argument(
        "--ordinary",
        action=argparse.BooleanOptionalAction,
        help="take special tokens in the text as text (default: with --field and --column)",
    )
    add_threads(count)
    count.set_defaults(run=run_count)


def add_required_tokenizer(parser: argparse.ArgumentParser) -> None:
    """Add the tokenizer to use."""
    parser.add_argument("--tok", required=True, metavar="DIR", help="a tokenizer directory or tokenizer.json")


# --- count --------------------------------------------------------------------------------------------------


def run_count(arguments: argparse.Namespace) -> None:
    """`tinybpe count`."""
    files = input_files(arguments)
    counts = Tokenizer.load(arguments.tok).count_files(
        files,
        field=arguments.field,
        column=arguments.column,
        end_of_document=arguments.end_of_document,
        ordinary=arguments.ordinary,
        num_threads=arguments.num_threads,
        progress=wants_progress(arguments),
    )
    if len(counts) > 1:
        counts.append(total(counts))
    names = ("tokens", "documents", "bytes", "bytes per token", "file")
    print_table(names, [count_row(count) for count in counts])


def total(counts: Sequence[FileCount]) -> FileCount:
    """Add counts up, under the name `total`."""
    return FileCount(
        path="total",
        num_tokens=sum(count.num_tokens for count in counts),
        num_documents=sum(count.num_documents for count in counts),
        num_bytes=sum(count.num_bytes for count in counts),
    )


def count_row(count: FileCount | TokenFileInfo) -> list[int | float | str]:
    """Return the numbers of a file as a row of a table."""
    ratio = count.num_bytes / count.num_tokens if count.num_tokens else 0.0
    return [count.num_tokens, count.num_documents, count.num_bytes, ratio, str(count.path)]


def print_table(names: Sequence[str], rows: Iterable[Sequence[int | float | str]]) -> None:
    """Print rows, the last column text: aligned on a terminal, else between tabs."""
    for_eyes = sys.stdout.isatty()

    def shown(value: int | float | str) -> str:
        if isinstance(value, float):
            return f"{value:.3f}"
        if isinstance(value, int):
            return f"{value:,}" if for_eyes else str(value)
        return printable(value)

    lines = [list(names), *(list(map(shown, row)) for row in rows)]
    if not for_eyes:
        for line in lines:
            print("\t".join(line))
        return
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for *numbers, text in lines:
        aligned = [number.rjust(width) for number, width in zip(numbers, widths, strict=False)]
        print("  ".join([*aligned, text]))


# --- tokens -------------------------------------------------------------------------------------------------


def run_tokens(arguments: argparse.Namespace) -> None:
    """`tinybpe tokens`."""
    if len(arguments.text) > 1:
        arguments.parser.error(f"{len(arguments.text)} texts: put one in quotes, 'like this'")
    if not arguments.text and sys.stdin.isatty():
        arguments.parser.error("no text: give it in quotes, or pipe it in")
    if arguments.text and arguments.text[0] != STDIO:
        text = os.fsencode(arguments.text[0])
    else:
        text = sys.stdin.buffer.read()
    tokenizer = Tokenizer.load(arguments.tok)
    ids = tokenizer.encode_ordinary(text) if arguments.ordinary else None
    ids = tokenizer.encode(text, allowed_special="all") if ids is None else ids
    print_table(("id", "piece"), ((i, piece(tokenizer.token_bytes(i))) for i in ids))


def piece(token: bytes) -> str:
    r"""Spell a token as a literal of Python: a `str` where it is one, else bytes.

    Example:
        >>> print(piece(b" low"), piece("é".encode()), piece(b"\xc3"), piece(b"\n"))
        ' low' 'é' b'\xc3' '\n'
    """
    try:
        return repr(token.decode())
    except UnicodeDecodeError:
        return repr(token)


# --- info ---------------------------------------------------------------------------------------------------


def run_info(arguments: argparse.Namespace) -> None:
    """`tinybpe info`: what each file is decides what is shown."""
    files = input_files(arguments)
    if arguments.tok is None and files and is_tokenizer(files[0]):
        arguments.tok = files.pop(0)
    token_files = [file for file in files if is_token_file(file)]
    texts = [file for file in files if file not in token_files]
    if not files and arguments.tok is None:
        arguments.parser.error("nothing to show: give a tokenizer or a token file")
    if texts and arguments.tok is None:
        if texts[0] != STDIO:
            Path(texts[0]).stat()  # so that a wrong name is told as such
        arguments.parser.error(f"{texts[0]} is no tokenizer and no token file: give --tok to measure text")
    if token_files and texts:
        arguments.parser.error(f"{token_files[0]} is a token file and {texts[0]} is not: give one kind")
    if arguments.verify and not token_files:
        arguments.parser.error("--verify is for token files: give one")
    tokenizer = Tokenizer.load(arguments.tok) if arguments.tok is not None else None
    if token_files:
        show_token_files(arguments, token_files, tokenizer)
    else:
        assert tokenizer is not None
        show_tokenizer(arguments, tokenizer, texts)


def is_tokenizer(path: str) -> bool:
    """Return whether a path is a folder, or a file that begins or is called as tokenizers are."""
    if path == STDIO or not Path(path).is_file():
        return Path(path).is_dir()
    with Path(path).open("rb") as opened:
        start = opened.read(JSON_START_BYTES)
    return start.lstrip().startswith((b"{", b"GGUF")) or path.endswith(TOKENIZER_ENDINGS)


def is_token_file(path: str) -> bool:
    """Return whether a file holds ids: its sidecar says so, else its first bytes or its name."""
    file = Path(path)
    if path == STDIO or not file.is_file():
        return False
    sidecar = sidecar_path(file)
    if sidecar.is_file():
        with sidecar.open("rb") as opened:
            if FORMAT.encode() in opened.read(SIDECAR_BYTES):
                return True
    with file.open("rb") as opened:
        return opened.read(8).startswith(MAGIC) or path.endswith(TOKEN_FILE_ENDINGS)


def show_token_files(
    arguments: argparse.Namespace, files: Sequence[str], tokenizer: Tokenizer | None
) -> None:
    """Show one token file in full, or the numbers of several and their sums."""
    if len(files) == 1:
        show_facts(arguments, token_file_facts(arguments, files[0], tokenizer))
        return
    infos = [TokenFileInfo.read(file, verify=arguments.verify) for file in files]
    if tokenizer is not None:
        for file in files:
            check_same_tokenizer(file, arguments.tok, tokenizer)
    if arguments.json:
        print(json.dumps([sidecar_facts(info) for info in infos], indent=2))
        return
    sums = TokenFileInfo.of_set("total", infos)
    names = ("tokens", "documents", "bytes", "bytes per token", "file")
    print_table(names, [count_row(info) for info in (*infos, sums)])


def token_file_facts(arguments: argparse.Namespace, file: str, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """Return what there is to say of a token file; with its tokenizer also the text of its first document."""
    if sidecar_path(Path(file)).exists():
        info = TokenFileInfo.read(file, verify=arguments.verify)
        facts = sidecar_facts(info)
        end = info.end_of_document
        if arguments.verify:
            facts["checksum"] = "verified"
        if tokenizer is not None:
            check_same_tokenizer(file, arguments.tok, tokenizer)
    elif arguments.verify:
        raise TokenFileError(f"{file}: has no {Path(file).name}.json beside it, so no checksum to verify")
    else:
        ids = open_ids(file)
        facts = {"path": file, "dtype": str(ids.dtype), "num_tokens": len(ids), "sidecar": None}
        end = END_OF_TEXT
    if tokenizer is not None:
        ids = open_ids(file)[:FIRST_IDS]
        end_id = tokenizer.special_tokens.get(end) if end else None
        first = next((at for at, i in enumerate(ids.tolist()) if i == end_id), len(ids))
        text = tokenizer.decode(ids[:first])
        facts["first_document"] = text[:SHOWN_CHARACTERS] + ("..." if len(text) > SHOWN_CHARACTERS else "")
    return facts


def sidecar_facts(info: TokenFileInfo) -> dict[str, Any]:
    """Return what a sidecar says, in the order in which it is shown."""
    return {
        "path": str(info.path),
        "layout": info.layout,
        "dtype": info.dtype,
        "num_tokens": info.num_tokens,
        "num_documents": info.num_documents,
        "num_bytes": info.num_bytes,
        "bytes_per_token": info.num_bytes / info.num_tokens if info.num_tokens else None,
        "end_of_document": info.end_of_document,
        "vocab_size": info.vocab_size,
        "tokenizer_sha256": info.tokenizer_sha256,
        "sources": [{"path": name, "num_bytes": size} for name, size in info.sources],
    }


def show_tokenizer(arguments: argparse.Namespace, tokenizer: Tokenizer, texts: list[str]) -> None:
    """Show a tokenizer, and how many bytes of the texts a token has."""
    specials = tokenizer.special_tokens
    added = {*specials.values(), *tokenizer.added_tokens.values()}
    ordinary = [token for token_id, token in tokenizer.vocab.items() if token_id not in added]
    longest = sorted(ordinary, key=lambda token: (-len(token), token))[: max(0, arguments.longest)]
    facts: dict[str, Any] = {
        "path": arguments.tok,
        "vocab_size": tokenizer.vocab_size,
        "num_merges": len(tokenizer.merges),
        "pattern": tokenizer.pattern,
        "compiled": "yes" if (reason := tokenizer.pattern_not_compiled) is None else f"no: {reason}",
        **steps(tokenizer),
        "special_tokens": specials,
        "longest_tokens": [token.decode("utf-8", "backslashreplace") for token in longest],
        "sha256": tokenizer.sha256,
    }
    if texts:
        form = {"field": arguments.field, "column": arguments.column}
        counted = total(tokenizer.count_files(texts, **form, progress=wants_progress(arguments)))
        facts |= {"num_bytes": counted.num_bytes, "num_tokens": counted.num_tokens}
        facts["bytes_per_token"] = counted.num_bytes / counted.num_tokens if counted.num_tokens else None
    show_facts(arguments, facts)
    if not texts and not arguments.json:
        suggest(
            arguments, "tinybpe", "encode", "--tok", arguments.tok, "--input", "FILE", "--output", "x.bin"
        )


def show_facts(arguments: argparse.Namespace, facts: dict[str, Any]) -> None:
    """Print facts, a line each, or all as JSON."""
    if arguments.json:
        print(json.dumps(facts, indent=2))
        return
    print(table((name.replace("_", " "), fact(name, value)) for name, value in facts.items()))


def fact(name: str, value: Any) -> list[str]:
    """Write one fact for people, in words that may stand on lines of their own."""
    if value is None:
        return ["no text" if name == "bytes_per_token" else "none"]
    if name == "longest_tokens":
        # `repr`, so that no token's control characters reach the terminal.
        items = [repr(token) for token in value]
    elif name in ("special_tokens", "tokens_in_every_text"):
        items = [f"{token!r} = {token_id}" for token, token_id in value.items()]
    elif name == "sources":
        items = [f"{source['path']} ({source['num_bytes']:,} bytes)" for source in value]
    elif name == "first_document":
        items = [repr(value)]
    elif isinstance(value, float):
        items = [f"{value:.3f}"]
    else:
        items = [f"{value:,}" if isinstance(value, int) else str(value)]
    return [printable(item) for item in items] or ["none"]
