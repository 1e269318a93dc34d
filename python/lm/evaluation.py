"""Loss, perplexity and bits per byte of a model over a token file.

    python -m lm.evaluate --ckpt runs/default --bin data/valid.bin
    loss 2.2370  perplexity 9.37  bits_per_byte 0.783

One protocol, always the same: the file is cut into windows of the context length, one after the other without
overlap, documents not separated; every token but the first is predicted exactly once, in fp32. Bits per byte
divide the same sum of losses by the bytes of the predicted tokens, special tokens counted with the bytes of
their text, so that it compares between vocabularies: it is how far the model would compress the file.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from lm.data import Sampler, TokenFile, TokenFileError, spread, to_device
from lm.model import TransformerLM
from lm.nn import token_losses
from lm.progress import followed

if TYPE_CHECKING:
    from tinybpe import Tokenizer


@dataclass(slots=True, kw_only=True)
class Evaluation:
    """The result: the loss in nats per token, e to it, and in bits per byte of text, if these are known."""

    loss: float
    perplexity: float
    bits_per_byte: float | None
    num_tokens: int

    def row(self, prefix: str) -> dict[str, Any]:
        """Return the fields of a row of metrics.jsonl."""
        return {f"{prefix}_{name.removeprefix('num_')}": value for name, value in asdict(self).items()}

    def __str__(self) -> str:
        bits = "unknown" if self.bits_per_byte is None else f"{self.bits_per_byte:.3f}"
        return f"loss {self.loss:.4f}  perplexity {self.perplexity:.2f}  bits_per_byte {bits}"


@contextmanager
def evaluating(model: TransformerLM) -> Iterator[None]:
    """Evaluation mode, no gradients, full fp32; all as before afterwards."""
    backends: Any = (torch.backends.mkldnn.matmul, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    training = model.training
    for backend in backends:
        backend.fp32_precision = "ieee"
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def sum_losses(model: TransformerLM, windows: NDArray[np.int64], device: torch.device) -> float:
    """Return the sum of the losses of all targets of (B, T + 1) ids, in nats."""
    inputs, targets = to_device(windows, device)
    x = model.hidden(inputs).flatten(0, 1)  # (B * T, d_model)
    flat, total = targets.flatten(), 0.0
    for start in range(0, len(flat), 2048):  # the (rows, vocabulary) matrix is the largest there is
        logits = x[start : start + 2048] @ model.head_weight.T
        total += float(token_losses(logits, flat[start : start + 2048]).sum())
    return total


def evaluate(
    model: TransformerLM,
    tokens: TokenFile,
    device: torch.device,
    *,
    num_windows: int = 0,
    batch_size: int = 16,
    byte_lengths: NDArray[np.int64] | None = None,
    poll: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Evaluate a model on a token file, in windows of its context length.

    `num_windows` are evenly spread over the file; 0 for all of it, a short last one included. `batch_size`
    windows are computed at once. Bytes are counted by `byte_lengths` of each id, else at the sidecar's ratio.
    `poll` is called between batches, and may raise. TokenFileError if there is nothing to predict.
    """
    length, last = model.config.context_length, tokens.num_tokens - 1
    TokenFileError.unless(last > 0, f"{tokens.name} holds {last + 1} token; there is nothing to predict")
    starts = spread(tokens.num_tokens, length, num_windows)
    batches = [(starts[i : i + batch_size], length) for i in range(0, len(starts), batch_size)]
    if last % length and (num_windows == 0 or last < length):
        batches.append((np.array([last - last % length]), last % length))
    nats, count, counted = 0.0, 0, 0
    with evaluating(model):
        for batch, size in followed(batches, "evaluation"):
            poll()
            windows = tokens.windows(batch, size + 1)
            nats += sum_losses(model, windows, device)
            count += windows[:, 1:].size
            if byte_lengths is not None:
                counted += int(byte_lengths[windows[:, 1:]].sum())
    loss, num_bytes = nats / count, counted or bytes_by_sidecar(tokens, count)
    return Evaluation(
        loss=loss,
        perplexity=math.exp(loss) if loss < 700 else math.inf,
        bits_per_byte=loss * count / math.log(2) / num_bytes if num_bytes else None,
        num_tokens=count,
    )


def sampled_loss(model: TransformerLM, tokens: TokenFile, device: torch.device, num_batches: int) -> float:
    """Return the reference project's estimate: the mean loss over batches of 16 windows at random places.

    It has no fixed value; the seed here is always the same. To be read beside the loss of the whole file.
    """
    length, batch_size = model.config.context_length, 16
    sampler = Sampler(tokens.num_tokens, length, batch_size, seed=0, kind="random")
    with evaluating(model):
        steps = followed(range(num_batches), "sampled")
        batches = (tokens.windows(sampler.starts(step), length + 1) for step in steps)
        total = sum(sum_losses(model, windows, device) for windows in batches)
    return total / (num_batches * batch_size * length)


def bytes_by_sidecar(tokens: TokenFile, count: int) -> float | None:
    """Return the bytes of `count` tokens at the file's mean, None without a sidecar."""
    return count * tokens.num_bytes / tokens.num_tokens if tokens.num_bytes else None


def count_bytes(tokenizer: "Tokenizer", vocab_size: int) -> NDArray[np.int64]:
    """Return the number of bytes of each id; 0 for ids the tokenizer does not have."""
    lengths = np.zeros(vocab_size, dtype=np.int64)
    for token_id, token in tokenizer.vocab.items():
        if token_id < vocab_size:
            lengths[token_id] = len(token)
    return lengths
