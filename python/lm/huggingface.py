"""What `transformers` wants beside weights and config.json, and a check that it reads an export as we do.

Three files name special tokens, and agree. There is no token that begins a text: nothing is put before a
prompt. `<|endoftext|>` ends a text. Padding is a token of its own where the tokenizer has one, else the end
of a text; config.json then leaves it out, since there it would keep that embedding from being trained.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lm.devices import SelfTestError
from lm.folders import replace_file
from lm.model import TransformerLM
from lm.sampling import generate_ids
from lm.sampling_settings import Sampling
from lm.text import END_OF_TEXT

TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "tinybpe.json")
PAD_TOKENS = ("<|pad|>", "<|padding|>", "<pad>", "[PAD]")
PROMPT = "Once upon a time"
CHECKED = (PROMPT, " Two  spaces,\n\na line; 1234 é🙂", f"{END_OF_TEXT}\t\x00")
CHECKED_TOKENS = 32

CARD = """---
library_name: transformers
pipeline_tag: text-generation
---

# {name}

A decoder-only Transformer trained with `lm`, in Llama's layout.

| | |
|---|---|
{rows}

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}")
model = AutoModelForCausalLM.from_pretrained("{name}")
ids = tokenizer("{prompt}", return_tensors="pt")
print(tokenizer.decode(model.generate(**ids, max_new_tokens=100)[0]))
```

Nothing is put before a prompt, and batches are padded on the left. Where padding is the end of a text,
a fine-tuning that hides all padding from the loss hides these ends too: use the attention mask instead.
"""


def copy_tokenizer(source: Path, target: Path) -> list[str]:
    """Copy the files of a tokenizer, as far as there are any; return their names."""
    names = [name for name in TOKENIZER_FILES if (source / name).exists()]
    for name in names:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
    return names


def special_ids(folder: Path) -> dict[str, tuple[int, str]]:
    """Return id and text of the tokens in the roles `eos` and `pad`, as far as the tokenizer has them."""
    if not (folder / "tokenizer.json").exists():
        return {}
    from tinybpe import Tokenizer

    tokenizer = Tokenizer.load(folder)
    known = tokenizer.special_tokens
    roles = {}
    if (end := tokenizer.eot_token) is not None:
        roles = dict.fromkeys(("eos", "pad"), (end, tokenizer.token_bytes(end).decode()))
    if own := next((text for text in PAD_TOKENS if text in known), None):
        roles["pad"] = (known[own], own)
    return roles


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    replace_file(path, (json.dumps(content, indent=2) + "\n").encode())


def write_companions(out: Path, config: dict[str, Any], facts: Mapping[str, str]) -> None:
    """Write generation_config.json, tokenizer_config.json, README.md, and config.json with the same ids."""
    roles = special_ids(out)
    ids = {f"{role}_token_id": number for role, (number, _) in roles.items()}
    write_json(out / "generation_config.json", {"bos_token_id": None, **ids})
    if (out / "tokenizer_config.json").exists():
        held = json.loads((out / "tokenizer_config.json").read_bytes())
        held = {
            key: value for key, value in held.items() if key not in ("bos_token", "eos_token", "pad_token")
        }
        held |= {f"{role}_token": text for role, (_, text) in roles.items()}
        held |= {"model_max_length": config["max_position_embeddings"], "padding_side": "left"}
        write_json(out / "tokenizer_config.json", held)
    if ids.get("pad_token_id") == ids.get("eos_token_id"):
        ids.pop("pad_token_id", None)
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    replace_file(out / "README.md", CARD.format(name=out.name, rows=rows, prompt=PROMPT).encode())
    write_json(out / "config.json", {**config, "bos_token_id": None, "eos_token_id": None, **ids})


def check(out: Path, model: TransformerLM) -> str:
    """Load an export with `transformers` and compare; return what was found, or why nothing was compared.

    Raises:
        SelfTestError: Other ids, other logits, or another greedy text.
    """
    try:
        import transformers
    except ImportError:
        return "not done, since `transformers` is not installed"
    library: Any = transformers
    library.utils.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()
    theirs = library.LlamaForCausalLM.from_pretrained(out).eval()
    found = []
    prompt = [1]
    if (out / "tokenizer.json").exists():
        from tinybpe import Tokenizer

        ours, reader = Tokenizer.load(out), library.AutoTokenizer.from_pretrained(out)
        allowed: Any = "all"
        for text in CHECKED:
            if reader(text)["input_ids"] != list(ours.encode(text, allowed_special=allowed)):
                raise SelfTestError(f"transformers gives other ids for {text!r}")
        prompt = list(ours.encode_ordinary(PROMPT))
        found.append("same ids")
    prompt = prompt[: model.config.context_length]
    with torch.no_grad():
        mine, other = model(torch.tensor([prompt])), theirs(torch.tensor([prompt])).logits
    gap = float((mine - other).abs().max())
    if not gap <= 1e-3 * max(1.0, float(mine.abs().max())):
        raise SelfTestError(f"transformers gives other logits, by {gap:.2g}")
    found.append(f"logits within {gap:.0e}")
    if count := min(CHECKED_TOKENS, model.config.context_length - len(prompt)):
        end = theirs.generation_config.eos_token_id
        greedy = generate_ids(model, [prompt], count, Sampling(temperature=0.0), stop_id=end)
        told = [ids[0] for ids in greedy]
        settings = {"do_sample": False, "max_new_tokens": count, "attention_mask": torch.ones(1, len(prompt))}
        text_ids = theirs.generate(torch.tensor([prompt]), **settings)[0, len(prompt) :].tolist()
        # where two ids are almost equally likely, rounding decides
        if told != [i for i in text_ids if i != end]:
            raise SelfTestError(f"transformers writes another greedy text: ids {text_ids}, ours are {told}")
        found.append(f"same greedy text of {len(told)} tokens")
    return f"{', '.join(found)} in transformers {transformers.__version__}"
