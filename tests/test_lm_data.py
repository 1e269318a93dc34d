"""Token files and the sampler."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lm.data import Sampler, TokenFile, TokenFileError, permute, spread, to_device
from lm_tools import write_tokens


def test_reads_both_types(tmp_path: Path) -> None:
    ids = np.array([0, 1, 65535, 7, 300])
    for dtype in ("uint16", "uint32"):
        path = tmp_path / f"x.{dtype}.bin"
        ids.astype(dtype).tofile(path)
        file = TokenFile(path)
        assert file.num_tokens == 5
        assert file.windows(np.array([0, 1]), 4).tolist() == [[0, 1, 65535, 7], [1, 65535, 7, 300]]
    bare = tmp_path / "bare.bin"
    ids.astype("<u4").tofile(bare)
    assert TokenFile(bare, dtype="uint32").num_tokens == 5


def test_inputs_and_targets() -> None:
    x, y = to_device(np.arange(10).reshape(2, 5), torch.device("cpu"))
    assert x.tolist() == [[0, 1, 2, 3], [5, 6, 7, 8]]
    assert y.tolist() == [[1, 2, 3, 4], [6, 7, 8, 9]]


@pytest.mark.fault("B4")
def test_refuses(tmp_path: Path) -> None:
    path = write_tokens(tmp_path / "x.bin", np.arange(20))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError):
        TokenFile(tmp_path / "missing.uint16.bin")
    with pytest.raises(TokenFileError, match="folder without token files"):
        TokenFile(tmp_path / "empty")
    with pytest.raises(TokenFileError, match="holds uint16 ids, but uint32"):
        TokenFile(path, dtype="uint32")
    with pytest.raises(TokenFileError, match="vocabulary of 50, the model has 40"):
        TokenFile(path, vocab_size=40)
    odd = tmp_path / "odd.uint16.bin"
    odd.write_bytes(b"123")
    with pytest.raises(TokenFileError, match="3 bytes, not a multiple of 2"):
        TokenFile(odd)
    odd.write_bytes(b"")
    with pytest.raises(TokenFileError, match="empty"):
        TokenFile(odd)
    bare = tmp_path / "bare.bin"
    bare.write_bytes(b"1234")
    with pytest.raises(TokenFileError, match=r"give `--dtype uint16`"):
        TokenFile(bare)
    (tmp_path / "x.bin").write_bytes(b"12")
    with pytest.raises(TokenFileError, match="holds 1 tokens, but its sidecar says 20"):
        TokenFile(path)
    for text, problem in (
        ("{", "damaged"),
        ("[]", "not the sidecar"),
        ('{"format": "x"}', "not the sidecar"),
    ):
        (tmp_path / "x.bin.json").write_text(text)
        with pytest.raises(TokenFileError, match=problem):
            TokenFile(path)
    (tmp_path / "x.bin.json").write_text(json.dumps({"format": "tinybpe-token-file", "version": 2}))
    with pytest.raises(TokenFileError, match="version 2"):
        TokenFile(path)


@pytest.mark.fault("B5")
def test_id_outside_the_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "x.uint16.bin"
    np.array([1, 2, 99], dtype="<u2").tofile(path)
    with pytest.raises(TokenFileError, match="holds id 99, but the vocabulary has 50"):
        TokenFile(path, vocab_size=50).windows(np.array([0]), 3)


@pytest.mark.fault("B5")
def test_too_short() -> None:
    with pytest.raises(TokenFileError, match="8 tokens are too few for one window of 8"):
        Sampler(8, 8, 1, 0)
    assert Sampler(9, 8, 2, 0).starts(3).tolist() == [0, 0]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 65, 1000])
def test_permute_is_one_to_one(size: int) -> None:
    orders = {tuple(permute(np.arange(size), size, key)) for key in range(5)}
    for order in orders:
        assert sorted(order) == list(range(size))
    assert len(orders) == (1 if size == 1 else len(orders))
    assert size < 64 or len(orders) == 5


def test_permute_scatters_and_costs_no_memory() -> None:
    size = 10**12
    out = permute(np.arange(10_000), size, 3)
    assert len(set(out.tolist())) == 10_000
    assert 0.45 < out.mean() / size < 0.55
    steps = np.abs(np.diff(permute(np.arange(1000), 1000, 1)))
    assert 250 < steps.mean() < 420  # a third of the range for a random order


@pytest.mark.parametrize("num_tokens", [101, 109, 1000])
def test_each_window_once_an_epoch(num_tokens: int) -> None:
    sampler = Sampler(num_tokens, 8, 3, seed=5)
    total = sampler.num_windows * 3  # three epochs, whose borders lie within steps
    starts = np.concatenate([sampler.starts(step) for step in range(-(-total // 3))])[:total]
    epochs = starts.reshape(3, -1)
    for epoch in epochs:
        ordered = np.sort(epoch)
        assert (np.diff(ordered) == 8).all()
        assert ordered[0] >= 0
        assert ordered[-1] + 8 < num_tokens
    if num_tokens == 1000:
        assert (epochs[0] != epochs[1]).any()


@pytest.mark.parametrize("kind", ["shuffled", "random"])
def test_starts_are_a_pure_function(kind: str) -> None:
    def starts(step: int, seed: int = 1) -> list[int]:
        return Sampler(10_000, 8, 16, seed, kind).starts(step).tolist()

    assert starts(7) == starts(7)
    assert starts(7) != starts(8)
    assert starts(7) != starts(7, seed=2)
    assert all(0 <= s <= 10_000 - 9 for s in starts(123))


def test_order_never_changes() -> None:
    """Resuming a run with a later version of the program must see the same data."""
    assert Sampler(1000, 8, 4, 1337).starts(0).tolist() == ORDER_0
    assert Sampler(1000, 8, 4, 1337).starts(1000).tolist() == ORDER_1000


def test_spread() -> None:
    assert spread(101, 10, 0).tolist() == list(range(0, 100, 10))
    assert spread(101, 10, 5).tolist() == [0, 20, 40, 60, 80]
    assert spread(101, 10, 99).tolist() == list(range(0, 100, 10))
    assert spread(5, 10, 3).tolist() == []


ORDER_0 = [692, 380, 748, 308]
ORDER_1000 = [318, 934, 350, 14]
