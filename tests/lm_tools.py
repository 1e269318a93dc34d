"""What the tests of `lm` share: tiny token files, a byte tokenizer, tiny settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm.config import Config, ModelConfig, from_values

torch.set_num_threads(1)  # tiny tensors: threads cost more than they bring, and bits depend on their number

TINY: dict[str, Any] = {
    "vocab_size": 50, "context_length": 8, "d_model": 8, "num_layers": 2, "num_heads": 2, "d_ff": 16,
    "batch_size": 4, "max_iters": 12, "log_every": 3, "eval_every": 6, "eval_iters": 2, "device": "cpu",
    "lr": 1e-2, "seed": 7,
}  # fmt: skip


def tiny_model(**changes: Any) -> ModelConfig:
    return ModelConfig(**{**{k: TINY[k] for k in list(TINY)[:6]}, **changes})


def write_tokens(path: Path, ids: np.ndarray, vocab_size: int = 50, **sidecar: Any) -> Path:
    ids.astype("<u2").tofile(path)
    told = {
        "format": "tinybpe-token-file", "version": 1, "dtype": "uint16", "num_tokens": len(ids),
        "num_bytes": 3 * len(ids), "vocab_size": vocab_size, "tokenizer_sha256": "t" * 64, **sidecar,
    }  # fmt: skip
    path.with_name(path.name + ".json").write_text(json.dumps(told))
    return path


def tiny_data(folder: Path, num_tokens: int = 600) -> tuple[Path, Path]:
    """A sequence with structure to learn: each id follows from the one before, with some noise."""
    rng = np.random.default_rng(0)
    ids = np.zeros(num_tokens + 120, dtype=np.int64)
    for i in range(1, len(ids)):
        ids[i] = (ids[i - 1] * 3 + 1) % 50 if rng.random() < 0.9 else rng.integers(50)
    train = write_tokens(folder / "train.bin", ids[:num_tokens])
    return train, write_tokens(folder / "valid.bin", ids[num_tokens:])


def tiny_config(folder: Path, run: str = "run", **changes: Any) -> Config:
    train, valid = folder / "train.bin", folder / "valid.bin"
    if not train.exists():
        tiny_data(folder)
    values = {**TINY, "train_bin": str(train), "valid_bin": str(valid), "ckpt_path": str(folder / run)}
    return from_values({**values, **changes})


class ByteTokenizer:
    """The tokenizer of 256 bytes and one special token, with tinybpe's public names."""

    vocab_size = 257
    sha256 = "b" * 64
    special_tokens = {"<|endoftext|>": 256}  # noqa: RUF012
    vocab = {**{i: bytes([i]) for i in range(256)}, 256: b"<|endoftext|>"}  # noqa: RUF012

    def encode_ordinary(self, text: str) -> list[int]:
        return list(text.encode())

    def decode_bytes(self, ids: list[int]) -> bytes:
        return b"".join(self.vocab[i] for i in ids)

    decode_tokens = decode_bytes
    eot_token = 256


def equal(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
