"""The rest of the public face: lookups, identity, what `tinybpe` exports and what it imports."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tinybpe
from tinybpe import Tokenizer, UnknownTokenError, _tinybpe, errors
from tinybpe.patterns import PATTERNS

SPECIAL = "<|endoftext|>"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train_from_iterator(["low lower lowest"], 260, special_tokens=[SPECIAL, "<|pad|>"])


def test_lookups(tokenizer: Tokenizer) -> None:
    assert tokenizer.merges == [(b"o", b"w"), (b"l", b"ow")]
    assert tokenizer.vocab[257] == b"low"
    assert tokenizer.vocab[258] == SPECIAL.encode()
    assert len(tokenizer.vocab) == len(tokenizer) == tokenizer.vocab_size == tokenizer.n_vocab == 260
    assert tokenizer.token_bytes(257) == b"low"
    assert tokenizer.token_bytes(258) == SPECIAL.encode()
    assert tokenizer.token_id("low") == tokenizer.token_id(b"low") == 257
    assert tokenizer.token_id(SPECIAL) == tokenizer.eot_token == 258
    assert tokenizer.special_tokens == {SPECIAL: 258, "<|pad|>": 259}
    assert tokenizer.pattern == "gpt2"
    assert tokenizer.pattern_regex.startswith("'s|'t|")
    assert len(tokenizer.sha256) == 64


def test_unknown_token_is_a_key_error_with_a_plain_message(tokenizer: Tokenizer) -> None:
    with pytest.raises(UnknownTokenError) as caught:
        tokenizer.token_id("lowest")
    assert isinstance(caught.value, KeyError)
    assert str(caught.value).startswith("'lowest' is no token")
    with pytest.raises(UnknownTokenError, match="260"):
        tokenizer.token_bytes(260)


def test_what_is_handed_out_is_a_copy(tokenizer: Tokenizer) -> None:
    tokenizer.vocab.clear()
    tokenizer.merges.clear()
    tokenizer.special_tokens.clear()
    assert len(tokenizer.vocab) == 260
    assert len(tokenizer.merges) == 2
    assert len(tokenizer.special_tokens) == 2


def test_identity(tokenizer: Tokenizer) -> None:
    same = Tokenizer.train_from_iterator(["low lower lowest"], 260, special_tokens=[SPECIAL, "<|pad|>"])
    assert same == tokenizer
    assert len({same, tokenizer}) == 1
    for other in (
        Tokenizer.train_from_iterator(["low lower lowest"], 260, special_tokens=["<|pad|>", SPECIAL]),
        Tokenizer.train_from_iterator(["low lower lowest"], 259, special_tokens=[SPECIAL, "<|pad|>"]),
        Tokenizer.train_from_iterator(
            ["low lower lowest"], 260, special_tokens=[SPECIAL, "<|pad|>"], pattern="cl100k"
        ),
    ):
        assert other != tokenizer
    assert tokenizer != "tokenizer"


def test_repr(tokenizer: Tokenizer) -> None:
    expected = "Tokenizer(vocab_size=260, pattern='gpt2', special_tokens=['<|endoftext|>', '<|pad|>'])"
    assert repr(tokenizer) == expected


def test_pattern_names() -> None:
    for name in PATTERNS:
        tokenizer = Tokenizer.train_from_iterator([], 256, pattern=name)
        assert tokenizer.pattern == name
        # The regex of a named pattern is that pattern.
        assert Tokenizer.train_from_iterator([], 256, pattern=tokenizer.pattern_regex) == tokenizer
    custom = Tokenizer.train_from_iterator([], 256, pattern=r"\w+|\W")
    assert custom.pattern == custom.pattern_regex == r"\w+|\W"


def test_no_end_of_text() -> None:
    assert Tokenizer.train_from_iterator([], 257, special_tokens=["<|pad|>"]).eot_token is None


def test_public_names() -> None:
    assert sorted(tinybpe.__all__) == tinybpe.__all__
    assert all(hasattr(tinybpe, name) for name in tinybpe.__all__)
    assert tinybpe.__version__.count(".") == 2
    with pytest.raises(AttributeError):
        _ = tinybpe.nothing


def test_autocompletion_offers_what_is_public() -> None:
    offered = {name for name in dir(tinybpe) if not name.startswith("_")}
    assert offered == set(tinybpe.__all__)
    assert "__version__" in dir(tinybpe)
    assert set(errors.__all__) == {name for name in vars(errors) if isinstance(vars(errors)[name], type)}
    assert set(errors.__all__) - offered == {"InternalError", "TinyBPEWarning"}


@pytest.mark.parametrize(
    "public", [Tokenizer, tinybpe.WordCounts, tinybpe.StreamDecoder, tinybpe.TokenFileInfo]
)
def test_help_shows_types_that_explain_themselves(public: type) -> None:
    """No name of ours that stands for a type; quotes only around types of NumPy and of our classes."""
    for name, member in inspect.getmembers(public, callable):
        if name.startswith("_") and name != "__init__":
            continue
        shown = str(inspect.signature(member))
        for alias in ("Text", "Ids", "Progress", "StrPath", "Format", "TieBreak", "IdArray"):
            assert alias not in re.findall(r"\w+", shown), (name, shown)
        for quoted in re.findall(r": '([^']*)'", shown.split(" = ")[0]) + re.findall(r"-> '([^']*)'", shown):
            assert any(known in quoted for known in ("NDArray", *tinybpe.__all__)), (name, shown)


def test_repr_of_a_decoder(tokenizer: Tokenizer) -> None:
    assert (
        repr(tinybpe.StreamDecoder(tokenizer, "ignore")) == f"StreamDecoder({tokenizer!r}, errors='ignore')"
    )


def test_error_classes() -> None:
    classes = {value for value in vars(errors).values() if isinstance(value, type)} - {errors.TinyBPEWarning}
    assert all(issubclass(error, errors.TinyBPEError) for error in classes)
    value_errors = {
        "VocabFileError",
        "VocabError",
        "SpecialTokenError",
        "PatternError",
        "TrainingError",
        "TokenFileError",
        "InputError",
    }
    assert {error.__name__ for error in classes if issubclass(error, ValueError)} == value_errors


def test_importing_is_light() -> None:
    """No torch, no reference, none of the libraries that some commands use."""
    program = "import sys, tinybpe, tinybpe.cli; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "tinybpe._tinybpe" in loaded
    assert not loaded & {
        "torch",
        "lm",
        "regex",
        "tinybpe.reference",
        "tokenizers",
        "tiktoken",
        "transformers",
        "tqdm",
    }


def test_stub_is_the_extension() -> None:
    """Classes, methods and the names of their parameters, in both directions."""
    stub = ast.parse((Path(tinybpe.__file__).parent / "_tinybpe.pyi").read_text(encoding="utf-8"))
    classes = [node for node in stub.body if isinstance(node, ast.ClassDef)]
    constants = {node.target.id for node in stub.body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]
    names = {node.name for node in classes} | constants
    assert names == {name for name in dir(_tinybpe) if not name.startswith("_")}
    for node in classes:
        functions = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
        functions = {name: item for name, item in functions.items() if not name.startswith("__")}
        built = getattr(_tinybpe, node.name)
        assert set(functions) == {name for name in vars(built) if not name.startswith("_")}
        for name, function in functions.items():
            if callable(getattr(built, name)):
                parameters = [argument.arg for argument in function.args.args]
                assert list(inspect.signature(getattr(built, name)).parameters) == parameters, name
