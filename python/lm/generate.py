"""Text from a trained model, streamed as it comes.

    python -m lm.generate --ckpt runs/default --prompt "Once upon a time" --temperature 0.8 --top-p 0.95

`sampling.py` draws the ids, `text.py` makes text of them. Control characters are shown escaped, so that no
output can drive the terminal.
"""

import sys
from collections.abc import Sequence

from lm.api import LanguageModel
from lm.cli import Parser, clear_errors, escape
from lm.devices import NAMES


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser("python -m lm.generate", description="Stream text from a trained model.")
    add = parser.add_argument
    add("--ckpt", required=True, help="run folder (its newest checkpoint) or checkpoint folder")
    add("--tokenizer", help="tokenizer folder; the run's own if not given")
    add(
        "--prompt",
        nargs="+",
        default=["Once upon a time"],
        help="start of the text, or of several; may be empty",
    )
    add("--stop", nargs="+", default=[], metavar="TEXT", help="ends the text before it; may be several")
    add("--max-tokens", type=int, default=256, help="most tokens to write")
    add("--temperature", type=float, default=0.8, help="0 always takes the most likely token")
    add("--top-k", type=int, default=0, help="draw from the k most likely tokens; 0 for all")
    add("--top-p", type=float, default=0.95, help="draw from the likeliest tokens up to this sum")
    add("--seed", type=int, default=0, help="decides the draws")
    add("--num-samples", type=int, default=1, help="how many texts, of seeds one after the other")
    add("--device", default="auto", choices=NAMES)
    args = parser.parse_args(argv)
    if hasattr(sys.stdout, "reconfigure"):  # a terminal that cannot show a character gets a question mark
        sys.stdout.reconfigure(errors="replace")
    with clear_errors(parser.prog):
        model = LanguageModel(args.ckpt, device=args.device, tokenizer=args.tokenizer)
        settings = {
            name: getattr(args, name) for name in ("max_tokens", "temperature", "top_k", "top_p", "stop")
        }
        texts = [(prompt, args.seed + index) for prompt in args.prompt for index in range(args.num_samples)]
        for number, (prompt, seed) in enumerate(texts):
            stream = model.stream(prompt, seed=seed, **settings)
            if len(texts) > 1:
                print(f"{'' if number == 0 else chr(10)}[{number + 1} of {len(texts)}, seed {seed}]")
            print(escape(prompt), end="", flush=True)
            for text in stream:
                print(escape(text), end="", flush=True)
            print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
