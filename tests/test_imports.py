"""Every field of a `tokenizer.json`, changed: the ids are the library's that it comes from, or it is refused.

Never silently other ids. What the library itself cannot load may be refused or not.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tokenizers as hf
from conftest import shared_file
from tinybpe import Tokenizer
from tinybpe.errors import VocabError
from tinybpe.export import PROBES
from tinybpe.reference import PATTERNS

SPECIAL = "<|endoftext|>"
Json = dict[str, Any]
Mutation = Callable[[Json], None]

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": SPECIAL, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {SPECIAL: {"id": SPECIAL, "ids": [0], "tokens": [SPECIAL]}},
}
TEXTS = (
    *PROBES,
    "the lighthouse LIGHTHOUSE 1234567 a1b2",
    f"a {SPECIAL} b{SPECIAL}c {SPECIAL}",
    "x<|end|>  y <|end|>",
    "Å ﬁ ① É e\u0301\n\n x\r\ny",
    "line\nline\n\n  line  ",
    "aaaa" * 9,
)


def put(*keys: str | int, to: Any) -> Mutation:
    def mutate(content: Json) -> None:
        place: Any = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return mutate


def drop(*keys: str | int) -> Mutation:
    def mutate(content: Json) -> None:
        place: Any = content
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return mutate


def split(pattern: Any, behavior: str = "Isolated", invert: bool = False) -> Json:
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def sequence(*parts: Json) -> Mutation:
    return put("pre_tokenizer", to={"type": "Sequence", "pretokenizers": list(parts)})


def model(change: Callable[[Json], None]) -> Mutation:
    return lambda content: change(content["model"])


def swap_ids(content: Json) -> None:
    vocab = content["model"]["vocab"]
    first, second = [token for token in vocab if len(token) > 1][:2]
    vocab[first], vocab[second] = vocab[second], vocab[first]


def unreachable(content: Json) -> None:
    content["model"]["vocab"]["lighthousekeeper"] = len(content["model"]["vocab"])
    content["model"]["ignore_merges"] = True


def added(file: Json, **fields: Any) -> None:
    token = copy.deepcopy(file["added_tokens"][0])
    file["added_tokens"].append({**token, "id": len(file["model"]["vocab"]), "content": "<|end|>", **fields})


def mutations() -> Iterator[tuple[str, Mutation]]:
    yield "nothing", lambda content: None
    for key in ("version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "model"):
        yield f"without {key}", drop(key)
    for key in ("post_processor", "decoder"):
        yield f"without {key}", drop(key)
    for version in ("2.0", 1.0, None):
        yield f"version {version}", put("version", to=version)
    cut = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    yield "truncation", put("truncation", to=cut)
    fixed = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None}
    fixed |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "!"}
    yield "padding", put("padding", to=fixed)

    simple = ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel")
    normalizers: list[Json] = [{"type": kind} for kind in simple]
    normalizers += [
        {"type": "Prepend", "prepend": "_"},
        {"type": "Strip", "strip_left": True, "strip_right": True},
        {"type": "Replace", "pattern": {"String": " "}, "content": "_"},
        {"type": "Sequence", "normalizers": []},
        {"type": "Sequence", "normalizers": [{"type": "NFC"}]},
        {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
    ]
    for normalizer in normalizers:
        yield f"normalizer {normalizer}", put("normalizer", to=normalizer)

    yield "no pre_tokenizer", put("pre_tokenizer", to=None)
    for key in BYTE_LEVEL:
        for value in (True, False, None, 1):
            yield (
                f"ByteLevel {key} {value}",
                put("pre_tokenizer", to={**BYTE_LEVEL, "use_regex": True, key: value}),
            )
        yield (
            f"ByteLevel without {key}",
            put("pre_tokenizer", to={k: v for k, v in BYTE_LEVEL.items() if k != key}),
        )
    for behavior in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous", "Else"):
        for invert in (False, True):
            for name, pattern in PATTERNS.items():
                part = split({"Regex": pattern}, behavior, invert)
                yield f"Split {name} {behavior} {invert}", sequence(part, BYTE_LEVEL)
            part = split({"String": " "}, behavior, invert)
            yield f"Split string {behavior} {invert}", sequence(part, BYTE_LEVEL)
    regexes = (
        r"^\w+|\W", r"\w+$|\w|\W", r"(?s).", r"(?m:^a)|.|\n", r"\p{N}{1,3}+|\P{N}+", r"\w++|\W",
        r"[a-z&&[^aeiou]]+|.|\n",
        r"\h+|\H+", r"\w+|\W", r"\d|\D+", r"\s+|\S+", r"(?i)the|[^t]+|t", r"(?i:straSSe)|.|\n",
        r"\bx|.|\n", r"(?<=a)b|.|\n",
        r"[[:alpha:]]+|[^a-z]+", r"\X", r"\R|.", r"a*", r"", r"(", r"\p{Han}+|\P{Han}+", r".",
        r"[^\n]+|\n", r"\Ax|.|\n",
        r"x\z|.|\n", r"x\Z|.|\n", r"(?>a|ab)c|.|\n", r"(a)\1|.|\n", r"\x{61}+|.|\n", r"\u0061+|.|\n",
        r"a{,2}|.|\n", r"(?#c)\w+|\W",
        r"\K\w|.|\n", r"\G\w+|.|\n",
    )  # fmt: skip
    for regex in regexes:
        yield f"Split regex {regex}", sequence(split({"Regex": regex}), BYTE_LEVEL)
    gpt2 = split({"Regex": PATTERNS["gpt2"]})
    yield "ByteLevel before Split", sequence(BYTE_LEVEL, gpt2)
    yield "Split alone", sequence(gpt2)
    yield "Split without Sequence", put("pre_tokenizer", to=gpt2)
    yield "two Splits", sequence(split({"Regex": r"\p{N}{1,3}"}), gpt2, BYTE_LEVEL)
    yield "two ByteLevels", sequence(BYTE_LEVEL, {**BYTE_LEVEL, "use_regex": True})
    yield "Split and regex", sequence(split({"Regex": r"\s+|\S+"}), {**BYTE_LEVEL, "use_regex": True})
    yield "empty Sequence", sequence()
    others: list[Json] = [
        {"type": "Digits", "individual_digits": True},
        {"type": "Punctuation", "behavior": "Isolated"},
        {"type": "Whitespace"},
        {"type": "WhitespaceSplit"},
        {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        {"type": "CharDelimiterSplit", "delimiter": "a"},
        {"type": "UnicodeScripts"},
        {"type": "BertPreTokenizer"},
        {"type": "FixedLength", "length": 3},
    ]
    for part in others:
        yield f"{part['type']} and ByteLevel", sequence(part, {**BYTE_LEVEL, "use_regex": True})
        yield f"{part['type']} alone", put("pre_tokenizer", to=part)

    yield "template", put("post_processor", to=TEMPLATE)
    yield "byte-level post_processor", put("post_processor", to={**BYTE_LEVEL, "trim_offsets": False})
    for decoder in (
        None,
        {"type": "Fuse"},
        {"type": "WordPiece", "prefix": "##", "cleanup": True},
        BYTE_LEVEL,
    ):
        yield f"decoder {decoder}", put("decoder", to=decoder)

    for key, values in {
        "type": ("WordPiece", "Unigram", None),
        "dropout": (0.0, 0.5, 1.0),
        "unk_token": ("a", "<unk>"),
        "continuing_subword_prefix": ("", "##"),
        "end_of_word_suffix": ("", "</w>"),
        "fuse_unk": (True,),
        "byte_fallback": (True,),
        "ignore_merges": (True,),
        "unknown": (1,),
    }.items():
        for value in values:
            yield f"model.{key} {value!r}", put("model", key, to=value)
        yield f"model without {key}", model(lambda m, key=key: m.pop(key, None))  # type: ignore[misc]
    yield "unreachable token", unreachable
    yield "swapped ids", swap_ids
    yield "legacy merges", model(lambda m: m.update(merges=[" ".join(pair) for pair in m["merges"]]))
    yield "reversed merges", model(lambda m: m["merges"].reverse())
    yield "a merge less", model(lambda m: m["merges"].pop(3))
    yield "a merge twice", model(lambda m: m["merges"].append(m["merges"][0]))
    yield "merges exchanged", model(lambda m: m["merges"].insert(0, m["merges"].pop(7)))
    yield "a byte less", model(lambda m: m["vocab"].pop("a"))
    yield "an id twice", model(lambda m: m["vocab"].update(Ġ=5))
    yield "an id far away", model(lambda m: m["vocab"].update(Ġ=70_000))
    yield "merge of nothing", model(lambda m: m["merges"].append(["q", "zzz"]))

    for key in ("single_word", "lstrip", "rstrip", "normalized", "special"):
        for value in (True, False):
            yield f"added {key} {value}", lambda c, key=key, value=value: added(c, **{key: value})  # type: ignore[misc]
    yield "added twice", lambda c: (added(c), added(c))[0]
    yield "added with another id", lambda c: added(c, id=3)
    yield "added far away", lambda c: added(c, id=90_000)
    yield "added that is a token", lambda c: added(c, content="the", id=c["model"]["vocab"].get("the", 9))
    yield "added that is a byte", lambda c: added(c, content="a", id=c["model"]["vocab"]["a"])
    yield "added empty", lambda c: added(c, content="")
    yield "added prefix of another", lambda c: added(c, content="<|end")
    yield "added with a key more", lambda c: added(c, unknown=True)


MUTATIONS = dict(mutations())


@pytest.fixture(scope="module")
def bases(stories: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Json]:
    made = {}
    for pattern in PATTERNS:
        tokenizer = Tokenizer.train_from_iterator([stories], 420, special_tokens=[SPECIAL], pattern=pattern)
        folder = tmp_path_factory.mktemp(pattern)
        tokenizer.save(folder)
        content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        made[pattern] = content
    return made


def theirs(path: Path) -> hf.Tokenizer | None:
    try:
        return hf.Tokenizer.from_file(str(path))
    except BaseException as error:  # its panics are no `Exception`
        if isinstance(error, KeyboardInterrupt):
            raise
        return None


@pytest.mark.fault("V2")
@pytest.mark.parametrize("name", MUTATIONS)
def test_equal_ids_or_a_refusal(name: str, bases: dict[str, Json], tmp_path: Path) -> None:
    for pattern, base in bases.items():
        content = copy.deepcopy(base)
        MUTATIONS[name](content)
        path = tmp_path / f"{pattern}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        try:
            ours = Tokenizer.load(path)
        except ValueError as error:
            assert name not in ("nothing", "legacy merges", "template"), error
            assert str(path) in str(error) or "pattern" in str(error), error
            continue
        library = theirs(path)
        if library is not None:
            # What concerns batches for a model is loaded and not applied.
            library.no_truncation()
            library.no_padding()
        for text in TEXTS if library is not None else ():
            try:
                expected = library.encode(text, add_special_tokens=False).ids
            except BaseException as error:
                assert not isinstance(error, KeyboardInterrupt)
                continue
            try:
                ids = ours.encode(text, allowed_special="all")
            except VocabError as error:
                # The library drops a character that has no token.
                assert "no token" in str(error), (pattern, text)
                continue
            assert ids == expected, (pattern, text)


@pytest.mark.parametrize("name", ["gpt2", "dolma2"])
def test_real_tokenizers_with_other_settings(name: str, tmp_path: Path) -> None:
    """The settings that Llama 3 and Qwen have on the vocabularies that lie here."""
    content = json.loads(shared_file(f"vocabs/{name}.tokenizer.json").read_text(encoding="utf-8"))
    path = tmp_path / "tokenizer.json"
    for settings in ({"normalizer": {"type": "NFC"}}, {"model": content["model"] | {"ignore_merges": True}}):
        path.write_text(json.dumps(content | settings), encoding="utf-8")
        ours, library = Tokenizer.load(path), hf.Tokenizer.from_file(str(path))
        for text in TEXTS:
            ids = library.encode(text, add_special_tokens=False).ids
            assert ours.encode(text, allowed_special="all") == ids
