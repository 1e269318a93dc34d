"""What a tokenizer does beside splitting and merging, in words: for `tinybpe info`."""

import json
from typing import Any

from tinybpe.tokenizer import Tokenizer


def steps(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the facts about the steps of an imported tokenizer; nothing for one that was trained here.

    The values are texts, numbers, or None where a step is not done.
    """
    core = tokenizer._core
    pipeline: dict[str, Any] = json.loads(core.pipeline)
    of_characters, num_missing = core.alphabet
    facts: dict[str, Any] = {}
    if of_characters:
        facts["merges_begin_with"] = "characters"
    if num_missing:
        facts["bytes_without_token"] = num_missing
    if pipeline["normalizer"]["steps"]:
        facts["normalizer"] = ", ".join(map(step, pipeline["normalizer"]["steps"]))
    if pipeline["prefix"]["place"] != "Never":
        facts["prefix"] = prefix(pipeline["prefix"])
    if pipeline["whole_pieces"]:
        facts["whole_pieces"] = "a piece that is a token is that token, whatever the merges say"
    if tokenizer.added_tokens:
        facts["tokens_in_every_text"] = tokenizer.added_tokens
    before, after = (list(map(tokenizer.token_bytes, ids)) for ids in core.template)
    if before or after:
        shown = [token.decode("utf-8", "backslashreplace") for token in (*before, b"TEXT", *after)]
        facts["with_add_special_tokens"] = " ".join(shown)
    not_applied = [
        name
        for name, value in zip(
            ("truncation", "padding"), (pipeline["source"] or {}).get("not_applied", []), strict=False
        )
        if value not in ("", "null")
    ]
    if not_applied:
        facts["not_applied"] = ", ".join(not_applied)
    return facts


def step(value: str | dict[str, Any]) -> str:
    """Spell a step of the normalizer.

    Example:
        >>> step("Nfc"), step({"Prepend": "x"})
        ('NFC', "Prepend 'x'")
    """
    if isinstance(value, str):
        return value.upper() if value.lower().startswith("nf") else value
    name, setting = next(iter(value.items()))
    if name == "Replace":
        (wanted,) = setting["wanted"].values()
        return f"Replace {wanted!r} by {setting['content']!r}"
    if isinstance(setting, dict):
        return " ".join([name, *(f"{key} {part!r}" for key, part in setting.items())])
    return f"{name} {setting!r}"


def prefix(value: dict[str, Any]) -> str:
    """Spell where a space is put before text."""
    place = {"First": "the text", "Each": "each stretch of text between added tokens"}[value["place"]]
    unless = ", unless it begins with one" if value["unless_space"] else ""
    return f"a space before {place}{unless}"
