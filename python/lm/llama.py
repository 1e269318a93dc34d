"""Models in the Llama layout of Hugging Face, and back.

The architectures are the same but for the order of rows: our rotation turns the pairs (2i, 2i + 1) of a head,
Llama's the pairs (i, i + D/2). Attention only takes products of queries with keys, so permuting the rows of
both within each head gives equal scores. Our stacked matrices are cut into their parts.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from lm import checkpoint as ckpt
from lm.config import ConfigError, ModelConfig
from lm.folders import CheckpointError, replace_file
from lm.huggingface import TOKENIZER_FILES, check, copy_tokenizer, write_companions
from lm.model import TransformerLM
from lm.tokenizer import find_tokenizer

# Llama's name of a setting -> ours, and what is fixed in our models
SIZES = {
    "vocab_size": "vocab_size", "max_position_embeddings": "context_length", "hidden_size": "d_model",
    "num_hidden_layers": "num_layers", "num_attention_heads": "num_heads", "intermediate_size": "d_ff",
}  # fmt: skip
FIXED = {"model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5}
# our name in a layer -> Llama's names of its parts
PARTS = {
    "attention_norm": ["input_layernorm"],
    "attention.qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "attention.out": ["self_attn.o_proj"],
    "mlp_norm": ["post_attention_layernorm"],
    "mlp.gate_up": ["mlp.gate_proj", "mlp.up_proj"],
    "mlp.down": ["mlp.down_proj"],
}


class LayoutError(ConfigError):
    """Settings in a file that one of the two architectures does not have."""

    exit_code = 1


def reorder(name: str, weight: Tensor, *rows: int) -> Tensor:
    """View the rows of a query or key matrix as `rows` and swap the last two; return others as they are.

    (heads, D/2, 2) turns pairs into halves, (heads, 2, D/2) halves into pairs.
    """
    if not name.endswith(("q_proj.weight", "k_proj.weight")):
        return weight.contiguous()
    return weight.view(*rows, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def names(c: ModelConfig) -> Iterator[tuple[str, list[str]]]:
    """Yield our name of each tensor, and Llama's names of its parts."""
    yield "embedding.weight", ["model.embed_tokens.weight"]
    for layer in range(c.num_layers):
        for name, parts in PARTS.items():
            yield f"layers.{layer}.{name}.weight", [f"model.layers.{layer}.{part}.weight" for part in parts]
    yield "norm.weight", ["model.norm.weight"]
    if not c.tie_embeddings:
        yield "head.weight", ["lm_head.weight"]


def to_llama(model: TransformerLM) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the config.json and the tensors of a model; LayoutError if the layout cannot express it."""
    c = model.config
    LayoutError.unless(not c.qk_norm, "Llama's layout has no norm of queries and keys (`--qk-norm`)")
    tensors = {}
    for ours, theirs in names(c):
        for name, part in zip(theirs, model.get_parameter(ours).detach().chunk(len(theirs)), strict=True):
            tensors[name] = reorder(name, part, c.num_heads, -1, 2)
    config = FIXED | {theirs: getattr(c, ours) for theirs, ours in SIZES.items()}
    config |= {
        "architectures": ["LlamaForCausalLM"], "num_key_value_heads": c.num_heads,
        "head_dim": c.d_model // c.num_heads, "rope_theta": c.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": c.rope_theta},
        "tie_word_embeddings": c.tie_embeddings, "attention_bias": False, "mlp_bias": False,
        "torch_dtype": "float32", "use_cache": True,
    }  # fmt: skip
    return config, tensors


def from_llama(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TransformerLM:
    """Return the model of a config.json and its tensors; the inverse of `to_llama`.

    LayoutError for another architecture, or a variant of Llama that this package does not have;
    CheckpointError for tensors that are missing, unknown or of another shape.
    """
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    heads = config.get("num_attention_heads")
    wanted = FIXED | {"num_key_value_heads": heads, "rope_type": "default"}
    found = {"num_key_value_heads": heads, "rope_type": rope.get("rope_type", "default"), **config}
    if faults := [
        f"`{k}` is {found.get(k)!r}, expected {v!r}" for k, v in wanted.items() if found.get(k) != v
    ]:
        raise LayoutError(*faults)
    try:
        sizes = {ours: config[theirs] for theirs, ours in SIZES.items()}
        theta = float(rope.get("rope_theta") or config["rope_theta"])
    except KeyError as error:
        raise LayoutError(f"config.json has no {error}") from None
    c = ModelConfig(**sizes, rope_theta=theta, tie_embeddings=config.get("tie_word_embeddings", False))
    left, weights = dict(tensors), {}
    for ours, theirs in names(c):
        if missing := [name for name in theirs if name not in left]:
            raise CheckpointError(f"tensor `{missing[0]}` is missing")
        weights[ours] = torch.cat([reorder(name, left.pop(name), c.num_heads, 2, -1) for name in theirs])
    model = TransformerLM(c)
    ckpt.load_weights(model, weights | left, Path("the export"))
    return model.eval()


def describe(c: ModelConfig, num_parameters: int) -> str:
    """Return a line about a model."""
    shape = f"{c.num_layers} layers of width {c.d_model}, {c.num_heads} heads"
    return (
        f"{num_parameters:,} parameters: {shape}, vocabulary {c.vocab_size:,}, context {c.context_length:,}"
    )


WRITTEN = (*TOKENIZER_FILES, "README.md", "generation_config.json", "model.safetensors", "config.json")


def export(path: str | Path, out: Path) -> tuple[str, str]:
    """Write a checkpoint's model, and the tokenizer of its run, into a new folder that `transformers` loads.

    Returns what was written, as lines to print, and what a check in `transformers` has found.

    Raises:
        LayoutError: Llama's layout cannot express the model.
        SelfTestError: `transformers` is installed, and reads the files otherwise than we do.
    """
    model, checkpoint, folder = ckpt.load_model(path)
    config, tensors = to_llama(model)
    out.mkdir(parents=True, exist_ok=True)
    has_tokenizer = copy_tokenizer(folder.parent.parent / "tokenizer", out)
    replace_file(out / "model.safetensors", save_tensors(tensors, {"format": "pt"}))
    summary = describe(model.config, model.num_parameters())
    best = checkpoint.state.get("best")
    facts = {"model": summary, "training": f"{checkpoint.step:,} steps"}
    write_companions(out, config, facts | ({"lowest validation loss": f"{best[0]:.4f}"} if best else {}))
    told = f"model     {summary}\nfrom      {folder}"
    told += "" if has_tokenizer else "\ntokenizer none in the run, so none is exported"
    return told, check(out, model)


def import_back(source: Path, run: Path) -> str:
    """Write a folder in Llama's layout as a run that has done no step, to be generated from or trained on.

    Returns a line about the model.
    """
    try:
        config = json.loads((source / "config.json").read_bytes())
        tensors = load_tensors((source / "model.safetensors").read_bytes())
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{source} is damaged: {error}") from None
    model = from_llama(config, {name: tensor.float() for name, tensor in tensors.items()})
    copy_tokenizer(source, run / "tokenizer")
    tokenizer, _ = find_tokenizer(None, None, run / "tokenizer")
    shape = asdict(model.config)
    state = {"step": 0, "config": {"model": shape}, "identity": {}, "imported": True}
    state["tokenizer_sha256"] = tokenizer.sha256 if tokenizer else None
    run.mkdir(parents=True, exist_ok=True)
    lines = [f"{name} = {json.dumps(value)}" for name, value in shape.items()]
    replace_file(run / "config.toml", "\n".join(["[model]", *lines, ""]).encode())
    ckpt.save(run, ckpt.Checkpoint(model=dict(model.named_parameters()), optimizer={}, state=state))
    return describe(model.config, model.num_parameters())
