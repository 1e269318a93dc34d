"""Text from a trained model, streamed as it comes.

    python -m lm.generate --ckpt runs/default --prompt "Once upon a time" --temperature 0.8 --top-p 0.95

Keys and values of past tokens are kept, so a token costs one pass over the weights. When the context is full,
its older half is dropped and the rest is read again; both with and without the cache, so that the cache never
changes the text. Bytes are decoded as they come, a character only when all its bytes are there; control
characters are shown escaped, so that no output can drive the terminal.
"""

import codecs
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lm.checkpoint import load_model
from lm.cli import Parser, clear_errors, escape
from lm.config import ConfigError
from lm.devices import NAMES, pick_device
from lm.evaluate import evaluating, find_tokenizer
from lm.model import TransformerLM
from lm.nn import softmax

if TYPE_CHECKING:
    from tinybpe import Tokenizer

END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is drawn; ConfigError listing all values that make no sense."""

    temperature: float = 1.0  # divides the logits; 0 takes the most likely id
    top_k: int = 0  # only the k most likely ids; 0 for all
    top_p: float = 1.0  # only the most likely ids that together reach this probability; 1 for all
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if not 0 <= self.temperature < float("inf"):
            problems.append(f"`--temperature` is {self.temperature}, expected 0 (the most likely) or more")
        if self.top_k < 0:
            problems.append(f"`--top-k` is {self.top_k}, expected 0 (all) or more")
        if not 0 < self.top_p <= 1:
            problems.append(f"`--top-p` is {self.top_p}, expected more than 0 and at most 1")
        if problems:
            raise ConfigError(*problems)


def sample(logits: Tensor, how: Sampling, generator: torch.Generator | None = None) -> Tensor:
    """Draw one id for each row of (B, vocab_size) logits; return (B,) ids on the CPU."""
    logits = logits.float().cpu()  # one small copy; the draw is then the same on every device
    if how.temperature == 0:
        return logits.argmax(dim=-1)
    # subtracting the maximum first keeps tiny temperatures from overflowing
    scaled = (logits - logits.amax(dim=-1, keepdim=True)) / how.temperature
    probabilities, ids = softmax(scaled).sort(dim=-1, descending=True, stable=True)
    if how.top_k > 0:
        probabilities[:, how.top_k :] = 0
    if how.top_p < 1:
        # keep an id if what stands before it has not reached top_p yet: the first one always stays
        before = probabilities.cumsum(dim=-1) - probabilities
        probabilities[:, 1:].masked_fill_(before[:, 1:] >= how.top_p, 0)
    pick = torch.multinomial(probabilities, 1, generator=generator)
    return ids.gather(-1, pick).squeeze(-1)


def generate_ids(
    model: TransformerLM,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    how: Sampling,
    *,
    stop_id: int | None = None,
    use_cache: bool = True,
) -> Iterator[list[int | None]]:
    """Yield, in at most `max_tokens` steps, the next id of each prompt; None after its `stop_id` has come.

    Prompts are of one length, at least one id; of long ones the last `context_length` ids count. Without
    `use_cache`, the ids are the same, only slower.
    """
    limit, device = model.config.context_length, model.embedding.weight.device
    generator = torch.Generator().manual_seed(how.seed)
    ids = torch.tensor([list(p)[-limit:] for p in prompts], dtype=torch.long)
    running = torch.ones(len(prompts), dtype=torch.bool)
    caches = None
    new = ids  # not yet read by the model
    for _ in range(max_tokens):
        with evaluating(model):
            if ids.shape[1] > limit:
                ids = ids[:, -max(1, limit // 2) :]
                caches = None
            if use_cache and caches is None:
                caches, new = model.new_caches(len(prompts)), ids
            x = model.hidden((new if use_cache else ids).to(device), caches)[:, -1]
            logits = x @ model.head_weight.T  # (B, vocab_size)
        new = sample(logits, how, generator)[:, None]  # (B, 1)
        running &= new[:, 0] != (-1 if stop_id is None else stop_id)
        if not running.any():
            return
        yield [row[0] if runs else None for row, runs in zip(new.tolist(), running, strict=True)]
        ids = torch.cat((ids, new), dim=1)


def start_ids(tokenizer: "Tokenizer", prompt: str, vocab_size: int) -> tuple[list[int], int | None]:
    """Return the ids a text starts from and the id that ends it.

    The prompt is ordinary text, whatever it spells; an empty one starts at the end of the text before.
    """
    stop_id = tokenizer.special_tokens.get(END_OF_TEXT)
    ids = list(tokenizer.encode_ordinary(prompt))
    if not ids:
        if stop_id is None:
            raise ConfigError(f"the tokenizer has no {END_OF_TEXT} to start from; give a `--prompt`")
        ids = [stop_id]
    outside = f"the tokenizer gives id {max(ids)}, but the model's vocabulary has {vocab_size}"
    ConfigError.unless(max(ids) < vocab_size, outside)
    return ids, stop_id


def stream_text(
    model: TransformerLM, tokenizer: "Tokenizer", prompt: str, max_tokens: int, how: Sampling
) -> Iterator[str]:
    """Yield the text that follows a prompt, in whole characters; ends at the end of the text."""
    ids, stop_id = start_ids(tokenizer, prompt, model.config.vocab_size)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    special = set(tokenizer.special_tokens.values())
    for (token_id,) in generate_ids(model, [ids], max_tokens, how, stop_id=stop_id):
        # a head wider than the vocabulary can give ids that have no bytes
        if token_id is None or token_id in special or token_id >= tokenizer.vocab_size:
            return
        if text := decoder.decode(tokenizer.decode_bytes([token_id])):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser("python -m lm.generate", description="Stream text from a trained model.")
    add = parser.add_argument
    add("--ckpt", required=True, help="run folder (its newest checkpoint) or checkpoint folder")
    add("--tokenizer", help="tokenizer folder; the run's own if not given")
    add("--prompt", default="Once upon a time", help="start of the text; may be empty")
    add("--max-tokens", type=int, default=256, help="most tokens to write")
    add("--temperature", type=float, default=0.8, help="0 always takes the most likely token")
    add("--top-k", type=int, default=0, help="draw from the k most likely tokens; 0 for all")
    add("--top-p", type=float, default=0.95, help="draw from the likeliest tokens up to this sum")
    add("--seed", type=int, default=0, help="decides the draws")
    add("--num-samples", type=int, default=1, help="how many texts, of seeds one after the other")
    add("--device", default="auto", choices=NAMES)
    args = parser.parse_args(argv)
    if hasattr(sys.stdout, "reconfigure"):  # a terminal that cannot show a character gets a question mark
        sys.stdout.reconfigure(errors="replace")
    with clear_errors(parser.prog):
        ConfigError.unless(args.max_tokens > 0, f"`--max-tokens` is {args.max_tokens}, expected at least 1")
        how = Sampling(temperature=args.temperature, top_k=args.top_k, top_p=args.top_p, seed=args.seed)
        device = pick_device(args.device)
        model, checkpoint, folder = load_model(args.ckpt)
        tokenizer, problem = find_tokenizer(args.tokenizer, None, folder.parent.parent / "tokenizer")
        if tokenizer is None:
            raise ConfigError(f"cannot turn ids into text: {problem}")
        same = checkpoint.state.get("tokenizer_sha256") in (None, tokenizer.sha256)
        ConfigError.unless(same, "the model was trained with another tokenizer")
        model = model.to(device)
        for index in range(max(1, args.num_samples)):
            print(escape(args.prompt), end="", flush=True)
            drawn = replace(how, seed=how.seed + index)
            for text in stream_text(model, tokenizer, args.prompt, args.max_tokens, drawn):
                print(escape(text), end="", flush=True)
            print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
