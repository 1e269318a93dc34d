"""Loss, perplexity and bits per byte of a model over a token file.

    python -m lm.evaluate --ckpt runs/default --bin data/valid.bin
    loss 2.2370  perplexity 9.37  bits_per_byte 0.783

One protocol, always the same: the file is cut into windows of the context length, one after the other without
overlap, documents not separated; every token but the first is predicted exactly once, in fp32. Bits per byte
divide the same sum of losses by the bytes of the predicted tokens, special tokens counted with the bytes of
their text, so that it compares between vocabularies: it is how far the model would compress the file.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from lm.checkpoint import load_model
from lm.cli import Parser, clear_errors
from lm.config import ConfigError
from lm.data import Sampler, TokenFile, TokenFileError, spread, to_device
from lm.devices import pick_device, set_precision
from lm.model import TransformerLM
from lm.nn import token_losses

if TYPE_CHECKING:
    from tinybpe import Tokenizer


@dataclass(slots=True, kw_only=True)
class Evaluation:
    """The result: `loss` in nats per token."""

    loss: float
    num_tokens: int
    num_bytes: float | None

    @property
    def perplexity(self) -> float:
        """Return e to the loss."""
        return math.exp(self.loss) if self.loss < 700 else math.inf

    @property
    def bits_per_byte(self) -> float | None:
        """Return the loss in bits for each byte of text, None if the bytes are not known."""
        return self.loss * self.num_tokens / math.log(2) / self.num_bytes if self.num_bytes else None

    def __str__(self) -> str:
        bits = "unknown" if self.bits_per_byte is None else f"{self.bits_per_byte:.3f}"
        return f"loss {self.loss:.4f}  perplexity {self.perplexity:.2f}  bits_per_byte {bits}"


@contextmanager
def evaluating(model: TransformerLM) -> Iterator[None]:
    """Evaluation mode, no gradients, full fp32; all as before afterwards."""
    backend: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before: Any = backend.fp32_precision
    before_cuda: Any = torch.backends.cuda.matmul.fp32_precision
    training = model.training
    set_precision("fp32", torch.device("cpu"))
    set_precision("fp32", torch.device("cuda"))
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
        backend.fp32_precision = before
        torch.backends.cuda.matmul.fp32_precision = before_cuda


def sum_losses(model: TransformerLM, windows: NDArray[np.int64], device: torch.device) -> float:
    """Return the sum of the losses of all targets of (B, T + 1) ids, in nats."""
    inputs, targets = to_device(windows, device)
    x = model.hidden(inputs).flatten(0, 1)  # (B * T, d_model)
    flat = targets.flatten()
    total = 0.0
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
    progress: Callable[[float], None] | None = None,
) -> Evaluation:
    """Evaluate a model on a token file.

    Args:
        model: its context length is the window's.
        tokens: the file.
        device: where the model is.
        num_windows: windows evenly spread over the file; 0 for all of it, a short last one included.
        batch_size: windows computed at once; changes nothing but rounding.
        byte_lengths: bytes of each id; the sidecar's ratio is used without it.
        progress: called with the part that is done.

    Raises:
        TokenFileError: fewer than two tokens, or ids outside the vocabulary.
    """
    length = model.config.context_length
    if tokens.num_tokens < 2:
        raise TokenFileError(f"{tokens.path} holds {tokens.num_tokens} token; there is nothing to predict")
    starts = spread(tokens.num_tokens, length, num_windows)
    batches = [(starts[i : i + batch_size], length) for i in range(0, len(starts), batch_size)]
    whole = (tokens.num_tokens - 1) // length
    rest = tokens.num_tokens - 1 - whole * length
    if rest and (num_windows == 0 or whole == 0):
        batches.append((np.array([whole * length], dtype=np.int64), rest))
    nats, count, num_bytes = 0.0, 0, 0
    with evaluating(model):
        for done, (batch, size) in enumerate(batches, 1):
            windows = tokens.windows(batch, size + 1)
            nats += sum_losses(model, windows, device)
            count += windows[:, 1:].size
            if byte_lengths is not None:
                num_bytes += int(byte_lengths[windows[:, 1:]].sum())
            if progress:
                progress(done / len(batches))
    known = float(num_bytes) if byte_lengths is not None else bytes_by_sidecar(tokens, count)
    return Evaluation(loss=nats / count, num_tokens=count, num_bytes=known)


def sampled_loss(model: TransformerLM, tokens: TokenFile, device: torch.device, num_batches: int) -> float:
    """Return the reference project's estimate: the mean loss over batches of 16 windows at random places.

    It has no fixed value; the seed here is always the same. To be read beside the loss of the whole file.
    """
    length, batch_size = model.config.context_length, 16
    sampler = Sampler(tokens.num_tokens, length, batch_size, seed=0, kind="random")
    with evaluating(model):
        batches = (tokens.windows(sampler.starts(step), length + 1) for step in range(num_batches))
        total = sum(sum_losses(model, windows, device) for windows in batches)
    return total / (num_batches * batch_size * length)


def bytes_by_sidecar(tokens: TokenFile, count: int) -> float | None:
    """Return the bytes of `count` tokens at the file's mean, None without a sidecar."""
    total = tokens.sidecar.get("num_bytes")
    return count * total / tokens.num_tokens if isinstance(total, int) and total > 0 else None


def count_bytes(tokenizer: Tokenizer, vocab_size: int) -> NDArray[np.int64]:
    """Return the number of bytes of each id; 0 for ids the tokenizer does not have."""
    lengths = np.zeros(vocab_size, dtype=np.int64)
    for token_id, token in tokenizer.vocab.items():
        if token_id < vocab_size:
            lengths[token_id] = len(token)
    return lengths


def open_tokenizer(folder: str | Path) -> Tokenizer:
    """Load a tokenizer.

    Raises:
        ConfigError: the extension is not built, or the folder holds no tokenizer.
    """
    try:
        from tinybpe import Tokenizer
    except ImportError as error:
        raise ConfigError([f"tinybpe is not installed: {error}"]) from None
    try:
        return Tokenizer.load(folder)
    except (OSError, ValueError) as error:
        raise ConfigError([f"cannot load the tokenizer {folder}: {error}"]) from None


def find_tokenizer(
    given: str | Path | None, tokens: TokenFile | None, *more: Path
) -> tuple[Tokenizer | None, str]:
    """Return the tokenizer of a run and a line saying which, or None and a line saying why.

    It is the folder given, else one of `more`, else a folder beside the token file whose tokenizer has the
    digest that the file's sidecar names.

    Raises:
        ConfigError: the folder given holds no tokenizer, or another one than the token file was made with.
    """
    wanted = tokens.tokenizer_sha256 if tokens else None
    if given is not None:
        tokenizer = open_tokenizer(given)
        if wanted not in (None, tokenizer.sha256):
            raise ConfigError(
                [f"{tokens.path if tokens else ''} was made with another tokenizer than {given}"]
            )
        return tokenizer, f"tokenizer {given}"
    beside = (
        sorted(p.parent for p in tokens.path.parent.glob("*/tokenizer.json")) if tokens and wanted else []
    )
    problem = "no tokenizer given (`--tokenizer DIR`) and none with the token file's digest beside it"
    for folder in [*(p for p in more if (p / "tokenizer.json").exists()), *beside]:
        try:
            tokenizer = open_tokenizer(folder)
        except ConfigError as error:
            problem = str(error)
            continue
        if wanted in (None, tokenizer.sha256):
            return tokenizer, f"tokenizer {folder}"
    return None, problem


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser(
        "python -m lm.evaluate", description="Loss, perplexity and bits per byte over a token file."
    )
    parser.add_argument(
        "--ckpt", required=True, help="run folder (its newest checkpoint) or checkpoint folder"
    )
    parser.add_argument("--bin", required=True, help="token file")
    parser.add_argument(
        "--dtype", choices=("uint16", "uint32"), help="type of the ids, for files that do not tell"
    )
    parser.add_argument(
        "--tokenizer", help="tokenizer folder, to count bytes; else the run's own, or the sidecar"
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument(
        "--batch-size", type=int, default=16, help="windows at once; changes nothing but speed"
    )
    parser.add_argument(
        "--sampled",
        type=int,
        default=0,
        metavar="N",
        help="add the reference's estimate from N random batches",
    )
    args = parser.parse_args(argv)
    with clear_errors(parser.prog):
        if args.batch_size < 1:
            raise ConfigError([f"`--batch-size` is {args.batch_size}, expected at least 1"])
        device = pick_device(args.device)
        model, checkpoint, folder = load_model(args.ckpt)
        tokens = TokenFile(args.bin, dtype=args.dtype, vocab_size=model.config.vocab_size)
        trained_with = checkpoint.state.get("tokenizer_sha256")
        if None not in (trained_with, tokens.tokenizer_sha256) and trained_with != tokens.tokenizer_sha256:
            raise ConfigError([f"{args.bin} was made with another tokenizer than the model was trained with"])
        tokenizer, _ = find_tokenizer(args.tokenizer, tokens, folder.parent.parent / "tokenizer")
        lengths = count_bytes(tokenizer, model.config.vocab_size) if tokenizer else None
        show = _show_progress if sys.stderr.isatty() else None
        model = model.to(device)
        options = {"batch_size": args.batch_size, "byte_lengths": lengths, "progress": show}
        print(evaluate(model, tokens, device, **options))
        if args.sampled > 0:
            loss = sampled_loss(model, tokens, device, args.sampled)
            print(f"sampled {loss:.4f}  ({args.sampled} batches of 16 windows at random places)")
    return 0


def _show_progress(part: float) -> None:
    end = "\r" if part < 1 else "\r     \r"
    print(f"{part:4.0%}", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
