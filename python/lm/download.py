"""Fetches TinyStories: `python -m lm.download tinystories`.

The two files of the GPT-4 version come from the Hugging Face hub, resumed where a transfer broke off and
checked against the hub's digests by `huggingface_hub`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from lm.cli import Parser

DATASET = "roneneldan/TinyStories"
FILES = {"train": "TinyStoriesV2-GPT4-train.txt", "valid": "TinyStoriesV2-GPT4-valid.txt"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser("python -m lm.download", description="Fetch a data set into a folder.")
    parser.add_argument("dataset", choices=("tinystories",), help="what to fetch")
    parser.add_argument("--out", default="data", help="folder for the files (default data)")
    parser.add_argument(
        "--split", choices=("all", *FILES), default="all", help="train is 2.2 GB, valid 22 MB"
    )
    parser.add_argument("--endpoint", help="address of another hub")
    args = parser.parse_args(argv)
    try:
        from huggingface_hub import hf_hub_download

        for name in FILES.values() if args.split == "all" else (FILES[args.split],):
            options = {"repo_type": "dataset", "local_dir": args.out, "endpoint": args.endpoint}
            path = Path(hf_hub_download(DATASET, name, **options))
            print(f"{path}  {path.stat().st_size:,} bytes")
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted; the same command goes on where it was", file=sys.stderr)
        return 130
    # the hub's errors are of many kinds (also httpx's own), none of which the user can look into
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        print(f"{parser.prog}: cannot fetch {args.dataset}: {reason}", file=sys.stderr)
        return 1
    print("next: python -m lm   trains a tokenizer and a small model on it")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
