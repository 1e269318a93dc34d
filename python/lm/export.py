"""Models for other programs, in the Llama layout of Hugging Face, and back.

    python -m lm.export --ckpt runs/default --out exported      safetensors, config.json, tokenizer files
    python -m lm.export --from-llama exported --out runs/back   a run folder, for lm.evaluate and lm.generate

The architectures are the same but for the order of rows: our rotation turns the pairs (2i, 2i + 1) of a head,
Llama's the pairs (i, i + D/2). Attention only takes products of queries with keys, so permuting the rows of
both within each head gives equal scores. Our stacked matrices are cut into their parts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from lm import checkpoint as ckpt
from lm.cli import Parser, clear_errors
from lm.config import ConfigError, ModelConfig
from lm.generate import END_OF_TEXT
from lm.model import TransformerLM

# our name -> Llama's, for the parts that are whole on both sides, and the stacked ones with their parts
WHOLE = {
    "attention.out": "self_attn.o_proj", "mlp.down": "mlp.down_proj",
    "attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm",
}  # fmt: skip
STACKED = {
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "mlp.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
}
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json")


def pairs_to_halves(weight: Tensor, num_heads: int) -> Tensor:
    """Reorder the rows of each head from (pair, 2) to (2, pair)."""
    return weight.view(num_heads, -1, 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def halves_to_pairs(weight: Tensor, num_heads: int) -> Tensor:
    """Undo `pairs_to_halves`."""
    return weight.view(num_heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def to_llama(model: TransformerLM) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the config.json and the tensors of a model.

    Raises:
        ConfigError: the layout cannot express the model.
    """
    c = model.config
    if c.qk_norm:
        raise ConfigError(["Llama's layout has no norm of queries and keys (`--qk-norm`)"])
    ours = {name: p.detach() for name, p in model.named_parameters()}
    tensors = {
        "model.embed_tokens.weight": ours["embedding.weight"],
        "model.norm.weight": ours["norm.weight"],
    }
    if model.head is not None:
        tensors["lm_head.weight"] = ours["head.weight"]
    for layer in range(c.num_layers):
        for name, theirs in WHOLE.items():
            tensors[f"model.layers.{layer}.{theirs}.weight"] = ours[f"layers.{layer}.{name}.weight"]
        for name, parts in STACKED.items():
            stacked = ours[f"layers.{layer}.{name}.weight"].chunk(len(parts))
            for theirs, part in zip(parts, stacked, strict=True):
                rotated = theirs.endswith(("q_proj", "k_proj"))
                tensors[f"model.layers.{layer}.{theirs}.weight"] = (
                    pairs_to_halves(part, c.num_heads) if rotated else part.contiguous()
                )
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": c.vocab_size,
        "hidden_size": c.d_model, "intermediate_size": c.d_ff, "num_hidden_layers": c.num_layers,
        "num_attention_heads": c.num_heads, "num_key_value_heads": c.num_heads,
        "head_dim": c.d_model // c.num_heads, "hidden_act": "silu", "rms_norm_eps": model.norm.eps,
        "max_position_embeddings": c.context_length, "rope_theta": c.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": c.rope_theta},
        "tie_word_embeddings": c.tie_embeddings, "attention_bias": False, "mlp_bias": False,
        "torch_dtype": "float32", "bos_token_id": None, "eos_token_id": None, "use_cache": True,
    }  # fmt: skip
    return config, tensors


def from_llama(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TransformerLM:
    """Return the model of a config.json and its tensors; the inverse of `to_llama`.

    Raises:
        ConfigError: another architecture, or one of Llama's variants that this package does not have.
        CheckpointError: tensors are missing, unknown or of another shape.
    """
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    heads = config.get("num_attention_heads")
    fixed = {
        "model_type": ("llama", config.get("model_type")), "hidden_act": ("silu", config.get("hidden_act")),
        "num_key_value_heads": (heads, config.get("num_key_value_heads", heads)),
        "rope_type": ("default", rope.get("rope_type", "default")),
        "rms_norm_eps": (1e-5, config.get("rms_norm_eps")),
    }  # fmt: skip
    if faults := [f"`{k}` is {has!r}, expected {want!r}" for k, (want, has) in fixed.items() if want != has]:
        raise ConfigError(faults)
    try:
        c = ModelConfig(
            vocab_size=config["vocab_size"],
            context_length=config["max_position_embeddings"],
            d_model=config["hidden_size"],
            num_layers=config["num_hidden_layers"],
            num_heads=config["num_attention_heads"],
            d_ff=config["intermediate_size"],
            rope_theta=float(rope.get("rope_theta") or config["rope_theta"]),
            tie_embeddings=config.get("tie_word_embeddings", False),
        )
    except KeyError as error:
        raise ConfigError([f"config.json has no {error}"]) from None
    names = {"model.embed_tokens": "embedding", "model.norm": "norm", "lm_head": "head"}
    ours: dict[str, Tensor] = {}
    left = dict(tensors)
    for layer in range(c.num_layers):
        names |= {
            f"model.layers.{layer}.{theirs}": f"layers.{layer}.{name}" for name, theirs in WHOLE.items()
        }
        for name, parts in STACKED.items():
            keys = [f"model.layers.{layer}.{theirs}.weight" for theirs in parts]
            if missing := [key for key in keys if key not in left]:
                raise ckpt.CheckpointError(f"tensor `{missing[0]}` is missing")
            cut = [left.pop(key) for key in keys]
            if name == "attention.qkv":
                cut[:2] = (halves_to_pairs(part, c.num_heads) for part in cut[:2])
            ours[f"layers.{layer}.{name}.weight"] = torch.cat(cut)
    ours |= {
        names.get(key.removesuffix(".weight"), key.removesuffix(".weight")) + ".weight": t
        for key, t in left.items()
    }
    model = TransformerLM(c)
    ckpt.load_weights(model, ours, Path("the export"))
    return model.eval()


def export(path: str | Path, out: Path) -> None:
    """Write a checkpoint's model, and the tokenizer of its run, into a folder that `transformers` loads."""
    model, _, folder = ckpt.load_model(path)
    config, tensors = to_llama(model)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = folder.parent.parent / "tokenizer"
    for name in TOKENIZER_FILES:
        if (tokenizer / name).exists():
            shutil.copyfile(tokenizer / name, out / name)
    if (tokenizer / "tokenizer.json").exists():
        added = json.loads((tokenizer / "tokenizer.json").read_bytes()).get("added_tokens", [])
        config["eos_token_id"] = next((t["id"] for t in added if t["content"] == END_OF_TEXT), None)
    ckpt.replace_file(out / "model.safetensors", save_tensors(tensors, {"format": "pt"}))
    ckpt.replace_file(out / "config.json", json.dumps(config, indent=2).encode())


def import_back(source: Path, run: Path) -> None:
    """Write a folder in Llama's layout as the checkpoint of a new run, which cannot be trained on."""
    try:
        config = json.loads((source / "config.json").read_bytes())
        tensors = load_tensors((source / "model.safetensors").read_bytes())
    except (SafetensorError, ValueError) as error:
        raise ckpt.CheckpointError(f"{source} is damaged: {error}") from None
    model = from_llama(config, {name: tensor.float() for name, tensor in tensors.items()})
    state = {"step": 0, "config": {"model": asdict(model.config)}, "identity": {}, "tokenizer_sha256": None}
    ckpt.save(run, ckpt.Checkpoint(model=dict(model.named_parameters()), optimizer={}, state=state))
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            (run / "tokenizer").mkdir(exist_ok=True)
            shutil.copyfile(source / name, run / "tokenizer" / name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser(
        "python -m lm.export", description="Write a model in Hugging Face's Llama layout, or read one."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--ckpt", help="run folder (its newest checkpoint) or checkpoint folder to export")
    source.add_argument(
        "--from-llama", metavar="DIR", help="folder in Llama's layout to make a run folder of"
    )
    parser.add_argument("--out", required=True, help="folder to write")
    args = parser.parse_args(argv)
    with clear_errors(parser.prog):
        out = Path(args.out)
        if args.ckpt:
            export(args.ckpt, out)
        elif ckpt.steps(out):
            raise ConfigError([f"{out} holds a run already"])
        else:
            import_back(Path(args.from_llama), out)
        print(out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
