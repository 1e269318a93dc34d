"""The command `tinybpe`: train, encode, decode, info, export.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 failed with one line that says why,
2 wrong usage, 130 stopped by Ctrl-C. Every command ends by printing the one to run next.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from tinybpe.errors import TinyBPEError, TinyBPEWarning, TokenFileError
from tinybpe.patterns import PATTERNS
from tinybpe.progress import format_amount
from tinybpe.token_file import HEADER_BYTES, ITEM_BYTES, TokenFileInfo, open_ids, sidecar_path
from tinybpe.tokenizer import END_OF_TEXT, Tokenizer

STDIO = "-"
READ_BYTES = 1 << 20
DECODE_IDS = 1 << 20
TOKENIZER_FILES = ("tokenizer.json", "vocab.json")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; wrong usage raises `SystemExit(2)`, as argparse does."""
    arguments = build_parser().parse_args(hyphenate(sys.argv[1:] if argv is None else argv))
    if hasattr(sys.stdout, "reconfigure"):  # a terminal that cannot show a character gets a question mark
        sys.stdout.reconfigure(errors="replace")
    try:
        with plain_warnings(quiet=arguments.quiet):
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
        return fail(f"{where}{error.strerror or error}")
    except (TinyBPEError, ValueError, MemoryError) as error:
        return fail(str(error) or type(error).__name__)
    return 0


def fail(message: str) -> int:
    """Print one line on stderr and return exit code 1."""
    print("tinybpe: error:", printable(" ".join(message.split("\n"))), file=sys.stderr)
    return 1


def printable(text: str) -> str:
    """Escape what would drive a terminal: names and patterns in messages may come from a stranger's file."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


@contextmanager
def plain_warnings(*, quiet: bool) -> Iterator[None]:
    """Print each of our warnings as one line on stderr, or none."""
    show: Any = warnings.showwarning

    def print_line(message: Warning | str, category: type[Warning], *args: Any) -> None:
        if issubclass(category, TinyBPEWarning):
            print("tinybpe: warning:", message, file=sys.stderr)
        else:
            show(message, category, *args)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if quiet else "always", TinyBPEWarning)
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


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="tinybpe",
        description="Byte-level BPE: train a tokenizer, turn text files into token files and back.",
    )
    parser.add_argument("--version", action=PrintVersion, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="learn a vocabulary from text files")
    add_inputs(train, "text files; - is standard input; .gz and .zst are decompressed")
    add_form(train)
    train.add_argument("--vocab-size", type=int, required=True, metavar="N", help="ids, special tokens too")
    train.add_argument("--out", required=True, metavar="DIR", help="the tokenizer directory to write")
    train.add_argument(
        "--special",
        nargs="+",
        action="extend",
        default=[],
        metavar="TOKEN",
        help=f"special tokens, such as '{END_OF_TEXT}'",
    )
    train.add_argument(
        "--pattern",
        nargs="+",
        default=["gpt2"],
        help=f"{', '.join(PATTERNS)}, a regex, or several regexes, each of which splits the pieces of "
        "the one before (default: gpt2)",
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
    train.set_defaults(run=run_train)

    encode = commands.add_parser("encode", help="turn text files into token files")
    add_tokenizer(encode)
    add_inputs(encode, "text files, in this order; - is standard input; .gz and .zst are decompressed")
    add_form(encode)
    encode.add_argument("--output", required=True, metavar="FILE", help="the token file, such as train.bin")
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
    encode.add_argument("--shards", type=int, metavar="N", help="write N files of about equal shares")
    encode.add_argument("--shard-tokens", type=int, metavar="N", help="write files of at least N tokens each")
    encode.add_argument(
        "--resume", action="store_true", help="keep the whole shards of a run that was stopped, and go on"
    )
    add_threads(encode)
    encode.set_defaults(run=run_encode)

    decode = commands.add_parser("decode", help="turn a token file back into text")
    add_tokenizer(decode)
    add_inputs(decode, "token files; - is standard input, with --dtype")
    decode.add_argument("--output", default=STDIO, metavar="FILE", help="default: standard output")
    decode.add_argument(
        "--dtype", choices=tuple(ITEM_BYTES), help="of the ids, if no sidecar or name says it"
    )
    add_quiet(decode)
    decode.set_defaults(run=run_decode)

    info = commands.add_parser("info", help="show what a tokenizer is")
    add_tokenizer(info)
    add_inputs(info, "text files on which to measure bytes per token", required=False)
    info.add_argument("--json", action="store_true", help="print JSON")
    info.add_argument(
        "--longest", type=int, default=10, metavar="N", help="longest tokens shown (default: 10)"
    )
    add_quiet(info)
    info.set_defaults(run=run_info)

    export = commands.add_parser("export", help="write a tokenizer for another library, and check it there")
    add_tokenizer(export)
    export.add_argument("--to", required=True, choices=("hf", "gpt2", "tiktoken"), help="the format")
    export.add_argument("--out", required=True, metavar="PATH", help="a directory; for tiktoken a file")
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
    parser.set_defaults(parser=parser, inputs_required=required)


def add_form(parser: argparse.ArgumentParser) -> None:
    """Add what the input files are, if not plain text."""
    parser.add_argument("--field", metavar="NAME", help="files are lines of JSON with the text in this field")
    parser.add_argument("--column", metavar="NAME", help="files are Parquet with the text in this column")


def add_tokenizer(parser: argparse.ArgumentParser) -> None:
    """Add the tokenizer to use."""
    parser.add_argument("--tok", required=True, metavar="DIR", help="a tokenizer directory or tokenizer.json")


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add the flags of long commands."""
    parser.add_argument("--threads", "--num-threads", type=int, metavar="N", help="default: all cores")
    add_quiet(parser)


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add `--quiet`."""
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def input_files(arguments: argparse.Namespace) -> list[str]:
    """Return the input files of a command, by position or by flag."""
    files = [*arguments.files, *arguments.input]
    if not files and arguments.inputs_required:
        arguments.parser.error("no input: give files after --input")
    if files.count(STDIO) > 1:
        arguments.parser.error("standard input, -, is given twice")
    return files


# --- Commands -----------------------------------------------------------------------------------------------


def run_train(arguments: argparse.Namespace) -> None:
    """`tinybpe train`."""
    files = input_files(arguments)
    check_tokenizer_directory(arguments.out)
    started_at = time.monotonic()
    with spooled_stdin(files) as paths:
        tokenizer = Tokenizer.train(
            paths,
            vocab_size=arguments.vocab_size,
            special_tokens=arguments.special,
            pattern=arguments.pattern if len(arguments.pattern) > 1 else arguments.pattern[0],
            tie_break=arguments.tie_break,
            num_threads=arguments.threads,
            max_memory=arguments.max_memory,
            field=arguments.field,
            column=arguments.column,
            progress=wants_progress(arguments),
        )
        num_bytes = sum(Path(path).stat().st_size for path in paths)
    tokenizer.save(arguments.out)
    say(
        arguments,
        f"{arguments.out}: {tokenizer.vocab_size:,} ids, {len(tokenizer.merges):,} merges "
        f"from {format_amount(num_bytes, 'bytes')} in {time.monotonic() - started_at:.1f} s",
    )
    if tokenizer.vocab_size < arguments.vocab_size:
        say(arguments, f"fewer than {arguments.vocab_size:,}: the text has no more pairs to merge")
    suggest(
        arguments, "tinybpe", "encode", "--tok", arguments.out, "--input", files[0], "--output", "train.bin"
    )


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
        num_threads=arguments.threads,
        progress=wants_progress(arguments),
    )
    elapsed_s = time.monotonic() - started_at
    rate = format_amount(info.num_bytes / max(elapsed_s, 1e-9), "bytes")
    say(
        arguments,
        f"{arguments.output}: {info.num_tokens:,} tokens ({info.dtype}), {info.num_documents:,} documents, "
        f"{info.num_bytes / max(info.num_tokens, 1):.2f} bytes per token, "
        f"from {format_amount(info.num_bytes, 'bytes')} in {elapsed_s:.1f} s "
        f"({rate}/s, {info.num_tokens / max(elapsed_s, 1e-9):,.0f} tokens/s)",
    )
    outputs = [str(shard.path) for shard in info.shards] or [arguments.output]
    if info.shards:
        say(arguments, f"{len(outputs)} shards: {outputs[0]} to {outputs[-1]}")
    suggest(arguments, "tinybpe", "decode", "--tok", arguments.tok, "--input", outputs[0])


def run_decode(arguments: argparse.Namespace) -> None:
    """`tinybpe decode`."""
    files = input_files(arguments)
    tokenizer = Tokenizer.load(arguments.tok)
    num_tokens = 0
    with open_output(arguments.output) as output:
        for file in files:
            if file == STDIO:
                batches = stdin_ids(arguments)
            else:
                check_same_tokenizer(file, arguments.tok, tokenizer)
                ids = open_ids(file, arguments.dtype)
                batches = (ids[start : start + DECODE_IDS] for start in range(0, len(ids), DECODE_IDS))
            for batch in batches:
                output.write(tokenizer.decode_bytes(batch))
                num_tokens += len(batch)
    if arguments.output != STDIO:
        size = format_amount(Path(arguments.output).stat().st_size, "bytes")
        say(arguments, f"{arguments.output}: {size} from {num_tokens:,} tokens")


def run_info(arguments: argparse.Namespace) -> None:
    """`tinybpe info`."""
    tokenizer = Tokenizer.load(arguments.tok)
    specials = tokenizer.special_tokens
    ordinary = [token for token_id, token in tokenizer.vocab.items() if token_id not in specials.values()]
    longest = sorted(ordinary, key=lambda token: (-len(token), token))[: max(0, arguments.longest)]
    facts: dict[str, Any] = {
        "path": arguments.tok,
        "vocab_size": tokenizer.vocab_size,
        "num_merges": len(tokenizer.merges),
        "pattern": tokenizer.pattern,
        "compiled": "yes" if (reason := tokenizer.pattern_not_compiled) is None else f"no: {reason}",
        "special_tokens": specials,
        "longest_tokens": [token.decode("utf-8", "backslashreplace") for token in longest],
        "sha256": tokenizer.sha256,
    }
    files = input_files(arguments)
    if files:
        num_bytes, num_tokens = measure(tokenizer, files)
        facts |= {"num_bytes": num_bytes, "num_tokens": num_tokens}
        facts["bytes_per_token"] = num_bytes / num_tokens if num_tokens else None
    if arguments.json:
        print(json.dumps(facts, indent=2))
        return
    shown = facts | {
        "vocab_size": f"{tokenizer.vocab_size:,}",
        "num_merges": f"{facts['num_merges']:,}",
        "special_tokens": ", ".join(f"{name!r} = {token_id}" for name, token_id in specials.items())
        or "none",
        # `repr`, so that no token's control characters reach the terminal.
        "longest_tokens": " ".join(repr(token) for token in facts["longest_tokens"]) or "none",
    }
    if files:
        shown |= {"num_bytes": f"{num_bytes:,}", "num_tokens": f"{num_tokens:,}"}
        shown["bytes_per_token"] = f"{num_bytes / num_tokens:.3f}" if num_tokens else "none: no text"
    for name, value in shown.items():
        print(f"{name.replace('_', ' '):<16} {printable(str(value))}")
    if not files:
        suggest(
            arguments, "tinybpe", "encode", "--tok", arguments.tok, "--input", "FILE", "--output", "x.bin"
        )


def run_export(arguments: argparse.Namespace) -> None:
    """`tinybpe export`."""
    from tinybpe.export import export

    checked_by = export(Tokenizer.load(arguments.tok), arguments.to, arguments.out)
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
    """Print a line of the summary."""
    if not arguments.quiet:
        print(message)


def suggest(arguments: argparse.Namespace, *command: str) -> None:
    """Print the command to run next."""
    say(arguments, f"next: {shlex.join(command)}")


def wants_progress(arguments: argparse.Namespace) -> bool:
    """Whether to show progress: on a terminal, unless asked to be quiet."""
    return not arguments.quiet and sys.stderr.isatty()


def check_tokenizer_directory(out: str) -> None:
    """Refuse a place that holds something else, before the work rather than after it.

    Raises:
        TinyBPEError: A directory that is neither empty nor a tokenizer.
        NotADirectoryError: A file.
    """
    path = Path(out)
    if not path.exists():
        return
    # Listing raises NotADirectoryError, with the name, for a file.
    names = [entry.name for entry in path.iterdir()]
    if names and not any(name in names for name in TOKENIZER_FILES):
        raise TinyBPEError(
            f"{out}: holds other files and no tokenizer; give a new or an empty directory as --out"
        )


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


@contextmanager
def open_output(output: str) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only when it is whole, or standard output."""
    if output == STDIO:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    if path.is_dir():
        raise IsADirectoryError(21, "Is a directory", output)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~current_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def current_umask() -> int:
    """Return the umask, which can be read only by setting it."""
    umask = os.umask(0)
    os.umask(umask)
    return umask


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


def measure(tokenizer: Tokenizer, files: list[str]) -> tuple[int, int]:
    """Return how many bytes and tokens the files have, each file one text."""
    num_bytes = num_tokens = 0

    def chunks(file: BinaryIO) -> Iterator[bytes]:
        nonlocal num_bytes
        while chunk := file.read(READ_BYTES):
            num_bytes += len(chunk)
            yield chunk

    for name in files:
        with sys.stdin.buffer if name == STDIO else Path(name).open("rb") as file:
            num_tokens += sum(1 for _ in tokenizer.encode_iterable(chunks(file)))
    return num_bytes, num_tokens


if __name__ == "__main__":
    raise SystemExit(main())
