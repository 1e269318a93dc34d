"""A trained model in Python: what `lm.load` returns."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import torch
from torch import Tensor

from lm.checkpoint import load_model
from lm.config import ConfigError, ModelConfig, UserError
from lm.data import TokenFile
from lm.devices import pick_device
from lm.evaluation import Evaluation, count_bytes, evaluate, evaluating
from lm.folders import find, find_best
from lm.sampling_settings import Sampling
from lm.text import stop_strings, stream_texts
from lm.token_files import Given
from lm.tokenizer import find_tokenizer

if TYPE_CHECKING:
    from tinybpe import Tokenizer


class LanguageModel:
    """A trained model with its tokenizer.

    Attributes:
        model: The network, in evaluation mode, on `device`.
        config: Its architecture.
        path: The checkpoint folder it comes from.
        step: How many optimizer steps it was trained for.
    """

    def __init__(
        self,
        run: str | Path,
        *,
        device: str = "auto",
        best: bool = False,
        tokenizer: str | Path | None = None,
    ) -> None:
        """See `lm.load`."""
        self.device = pick_device(device)
        found = find_best(run) if best else find(run)
        model, checkpoint, self.path = load_model(found)
        self.step = checkpoint.step
        held, self.tokenizer_note = find_tokenizer(tokenizer, None, self.path.parent.parent / "tokenizer")
        self.tokenizer_sha256: str | None = checkpoint.state.get("tokenizer_sha256")
        if held is not None and self.tokenizer_sha256 not in (None, held.sha256):
            raise UserError(f"the model was trained with another tokenizer than this {self.tokenizer_note}")
        self.held_tokenizer = held
        self.model = model.to(self.device)
        self.config: ModelConfig = model.config

    def __repr__(self) -> str:
        size = self.model.num_parameters()
        return f"LanguageModel({str(self.path)!r}, step {self.step}, {size:,} parameters, {self.device.type})"

    @property
    def tokenizer(self) -> "Tokenizer":
        """The tokenizer of the run; UserError if there is none."""
        if self.held_tokenizer is None:
            raise UserError(f"cannot turn ids into text: {self.tokenizer_note}")
        return self.held_tokenizer

    @overload
    def generate(
        self,
        prompt: str = ...,
        max_tokens: int = ...,
        *,
        temperature: float = ...,
        top_k: int = ...,
        top_p: float = ...,
        seed: int = ...,
        stop: str | Sequence[str] = ...,
    ) -> str: ...

    @overload
    def generate(
        self,
        prompt: list[str] | tuple[str, ...],
        max_tokens: int = ...,
        *,
        temperature: float = ...,
        top_k: int = ...,
        top_p: float = ...,
        seed: int = ...,
        stop: str | Sequence[str] = ...,
    ) -> list[str]: ...

    def generate(
        self,
        prompt: str | list[str] | tuple[str, ...] = "",
        max_tokens: int = 256,
        *,
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 0.95,
        seed: int = 0,
        stop: str | Sequence[str] = (),
    ) -> str | list[str]:
        """Return the text that follows a prompt, or a list of the texts that follow several.

        Several prompts are read together, which is faster than one after the other; each gets the text that
        it gets alone, with the same seed. (Sums of other shape round differently, which may decide between
        two tokens that are equally probable.)

        Args:
            prompt: The start of the text, which is not in what is returned; an empty one starts a new text.
            max_tokens: Most tokens to write. The text may be longer than the model's context: then the older
                half of the context is forgotten.
            temperature: Below 1 likely tokens become likelier; 0 always takes the likeliest.
            top_k: Draw from this many of the likeliest tokens; 0 for all.
            top_p: Draw from the likeliest tokens that together reach this probability; 1 for all.
            seed: Decides the draws, for each prompt alike.
            stop: Strings that end the text; it is returned without them.

        Raises:
            ConfigError: A value makes no sense, or there is no tokenizer.

        Example:
            >>> model.generate("Once upon a time", 60, stop=["The end", "***"])
            ", there was a little girl named Lily. ..."
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        how = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        texts = [""] * len(prompts)
        for row, text in self.pieces(prompts, max_tokens, how, stop):
            texts[row] += text
        return texts[0] if isinstance(prompt, str) else texts

    def stream(
        self,
        prompt: str = "",
        max_tokens: int = 256,
        *,
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 0.95,
        seed: int = 0,
        stop: str | Sequence[str] = (),
    ) -> Iterator[str]:
        """Yield the text that `generate` returns, as it comes, in whole characters."""
        how = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        return (text for _, text in self.pieces([prompt], max_tokens, how, stop))

    def pieces(
        self, prompts: list[str], max_tokens: int, how: Sampling, stop: str | Sequence[str]
    ) -> Iterator[tuple[int, str]]:
        """Yield the number of a prompt and more of its text, after a check of what was given."""
        if max_tokens < 1:
            raise ConfigError(f"`max_tokens` is {max_tokens}, expected at least 1")
        return stream_texts(self.model, self.tokenizer, prompts, max_tokens, how, stop_strings(stop))

    def evaluate(self, tokens: Given, *, batch_size: int = 16, dtype: str | None = None) -> Evaluation:
        """Return the loss over a token file, every token but the first predicted once.

        Args:
            tokens: What `lm.train --train_bin` takes: a file, a set of shards, a folder, a pattern, several.
            batch_size: Windows computed at once; changes nothing but speed.
            dtype: `uint16` or `uint32`, for files that do not tell.

        Raises:
            OSError: A file is not there.
            TokenFileError: A file cannot be used, or holds fewer than two tokens.
            UserError: The file was made with another tokenizer than the model's.
        """
        file = TokenFile(tokens, dtype=dtype, vocab_size=self.config.vocab_size)
        if len({self.tokenizer_sha256, file.tokenizer_sha256} - {None}) > 1:
            raise UserError(f"{file.name} was made with another tokenizer than the model's")
        tokenizer, _ = (self.held_tokenizer, "") if self.held_tokenizer else find_tokenizer(None, file)
        lengths = count_bytes(tokenizer, self.config.vocab_size) if tokenizer else None
        return evaluate(self.model, file, self.device, batch_size=batch_size, byte_lengths=lengths)

    def logits(self, text: str | Sequence[int]) -> Tensor:
        """Return (T, vocab_size) scores in float32, on the CPU: row t is of the token after the first t + 1.

        Args:
            text: Ordinary text, or T ids; at most `config.context_length` tokens, at least one.

        Raises:
            ConfigError: Too long, empty, an id beyond the vocabulary, or text and no tokenizer.
        """
        ids = self.tokenizer.encode_ordinary(text) if isinstance(text, str) else [int(i) for i in text]
        limit, size = self.config.context_length, self.config.vocab_size
        if not 0 < len(ids) <= limit:
            raise ConfigError(f"{len(ids)} tokens were given, expected 1 to the context length, {limit}")
        if wrong := [i for i in ids if not 0 <= i < size]:
            raise ConfigError(f"id {wrong[0]} is not in the vocabulary of {size}")
        with evaluating(self.model):
            scores: Tensor = self.model(torch.tensor([ids], device=self.device))
        return scores[0].float().cpu()
