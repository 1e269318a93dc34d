"""A disk that is full at any byte, two writers at once, and outputs that cannot be written."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tinybpe import Tokenizer, WordCounts
from tinybpe.errors import TinyBPEError
from tinybpe.token_file import TokenFileInfo, open_ids

resource = pytest.importorskip("resource")

SPECIAL = "<|endoftext|>"


@contextmanager
def files_up_to(num_bytes: int) -> Iterator[None]:
    """Let the system refuse every file longer than this, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def fails_whole(folder: Path, write: Callable[[], object], largest: int) -> int:
    """Write with every limit up to the size of the largest file; each failure leaves the folder as it was."""
    num_failures = 0
    for limit in [*range(0, largest, max(1, largest // 15)), largest - 1]:
        before = contents(folder)
        with pytest.raises(OSError, match="too large") as caught, files_up_to(limit):
            write()
        assert caught.value.filename is not None
        assert contents(folder) == before
        num_failures += 1
    return num_failures


@pytest.mark.fault("T14")
def test_a_tokenizer_is_saved_whole_or_not_at_all(tmp_path: Path, stories: str) -> None:
    old = Tokenizer.train_from_iterator([stories], 300)
    new = Tokenizer.train_from_iterator([stories], 400, special_tokens=[SPECIAL])
    new.save(tmp_path / "whole")
    sizes = {name: len(content) for name, content in contents(tmp_path / "whole").items()}
    folder = tmp_path / "tok"
    old.save(folder)
    for limit in range(0, max(sizes.values()), max(sizes.values()) // 12):
        with pytest.raises(OSError, match="too large"), files_up_to(limit):
            new.save(folder, overwrite=True)
        # Of four files some may be new already; the one that counts comes last.
        assert Tokenizer.load(folder) == old
        assert set(contents(folder)) == set(sizes)
    new.save(folder, overwrite=True)
    assert contents(folder) == contents(tmp_path / "whole")


@pytest.mark.fault("T13", "T14")
def test_word_counts_are_saved_whole_or_not_at_all(tmp_path: Path, stories: str) -> None:
    counts = WordCounts.from_iterator([stories])
    path = tmp_path / "x.counts"
    counts.save(path)
    size = path.stat().st_size
    WordCounts.from_iterator(["old"]).save(path, overwrite=True)
    assert fails_whole(tmp_path, lambda: counts.save(path, overwrite=True), size) > 10


@pytest.mark.fault("B2")
def test_a_token_file_is_written_whole_or_not_at_all(tmp_path: Path, stories: str) -> None:
    source, folder = tmp_path / "text.md", tmp_path / "out"
    source.write_text(stories, encoding="utf-8")
    folder.mkdir()
    tokenizer = Tokenizer.train_from_iterator([stories], 300, special_tokens=[SPECIAL])
    size = 2 * tokenizer.encode_file(source, folder / "x.bin", docs=True).num_tokens
    old = Tokenizer.train_from_iterator(["old"], 256)
    old.encode_file(source, folder / "x.bin", docs=True, overwrite=True)

    def write() -> None:
        tokenizer.encode_file(source, folder / "x.bin", docs=True, overwrite=True)

    assert fails_whole(folder, write, size) > 10
    assert TokenFileInfo.read(folder / "x.bin").vocab_size == 256


@pytest.mark.fault("B2")
def test_the_command_says_it_in_one_line(tmp_path: Path, stories: str) -> None:
    (tmp_path / "text.md").write_text(stories, encoding="utf-8")
    Tokenizer.train_from_iterator([stories], 300).save(tmp_path / "tok")
    command = [sys.executable, "-m", "tinybpe", "encode", "--tok", "tok", "text.md", "--output", "x.bin"]
    ran = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("tinybpe: error: ")
    assert ran.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.md", "tok"]


@pytest.mark.fault("L1", "L5")
def test_a_checkpoint_is_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from lm import checkpoint

    def held(step: int) -> checkpoint.Checkpoint:
        tensors = {"a": torch.full((500,), float(step))}
        return checkpoint.Checkpoint(model=tensors, optimizer=tensors, state={"step": step})

    checkpoint.save(tmp_path, held(1))
    folder = checkpoint.save(tmp_path / "whole", held(2))
    largest = max(file.stat().st_size for file in folder.iterdir())
    for limit in range(0, largest, 100):
        with pytest.raises(OSError, match="too large"), files_up_to(limit):
            checkpoint.save(tmp_path, held(2))
        assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
        assert checkpoint.load(checkpoint.find(tmp_path)).step == 1
    checkpoint.save(tmp_path, held(2))
    assert checkpoint.load(checkpoint.find(tmp_path)).step == 2


@pytest.mark.fault("T14", "B6")
def test_two_writers_at_once_leave_one_whole_result(tmp_path: Path, stories: str) -> None:
    """Whoever comes last wins, or is refused; a reader never sees half of one and half of the other."""
    (tmp_path / "text.md").write_text(stories, encoding="utf-8")
    both = [Tokenizer.train_from_iterator([stories], size) for size in (300, 400)]
    folder, output = tmp_path / "tok", tmp_path / "x.bin"
    both[0].save(folder)
    problems: list[BaseException] = []

    def write(tokenizer: Tokenizer) -> None:
        for _ in range(12):
            try:
                tokenizer.save(folder, overwrite=True)
                tokenizer.encode_file(tmp_path / "text.md", output, overwrite=True)
            except (TinyBPEError, OSError) as error:
                # Refused, since the other is at work: no loss.
                problems.append(error)

    threads = [threading.Thread(target=write, args=(tokenizer,)) for tokenizer in both]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert Tokenizer.load(folder) in both
    for thread in threads:
        thread.join()
    assert Tokenizer.load(folder) in both
    assert all("x.bin" in str(problem) for problem in problems), problems
    info = TokenFileInfo.read(output)
    (maker,) = (tokenizer for tokenizer in both if tokenizer.sha256 == info.tokenizer_sha256)
    assert maker.decode(open_ids(output)) == stories
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.fault("T11", "T14")
@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_no_permission(tmp_path: Path, stories: str) -> None:
    tokenizer = Tokenizer.train_from_iterator([stories], 300)
    secret, folder = tmp_path / "secret", tmp_path / "folder"
    secret.write_text(stories, encoding="utf-8")
    secret.chmod(0)
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(PermissionError, match="secret"):
        Tokenizer.train(secret, 300)
    with pytest.raises(PermissionError, match="folder"):
        tokenizer.save(folder)
    folder.chmod(0o700)
    assert list(folder.iterdir()) == []
