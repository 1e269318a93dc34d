"""The loss of a trained model over a token file; `evaluation.py` says how it is measured.

python -m lm.evaluate --ckpt runs/default --bin data/valid.bin
loss 2.2370  perplexity 9.37  bits_per_byte 0.783
"""

import sys
from collections.abc import Sequence

from lm.cli import Parser, clear_errors, load_torch
from lm.config import ConfigError, UserError
from lm.flags import OneOrMore


def make_parser() -> Parser:
    """Return the parser of the command."""
    parser = Parser("python -m lm.evaluate", description="Loss of a model over a token file.")
    add = parser.add_argument
    add("--ckpt", required=True, help="run folder (its newest checkpoint) or checkpoint folder")
    several = "token file, or several; see `--train-bin` of lm.train"
    add("--bin", required=True, nargs="+", action=OneOrMore, help=several)
    add("--dtype", choices=("uint16", "uint32"), help="type of the ids, for files that do not tell")
    add("--tokenizer", help="tokenizer folder, to count bytes (default: the run's own, else the sidecar)")
    parser.add_device()
    add("--batch-size", type=int, default=16, help="windows at once; changes nothing but speed")
    add(
        "--sampled",
        type=int,
        default=0,
        metavar="N",
        help="add the reference's estimate, of N batches; 0 for none",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser()
    args = parser.parse_args(argv)
    with clear_errors(parser.prog):
        ConfigError.unless(args.batch_size > 0, f"`--batch-size` is {args.batch_size}, expected at least 1")
        ConfigError.unless(args.sampled >= 0, f"`--sampled` is {args.sampled}, expected 0 (none) or more")
        load_torch()
        from lm.checkpoint import load_model
        from lm.data import TokenFile
        from lm.devices import pick_device
        from lm.evaluation import count_bytes, evaluate, sampled_loss
        from lm.tokenizer import find_tokenizer

        device = pick_device(args.device)
        model, checkpoint, folder = load_model(args.ckpt)
        tokens = TokenFile(args.bin, dtype=args.dtype, vocab_size=model.config.vocab_size)
        known = {checkpoint.state.get("tokenizer_sha256"), tokens.tokenizer_sha256} - {None}
        UserError.unless(len(known) < 2, f"{tokens.name} was made with another tokenizer than the model's")
        tokenizer, _ = find_tokenizer(args.tokenizer, tokens, folder.parent.parent / "tokenizer")
        lengths = count_bytes(tokenizer, model.config.vocab_size) if tokenizer else None
        model = model.to(device)
        if sys.stderr.isatty():
            print(f"{tokens.name}: {tokens.num_tokens:,} tokens, on {device.type} ...", file=sys.stderr)
        print(evaluate(model, tokens, device, batch_size=args.batch_size, byte_lengths=lengths))
        if args.sampled > 0:
            loss = sampled_loss(model, tokens, device, args.sampled)
            print(f"sampled {loss:.4f}  ({args.sampled} batches of 16 windows at random places)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
