"""Models for other programs, in the Llama layout of Hugging Face, and back.

    python -m lm.export --ckpt runs/default --out exported      safetensors, config.json, tokenizer files
    python -m lm.export --from-llama exported --out runs/back   a run folder, for lm.evaluate and lm.generate

The architectures are the same but for the order of rows: our rotation turns the pairs (2i, 2i + 1) of a head,
Llama's the pairs (i, i + D/2). Attention only takes products of queries with keys, so permuting the rows of
both within each head gives equal scores. Our stacked matrices are cut into their parts.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
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
from lm.model import TransformerLM
from lm.text import END_OF_TEXT

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
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json")


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
    """Return the config.json and the tensors of a model; ConfigError if the layout cannot express it."""
    c = model.config
    ConfigError.unless(not c.qk_norm, "Llama's layout has no norm of queries and keys (`--qk-norm`)")
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
        "torch_dtype": "float32", "bos_token_id": None, "eos_token_id": None, "use_cache": True,
    }  # fmt: skip
    return config, tensors


def from_llama(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TransformerLM:
    """Return the model of a config.json and its tensors; the inverse of `to_llama`.

    ConfigError for another architecture, or a variant of Llama that this package does not have;
    CheckpointError for tensors that are missing, unknown or of another shape.
    """
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    heads = config.get("num_attention_heads")
    wanted = FIXED | {"num_key_value_heads": heads, "rope_type": "default"}
    found = {"num_key_value_heads": heads, "rope_type": rope.get("rope_type", "default"), **config}
    if faults := [
        f"`{k}` is {found.get(k)!r}, expected {v!r}" for k, v in wanted.items() if found.get(k) != v
    ]:
        raise ConfigError(*faults)
    try:
        sizes = {ours: config[theirs] for theirs, ours in SIZES.items()}
        theta = float(rope.get("rope_theta") or config["rope_theta"])
    except KeyError as error:
        raise ConfigError(f"config.json has no {error}") from None
    c = ModelConfig(**sizes, rope_theta=theta, tie_embeddings=config.get("tie_word_embeddings", False))
    left, weights = dict(tensors), {}
    for ours, theirs in names(c):
        if missing := [name for name in theirs if name not in left]:
            raise ckpt.CheckpointError(f"tensor `{missing[0]}` is missing")
        weights[ours] = torch.cat([reorder(name, left.pop(name), c.num_heads, 2, -1) for name in theirs])
    model = TransformerLM(c)
    ckpt.load_weights(model, weights | left, Path("the export"))
    return model.eval()


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the files of a tokenizer, as far as there are any."""
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            target.mkdir(exist_ok=True)
            shutil.copyfile(source / name, target / name)


def export(path: str | Path, out: Path) -> None:
    """Write a checkpoint's model, and the tokenizer of its run, into a folder that `transformers` loads."""
    model, _, folder = ckpt.load_model(path)
    config, tensors = to_llama(model)
    out.mkdir(parents=True, exist_ok=True)
    copy_tokenizer(folder.parent.parent / "tokenizer", out)
    if (out / "tokenizer.json").exists():
        added = json.loads((out / "tokenizer.json").read_bytes()).get("added_tokens", [])
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
    copy_tokenizer(source, run / "tokenizer")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser("python -m lm.export", description="Write a model in Llama's layout, or read one.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--ckpt", help="run folder (its newest checkpoint) or checkpoint folder to export")
    source.add_argument("--from-llama", metavar="DIR", help="folder in Llama's layout to make a run of")
    parser.add_argument("--out", required=True, help="folder to write")
    args = parser.parse_args(argv)
    with clear_errors(parser.prog):
        out = Path(args.out)
        if args.ckpt:
            export(args.ckpt, out)
        elif ckpt.steps(out):
            raise ConfigError(f"{out} holds a run already")
        else:
            import_back(Path(args.from_llama), out)
        print(out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
