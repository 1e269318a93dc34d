"""Fetches TinyStories: `python -m lm.download tinystories`.

The two files of the GPT-4 version come from the Hugging Face hub, resumed where a transfer broke off and
checked against the hub's digests by `huggingface_hub`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lm.cli import Parser

DATASET = "roneneldan/TinyStories"
FILES = {"train": "TinyStoriesV2-GPT4-train.txt", "valid": "TinyStoriesV2-GPT4-valid.txt"}


def download(
    folder: Path, splits: Sequence[str] = ("train", "valid"), endpoint: str | None = None
) -> list[Path]:
    """Fetch the files into a folder and return their paths.

    Args:
        folder: made if it is not there.
        splits: of "train" (2.2 GB) and "valid" (22 MB).
        endpoint: address of another hub, as a test's; the environment's HF_ENDPOINT if not given.

    Raises:
        OSError: no connection, no such file on the hub, disk full.
    """
    from huggingface_hub import hf_hub_download

    folder.mkdir(parents=True, exist_ok=True)
    return [
        Path(hf_hub_download(DATASET, FILES[s], repo_type="dataset", local_dir=folder, endpoint=endpoint))
        for s in splits
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser("python -m lm.download", description="Fetch a data set into a folder.")
    parser.add_argument("dataset", choices=("tinystories",), help="what to fetch")
    parser.add_argument("--out", default="data", help="folder for the files (default data)")
    parser.add_argument("--split", choices=("all", "train", "valid"), default="all", help="train is 2.2 GB")
    parser.add_argument("--endpoint", help="address of another hub")
    args = parser.parse_args(argv)
    splits = ("train", "valid") if args.split == "all" else (args.split,)
    try:
        for path in download(Path(args.out), splits, args.endpoint):
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
