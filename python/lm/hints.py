"""What was probably meant by a name that does not exist, of a flag, a setting or a preset."""

from collections.abc import Iterable

# What other trainers call our settings.
OTHER_NAMES = {
    "learning_rate": "lr", "min_learning_rate": "min_lr", "max_steps": "max_iters", "num_steps": "max_iters",
    "steps": "max_iters", "num_train_steps": "max_iters", "warmup_steps": "warmup_iters",
    "wd": "weight_decay", "block_size": "context_length", "max_seq_len": "context_length",
    "seq_len": "context_length",
    "n_layer": "num_layers", "n_layers": "num_layers", "depth": "num_layers", "n_head": "num_heads",
    "n_heads": "num_heads", "n_embd": "d_model", "hidden_size": "d_model", "dim": "d_model",
    "intermediate_size": "d_ff", "bs": "batch_size", "eval_interval": "eval_every", "max_norm": "grad_clip",
    "log_interval": "log_every", "gradient_accumulation_steps": "accumulate", "out": "ckpt_path",
    "out_dir": "ckpt_path", "output_dir": "ckpt_path", "max_new_tokens": "max_tokens", "force": "overwrite",
}  # fmt: skip


def meant(word: str, known: Iterable[str]) -> str:
    """Return a hint such as " (did you mean `--lr`?)", or nothing where no name is close."""
    from tinybpe.suggest import closest  # only on the way to an error

    names = list(known)
    spelled = {name.lstrip("-").replace("-", "_"): name for name in names}
    ours = OTHER_NAMES.get(word.lstrip("-").replace("-", "_"))
    return f" (did you mean `{spelled[ours]}`?)" if ours in spelled else closest(word, names)
