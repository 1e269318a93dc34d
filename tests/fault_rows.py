"""The faults that this project promises to survive, and which test shows it: the table in `tests/README.md`.

A Python test names its rows with `@pytest.mark.fault("T1", "E7")`, a Rust test with a line `// fault: T9`
above it. So the table is made from the tests; `tests/test_fault_rows.py` fails where a row has none, or the
table is not the one that `uv run python tests/fault_rows.py` writes. `uv run pytest --row T1` runs the Python
tests of a row.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "README.md"

AREAS = {
    "T": "Tokenizer training",
    "V": "Vocabulary files",
    "E": "Encoding and decoding",
    "B": "Token files",
    "L": "Training the model",
    "S": "Generation, export, what is shown",
}

ROWS = {
    "T1": "Ctrl-C while counting, merging or saving: at once, nothing half-written, old files still work",
    "T2": "counts beyond 2^31 and 2^32 merge in the right order; a sum beyond 2^63 is refused",
    "T3": "one word of many megabytes, of any kind: linear time, a warning, no crash",
    "T4": "nothing to learn from: the bytes and the special tokens, never fewer",
    "T5": "a vocabulary size that cannot be: refused with the least and the greatest",
    "T6": "more ids than the text supports: stops early and says so, as the reference does",
    "T7": "all ties, any order, threads or hash seed: the same file",
    "T8": "invalid UTF-8, marks of byte order, any line ends, NUL: data, counted alike whatever the chunks",
    "T9": "special tokens across a read boundary, overlapping, empty, twice, of any characters",
    "T10": "an iterator that raises, yields what is no text, or never ends",
    "T11": "an input that is missing, a folder, unreadable, a pipe, a loop of links, or cut while it is read",
    "T12": "memory that runs out",
    "T13": "word counts that do not belong together, or whose file was changed",
    "T14": "an output that exists, cannot be written, fills the disk, or is written by two at once",
    "T15": "an output that is an input or another file, under any name: refused, unless asked to replace it",
    "V1": "a vocabulary file cut at any byte, or with any bit flipped",
    "V2": "merges and ids that break a rule: unknown parts, repeats, gaps, collisions, numbers out of range",
    "V3": "declared or implied sizes beyond all memory",
    "V4": "one of the 256 bytes missing: refused when loaded, not when encoding",
    "V5": "another version, another kind of file",
    "V6": "patterns that are no regex, match nothing, leave gaps, call themselves, or backtrack without end",
    "V7": "names in files: none is joined into a path",
    "V8": "JSON with keys given twice, numbers that are none, nesting without end",
    "V9": "line ends, byte order marks and last lines as editors change them",
    "E1": "ten families of adversarial text: right ids in linear time, through every way to encode",
    "E2": "text that spells special tokens: refused, or text, or ids, as the caller says",
    "E3": "ids that the vocabulary does not have, or that are no integers: named, never dropped or wrapped",
    "E4": "half a surrogate pair, bytes, other types, a subclass of str",
    "E5": "one bad item of a batch: the call fails and names it, the next one works",
    "E6": "threads, fork, spawn, pickle, the end of the interpreter",
    "E7": "Ctrl-C while encoding",
    "E8": "ids that end within a character",
    "B1": "SIGKILL or a failing write at any moment: a whole token file or none",
    "B2": "a full disk at any byte: one clear error, the old files as they were, no rests",
    "B3": "65,536 ids fit uint16 and 65,537 do not",
    "B4": "a token file of another tokenizer or type, cut, extended, or with a damaged sidecar",
    "B5": "a token file that is empty, too short for one window, or holds ids beyond the vocabulary",
    "B6": "two encoders with one destination",
    "B7": "sources that change: the sidecar tells which they were",
    "B8": "a token file cut while a training maps it",
    "L1": "SIGKILL or a failing write at any moment of saving: the newest whole checkpoint loads",
    "L2": "stopped and resumed equals never stopped, to the last bit; no row twice",
    "L3": "a checkpoint cut, flipped, renamed from a pickle, of other shapes, not finite: refused by tensor",
    "L4": "resume with other data, tokenizer or model: refused, with the differences",
    "L5": "a full disk while saving: tried again, told, trained on, exit code 1",
    "L6": "SIGINT and SIGTERM: the step is finished and saved; a second one ends at once",
    "L7": "loss or gradient not finite: stops, keeps the last checkpoint, names remedies",
    "L8": "a device that is not there or has no memory left",
    "L9": "a device or compiler that does nothing silently: noticed before training",
    "L10": "settings that cannot be: all in one message, exit code 2",
    "L11": "two trainers in one folder, a log that cannot be written, torn rows",
    "L12": "a logger that is missing",
    "L13": "an output that is there, or is an input; a start that fails: nothing is lost, nothing is left",
    "S1": "sampling settings at and beyond their limits, prompts of any length",
    "S2": "prompts that spell special tokens; ids that the tokenizer does not have",
    "S3": "control characters to the terminal, markup into HTML",
    "S4": "a reader that leaves, a terminal that is none or knows only ASCII",
    "S5": "exports that the other library would read otherwise",
    "S6": "exported weights: tied, not contiguous, of half precision",
    "S7": "requests to a local web page",
}

# Rows without a test of their own, and why.
WITHOUT_TEST = {
    "L12": "there is none: rows go to `metrics.jsonl`, which the standard library writes (L11)",
    "S7": "there is none: nothing here listens on a port",
}

# What a row's tests cannot show on Linux.
NOT_ON_LINUX = {
    "E6": "spawn as the default start method is macOS's and Windows's: asked for by name here",
    "L8": "MPS out of memory, and a lost device, need an Apple GPU: `uv run pytest -m mps`",
    "L9": "the Apple GPU's own path runs under `-m mps`; here it runs on the CPU",
    "S4": "Windows code pages",
}

RUST_FAULT = re.compile(r"//[/!]? fault: ([A-Z0-9, ]+)\n(?:[^\n]*\n)*?\s*(?:pub )?fn (\w+)")


def python_tests(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield row and test of each mark in the Python files of a folder."""
    for path in sorted(folder.glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
                    for row in mark.args:
                        yield str(ast.literal_eval(row)), f"{path.relative_to(ROOT)}::{node.name}"


def rust_tests(paths: list[Path]) -> Iterator[tuple[str, str]]:
    """Yield row and test of each `// fault:` line."""
    for path in paths:
        for rows, name in RUST_FAULT.findall(path.read_text(encoding="utf-8")):
            for row in rows.split(","):
                yield row.strip(), f"{path.relative_to(ROOT)}::{name}"


def tests_of_rows() -> dict[str, list[str]]:
    """Return the tests of each row, unknown rows included."""
    found: dict[str, list[str]] = {row: [] for row in ROWS}
    rust = sorted([*(ROOT / "tests").glob("*.rs"), *(ROOT / "rust").rglob("*.rs")])
    for row, test in [*python_tests(ROOT / "tests"), *rust_tests(rust)]:
        found.setdefault(row, []).append(test)
    return found


def table() -> str:
    """Return the text of `tests/README.md`."""
    found = tests_of_rows()
    lines = [
        "# Faults, and the tests that show how they end",
        "",
        "Written by `uv run python tests/fault_rows.py`; `tests/test_fault_rows.py` fails where it is out of",
        "date. `uv run pytest --row T1` runs the Python tests of a row, with `-m ''` the slow ones too;",
        "`cargo test NAME` runs one in Rust.",
    ]
    for area, title in AREAS.items():
        lines += ["", f"## {title}", "", "| row | fault and how it ends | tests |", "|---|---|---|"]
        for row, text in ROWS.items():
            if row.startswith(area):
                tests = [f"`{test.removeprefix('tests/')}`" for test in sorted(found[row])]
                if row in WITHOUT_TEST:
                    tests.append(f"none: {WITHOUT_TEST[row]}")
                if row in NOT_ON_LINUX:
                    tests.append(f"not on Linux: {NOT_ON_LINUX[row]}")
                lines.append(f"| {row} | {text} | {'<br>'.join(tests)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
