"""Text from a trained model, streamed as it comes.

    python -m lm.generate --ckpt runs/default --prompt "Once upon a time" --temperature 0.8 --top-p 0.95

`sampling.py` draws the ids, `text.py` makes text of them. Control characters are shown escaped, so that no
output can drive the terminal.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lm.cli import Parser, clear_errors, escape, load_torch
from lm.config import ConfigError, flag
from lm.sampling_settings import Sampling


def make_parser() -> Parser:
    """Return the parser of the command."""
    parser = Parser("python -m lm.generate", description="Stream text from a trained model.")
    add = parser.add_argument
    add("--ckpt", required=True, help="run folder (its newest checkpoint) or checkpoint folder")
    add("--tokenizer", help="tokenizer folder (default: the run's own)")
    add(
        "--prompt",
        nargs="+",
        default=["Once upon a time"],
        help="start of the text, or of several; may be empty (default Once upon a time)",
    )
    add("--stop", nargs="+", default=[], metavar="TEXT", help="ends the text before it; may be several")
    add("--max-tokens", type=int, default=256, help="most tokens to write")
    add("--temperature", type=float, default=0.8, help="0 always takes the most likely token")
    add("--top-k", type=int, default=0, help="draw from the k most likely tokens; 0 for all")
    add("--top-p", type=float, default=0.95, help="draw from the likeliest tokens up to this sum")
    add("--seed", type=int, default=0, help="decides the draws")
    add("--num-samples", type=int, default=1, help="how many texts, of seeds one after the other")
    parser.add_device()
    return parser


def check_sampling(settings: Mapping[str, Any]) -> None:
    """Raise ConfigError, in words of flags, for settings that make no sense."""
    try:
        Sampling(**settings)
    except ConfigError as error:
        spelled = {f"`{name}`": f"`{flag(name)}`" for name in settings}
        raise ConfigError(
            *(re.sub("`[^`]+`", lambda found: spelled.get(found[0], found[0]), p) for p in error.problems)
        ) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if hasattr(sys.stdout, "reconfigure"):  # a terminal that cannot show a character gets a question mark
        sys.stdout.reconfigure(errors="replace")
    with clear_errors(parser.prog):
        for name in ("max_tokens", "num_samples"):
            value = getattr(args, name)
            ConfigError.unless(value > 0, f"`{flag(name)}` is {value}, expected at least 1")
        if args.temperature == 0 and args.num_samples > 1:
            print(
                "note: samples are equal at `--temperature 0`, so there is one for each prompt",
                file=sys.stderr,
            )
            args.num_samples = 1
        names = ("temperature", "top_k", "top_p", "seed")
        settings = {name: getattr(args, name) for name in names}
        check_sampling(settings)
        load_torch()
        from lm.api import LanguageModel

        model = LanguageModel(args.ckpt, device=args.device, tokenizer=args.tokenizer)
        texts = [(prompt, args.seed + index) for prompt in args.prompt for index in range(args.num_samples)]
        for number, (prompt, settings["seed"]) in enumerate(texts):
            stream = model.stream(prompt, args.max_tokens, stop=args.stop, **settings)
            if len(texts) > 1:
                told = f"[{number + 1} of {len(texts)}, seed {settings['seed']}]"
                print(f"{'' if number == 0 else chr(10)}{told}")
            print(escape(prompt), end="", flush=True)
            for text in stream:
                print(escape(text), end="", flush=True)
            print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
