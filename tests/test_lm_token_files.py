"""Sets of shards, patterns, folders and other layouts as the data of a run."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm import checkpoint as ckpt
from lm import evaluate, train
from lm.config import ConfigError, from_values
from lm.data import TokenFile, TokenFileError
from lm.plot import read_metrics
from lm.token_files import find_files
from lm_tools import tiny_config, tiny_data, write_tokens
from test_lm_train import same_end, stop_at
from tinybpe import Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train_from_iterator(documents(), 300, special_tokens=["<|endoftext|>"])


def documents(count: int = 400) -> list[str]:
    rng = np.random.default_rng(1)
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "slept"]
    return [" ".join(rng.choice(words, rng.integers(3, 30))) for _ in range(count)]


def ids_of(given: Any) -> list[int]:
    file = TokenFile(given)
    assert file.read(0, file.num_tokens).tolist() == file.read(0, 10**9).tolist()
    return file.read(0, file.num_tokens).tolist()


def test_every_way_to_name_what_encode_writes(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """The set's name, a pattern, a folder, the files: the ids of the one file that the same text makes."""
    tokenizer.encode_documents(documents(), tmp_path / "one.bin")
    expected = ids_of(tmp_path / "one.bin")
    for name, options in (
        ("web.bin", {"shard_tokens": 900}),
        ("web.uint32.bin", {"shard_tokens": 900}),
        ("web.npy", {"shard_tokens": 900}),
        ("web.ds", {"shard_tokens": 900}),
        ("c.bin", {"shard_tokens": 900, "format": "llm.c"}),
        ("wide.bin", {"shard_tokens": 900, "format": "llm.c", "dtype": "uint32"}),
        ("whole.npy", {}),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "tok").mkdir()
        info = tokenizer.encode_documents(documents(), folder / name, docs=name.endswith(".bin"), **options)
        files = [shard.path for shard in info.shards] or [folder / name]
        stem, ending = name.split(".", 1)
        assert len(files) > 4 or name == "whole.npy"
        for given in (folder / name, str(folder), f"{folder}/{stem}*.{ending}", files, list(map(str, files))):
            assert ids_of(given) == expected, given
        assert TokenFile(folder).num_bytes == info.num_bytes
        assert TokenFile(folder).tokenizer_sha256 == tokenizer.sha256


def test_a_known_number_of_shards_and_empty_ones(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "t.txt").write_text("the cat<|endoftext|>" + "a mat " * 900 + "<|endoftext|>sat")
    tokenizer.encode_file(tmp_path / "t.txt", tmp_path / "one.bin")
    with pytest.warns(UserWarning, match="no document"):
        tokenizer.encode_file(tmp_path / "t.txt", tmp_path / "set.bin", shards=7)
    assert [p.name for p in find_files(tmp_path / "set.bin")][-1] == "set-00006-of-00007.bin"
    assert ids_of(tmp_path / "set.bin") == ids_of(tmp_path / "one.bin")


def test_files_of_other_programs(tmp_path: Path) -> None:
    """A bare .npy says its type, a header of llm.c its layout; neither has a sidecar."""
    ids = np.arange(1, 900)
    np.save(tmp_path / "x.npy", ids.astype("<u4"))
    assert ids_of(tmp_path / "x.npy") == ids.tolist()
    header = np.zeros(256, "<i4")
    header[:3] = 20240520, 1, len(ids)
    for index, part in enumerate((ids[:500], ids[500:])):
        header[2] = len(part)
        (tmp_path / f"fineweb_train_{index + 1:06}.bin").write_bytes(
            header.tobytes() + part.astype("<u2").tobytes()
        )
    assert ids_of(f"{tmp_path}/fineweb_train_*.bin") == ids.tolist()


@pytest.mark.parametrize("sizes", [(5, 1, 0, 7), (0, 13), (13, 0), (1,) * 13])
def test_reads_across_borders(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    parts = np.split(np.arange(13), np.cumsum(sizes)[:-1])
    files = [write_tokens(tmp_path / f"x-{i:05}.bin", part) for i, part in enumerate(parts)]
    file = TokenFile(files, vocab_size=50)
    for start in range(14):
        for stop in range(start, 16):
            assert file.read(start, stop).tolist() == list(range(start, min(stop, 13)))
    assert file.windows(np.array([0, 3, 9]), 4).tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [9, 10, 11, 12]]


@pytest.mark.fault("B4")
def test_what_is_not_one_set_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    info = tokenizer.encode_documents(documents(), tmp_path / "web.bin", shard_tokens=900)
    files = [shard.path for shard in info.shards]
    hidden = files[2].rename(tmp_path / "hidden")
    for given in (tmp_path / "web.bin", tmp_path):
        with pytest.raises(TokenFileError, match="shard 2 is missing; the next one is web-00003"):
            TokenFile(given)
    assert len(ids_of(f"{tmp_path}/web-*.bin")) == info.num_tokens - info.shards[2].num_tokens
    hidden.rename(files[2])
    last = files[-1].rename(tmp_path / "hidden")
    with pytest.raises(TokenFileError, match="there is no shard after web-"):
        TokenFile(tmp_path / "web.bin")
    last.rename(files[-1])
    with pytest.raises(TokenFileError, match="given twice"):
        TokenFile([str(files[0]), f"{tmp_path}/web-*.bin"])
    tokenizer.encode_documents(documents(9), tmp_path / "valid.bin")
    with pytest.raises(TokenFileError, match=r"there are valid\.bin, web-\*\.bin; name one"):
        TokenFile(tmp_path)
    Tokenizer.train_from_iterator(["abc"], 258, special_tokens=["<|endoftext|>"]).encode_documents(
        ["abc"], tmp_path / "other.bin"
    )
    with pytest.raises(TokenFileError, match="tokenizer_sha256"):
        TokenFile([files[0], tmp_path / "other.bin"])
    tokenizer.encode_documents(["the cat"], tmp_path / "wide.bin", dtype="uint32")
    with pytest.raises(TokenFileError, match="dtype uint32"):
        TokenFile([files[0], tmp_path / "wide.bin"])
    for given in (f"{tmp_path}/none-*.bin", tmp_path / "none.bin", tmp_path / "none" / "none.bin"):
        with pytest.raises(FileNotFoundError, match="no "):
            TokenFile(given)
    with pytest.raises(TokenFileError, match="was made with a vocabulary of"):
        TokenFile(tmp_path / "web.bin", vocab_size=tokenizer.vocab_size - 1)


@pytest.mark.fault("B4")
def test_damaged_headers(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(100, dtype="<u2"))
    good = (tmp_path / "x.npy").read_bytes()
    for content in (b"", good[:40], good[:-2], b"PK" + good):
        (tmp_path / "x.npy").write_bytes(content)
        with pytest.raises(TokenFileError, match=r"x\.npy is damaged"):
            TokenFile(tmp_path / "x.npy")
    for array in (np.zeros((2, 2), "<u2"), np.zeros(3, ">u2"), np.zeros(3, "<i8"), np.zeros(3)):
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(TokenFileError, match="expected one of uint16 or uint32"):
            TokenFile(tmp_path / "x.npy")
    write_tokens(tmp_path / "x.bin", np.arange(20), layout="llm.c")
    with pytest.raises(TokenFileError, match=r"not llm\.c's header"):
        TokenFile(tmp_path / "x.bin")
    write_tokens(tmp_path / "x.bin", np.arange(20), layout="tar")
    with pytest.raises(TokenFileError, match="layout 'tar'"):
        TokenFile(tmp_path / "x.bin")


def cut(folder: Path, sizes: list[int]) -> Path:
    """Write the ids of `tiny_data` once more, as the shards of web.bin."""
    ids = np.fromfile(tiny_data(folder)[0], "<u2")
    for index, part in enumerate(np.split(ids, np.cumsum(sizes)[:-1])):
        write_tokens(folder / f"web-{index:05}.bin", part, crc32=index)
    return folder / "web.bin"


@pytest.mark.fault("L2", "L4")
def test_a_run_on_shards_equals_the_run_on_one_file_and_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses and weights to the last bit; only the identity of the data differs."""
    web = str(cut(tmp_path, [100, 250, 3, 247]))
    one = train.train(tiny_config(tmp_path, "one"))
    whole = train.train(tiny_config(tmp_path, "whole", train_bin=web))
    a, b = ckpt.load(ckpt.find(one)), ckpt.load(ckpt.find(whole))
    assert a.state["tensors"] == b.state["tensors"]
    assert b.state["identity"].keys() - a.state["identity"].keys() == {"train data shards_sha256"}
    with monkeypatch.context() as patch:
        stop_at(patch, 5, signal.SIGTERM)
        with pytest.raises(SystemExit):
            train.train(tiny_config(tmp_path, "parts", train_bin=web))
    same_end(whole, train.train(tiny_config(tmp_path, "parts", train_bin=web), resume="strict"))
    # no digest reads the whole of a long shard: its checksum tells
    path = tmp_path / "web-00002.bin"
    write_tokens(path, np.fromfile(path, "<u2"), crc32=99)
    with pytest.raises(ckpt.CheckpointError, match="shards_sha256"):
        train.train(tiny_config(tmp_path, "parts", train_bin=web), resume="strict")


def test_commands_take_sets_and_several_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names in config.toml are lists; the vocabulary's size comes from the first sidecar."""
    cut(tmp_path, [300, 300])
    valid = str(tmp_path / "valid.bin")
    flags = [
        "--context-length=8",
        "--d-model=8",
        "--num-layers=1",
        "--num-heads=2",
        "--d-ff=16",
        "--max-iters=2",
    ]
    flags += ["--batch-size=4", "--device=cpu", "--valid_bin", valid, "--ckpt-path", str(tmp_path / "run")]
    files = [str(tmp_path / f"web-0000{index}.bin") for index in range(2)]
    assert train.main(["--train_bin", *files, *flags]) == 0
    assert "vocabulary 50" in capsys.readouterr().out
    assert train.main(["--resume", "--ckpt-path", str(tmp_path / "run"), "--max-iters", "3"]) == 0
    capsys.readouterr()
    lines = []
    for given in ([valid], [*files], [str(tmp_path / "web.bin")], [f"{tmp_path}/web-*.bin"]):
        assert evaluate.main(["--ckpt", str(tmp_path / "run"), "--bin", *given, "--device", "cpu"]) == 0
        lines.append(capsys.readouterr().out)
    assert lines[1] == lines[2] == lines[3] != lines[0]
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["step"] == 3


@pytest.mark.fault("L10")
@pytest.mark.parametrize("value", [3, [], [3], [["a"]], {"a": 1}])
def test_names_of_token_files_that_are_none(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ConfigError, match="`--train-bin` is "):
        from_values({"train_bin": value})
    (tmp_path / "c.toml").write_text(f"train_bin = {value if not isinstance(value, dict) else '{a = 1}'}\n")
    with pytest.raises(ConfigError, match=r"c\.toml:1: `train_bin` is "):
        train.settle({}, None, str(tmp_path / "c.toml"), None)
