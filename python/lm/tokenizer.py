"""Which tokenizer belongs to a run or a token file."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lm.config import UserError

if TYPE_CHECKING:
    from tinybpe import Tokenizer

    from lm.data import TokenFile

USUAL = ("tok", "tokenizer")  # what tokenizer folders are called; these come first
NOT_FOUND = "no tokenizer beside the token file; give `--tokenizer`"


def find_tokenizer(
    given: str | Path | None, tokens: "TokenFile | None", *more: Path
) -> tuple["Tokenizer | None", str]:
    """Return the tokenizer of a run and a line saying which and why, or None and a line saying why not.

    It is the folder given, else one of `more`, else a folder beside the token file whose tokenizer has the
    digest that the file's sidecar names; of several, one with a usual name. UserError if the folder given
    holds no or another tokenizer.
    """
    wanted = tokens.tokenizer_sha256 if tokens else None
    beside = (
        [path.parent for path in tokens.path.parent.glob("*/tokenizer.json")] if tokens and wanted else []
    )
    beside.sort(key=lambda folder: (USUAL.index(folder.name) if folder.name in USUAL else len(USUAL), folder))
    folders = [folder for folder in more if (folder / "tokenizer.json").exists()] + beside
    problem = NOT_FOUND
    for folder in folders if given is None else [Path(given)]:
        try:
            from tinybpe import Tokenizer

            tokenizer = Tokenizer.load(folder)
        except (ImportError, OSError, ValueError) as error:
            problem = f"cannot load the tokenizer {folder}: {error}"
            continue
        if wanted in (None, tokenizer.sha256):
            made = tokens and given is None and folder in beside
            return tokenizer, f"tokenizer {folder}" + (", which made the token file" if made else "")
        problem = f"the token file was made with another tokenizer than {folder}"
    if given is not None:
        raise UserError(problem)
    return None, problem


def keep_tokenizer(tokenizer: "Tokenizer", folder: Path, *, overwrite: bool) -> None:
    """Save a tokenizer, unless the folder has it already; UserError if it has another one that stays."""
    if (folder / "tokenizer.json").exists():
        if find_tokenizer(None, None, folder)[0] == tokenizer:
            return
        UserError.unless(
            overwrite, f"{folder} holds another tokenizer than the data's; `--overwrite` replaces it"
        )
        shutil.rmtree(folder)
    tokenizer.save(folder)
