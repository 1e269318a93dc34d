"""Text from ids, as they come: whole characters, up to the end of the text or a stop string.

Bytes are decoded as they come, a character only when all its bytes are there. Stop strings are looked for in
the characters, so they are found wherever tokens begin and end; text that may turn out to be the beginning of
one is held back until that is known. The stop string that is complete first ends the text, and is no part of
it.
"""

import codecs
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lm.config import ConfigError
from lm.model import TransformerLM
from lm.sampling import Generation
from lm.sampling_settings import Sampling

if TYPE_CHECKING:
    from tinybpe import Tokenizer

END_OF_TEXT = "<|endoftext|>"


class TextStream:
    """The text of one sequence. `ended` becomes true with a special token, an unknown id or a stop string."""

    def __init__(self, tokenizer: "Tokenizer", stop: Sequence[str] = ()) -> None:
        self.tokenizer = tokenizer
        self.special = set(tokenizer.special_tokens.values())
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.stop = stop
        self.held = ""  # at its end may stand the beginning of a stop string
        self.ended = False

    def add(self, token_id: int) -> str:
        """Return the text that an id makes certain."""
        # a head wider than the vocabulary can give ids that have no bytes
        if token_id in self.special or token_id >= self.tokenizer.vocab_size:
            return self.finish()
        return self.search(self.decoder.decode(self.tokenizer.decode_tokens([token_id])))

    def finish(self) -> str:
        """Return the text that was held back; there will be no more."""
        text = "" if self.ended else self.search(self.decoder.decode(b"", final=True)) + self.held
        self.held, self.ended = "", True
        return text

    def search(self, text: str) -> str:
        """Return what is certain of the text held back and this: all before what may become a stop string."""
        for character in text:
            self.held += character
            if found := max((s for s in self.stop if self.held.endswith(s)), key=len, default=""):
                text, self.held, self.ended = self.held.removesuffix(found), "", True
                return text
        longest = max(map(len, self.stop), default=1)
        sizes = range(min(longest - 1, len(self.held)), 0, -1)
        kept = next((n for n in sizes if any(s.startswith(self.held[-n:]) for s in self.stop)), 0)
        split = len(self.held) - kept
        text, self.held = self.held[:split], self.held[split:]
        return text


def stop_strings(stop: str | Sequence[str]) -> tuple[str, ...]:
    """Return the stop strings that are meant; ConfigError if one is empty or no string."""
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    for text in stops:
        if not isinstance(text, str) or not text:
            raise ConfigError(f"a stop string is {text!r}, expected at least one character")
    return stops


def start_ids(tokenizer: "Tokenizer", prompt: str, vocab_size: int) -> list[int]:
    """Return the ids a text starts from.

    The prompt is ordinary text, whatever it spells; an empty one starts at the end of the text before.
    """
    ids = list(tokenizer.encode_ordinary(prompt))
    if not ids:
        if tokenizer.eot_token is None:
            raise ConfigError(f"the tokenizer has no {END_OF_TEXT} to start from; give a prompt")
        ids = [tokenizer.eot_token]
    if max(ids) >= vocab_size:
        raise ConfigError(f"the tokenizer gives id {max(ids)}, but the model's vocabulary has {vocab_size}")
    return ids


def stream_texts(
    model: TransformerLM,
    tokenizer: "Tokenizer",
    prompts: Sequence[str],
    max_tokens: int,
    how: Sampling,
    stop: Sequence[str] = (),
) -> Iterator[tuple[int, str]]:
    """Yield what follows the prompts, as it comes: the number of a prompt, and more of its text."""
    ids = [start_ids(tokenizer, prompt, model.config.vocab_size) for prompt in prompts]
    if not ids:
        return
    generation = Generation(model, ids, how)
    streams = [TextStream(tokenizer, stop) for _ in prompts]
    for _ in range(max_tokens):
        for row, token_id in zip(list(generation.running), generation.step(), strict=True):
            if text := streams[row].add(token_id):
                yield row, text
        generation.end({row for row in generation.running if streams[row].ended})
        if not generation.running:
            return
    for row in generation.running:
        if text := streams[row].finish():
            yield row, text


def stream_text(
    model: TransformerLM,
    tokenizer: "Tokenizer",
    prompt: str,
    max_tokens: int,
    how: Sampling,
    stop: Sequence[str] = (),
) -> Iterator[str]:
    """Yield the text that follows one prompt; see `stream_texts`."""
    return (text for _, text in stream_texts(model, tokenizer, [prompt], max_tokens, how, stop))
