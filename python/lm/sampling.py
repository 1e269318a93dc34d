"""Ids drawn from a model, for several prompts at once.

Keys and values of past tokens are kept, so a token costs one pass over the weights, whatever the number of
prompts. When the context of a sequence is full, its older half is dropped and the rest is read again; both
with and without the cache, so that the cache never changes the ids.

Each sequence has its own context and its own random numbers, which begin at the same seed: what is drawn for
a prompt does not depend on the others beside it, but for the rounding of sums, which may matter where two ids
are equally probable.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lm.evaluation import evaluating
from lm.model import TransformerLM
from lm.nn import softmax
from lm.sampling_settings import Sampling


def sample(logits: Tensor, how: Sampling, generators: Sequence[torch.Generator]) -> Tensor:
    """Draw an id for each row of (B, vocab_size) logits with its own generator; return (B,) on the CPU."""
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
    drawn = [torch.multinomial(row, 1, generator=g) for row, g in zip(probabilities, generators, strict=True)]
    return ids.gather(-1, torch.stack(drawn)).squeeze(-1)


class Generation:
    """Sequences that grow together, an id each at a time.

    `running` holds the numbers of those that still grow, all at first. There is at least one prompt, and each
    has at least one id; of long ones the last `context_length` count. Without `use_cache`, the ids are the
    same, only slower.
    """

    def __init__(
        self,
        model: TransformerLM,
        prompts: Sequence[Sequence[int]],
        how: Sampling,
        *,
        use_cache: bool = True,
    ) -> None:
        self.model, self.how = model, how
        self.limit = model.config.context_length
        self.windows = [list(prompt)[-self.limit :] for prompt in prompts]  # what each next id is drawn from
        self.generators = [torch.Generator().manual_seed(how.seed) for _ in prompts]
        self.running = list(range(len(prompts)))
        self.caches = model.new_caches(len(prompts)) if use_cache else None
        for place in self.running:
            self.read(place)

    def read(self, place: int) -> None:
        """Fill the cache of one sequence with its window; not with the last id, which all read together."""
        past = self.windows[self.running[place]][:-1]
        if self.caches is None:
            return
        alone = [cache.select(slice(place, place + 1)) for cache in self.caches]
        for cache in alone:
            cache.lengths.zero_()
        if past:
            with evaluating(self.model):
                self.model.hidden(self.to_ids([past]), alone)

    def step(self) -> list[int]:
        """Return the next id of each running sequence."""
        for place, row in enumerate(self.running):
            if len(self.windows[row]) > self.limit:
                self.windows[row] = self.windows[row][-max(1, self.limit // 2) :]
                self.read(place)
        windows = [self.windows[row] for row in self.running]
        with evaluating(self.model):
            if self.caches is None:
                last = [self.model.hidden(self.to_ids([window]))[:, -1] for window in windows]
                x = torch.cat(last)
            else:
                x = self.model.hidden(self.to_ids([window[-1:] for window in windows]), self.caches)[:, -1]
            logits = x @ self.model.head_weight.T  # (B, vocab_size)
        drawn: list[int] = sample(logits, self.how, [self.generators[row] for row in self.running]).tolist()
        for window, token_id in zip(windows, drawn, strict=True):
            window.append(token_id)
        return drawn

    def end(self, rows: set[int]) -> None:
        """Take sequences out; they cost nothing from now on."""
        if not rows:
            return
        kept = [place for place, row in enumerate(self.running) if row not in rows]
        self.running = [self.running[place] for place in kept]
        if self.caches is not None and kept:
            self.caches = [cache.select(kept) for cache in self.caches]

    def to_ids(self, rows: list[list[int]]) -> Tensor:
        """Return rows of ids on the model's device."""
        return torch.tensor(rows, device=self.model.embedding.weight.device)


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

    See `Generation` for the prompts.
    """
    generation = Generation(model, prompts, how, use_cache=use_cache)
    for _ in range(max_tokens):
        found = dict(zip(generation.running, generation.step(), strict=True))
        generation.end({row for row, token_id in found.items() if token_id == stop_id})
        if not generation.running:
            return
        yield [found[row] if row in generation.running else None for row in range(len(prompts))]
