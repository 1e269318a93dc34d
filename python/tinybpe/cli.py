"""The command `tinybpe`: train, encode, decode, import, info, tokens, count, export.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 failed with one line that says why,
2 wrong usage (a flag, or the value of one), 130 stopped by Ctrl-C. Every command ends by printing the one to
run next. What is there already stays, unless it is what would be written or `--overwrite` is given; a file
that is read is never written.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from tinybpe.errors import (
    OutputError,
    PatternError,
    SpecialTokenError,
    TinyBPEError,
    TinyBPEWarning,
    TokenFileError,
)
from tinybpe.flags import Parser, not_stdout, parse_number
from tinybpe.outputs import STDIO, refuse_read, whole_file
from tinybpe.patterns import PATTERNS, Pattern
from tinybpe.progress import format_amount, format_count, format_rate
from tinybpe.summary import MOST_INPUTS, free_name, has_trainer, next_command, wrap
from tinybpe.token_file import HEADER_BYTES, ITEM_BYTES, TokenFileInfo, open_ids, sidecar_path
from tinybpe.tokenizer import END_OF_TEXT, Tokenizer, check_training
from tinybpe.vocab_sizes import VocabSizes, tokenizer_directories
from tinybpe.word_counts import WordCounts

READ_BYTES = 1 << 20
DECODE_IDS = 1 << 20
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tinybpe.json", "vocab.json", "merges.txt")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; wrong usage raises `SystemExit(2)`, as argparse does."""
    if hasattr(sys.stdout, "reconfigure"):  # a terminal that cannot show a character gets a question mark
        sys.stdout.reconfigure(errors="replace")
    try:
        arguments = build_parser().parse_args(hyphenate(sys.argv[1:] if argv is None else argv))
        with plain_warnings(arguments):
            arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("tinybpe: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has gone, as `| head` does; without this Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        return fail(f"{where}{error.strerror or arguments.parser.as_flags(str(error))}")
    except (TinyBPEError, TypeError, ValueError, MemoryError) as error:
        message = str(error) or type(error).__name__
        is_usage = arguments.parser.is_about_a_flag(message) or isinstance(error, arguments.usage_errors)
        return fail(arguments.parser.as_flags(message), 2 if is_usage else 1)
    return 0


def fail(message: str, code: int = 1) -> int:
    """Print one line on stderr and return the exit code."""
    print("tinybpe: error:", printable(" ".join(message.split("\n"))), file=sys.stderr)
    return code


def printable(text: str) -> str:
    """Escape what would drive a terminal: names and patterns in messages may come from a stranger's file."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


@contextmanager
def plain_warnings(arguments: argparse.Namespace) -> Iterator[None]:
    """Print each of our warnings as one line on stderr, or none."""
    show: Any = warnings.showwarning

    def print_line(message: Warning | str, category: type[Warning], *args: Any) -> None:
        if issubclass(category, TinyBPEWarning):
            print("tinybpe: warning:", printable(arguments.parser.as_flags(str(message))), file=sys.stderr)
        else:
            show(message, category, *args)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if arguments.quiet else "always", TinyBPEWarning)
        # Restored with the filters.
        warnings.__dict__["showwarning"] = print_line
        yield


# --- Arguments ----------------------------------------------------------------------------------------------


def hyphenate(argv: Sequence[str]) -> list[str]:
    """Spell long flags with hyphens: `--vocab_size=9` and `--vocab-size=9` are the same.

    Example:
        >>> hyphenate(["train", "--vocab_size=9", "my_file", "--", "--as_is"])
        ['train', '--vocab-size=9', 'my_file', '--', '--as_is']
    """
    spelled = list(argv)
    for index, argument in enumerate(spelled):
        if argument == "--":
            break
        if argument.startswith("--"):
            flag, equals, value = argument.partition("=")
            spelled[index] = flag.replace("_", "-") + equals + value
    return spelled


def build_parser() -> Parser:
    """Return the parser of the whole command line; flags are stored under the names of Python's arguments."""
    parser = Parser(
        prog="tinybpe",
        description="Byte-level BPE: train a tokenizer, turn text files into token files and back.",
    )
    parser.add_argument("--version", action=PrintVersion, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="learn a vocabulary from text files")
    add_inputs(train, "text files; - is standard input; .gz and .zst are decompressed")
    add_form(train)
    train.add_argument(
        "--vocab-size",
        nargs="+",
        action=VocabSizes,
        required=True,
        metavar="N",
        help="ids, special tokens too (10k: 10,000); several sizes from one training",
    )
    train.add_argument(
        "--out",
        type=not_stdout,
        required=True,
        metavar="DIR",
        help="the tokenizer directory to write; for several sizes DIR-N each",
    )
    add_overwrite(train, "another tokenizer in DIR")
    train.add_argument(
        "--special",
        dest="special_tokens",
        action="append",
        default=[],
        metavar="TOKEN",
        help=f"a special token, such as '{END_OF_TEXT}'; once for each",
    )
    train.add_argument(
        "--pattern",
        action="append",
        help=f"{', '.join(PATTERNS)} or a regex; given again, each splits the pieces of the one before "
        "(default: gpt2)",
    )
    train.add_argument(
        "--tie-break",
        choices=("bytes", "huggingface"),
        default="bytes",
        help="which of the most frequent pairs is merged (default: bytes)",
    )
    train.add_argument(
        "--max-memory", metavar="BYTES", help="limit for the table of distinct words, such as 2GB"
    )
    add_threads(train)
    train.set_defaults(run=run_train, usage_errors=(PatternError, SpecialTokenError))

    encode = commands.add_parser("encode", help="turn text files into token files")
    add_tokenizer(encode)
    add_inputs(encode, "text files, in this order; - is standard input; .gz and .zst are decompressed")
    add_form(encode)
    encode.add_argument(
        "--output", type=not_stdout, required=True, metavar="FILE", help="the token file, such as train.bin"
    )
    add_overwrite(encode, "files of another run")
    encode.add_argument(
        "--end-of-document",
        metavar="TOKEN",
        help=f"special token that ends documents (default: {END_OF_TEXT}, or the only one); '' for none",
    )
    encode.add_argument(
        "--ordinary",
        action=argparse.BooleanOptionalAction,
        help="take special tokens in the text as text (default: with --field and --column)",
    )
    encode.add_argument(
        "--format", choices=tuple(HEADER_BYTES), help="for which trainer (default: by name, else bin)"
    )
    encode.add_argument("--dtype", choices=tuple(ITEM_BYTES), help="of the ids (default: what fits)")
    encode.add_argument("--docs", action="store_true", help="also write FILE.docs, where documents end")
    encode.add_argument(
        "--shards", type=parse_number, metavar="N", help="write N files of about equal shares"
    )
    encode.add_argument(
        "--shard-tokens",
        type=parse_number,
        metavar="N",
        help="write files of at least N tokens each (100M: 100,000,000)",
    )
    encode.add_argument(
        "--resume", action="store_true", help="keep the whole shards of a run that was stopped, and go on"
    )
    add_threads(encode)
    encode.set_defaults(run=run_encode, usage_errors=(SpecialTokenError,))

    decode = commands.add_parser("decode", help="turn a token file back into text")
    add_tokenizer(decode)
    add_inputs(decode, "token files; - is standard input, with --dtype")
    decode.add_argument("--output", default=STDIO, metavar="FILE", help="default: standard output")
    add_overwrite(decode, "another file")
    decode.add_argument(
        "--dtype", choices=tuple(ITEM_BYTES), help="of the ids, if no sidecar or name says it"
    )
    add_quiet(decode)
    decode.set_defaults(run=run_decode)

    # Not imported above, since they take helpers from here.
    from tinybpe import importing, look

    importing.add_commands(commands)
    look.add_commands(commands)

    export = commands.add_parser("export", help="write a tokenizer for another library, and check it there")
    add_tokenizer(export)
    export.add_argument("--to", required=True, choices=("hf", "gpt2", "tiktoken"), help="the format")
    export.add_argument(
        "--out", type=not_stdout, required=True, metavar="PATH", help="a directory; for tiktoken a file"
    )
    add_overwrite(export, "other files")
    add_quiet(export)
    export.set_defaults(run=run_export)
    return parser


class PrintVersion(argparse.Action):
    """`--version`, looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        """Print the version and exit."""
        import tinybpe

        print(f"tinybpe {tinybpe.__version__}")
        parser.exit()


def add_inputs(parser: argparse.ArgumentParser, description: str, *, required: bool = True) -> None:
    """Add input files, which are given after `--input` or by position."""
    parser.add_argument("files", nargs="*", metavar="FILE", help=description)
    parser.add_argument("--input", nargs="+", action="extend", default=[], metavar="FILE", help="the same")
    parser.set_defaults(inputs_required=required)


def add_form(parser: argparse.ArgumentParser) -> None:
    """Add what the input files are, if not plain text."""
    parser.add_argument("--field", metavar="NAME", help="files are lines of JSON with the text in this field")
    parser.add_argument("--column", metavar="NAME", help="files are Parquet with the text in this column")


def add_tokenizer(parser: argparse.ArgumentParser) -> None:
    """Add the tokenizer to use."""
    parser.add_argument("--tok", required=True, metavar="DIR", help="a tokenizer directory or tokenizer.json")


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add the flags of long commands."""
    parser.add_argument(
        "--threads", "--num-threads", dest="num_threads", type=int, metavar="N", help="default: all cores"
    )
    add_quiet(parser)


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add `--quiet`, which every command has, and what else every command says of itself."""
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.set_defaults(parser=parser, usage_errors=())


def add_overwrite(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--overwrite`, which every command that writes has."""
    parser.add_argument("--overwrite", action="store_true", help=f"replace {what}; otherwise refused")


def input_files(arguments: argparse.Namespace) -> list[str]:
    """Return the input files of a command, by position or by flag."""
    files = [*arguments.files, *arguments.input]
    if not files and arguments.inputs_required:
        arguments.parser.error("no input: give files after --input; - is standard input")
    if files.count(STDIO) > 1:
        arguments.parser.error("standard input, -, is given twice")
    return files


# --- Commands -----------------------------------------------------------------------------------------------


def run_train(arguments: argparse.Namespace) -> None:
    """`tinybpe train`."""
    files = input_files(arguments)
    check_special_tokens(arguments, files)
    sizes = arguments.vocab_size
    directories = tokenizer_directories(arguments.out, sizes)
    for size, directory in zip(sizes, directories, strict=True):
        check_training(size, arguments.special_tokens, arguments.tie_break)
        check_tokenizer_directory(arguments, directory, size)
    started_at = time.monotonic()
    with spooled_stdin(files) as paths:
        tokenizer = Tokenizer.train(
            paths,
            vocab_size=max(sizes),
            special_tokens=arguments.special_tokens,
            pattern=pattern_of(arguments),
            tie_break=arguments.tie_break,
            num_threads=arguments.num_threads,
            max_memory=arguments.max_memory,
            field=arguments.field,
            column=arguments.column,
            progress=wants_progress(arguments),
        )
        num_bytes = sum(Path(path).stat().st_size for path in paths)
    source = "standard input" if files == [STDIO] else format_count(len(files), "file")
    # Each is made from the next larger one while that is written.
    with ThreadPoolExecutor(max_workers=1) as saver:
        made: dict[int, tuple[Tokenizer, Future[None]]] = {}
        for size, directory in sorted(zip(sizes, directories, strict=True), reverse=True):
            tokenizer = tokenizer.truncated(size) if made else tokenizer
            made[size] = tokenizer, saver.submit(tokenizer.save, directory, overwrite=arguments.overwrite)
    for size, directory in zip(sizes, directories, strict=True):
        tokenizer, saved = made[size]
        saved.result()
        say(
            arguments,
            f"{directory}: {tokenizer.vocab_size:,} ids, {format_count(len(tokenizer.merges), 'merge')} "
            f"from {source} ({format_amount(num_bytes, 'bytes')}) in {time.monotonic() - started_at:.1f} s",
        )
        if tokenizer.vocab_size < size:
            say(arguments, f"fewer than {size:,}: the text has no more pairs to merge")
    if len(files) <= MOST_INPUTS:
        inputs = ["FILE" if file == STDIO else file for file in files]
        flags = ["--tok", directories[-1], "--input", *inputs, *form_flags(arguments)]
        suggest(arguments, "tinybpe", "encode", *flags, "--output", free_name("train", ".bin"))


def run_encode(arguments: argparse.Namespace) -> None:
    """`tinybpe encode`."""
    files = input_files(arguments)
    tokenizer = Tokenizer.load(arguments.tok)
    started_at = time.monotonic()
    info = tokenizer.encode_file(
        files,
        arguments.output,
        field=arguments.field,
        column=arguments.column,
        end_of_document=arguments.end_of_document,
        ordinary=arguments.ordinary,
        format=arguments.format,
        dtype=arguments.dtype,
        docs=arguments.docs,
        shards=arguments.shards,
        shard_tokens=arguments.shard_tokens,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        num_threads=arguments.num_threads,
        progress=wants_progress(arguments),
    )
    say(arguments, encode_summary(arguments.output, info, time.monotonic() - started_at))
    outputs = [str(shard.path) for shard in info.shards] or [arguments.output]
    if info.shards:
        say(arguments, f"{format_count(len(outputs), 'shard')}: {outputs[0]} to {outputs[-1]}")
    if not info.num_tokens:
        return
    if has_trainer():
        tokens = ["--train-bin", arguments.output, "--vocab-size", str(info.vocab_size)]
        suggest(arguments, "python", "-m", "lm.train", *tokens, "--tokenizer", arguments.tok)
    else:
        suggest(arguments, "tinybpe", "decode", "--tok", arguments.tok, "--input", outputs[0], then=" | head")


def encode_summary(output: str, info: TokenFileInfo, elapsed_s: float) -> str:
    """Return a sentence on what was encoded, with the rate of what was not kept from an earlier run."""
    kept = info.shards[: info.num_kept_shards]
    num_bytes = info.num_bytes - sum(shard.num_bytes for shard in kept)
    num_tokens = info.num_tokens - sum(shard.num_tokens for shard in kept)
    facts = [f"{info.num_tokens:,} tokens ({info.dtype})", format_count(info.num_documents, "document")]
    if info.num_tokens:
        facts.append(f"{info.num_bytes / info.num_tokens:.2f} bytes per token")
    sentence = f"{output}: {', '.join(facts)}, from {format_amount(info.num_bytes, 'bytes')} of text"
    if kept:
        sentence += f"; {format_count(len(kept), 'shard')} kept"
    if len(kept) == len(info.shards) > 0:
        return sentence
    rates = [format_rate(num_bytes, "bytes", elapsed_s), format_rate(num_tokens, "tokens", elapsed_s)]
    rated = f" ({', '.join(rates)})" if all(rates) else ""
    return f"{sentence}{';' if kept else ''} in {elapsed_s:.1f} s{rated}"


def run_decode(arguments: argparse.Namespace) -> None:
    """`tinybpe decode`."""
    files = input_files(arguments)
    tokenizer = Tokenizer.load(arguments.tok)
    num_tokens = num_bytes = 0
    sidecars = [sidecar_path(Path(file)) for file in files if file != STDIO]
    read: list[str | Path] = [*files, *sidecars, *tokenizer.files]
    with whole_file(arguments.output, read=read, overwrite=arguments.overwrite) as output:
        for file in files:
            if file == STDIO:
                batches = stdin_ids(arguments)
            else:
                check_same_tokenizer(file, arguments.tok, tokenizer)
                ids = open_ids(file, arguments.dtype)
                batches = (ids[start : start + DECODE_IDS] for start in range(0, len(ids), DECODE_IDS))
            for batch in batches:
                text = tokenizer.decode_bytes(batch)
                output.write(text)
                num_bytes += len(text)
                num_tokens += len(batch)
    if arguments.output != STDIO:
        size, tokens = format_amount(num_bytes, "bytes"), format_count(num_tokens, "token")
        say(arguments, f"{arguments.output}: {size} of text from {tokens}")


def run_export(arguments: argparse.Namespace) -> None:
    """`tinybpe export`."""
    from tinybpe.export import export

    tokenizer = Tokenizer.load(arguments.tok)
    if arguments.to != "tiktoken" and not Path(arguments.out).is_file():
        holds_tokenizer(arguments.out)
    checked_by = export(tokenizer, arguments.to, arguments.out, overwrite=arguments.overwrite)
    checked = f"same ids in {checked_by}" if checked_by else "not checked, since its library is not installed"
    say(arguments, f"{arguments.out}: written for {arguments.to}; {checked}")
    if arguments.to == "hf":
        code = "from transformers import AutoTokenizer; AutoTokenizer.from_pretrained({out})"
    elif arguments.to == "gpt2":
        code = (
            "from tinybpe import Tokenizer; Tokenizer.from_gpt2({out} + '/vocab.json', {out} + '/merges.txt')"
        )
    else:
        code = "from tiktoken.load import load_tiktoken_bpe; load_tiktoken_bpe({out})"
    # In double quotes, so that the shell's single quotes need no escapes.
    code = code.replace("'", '"').replace("{out}", json.dumps(arguments.out))
    suggest(arguments, "python", "-c", code)


# --- Helpers ------------------------------------------------------------------------------------------------


def say(arguments: argparse.Namespace, message: str) -> None:
    """Print a sentence of the summary."""
    if not arguments.quiet:
        print(wrap(message))


def suggest(arguments: argparse.Namespace, *command: str, then: str = "") -> None:
    """Print the command to run next, in one line however long, so that it can be pasted."""
    if not arguments.quiet:
        print(next_command(*command) + then)


def form_flags(arguments: argparse.Namespace) -> list[str]:
    """Return the flags that say what the input files are, as they were given."""
    flags = [("--field", arguments.field), ("--column", arguments.column)]
    return [word for flag, value in flags if value is not None for word in (flag, value)]


def wants_progress(arguments: argparse.Namespace) -> bool:
    """Whether to show progress: on a terminal, unless asked to be quiet."""
    return not arguments.quiet and sys.stderr.isatty()


def pattern_of(arguments: argparse.Namespace) -> Pattern:
    """Return the pattern that was given, once or several times."""
    patterns: list[str] = arguments.pattern or ["gpt2"]
    return patterns if len(patterns) > 1 else patterns[0]


def check_special_tokens(arguments: argparse.Namespace, files: list[str]) -> None:
    """Refuse what is a token among the files: each flag takes one."""
    for file in files:
        if arguments.special_tokens and file.startswith("<") and not Path(file).exists():
            arguments.parser.error(f"{file} is no file: each special token needs a --special of its own")


def holds_tokenizer(out: str) -> bool:
    """Return whether a directory holds a tokenizer; if not, it is empty or missing.

    Raises:
        OutputError: It holds other files and no tokenizer.
        NotADirectoryError: It is a file.
    """
    path = Path(out)
    # Listing raises NotADirectoryError, with the name, for a file.
    names = [entry.name for entry in path.iterdir()] if path.exists() else []
    if names and not {"tokenizer.json", "vocab.json"} & set(names):
        raise OutputError(
            f"{out}: holds other files and no tokenizer; give a new or an empty directory as --out"
        )
    return bool(names)


def check_tokenizer_directory(arguments: argparse.Namespace, out: str, vocab_size: int) -> None:
    """Refuse a place that holds something else, before the work rather than after it.

    Raises:
        OutputError: A directory that is neither empty nor a tokenizer, or one with a tokenizer that this
            training cannot make again: of another size, with other special tokens, or another pattern.
    """
    if not holds_tokenizer(out):
        return
    for name in TOKENIZER_FILES:
        refuse_read(Path(out) / name, input_files(arguments))
    if arguments.overwrite:
        return
    remedy = "give another --out, or --overwrite to replace it"
    try:
        there = Tokenizer.load(out)
    except (TinyBPEError, OSError):
        raise OutputError(f"{out}: holds another tokenizer; {remedy}") from None
    asked = WordCounts.from_words({}, special_tokens=arguments.special_tokens, pattern=pattern_of(arguments))
    same = (there.pattern, list(there.special_tokens)) == (asked.pattern, asked.special_tokens)
    if not same or there.vocab_size > vocab_size:
        raise OutputError(f"{out}: holds a tokenizer already, trained otherwise; {remedy}")


def check_same_tokenizer(file: str, tok: str, tokenizer: Tokenizer) -> None:
    """Refuse a token file that another tokenizer made, as far as its sidecar tells.

    Raises:
        TokenFileError: The tokenizers differ.
    """
    if sidecar_path(Path(file)).exists():
        made_by = TokenFileInfo.read(file).tokenizer_sha256
        if made_by != tokenizer.sha256:
            raise TokenFileError(
                f"{file}: made by another tokenizer ({made_by[:12]}) than {tok} ({tokenizer.sha256[:12]}); "
                "give the one that made it as --tok"
            )


@contextmanager
def spooled_stdin(files: list[str]) -> Iterator[list[str]]:
    """Put standard input into a temporary file, since training reads ranges of files."""
    if STDIO not in files:
        yield files
        return
    with tempfile.NamedTemporaryFile(prefix="tinybpe-stdin-") as spooled:
        shutil.copyfileobj(sys.stdin.buffer, spooled, READ_BYTES)
        spooled.flush()
        yield [spooled.name if file == STDIO else file for file in files]


def stdin_ids(arguments: argparse.Namespace) -> Iterator[Any]:
    """Yield arrays of the raw ids on standard input."""
    import numpy as np

    if arguments.dtype is None:
        arguments.parser.error("standard input has no name or sidecar that says its dtype: give --dtype")
    item_bytes = ITEM_BYTES[arguments.dtype]
    rest = b""
    while chunk := sys.stdin.buffer.read(READ_BYTES):
        chunk = rest + chunk
        whole = len(chunk) // item_bytes * item_bytes
        rest = chunk[whole:]
        yield np.frombuffer(chunk[:whole], dtype=np.dtype(arguments.dtype).newbyteorder("<"))
    if rest:
        raise TokenFileError(f"standard input: ends within an id of {item_bytes} bytes")


if __name__ == "__main__":
    raise SystemExit(main())
