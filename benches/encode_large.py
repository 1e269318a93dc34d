"""Encode several gigabytes: memory over time as a picture, rates, and one digest for threads and chunk sizes.

`uv run benches/encode_large.py TEXT --tok TOKENIZER --copies 4 --out FOLDER` writes the text that many times,
each copy behind a line of its own, encodes one copy and all of them, and says how the rates compare and how
much memory the large run takes at most. The large file is encoded again with other threads and chunk sizes,
and all digests must be equal. Everything but the picture is removed at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import threading
import time
from pathlib import Path

from tinybpe import Tokenizer
from tinybpe.token_file import token_file_options

COPY_BYTES = 1 << 24
SAMPLE_EVERY_S = 0.05
THREADS = (1, 2, 4)
CHUNK_BYTES = (1 << 16, 1 << 20, 1 << 23)


def resident_mib() -> float:
    """Return the memory of this process, where Linux tells it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def write_copies(text: Path, copies: int, target: Path) -> None:
    with target.open("wb") as file:
        for copy in range(copies):
            file.write(f"\n--- copy {copy} of {copies} ---\n".encode())
            with text.open("rb") as source:
                shutil.copyfileobj(source, file, COPY_BYTES)


def encode(
    tokenizer: Tokenizer, source: Path, output: Path, num_threads: int, chunk_bytes: int
) -> tuple[float, list[tuple[float, float]]]:
    """Return seconds, and samples of (seconds, MiB)."""
    options = token_file_options(
        ordinary=False,
        end_of_document=None,
        format=None,
        dtype=None,
        docs=False,
        shards=None,
        shard_tokens=None,
        resume=False,
        overwrite=True,
        also_read=[],
        num_threads=num_threads,
    )
    samples: list[tuple[float, float]] = []
    done = threading.Event()
    started_at = time.perf_counter()

    def sample() -> None:
        while not done.wait(SAMPLE_EVERY_S):
            samples.append((time.perf_counter() - started_at, resident_mib()))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        tokenizer._core.encode_file(
            [str(source)], None, str(output), options | {"chunk_bytes": chunk_bytes}, None
        )
        elapsed_s = time.perf_counter() - started_at
    finally:
        done.set()
        sampler.join()
    return elapsed_s, samples


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plot(samples: list[tuple[float, float]], picture: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.5))
    axes.plot(*zip(*samples, strict=True))
    top = 1.2 * max(mib for _, mib in samples)
    axes.set(xlabel="seconds", ylabel="resident MiB", title="encode_file", ylim=(0, top))
    figure.tight_layout()
    figure.savefig(picture, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path)
    parser.add_argument("--tok", required=True)
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2, help="of the timed runs")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files and the picture")
    parser.add_argument(
        "--timed-only", action="store_true", help="leave out the runs that only compare digests"
    )
    arguments = parser.parse_args()
    tokenizer = Tokenizer.load(arguments.tok)
    arguments.out.mkdir(parents=True, exist_ok=True)
    one, many, output = (arguments.out / name for name in ("one.txt", "many.txt", "large.bin"))
    try:
        write_copies(arguments.text, 1, one)
        write_copies(arguments.text, arguments.copies, many)
        rates = {}
        for source in (one, many, one, many):
            elapsed_s, samples = encode(tokenizer, source, output, arguments.threads, 1 << 20)
            rates.setdefault(source.name, []).append(source.stat().st_size / elapsed_s / 1e6)
        half = len(samples) // 2
        first, second = (max(mib for _, mib in part) for part in (samples[:half], samples[half:]))
        print(f"MB/s, runs in turn: {rates}")
        print(f"best of many / best of one: {max(rates['many.txt']) / max(rates['one.txt']):.3f}")
        print(f"peak MiB in the first half {first:.0f}, in the second {second:.0f}")
        plot(samples, arguments.out / "encode_large.png")
        digests = {digest(output)}
        for num_threads in () if arguments.timed_only else THREADS:
            for chunk_bytes in CHUNK_BYTES:
                encode(tokenizer, many, output, num_threads, chunk_bytes)
                digests.add(digest(output))
                print(
                    f"{num_threads} threads, chunks of {chunk_bytes:,}: {len(digests)} digest(s)", flush=True
                )
        assert len(digests) == 1, digests
    finally:
        for path in (one, many, output, Path(f"{output}.json")):
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
