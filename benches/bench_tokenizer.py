"""Our tokenizer beside others on the same work: a table and a picture.

    uv run benches/bench_tokenizer.py train TEXT... --vocab-size 32000 --peers PYTHON --out bench
    uv run benches/bench_tokenizer.py encode TEXT... --tok DIR --peers PYTHON --out bench
    uv run benches/bench_tokenizer.py encode-file TEXT... --tok DIR --peers PYTHON --out bench

PYTHON is the interpreter of an environment with the libraries to compare with; those that it lacks are left
out. Every run is a process of its own, and the libraries take turns, so that a busy moment meets all of them.
Timed is the call that does the work; libraries and vocabulary are loaded before. `encode` has the text in
memory, and is timed a second time on it, when caches are filled; `encode-file` reads it from a file, into a
token file (ours) or into memory (the others, which write none).
Answers are checked: all must train a vocabulary of the same size, and encode to the same ids; a library that
does not is marked, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

OURS = "tinybpe"
SPECIAL = "<|endoftext|>"
PEERS = {
    "train": ("gigabpe", "gigatoken", "tokenizers"),
    "encode": ("gigatoken", "fastokens", "tiktoken", "tokenizers"),
    "encode-file": ("gigatoken",),
}
DOCUMENT_CHARACTERS = 1 << 16
REST_S = 3
GPT2_REGEX = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


# --- One run, in a process of its own: standard library and the one library alone --------------------------


def train_with(library: str, path: str, vocab_size: int) -> Callable[[], int]:
    """Return what trains on a file and gives the size of the vocabulary."""
    if library == OURS:
        from tinybpe import Tokenizer as Ours

        return lambda: Ours.train(path, vocab_size, special_tokens=[SPECIAL]).vocab_size
    if library == "gigabpe":
        import gigabpe

        kind = {"pretokenizer": "bytelevel", "special_tokens": [SPECIAL]}
        return lambda: len(gigabpe.train_bpe([path], vocab_size=vocab_size, **kind)[0])
    if library == "gigatoken":
        import gigatoken

        source = gigatoken.TextFileSource([path], separator=SPECIAL.encode())
        return lambda: len(gigatoken.train_bpe(source, vocab_size, [SPECIAL])[0])
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[SPECIAL], initial_alphabet=alphabet, show_progress=False
    )

    def run() -> int:
        tokenizer.train([path], trainer)
        return int(tokenizer.get_vocab_size())

    return run


def encode_with(library: str, texts: list[str], folder: Path, num_threads: int) -> Callable[[], Any]:
    """Return what encodes texts with the vocabulary in a folder and gives their ids, in any form."""
    if library == OURS:
        import numpy  # noqa: F401  # the others load it themselves; ours waits for the first array
        from tinybpe import Tokenizer as Ours

        ours = Ours.load(folder)
        return lambda: ours.encode_batch_to_numpy(texts, disallowed_special=(), num_threads=num_threads)[0]
    if library == "tiktoken":
        import tiktoken
        from tiktoken.load import load_tiktoken_bpe

        ranks = load_tiktoken_bpe(str(folder / "ranks.tiktoken"))
        encoding = tiktoken.Encoding("bench", pat_str=GPT2_REGEX, mergeable_ranks=ranks, special_tokens={})
        return lambda: encoding.encode_ordinary_batch(texts, num_threads=num_threads)
    tokenizer_json = (folder / "tokenizer.json").read_text(encoding="utf-8")
    if library == "gigatoken":
        import gigatoken

        giga = gigatoken.Tokenizer.from_json(tokenizer_json)
        return lambda: giga.encode_batch(texts, parallel=num_threads > 1)
    if library == "fastokens":
        import fastokens

        fast = fastokens.Tokenizer.from_json_str(tokenizer_json)
        return lambda: fast.encode_batch_flat(texts)[0]
    from tokenizers import Tokenizer

    hugging_face = Tokenizer.from_str(tokenizer_json)
    return lambda: [encoding.ids for encoding in hugging_face.encode_batch_fast(texts)]


def encode_file_with(library: str, path: str, folder: Path, num_threads: int) -> Callable[[], Any]:
    """Return what encodes a file with the vocabulary in a folder."""
    if library == OURS:
        from tinybpe import Tokenizer as Ours

        ours = Ours.load(folder)
        return lambda: ours.encode_file(path, folder / "ids.bin", num_threads=num_threads, overwrite=True)
    import gigatoken

    giga = gigatoken.Tokenizer.from_json((folder / "tokenizer.json").read_text(encoding="utf-8"))
    return lambda: giga.encode_files(gigatoken.TextFileSource([path]), parallel=num_threads > 1)


def documents(path: str) -> list[str]:
    """Cut a text at ends of lines, and leave the special token out: libraries differ in what it means."""
    texts, part, size = [], [], 0
    with Path(path).open(encoding="utf-8", errors="replace", newline="") as lines:
        for line in lines:
            part.append(line.replace(SPECIAL, ""))
            size += len(line)
            if size >= DOCUMENT_CHARACTERS:
                texts.append("".join(part))
                part, size = [], 0
    return [*texts, "".join(part)]


def digest(ids: Any) -> str:
    """Return the digest of ids in any of the forms that libraries give."""
    if hasattr(ids, "path"):  # a token file
        import numpy

        ids = numpy.memmap(ids.path, ids.dtype, "r")
    if type(ids).__module__.startswith("awkward"):
        import awkward

        ids = awkward.to_numpy(awkward.flatten(ids, axis=None))
    if isinstance(ids, bytes):  # already little-endian uint32
        return hashlib.sha256(ids).hexdigest()
    if hasattr(ids, "astype"):
        return hashlib.sha256(ids.astype("<u4").tobytes()).hexdigest()
    found = hashlib.sha256()
    for part in ids:
        numbers = array("I", part)
        if sys.byteorder == "big":
            numbers.byteswap()
        found.update(numbers.tobytes())
    return found.hexdigest()


def run_one(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job and measure it."""
    import resource
    from importlib.metadata import version

    library, path = job["library"], job["path"]
    if job["what"] == "train":
        work: Callable[[], Any] = train_with(library, path, job["vocab_size"])
    elif job["what"] == "encode":
        work = encode_with(library, documents(path), Path(job["folder"]), job["threads"])
    else:
        work = encode_file_with(library, path, Path(job["folder"]), job["threads"])
    started_at = time.perf_counter()
    answer = work()
    elapsed_s = time.perf_counter() - started_at
    # In KiB, on macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    again_s = None
    if job["what"] == "encode":
        started_at = time.perf_counter()
        work()
        again_s = time.perf_counter() - started_at
    return {
        "elapsed_s": elapsed_s,
        "again_s": again_s,
        "peak_mib": peak / 2**20,
        "answer": answer if job["what"] == "train" else digest(answer),
        "version": version("tinybpe-lm" if library == OURS else library),
    }


# --- All runs -----------------------------------------------------------------------------------------------


def start(python: str, job: dict[str, Any]) -> dict[str, Any]:
    """Run a job in a new process of an interpreter, on as many cores as the job has threads."""
    threads = str(job["threads"])
    environment = os.environ | {"RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "true"}
    ran = subprocess.run(
        [python, __file__, "one", json.dumps(job)], capture_output=True, text=True, env=environment
    )
    if ran.returncode:
        raise SystemExit(f"{job['library']} failed:\n{ran.stderr}")
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return result


def limit_cores(num_threads: int) -> None:
    """Keep this process to a number of cores where the system can: not every library has an option for it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:num_threads])


def installed(python: str, libraries: Iterable[str]) -> list[str]:
    """Return those of the libraries that an interpreter has."""
    code = "import importlib.util, sys; print(*(n for n in sys.argv[1:] if importlib.util.find_spec(n)))"
    found = subprocess.run([python, "-c", code, *libraries], capture_output=True, text=True, check=True)
    return found.stdout.split()


def prepare_vocabulary(tok: str, folder: Path) -> None:
    """Write a tokenizer in the formats that the libraries read."""
    from tinybpe import Tokenizer
    from tinybpe.export import export

    tokenizer = Tokenizer.load(tok)
    if tokenizer.pattern != "gpt2":
        raise SystemExit(
            f"{tok}: its pattern is {tokenizer.pattern}; the libraries compared share gpt2 alone"
        )
    tokenizer.save(folder)
    export(tokenizer, "tiktoken", folder / "ranks.tiktoken")


def compare(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Run everything and return a row for each text and library, ours first."""
    wanted = arguments.only or PEERS[arguments.what]
    contestants = [(OURS, sys.executable)]
    if arguments.peers:
        contestants += [(name, arguments.peers) for name in installed(arguments.peers, wanted)]
    rows = []
    for text in arguments.texts:
        job = {"what": arguments.what, "path": text, "threads": arguments.threads, "folder": str(folder)}
        job["vocab_size"] = arguments.vocab_size
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name, _ in contestants}
        for turn in range(arguments.turns):
            for name, python in contestants:
                # For a virtual machine to return the memory of the run before: else the next one pays for it.
                time.sleep(REST_S)
                runs[name].append(start(python, job | {"library": name}))
                print(f"{text} {turn + 1}/{arguments.turns} {name} {runs[name][-1]}", file=sys.stderr)
        ours, ours_again = (median_of(runs[OURS], key) for key in ("elapsed_s", "again_s"))
        for name, results in runs.items():
            median, again = (median_of(results, key) for key in ("elapsed_s", "again_s"))
            rows.append(
                {
                    "text": Path(text).name,
                    "library": f"{name} {results[0]['version']}",
                    "median_s": median,
                    "fastest_s": min(run["elapsed_s"] for run in results),
                    "slowest_s": max(run["elapsed_s"] for run in results),
                    "mb_per_s": Path(text).stat().st_size / 1e6 / median,
                    "ratio": median / ours,
                    "again_s": again,
                    "again_ratio": again / ours_again,
                    "peak_mib": median_of(results, "peak_mib"),
                    "agrees": all(run["answer"] == runs[OURS][0]["answer"] for run in results),
                }
            )
    return rows


def median_of(runs: list[dict[str, Any]], key: str) -> float:
    """Return the median of a figure; not a number if it was not taken."""
    taken = [run[key] for run in runs if run[key] is not None]
    return statistics.median(taken) if taken else math.nan


def cell(figure: float, decimals: int) -> str:
    """Write a figure, or a dash if it was not taken."""
    return "-" if math.isnan(figure) else f"{figure:.{decimals}f}"


def table(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> str:
    """Write the rows as Markdown, with what one needs to repeat them."""
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    answer = "vocabulary size" if arguments.what == "train" else "ids"
    lines = [
        f"`{shlex.join(['benches/bench_tokenizer.py', *hide_paths(sys.argv[1:])])}`",
        "",
        f"Commit {git.stdout.strip() or 'unknown'}, {platform.system()} {platform.machine()}, "
        f"{arguments.threads} threads, medians of {arguments.turns} turns.",
        "",
        "| text | library | s | from - to | MB/s | time against ours | s again | against ours | peak MiB "
        f"| same {answer} |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    lines += [
        f"| {row['text']} | {row['library']} | {row['median_s']:.3f} "
        f"| {row['fastest_s']:.3f} - {row['slowest_s']:.3f} | {row['mb_per_s']:.1f} | {row['ratio']:.2f} "
        f"| {cell(row['again_s'], 3)} | {cell(row['again_ratio'], 2)} "
        f"| {row['peak_mib']:.0f} | {'yes' if row['agrees'] else '**no**'} |"
        for row in rows
    ]
    return "\n".join([*lines, ""])


def hide_paths(words: list[str]) -> list[str]:
    """Keep the names of files and leave their folders out, which say nothing on another machine."""
    return [Path(word).name if os.sep in word else word for word in words]


def picture(arguments: argparse.Namespace, rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the medians as bars, a group for each text."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    texts = list(dict.fromkeys(row["text"] for row in rows))
    figure, axes = pyplot.subplots(
        len(texts), 1, figsize=(8, 0.6 + 0.45 * len(rows)), squeeze=False, layout="constrained"
    )
    for text, axis in zip(texts, axes[:, 0], strict=True):
        shown = [row for row in rows if row["text"] == text]
        colors = ["tab:orange" if row is shown[0] else "tab:gray" for row in shown]
        bars = axis.barh([row["library"] for row in shown], [row["median_s"] for row in shown], color=colors)
        axis.bar_label(
            bars, [f"{row['median_s']:.2f} s, {row['mb_per_s']:.0f} MB/s" for row in shown], padding=3
        )
        axis.set_xlim(0, 1.3 * max(row["median_s"] for row in shown))
        axis.invert_yaxis()
        axis.set_title(f"{arguments.what} {text}, {arguments.threads} threads", loc="left")
        axis.set_xlabel("seconds")
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main(argv: list[str]) -> int:
    if argv[:1] == ["one"]:
        job = json.loads(argv[1])
        limit_cores(job["threads"])
        print(json.dumps(run_one(job)))
        return 0
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=tuple(PEERS))
    parser.add_argument("texts", nargs="+", metavar="TEXT")
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter of an environment with the others")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these peers alone (default: all known)")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="runs of each (default: 5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N", help="default: all cores")
    parser.add_argument("--vocab-size", type=int, default=32_000, metavar="N", help="ids to train")
    parser.add_argument("--tok", metavar="DIR", help="the tokenizer to encode with; its pattern is gpt2")
    parser.add_argument("--out", default="bench", metavar="NAME", help="writes NAME.md and NAME.png")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.only or ()) - set(PEERS[arguments.what]):
        parser.error(
            f"{arguments.what} has no {', '.join(sorted(unknown))}; --only takes {PEERS[arguments.what]}"
        )
    if arguments.what != "train" and arguments.tok is None:
        parser.error(f"{arguments.what} needs --tok")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what != "train":
            prepare_vocabulary(arguments.tok, Path(folder))
        rows = compare(arguments, Path(folder))
    text = table(arguments, rows)
    out = Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_name(out.name + ".md").write_text(text, encoding="utf-8")
    picture(arguments, rows, out.with_name(out.name + ".png"))
    print(text)
    return 0 if all(row["agrees"] for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
