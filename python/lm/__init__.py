"""Decoder-only Transformer language model: train, evaluate, generate.

    import lm

    model = lm.load("runs/first")
    model.generate("Once upon a time", max_tokens=100)

Training is a command, `python -m lm.train`. Importing `lm` imports nothing else: torch comes with `load`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lm.api import LanguageModel

__all__ = ["load"]


def load(
    run: str | Path, *, device: str = "auto", best: bool = False, tokenizer: str | Path | None = None
) -> LanguageModel:
    """Return the model of a run, with `generate`, `stream`, `evaluate`, `logits`, `config` and `tokenizer`.

    Args:
        run: A run folder, for its newest checkpoint, or a checkpoint folder.
        device: `auto`, `cpu`, `cuda` or `mps`; `auto` takes a GPU where there is one.
        best: Take the checkpoint of the lowest validation loss instead of the newest.
        tokenizer: A tokenizer folder; the run's own if not given. Without any, all but text works.

    Raises:
        CheckpointError: There is no checkpoint, or it is damaged.
        UserError: A tokenizer that is not the model's.
        ConfigError: No such device.
    """
    from lm.api import LanguageModel

    return LanguageModel(run, device=device, best=best, tokenizer=tokenizer)
