"""Exports that are checked: the target library reads the files back and must give the same ids.

Files are written to a temporary folder beside the target, checked there where the library is installed, and
only then moved to their place, so an export that does not agree leaves nothing behind.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from tinybpe.errors import VocabError
from tinybpe.outputs import move_files
from tinybpe.tokenizer import Tokenizer

EncodeText = Callable[[str], list[int]]

PROBES = (
    "",
    " ",
    "Once upon a time, there was a little girl named Lily.",
    "She said: 'I'll go, you've won, it's DON'T.'\n\n\tTabs,\r\nline ends,   spaces   \n   ",
    "def f(x):\n    return x ** 2 + 12345.678e-9  # 1234567890",
    "Straße, naïve façade, Ελληνικά, Русский, עברית, العربية, हिन्दी, ไทย, 中文字, 日本語, 한국어",
    "👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 \u00a0\u2003\u3000x \ufeff \ufffd it'\u017f",
)


def export(
    tokenizer: Tokenizer, to: str, out: str | os.PathLike[str], *, overwrite: bool = False
) -> str | None:
    """Write a tokenizer in another library's format, and check that this library gives the same ids.

    Args:
        tokenizer: What to write.
        to: `hf` (the directory that `Tokenizer.save` writes), `gpt2` (`vocab.json` and `merges.txt`) or
            `tiktoken`.
        out: The directory, for `tiktoken` the file, to write. Other files in the directory stay.
        overwrite: Replace other files that are there; never those that the tokenizer was read from.

    Returns:
        The library that checked it, or None if it is not installed.

    Raises:
        OutputError: A file that is there would be lost; nothing was written.
        VocabError: The format cannot express this tokenizer, or the library gives other ids.
        OSError: A file cannot be written.
    """
    write, load = FORMATS[to]
    out = Path(out)
    if out.exists() and to == "tiktoken" and out.is_dir():
        raise IsADirectoryError(21, "Is a directory, and a file is to be written here", str(out))
    if out.exists() and to != "tiktoken" and not out.is_dir():
        raise NotADirectoryError(20, "Is a file, and a directory is to be written here", str(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".tinybpe-export-") as folder:
        written = Path(folder) / "export"
        write(tokenizer, written)
        loaded = load(tokenizer, written)
        if loaded is not None:
            check_ids(tokenizer, *loaded)
        files = {written: out}
        if written.is_dir():
            # A directory is whole when it has its tokenizer.json, so that one comes last.
            names = [file.name for file in written.iterdir()]
            names.sort(key=lambda name: (name == "tokenizer.json", name))
            files = {written / name: out / name for name in names}
            out.mkdir(exist_ok=True)
        move_files(files, read=tokenizer.files, overwrite=overwrite)
    return loaded[0] if loaded is not None else None


def check_ids(tokenizer: Tokenizer, library: str, encode: EncodeText) -> None:
    """Compare the ids of the probe texts.

    Raises:
        VocabError: A text has other ids in the library.
    """
    tokens = [token.decode("utf-8", "ignore") for token in tokenizer.vocab.values()]
    probes = [*PROBES, "".join(tokens[256 :: max(1, len(tokens) // 2000)])]
    probes += [f"{token}{text}{token}" for token in tokenizer.special_tokens for text in PROBES[:3]]
    for text in probes:
        ours, theirs = tokenizer.encode(text, allowed_special="all"), encode(text)
        if ours != theirs:
            differ = (i for i, (our, their) in enumerate(zip(ours, theirs, strict=False)) if our != their)
            at = next(differ, min(len(ours), len(theirs)))
            raise VocabError(
                f"{library} gives other ids for {text[:60]!r}: from token {at} on {theirs[at : at + 5]}, "
                f"not {ours[at : at + 5]}; nothing was exported"
            )


def _write_hf(tokenizer: Tokenizer, path: Path) -> None:
    tokenizer.save(path)


def _write_gpt2(tokenizer: Tokenizer, path: Path) -> None:
    path.mkdir()
    tokenizer._core.export_gpt2(str(path))


def _write_tiktoken(tokenizer: Tokenizer, path: Path) -> None:
    tokenizer._core.export_tiktoken(str(path))


def _load_hf(_: Tokenizer, path: Path) -> tuple[str, EncodeText] | None:
    try:
        import tokenizers
    except ImportError:
        return None
    if not (path / "tokenizer.json").exists():
        return None  # A model of SentencePiece, which is written as it was read.
    loaded = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
    return "tokenizers", lambda text: loaded.encode(text, add_special_tokens=False).ids


def _load_gpt2(tokenizer: Tokenizer, path: Path) -> tuple[str, EncodeText] | None:
    try:
        import tokenizers
        from tokenizers import models, pre_tokenizers
    except ImportError:
        return None
    model = models.BPE.from_file(str(path / "vocab.json"), str(path / "merges.txt"))
    loaded = tokenizers.Tokenizer(model)
    loaded.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    specials = [tokenizers.AddedToken(token, normalized=False) for token in tokenizer.special_tokens]
    loaded.add_special_tokens(specials)
    return "tokenizers", lambda text: loaded.encode(text, add_special_tokens=False).ids


def _load_tiktoken(tokenizer: Tokenizer, path: Path) -> tuple[str, EncodeText] | None:
    try:
        import tiktoken
    except ImportError:
        return None
    # Not `tiktoken.load`: it keeps a cache by path, which would show what stood there before.
    lines = (line.split() for line in path.read_bytes().splitlines())
    loaded = tiktoken.Encoding(
        path.name,
        pat_str=tokenizer.pattern_regex,
        mergeable_ranks={base64.b64decode(token): int(rank) for token, rank in lines},
        special_tokens=tokenizer.special_tokens,
    )
    return "tiktoken", lambda text: loaded.encode(text, allowed_special="all")


FORMATS: dict[
    str, tuple[Callable[[Tokenizer, Path], None], Callable[[Tokenizer, Path], tuple[str, EncodeText] | None]]
] = {
    "hf": (_write_hf, _load_hf),
    "gpt2": (_write_gpt2, _load_gpt2),
    "tiktoken": (_write_tiktoken, _load_tiktoken),
}
