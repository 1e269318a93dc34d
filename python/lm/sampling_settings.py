"""How ids are drawn; apart from `sampling.py`, which needs torch, so that commands can check it at once."""

from dataclasses import dataclass

from lm.config import ConfigError


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
            problems.append(f"`temperature` is {self.temperature}, expected 0 (the most likely) or more")
        if self.top_k < 0:
            problems.append(f"`top_k` is {self.top_k}, expected 0 (all) or more")
        if not 0 < self.top_p <= 1:
            problems.append(f"`top_p` is {self.top_p}, expected more than 0 and at most 1")
        if not -(2**63) <= self.seed < 2**63:
            problems.append(f"`seed` is {self.seed}, expected a number of 64 bits")
        if problems:
            raise ConfigError(*problems)
