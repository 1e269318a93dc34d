"""Fetches TinyStories: `python -m lm.download tinystories`.

The two files of the GPT-4 version come from the Hugging Face hub, resumed where a transfer broke off and
checked against the hub's digests by `huggingface_hub`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from lm.cli import Parser, clear_errors
from lm.config import UserError
from lm.runlog import to_type

DATASET = "roneneldan/TinyStories"
FILES = {"train": "TinyStoriesV2-GPT4-train.txt", "valid": "TinyStoriesV2-GPT4-valid.txt"}


def fetch(name: str, folder: Path, endpoint: str | None, *, overwrite: bool) -> None:
    """Fetch a file into a folder, unless it is there; UserError if that does not work."""
    path = folder / name
    if path.exists() and not overwrite:  # a name appears only when the file is whole
        print(f"{path}  {path.stat().st_size:,} bytes, there already; `--overwrite` fetches it again")
        return
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(
            DATASET,
            name,
            repo_type="dataset",
            local_dir=folder,
            endpoint=endpoint,
            force_download=overwrite,
        )
    # the hub's errors are of many kinds (also httpx's own), none of which the user can look into
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise UserError(f"cannot fetch {name}: {reason}") from None
    print(f"{path}  {path.stat().st_size:,} bytes")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser("python -m lm.download", description="Fetch a data set into a folder.")
    parser.add_argument("dataset", choices=("tinystories",), help="what to fetch")
    parser.add_argument("--out", default="data", help="folder for the files")
    sizes = "train is 2.2 GB, valid 22 MB"
    parser.add_argument("--split", choices=("all", *FILES), default="all", help=sizes)
    parser.add_argument("--endpoint", help="address of another hub")
    parser.add_argument("--overwrite", action="store_true", help="fetch files again that are there already")
    args = parser.parse_args(argv)
    with clear_errors(parser.prog):
        try:
            for name in FILES.values() if args.split == "all" else (FILES[args.split],):
                fetch(name, Path(args.out), args.endpoint, overwrite=args.overwrite)
        except KeyboardInterrupt:
            print("\nthe same command goes on where this one was", file=sys.stderr)
            raise
    print(f"next: {to_type('python', '-m', 'lm')}   trains a tokenizer and a small model on it")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
