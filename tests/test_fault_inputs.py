"""Text, ids, arguments and files of any kind: the right answer, or an error with value, limit and remedy."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, shared_file
from test_tokenizer_encoding import FAMILIES
from tinybpe import Tokenizer, WordCounts
from tinybpe.cli import main
from tinybpe.errors import (
    SpecialTokenError,
    TokenFileError,
    TrainingError,
    UnknownTokenError,
    VocabError,
    VocabFileError,
)
from tinybpe.patterns import PATTERNS
from tinybpe.token_file import TokenFileInfo, open_ids

SPECIAL = "<|endoftext|>"
BYTES = {i: bytes([i]) for i in range(256)}


@pytest.fixture(scope="module")
def tokenizer(stories: str) -> Tokenizer:
    return Tokenizer.train_from_iterator([stories], 400, special_tokens=[SPECIAL])


# --- Training -----------------------------------------------------------------------------------------------


@pytest.mark.fault("T2")
def test_counts_beyond_32_bits_merge_in_the_right_order() -> None:
    words = {b"ab": 3 * 10**9, b"cd": 2**31, b"ef": 2**62, b"gh": 2**32 + 1, b"ij": 2**31 - 1}
    merges = Tokenizer.train_from_counts(WordCounts.from_words(words), vocab_size=261).merges
    assert [left + right for left, right in merges] == [b"ef", b"gh", b"ab", b"cd", b"ij"]


@pytest.mark.fault("T2")
def test_sums_beyond_2_to_63_are_refused() -> None:
    half = WordCounts.from_words({b"ab": 2**62})
    with pytest.raises(TrainingError, match=r"2\^63"):
        half.merge(half)
    both = WordCounts.from_words({b"abab": 2**62, b"xabab": 2**62})
    with pytest.raises(TrainingError, match=r"2\^63"):
        Tokenizer.train_from_counts(both, vocab_size=258)


@pytest.mark.fault("T8")
def test_text_is_data_and_nothing_is_changed(tokenizer: Tokenizer, tmp_path: Path) -> None:
    texts = [
        b"\xef\xbb\xbfwith a mark", b"one\r\ntwo\rthree\n\r", b"nul\0nul", "utf-16".encode("utf-16"),
        b"cut \xe4\xb8", b"overlong \xc0\x80", b"surrogate \xed\xa0\x80", b"\xff\xfe\xfd", b"\x80" * 70,
    ]  # fmt: skip
    for text in texts:
        path = tmp_path / "text"
        path.write_bytes(text)
        tokenizer.encode_file(path, tmp_path / "x.bin", overwrite=True)
        assert tokenizer.decode_bytes(open_ids(tmp_path / "x.bin")) == text
        assert WordCounts.from_files([path]) == WordCounts.from_iterator([text])
        for size in (1, 2, 3, 5):
            parts = [text[start : start + size] for start in range(0, len(text), size)]
            assert list(tokenizer.encode_iterable(parts)) == tokenizer.encode_ordinary(text)


@pytest.mark.fault("T9")
def test_special_tokens_of_any_characters(tmp_path: Path) -> None:
    specials = ["<|a|>", "<|a|>b", "x\ny", " ", "\0", "é🙂", "<|a|><|a|>"]
    tokenizer = Tokenizer.train_from_iterator(["abc"], 256 + len(specials), special_tokens=specials[:3])
    ids = tokenizer.special_tokens
    assert tokenizer.encode("<|a|>b<|a|>c", allowed_special="all") == [ids["<|a|>b"], ids["<|a|>"], 99]
    whole = Tokenizer.train_from_iterator(["abc"], 256 + 5, special_tokens=[*specials[:3], *specials[5:]])
    text = "x\nyé🙂<|a|><|a|><|a|>b"
    expected = [whole.special_tokens[token] for token in ("x\ny", "é🙂", "<|a|><|a|>", "<|a|>b")]
    for size in range(1, 12):
        parts = [text.encode()[start : start + size] for start in range(0, len(text.encode()), size)]
        assert list(whole.encode_iterable(parts)) == expected
    whole.save(tmp_path)
    assert Tokenizer.load(tmp_path) == whole


@pytest.mark.fault("T11")
@pytest.mark.skipif(os.name != "posix", reason="pipes and links")
def test_pipes_and_loops_of_links(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="loop"):
        Tokenizer.train(loop, 300)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b"low lower low"))
    writer.start()
    assert Tokenizer.train(pipe, 257).merges == [(b"o", b"w")]
    writer.join()


@pytest.mark.fault("T11")
@pytest.mark.skipif(os.name != "posix", reason="files that are open can be cut")
def test_a_file_cut_while_it_is_read_does_not_kill(tmp_path: Path) -> None:
    path = tmp_path / "text"
    program = f"""
import os, threading, warnings
from tinybpe import Tokenizer
from tinybpe.errors import InputError, TinyBPEWarning
# Zeros may be read where the file grows again at this moment, which is a long piece, or nothing at all.
warnings.simplefilter("ignore", TinyBPEWarning)
path = {str(path)!r}
def cut():
    for _ in range(200):
        os.truncate(path, 10)
        with open(path, "wb") as file:
            file.write(b"low lower " * 500_000)
threading.Thread(target=cut, daemon=True).start()
for _ in range(10):
    try:
        Tokenizer.train(path, 300)
    except InputError as error:
        assert path in str(error), error
        assert "shrank" in str(error), error
"""
    path.write_bytes(b"low lower " * 500_000)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.fault("T12")
def test_memory_that_runs_out(tmp_path: Path) -> None:
    """Under a limit of our own: an error. Under the system's: the process ends and leaves nothing behind."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "text"
    path.write_text(" ".join(f"{i:x}" for i in range(2_000_000)))
    with pytest.raises(TrainingError, match="max_memory"):
        Tokenizer.train(path, 300, max_memory="1MB")
    command = [sys.executable, "-m", "tinybpe", "train", str(path), "--vocab-size", "300", "--out", "tok"]
    limit = 130_000_000

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    ran = subprocess.run(
        [*command, "--threads", "1", "--pattern", r"\S+|\s+"],
        cwd=tmp_path,
        capture_output=True,
        preexec_fn=limited,
        timeout=60,
    )
    assert ran.returncode != 0
    assert [file.name for file in tmp_path.iterdir()] == ["text"]


@pytest.mark.fault("T3")
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::tinybpe.errors.TinyBPEWarning")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "unit", ["a", " ", "\u3000", "\n", "0", "\U0001f469\u200d", "\u0301", "QUJDRA+/", "ab", "'"]
)
def test_words_of_a_hundred_megabytes(unit: str) -> None:
    def seconds(num_bytes: int) -> float:
        text = unit * (num_bytes // len(unit.encode()))
        started_at = time.monotonic()
        Tokenizer.train_from_iterator([text, "x" * 70_000], 300, pattern=r"[\s\S]+")
        return time.monotonic() - started_at

    ratios = [seconds(100_000_000) / seconds(50_000_000) for _ in range(2)]
    assert min(ratios) < 2.5


@pytest.mark.fault("T5")
@pytest.mark.parametrize("num_threads", [1025, 70_000, 2**40, 2**70])
def test_more_threads_than_anybody_has(num_threads: int, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("low lower")
    tokenizer = Tokenizer.train_from_iterator(["low lower"], 258)
    long = ["low lower " * 50_000] * 4
    calls = [
        lambda: Tokenizer.train(tmp_path / "text", 300, num_threads=num_threads),
        lambda: Tokenizer.train_from_iterator(["low"], 300, num_threads=num_threads),
        lambda: WordCounts.from_files(tmp_path / "text", num_threads=num_threads),
        lambda: tokenizer.encode_ordinary_batch(long, num_threads=num_threads),
        lambda: tokenizer.encode_file(tmp_path / "text", tmp_path / "x.bin", num_threads=num_threads),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=rf"num_threads.*{num_threads}.*1024"):
            call()


# --- Vocabulary files ---------------------------------------------------------------------------------------


@pytest.mark.fault("V2")
def test_numbers_that_are_no_ids_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.tiktoken"
    Tokenizer.train_from_iterator(["low"], 257)._core.export_tiktoken(str(path))
    for bad in (-1, 2**31, 2**32, 2**63, 2**70):
        with pytest.raises(VocabError, match=str(bad)):
            Tokenizer.from_vocab(BYTES | {bad: b"ab"}, [(b"a", b"b")])
        with pytest.raises((VocabError, VocabFileError, SpecialTokenError), match=str(bad)):
            Tokenizer.from_tiktoken(path, "gpt2", {SPECIAL: bad})


@pytest.mark.fault("V3")
def test_far_away_ids_cost_no_memory(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_vocab(BYTES | {2**31 - 1: b"ab"}, [(b"a", b"b")])
    assert tokenizer.encode("ab") == [2**31 - 1]
    tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path) == tokenizer


@pytest.mark.fault("V3", "V5")
@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_endless_files_are_refused() -> None:
    with pytest.raises(VocabFileError, match="/dev/zero"):
        WordCounts.load("/dev/zero")


@pytest.mark.fault("V3")
@pytest.mark.slow
def test_a_file_of_ten_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with path.open("wb") as file:
        file.truncate(10 * 2**30)  # takes no room on the disk
    for load in (Tokenizer.load, lambda p: Tokenizer.from_tiktoken(p, "gpt2"), WordCounts.load):
        with pytest.raises(VocabFileError, match=r"limit|not a file"):
            load(path)


@pytest.mark.fault("V7")
def test_no_name_in_a_file_becomes_a_path(tmp_path: Path, tokenizer: Tokenizer) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    folder = tmp_path / "tok"
    tokenizer.save(folder)
    for name in ("../secret.json", str(secret)):
        config = json.loads((folder / "tokenizer_config.json").read_text())
        config |= {"vocab_file": name, "merges_file": name, "tokenizer_file": name, "auto_map": {"x": name}}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        assert Tokenizer.load(folder) == tokenizer
    # Special tokens that look like paths are written inside of files, never as files.
    evil = Tokenizer.train_from_iterator(["low"], 258, special_tokens=["../../evil", "/evil"])
    evil.save(folder, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.json", "tok"]
    assert len(list(folder.iterdir())) == 5
    # The names of sources in a sidecar are for people.
    (tmp_path / "text").write_text("low")
    tokenizer.encode_file(tmp_path / "text", tmp_path / "x.bin")
    sidecar = json.loads((tmp_path / "x.bin.json").read_text())
    sidecar["sources"] = [{"path": "../../nowhere/at/all", "num_bytes": 3}]
    (tmp_path / "x.bin.json").write_text(json.dumps(sidecar))
    assert open_ids(tmp_path / "x.bin").tolist() == tokenizer.encode("low")


# --- Encoding and decoding ----------------------------------------------------------------------------------


@pytest.mark.fault("E1")
@pytest.mark.parametrize("family", FAMILIES)
def test_every_way_to_encode_agrees_on_adversarial_text(family: str, tmp_path: Path) -> None:
    text = FAMILIES[family](1_000_000)
    (tmp_path / "text").write_bytes(text.encode())
    for pattern in PATTERNS:
        tokenizer = Tokenizer.train_from_iterator([text[:5000]], 300, pattern=pattern)
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.encode_ordinary(text) == ids
        assert tokenizer.encode_to_numpy(text).tolist() == ids
        assert tokenizer.encode_batch([text, text]) == [ids, ids]
        tokenizer.encode_file(tmp_path / "text", tmp_path / "x.bin", overwrite=True)
        assert open_ids(tmp_path / "x.bin").tolist() == ids
        assert (
            list(tokenizer.encode_iterable(text[i : i + 99_999] for i in range(0, len(text), 99_999))) == ids
        )


LARGE = {
    "spaces then a letter": lambda n: (b" " * 1_000_000 + b"x") * (n // 1_000_001),
    "one letter": lambda n: FAMILIES["one letter"](n).encode(),
    "ideographic spaces": lambda n: FAMILIES["ideographic spaces"](n).encode(),
    "base64": lambda n: base64.b64encode(random.Random(1).randbytes(n * 3 // 4)),
    "random bytes": lambda n: random.Random(2).randbytes(n),
}


@pytest.mark.fault("E1")
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("family", LARGE)
def test_encoding_a_hundred_megabytes(family: str) -> None:
    vocab, merges = shared_file("gpt2_vocab.json"), shared_file("gpt2_merges.txt")
    tokenizer = Tokenizer.from_gpt2(vocab, merges)
    half, whole = (LARGE[family](num_bytes) for num_bytes in (50_000_000, 100_000_000))
    ratios = []
    for _ in range(3):
        elapsed_s = []
        for text in (half, whole):
            started_at = time.monotonic()
            ids = tokenizer.encode_to_numpy(text)
            elapsed_s.append(time.monotonic() - started_at)
        ratios.append(elapsed_s[1] / elapsed_s[0])
        print(f"{family}: 50 MB {elapsed_s[0]:.2f} s, 100 MB {elapsed_s[1]:.2f} s, {ids.size:,} ids")
    assert tokenizer.decode_bytes(ids) == whole
    assert min(ratios) < 2.5


@pytest.mark.fault("E2")
def test_text_never_becomes_a_control_token_unasked(tokenizer: Tokenizer) -> None:
    end_id = tokenizer.special_tokens[SPECIAL]
    for text in (SPECIAL, f"a{SPECIAL}b", SPECIAL * 3, f"<|endo{SPECIAL}ftext|>"):
        with pytest.raises(SpecialTokenError, match=r"(?s)endoftext.*allowed_special") as caught:
            tokenizer.encode(text)
        assert "encode_ordinary" in str(caught.value)
        with pytest.raises(SpecialTokenError, match="text 1"):
            tokenizer.encode_batch(["fine", text])
        ordinary = tokenizer.encode_ordinary(text)
        assert end_id not in ordinary
        # Decoded from ordinary ids it spells the token, and raises again: it never changes its meaning.
        again = tokenizer.decode(ordinary)
        assert again == text
        with pytest.raises(SpecialTokenError):
            tokenizer.encode(again)
        assert tokenizer.encode(text, allowed_special="all").count(end_id) == text.count(SPECIAL)
    # Look-alikes are text.
    for text in ("<|EndOfText|>", "＜|endoftext|＞", "<|endoftext|", "<|endo\u200dftext|>"):
        assert end_id not in tokenizer.encode(text)


@pytest.mark.fault("E3")
@pytest.mark.parametrize("bad", [True, np.bool_(True), 1.0, np.float32(1), None, "a", b"a", [1], 1j])
def test_ids_that_are_no_integers(tokenizer: Tokenizer, bad: object) -> None:
    with pytest.raises(TypeError):
        tokenizer.decode([97, bad])  # type: ignore[list-item]


@pytest.mark.fault("E3")
def test_numbers_of_numpy_are_ids(tokenizer: Tokenizer) -> None:
    for kind in (np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64):
        assert tokenizer.decode([kind(97), kind(98)]) == "ab"
    with pytest.raises(UnknownTokenError, match=r"18446744073709551615 at position 1"):
        tokenizer.decode(np.array([97, 2**64 - 1], dtype=np.uint64))
    with pytest.raises(UnknownTokenError, match="-1 at position 0"):
        tokenizer.decode(np.array([-1], dtype=np.int8))


@pytest.mark.fault("E4")
def test_a_subclass_of_str_is_text(tokenizer: Tokenizer) -> None:
    class Name(str):
        __slots__ = ()

    assert tokenizer.encode(Name("low")) == tokenizer.encode("low") == tokenizer.encode(b"low")
    for text in (bytearray(b"low"), memoryview(b"low")):
        with pytest.raises(TypeError, match="expected str or bytes"):
            tokenizer.encode(text)  # type: ignore[arg-type]


@pytest.mark.fault("E5")
@pytest.mark.parametrize("bad", ["half \ud800", None, 3, SPECIAL])
@pytest.mark.parametrize("repeat", [1, 40_000])
def test_one_bad_item_of_a_batch_is_named(tokenizer: Tokenizer, bad: Any, repeat: int) -> None:
    good = "once upon a time " * repeat
    with pytest.raises((TypeError, ValueError), match="text 2") as caught:
        tokenizer.encode_batch([good, good, bad, good, bad])
    assert not isinstance(caught.value, UnicodeError)  # which would show the whole text
    with pytest.raises((TypeError, ValueError), match="text 2"):
        tokenizer.encode_batch_to_numpy([good, good, bad])
    assert tokenizer.encode_batch([good]) == [tokenizer.encode(good)]
    if bad != SPECIAL:
        with pytest.raises((TypeError, ValueError), match="text 2"):
            Tokenizer.train_from_iterator([good, good, bad], 300)


# --- Token files --------------------------------------------------------------------------------------------


@pytest.mark.fault("B3")
def test_the_largest_vocabulary_of_two_bytes(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("ab")
    full = Tokenizer.from_vocab(BYTES | {65_535: b"ab"}, [(b"a", b"b")])
    assert full.encode_file(tmp_path / "text", tmp_path / "x.bin", dtype="uint16").vocab_size == 65_536
    assert open_ids(tmp_path / "x.bin").tolist() == [65_535]
    more = Tokenizer.from_vocab(BYTES | {65_536: b"ab"}, [(b"a", b"b")])
    with pytest.raises(TokenFileError, match=r"65,?537.*uint16.*uint32"):
        more.encode_file(tmp_path / "text", tmp_path / "y.bin", dtype="uint16")
    assert more.encode_to_numpy("ab").tolist() == [65_536]


@pytest.mark.fault("B4")
def test_every_truncation_and_bit_flip_of_a_sidecar(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Both readers: what they take from a damaged sidecar is right, or they refuse it."""
    from lm.data import TokenFile
    from lm.data import TokenFileError as LmTokenFileError

    (tmp_path / "text").write_text("once upon a time")
    path, sidecar = tmp_path / "x.bin", tmp_path / "x.bin.json"
    tokenizer.encode_file(tmp_path / "text", path)
    good, ids = sidecar.read_bytes(), open_ids(path).tolist()
    damaged = [good[:size] for size in range(0, len(good), 11)]
    for index in range(0, len(good), 7):
        changed = bytearray(good)
        changed[index] ^= 1 << index % 8
        damaged.append(bytes(changed))
    damaged += [b"[" * 100_000, b'{"a":' * 100_000, b"NaN", b"9" * 5000, b"\xff\xfe", b"null", b"[]"]
    for content in damaged:
        sidecar.write_bytes(content)
        with contextlib.suppress(TokenFileError):
            assert open_ids(path).tolist() == ids
        with contextlib.suppress(LmTokenFileError):
            file = TokenFile(path)
            assert file.read(0, file.num_tokens).tolist() == ids


@pytest.mark.fault("B4")
def test_a_token_file_cut_or_extended_anywhere(tmp_path: Path, tokenizer: Tokenizer) -> None:
    from lm.data import TokenFile
    from lm.data import TokenFileError as LmTokenFileError

    (tmp_path / "text").write_text("once upon a time")
    path = tmp_path / "x.bin"
    tokenizer.encode_file(tmp_path / "text", path)
    good = path.read_bytes()
    for content in [*(good[:size] for size in range(len(good))), good + b"x", good + b"xx", good * 2]:
        path.write_bytes(content)
        with pytest.raises(TokenFileError, match=r"x\.bin"):
            open_ids(path)
        with pytest.raises(LmTokenFileError, match=r"x\.bin"):
            TokenFile(path)


@pytest.mark.fault("B7")
def test_the_sidecar_tells_the_sources(tmp_path: Path, tokenizer: Tokenizer) -> None:
    for name, text in (("one", "once"), ("two", "upon a time")):
        (tmp_path / name).write_text(text)
    info = tokenizer.encode_file([tmp_path / "two", tmp_path / "one"], tmp_path / "x.bin")
    assert info.sources == (("two", 11), ("one", 4))
    assert TokenFileInfo.read(tmp_path / "x.bin").sources == info.sources
    (tmp_path / "one").unlink()
    with pytest.raises(FileNotFoundError, match="one"):
        tokenizer.encode_file([tmp_path / "two", tmp_path / "one"], tmp_path / "x.bin")
    assert TokenFileInfo.read(tmp_path / "x.bin").sources == info.sources


# --- What is shown ------------------------------------------------------------------------------------------


@pytest.mark.fault("S3")
def test_nothing_from_a_file_drives_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2J\x07\u202e\x9b31m"
    pattern = r"\x1b|" + "\x1b\u202e\x9b|" + r"[\s\S]"
    tokenizer = Tokenizer.train_from_iterator([evil * 9], 270, special_tokens=[f"<{evil}>"], pattern=pattern)
    tokenizer.save(tmp_path / "tok")
    assert main(["info", "--tok", str(tmp_path / "tok")]) == 0
    text = (tmp_path / "tok" / "tokenizer.json").read_text(encoding="utf-8")
    (tmp_path / "tok" / "tokenizer.json").write_text(
        text.replace('"1.0"', json.dumps(evil)), encoding="utf-8"
    )
    assert main(["info", "--tok", str(tmp_path / "tok")]) == 1
    assert (
        main(["train", "x", "--vocab-size", "300", "--out", str(tmp_path / "o"), "--pattern", f"({evil}"])
        == 2
    )
    printed = capsys.readouterr()
    assert not set(printed.out + printed.err) & set("\x1b\x07\u202e\x9b")


@pytest.mark.fault("S4")
def test_a_terminal_that_knows_only_ascii(tmp_path: Path) -> None:
    Tokenizer.train_from_iterator(["日本語 日本語 日本語"], 270, special_tokens=["é🙂"]).save(
        tmp_path / "tok"
    )
    for encoding in ("ascii", "cp1252"):
        ran = subprocess.run(
            [sys.executable, "-m", "tinybpe", "info", "--tok", "tok"],
            cwd=tmp_path,
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )
        assert (ran.returncode, ran.stderr) == (0, b"")


# --- Panics -------------------------------------------------------------------------------------------------


def test_core_calls_are_guarded_in_one_place() -> None:
    """Only `run.rs` leaves the interpreter, and whatever it runs cannot raise PyO3's PanicException."""
    for path in (ROOT / "rust" / "py").glob("*.rs"):
        source = path.read_text(encoding="utf-8")
        assert ("detach(" in source) == (path.name == "run.rs"), path.name
    assert "catch_unwind" in (ROOT / "rust" / "py" / "run.rs").read_text(encoding="utf-8")
