"""Ctrl-C at once, threads, forks, spawned processes, and the end of the interpreter."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tinybpe import StreamDecoder, TokenFileInfo, Tokenizer, WordCounts

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="sends signals and forks"),
    pytest.mark.timeout(60),
]
SPECIAL = "<|endoftext|>"
# What is promised is half a second; a machine at work on something else may take its time too.
AT_ONCE_S = 2.0


@contextmanager
def interrupted_after(delay_s: float) -> Iterator[None]:
    """Send this process SIGINT from outside of the call; the call raises KeyboardInterrupt at once."""
    sent_at = 0.0

    def send() -> None:
        nonlocal sent_at
        sent_at = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(delay_s, send)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        timer.start()
        yield
    assert time.monotonic() - sent_at < AT_ONCE_S
    timer.join()


def words() -> Iterator[str]:
    """Text without end, and without end of new words."""
    return (f"word{i:x} " * 100 for i in itertools.count())


@pytest.mark.fault("T1", "T10")
def test_interrupt_while_counting_endless_text() -> None:
    with interrupted_after(0.3):
        Tokenizer.train_from_iterator(words(), 1000)
    with interrupted_after(0.3):
        WordCounts.from_iterator(words())
    assert Tokenizer.train_from_iterator(["low low"], 257).merges == [(b"o", b"w")]


@pytest.mark.fault("T1")
def test_interrupt_while_merging(tmp_path: Path) -> None:
    counts = WordCounts.from_words({f"{i:x}{i:x}{i}".encode(): 1 + i % 9 for i in range(300_000)})
    old = Tokenizer.train_from_iterator(["low low"], 257)
    old.save(tmp_path)
    with interrupted_after(0.3):
        Tokenizer.train_from_counts(counts, vocab_size=200_000).save(tmp_path)
    assert Tokenizer.load(tmp_path) == old


@pytest.mark.fault("E7")
def test_interrupt_while_encoding(tmp_path: Path, stories: str) -> None:
    tokenizer = Tokenizer.train_from_iterator([stories], 400, special_tokens=[SPECIAL])
    text = stories * (100_000_000 // len(stories))
    (tmp_path / "text").write_text(text * 10, encoding="utf-8")
    calls: list[Callable[[], object]] = [
        lambda: [tokenizer.encode_ordinary(text) for _ in range(100)],
        lambda: [tokenizer.encode_ordinary_batch([text] * 4) for _ in range(100)],
        lambda: [tokenizer.encode_file([tmp_path / "text"] * 9, tmp_path / "x.bin") for _ in range(100)],
    ]
    for call in calls:
        with interrupted_after(0.3):
            call()
        assert tokenizer.encode_ordinary("low") == tokenizer.encode_ordinary_batch(["low"])[0]
    assert not (tmp_path / "x.bin").exists()


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Encode enough text for threads to be started, in a child."""
    return tokenizer.encode_ordinary_batch([text * 500] * 4)[0][:50]


@pytest.mark.fault("E6")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_encode_as_the_parent(method: str, stories: str) -> None:
    tokenizer = Tokenizer.train_from_iterator([stories], 400, special_tokens=[SPECIAL])
    expected = encode(tokenizer, stories)  # the parent has used its threads before it forks
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside threads
        with multiprocessing.get_context(method).Pool(2) as pool:
            found = pool.starmap(encode, [(tokenizer, stories)] * 4, chunksize=1)
    assert found == [expected] * 4
    assert encode(tokenizer, stories) == expected


@pytest.mark.fault("E6")
def test_threads_that_do_everything_at_once(tmp_path: Path, stories: str) -> None:
    (tmp_path / "text").write_text(stories, encoding="utf-8")
    tokenizer = Tokenizer.train_from_iterator([stories], 400, special_tokens=[SPECIAL])
    ids = tokenizer.encode_ordinary(stories)

    def work(index: int) -> None:
        assert tokenizer.encode_ordinary(stories) == ids
        assert tokenizer.encode_ordinary_batch([stories] * 5, num_threads=2) == [ids] * 5
        assert list(tokenizer.encode_iterable([stories], ordinary=True)) == ids
        assert tokenizer.decode(ids) == stories
        assert pickle.loads(pickle.dumps(tokenizer)) == tokenizer
        tokenizer.encode_file(tmp_path / "text", tmp_path / f"{index}.bin", ordinary=True)
        tokenizer.save(tmp_path / f"{index}")
        assert Tokenizer.train(tmp_path / "text", 400, special_tokens=[SPECIAL]) == tokenizer

    problems: list[BaseException] = []

    def guarded(index: int) -> None:
        try:
            work(index)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=guarded, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


@pytest.mark.fault("E6")
def test_every_value_can_be_pickled(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train_from_iterator(["low lower"], 258)
    counts = WordCounts.from_iterator(["low lower"])
    (tmp_path / "text").write_text("low")
    info = tokenizer.encode_file(tmp_path / "text", tmp_path / "x.bin")
    for value in (tokenizer, counts, info):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(value, protocol)) == value
    assert isinstance(info, TokenFileInfo)
    assert StreamDecoder(pickle.loads(pickle.dumps(tokenizer))).push(108) == "l"


@pytest.mark.fault("E6")
def test_the_interpreter_ends_while_threads_encode() -> None:
    program = """
import threading
from tinybpe import Tokenizer
tokenizer = Tokenizer.train_from_iterator(["low lower lowest"], 260)
def work():
    while True:
        tokenizer.encode_ordinary_batch(["low lower " * 20_000] * 8)
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
import time; time.sleep(0.3)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30)
    assert (ran.returncode, ran.stderr) == (0, b"")
