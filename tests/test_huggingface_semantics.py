"""What each step of a `tokenizer.json` does: ids are those of `tokenizers`, or the file is refused by name.

`test_vocabularies.py` has whole vocabularies; here merges cross everything that a step could split, and each
construct of a pattern, each behavior, normalizer and decoder stands alone. No silent difference is allowed.
"""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tokenizers as hf
from tinybpe import Tokenizer, VocabError, VocabFileError
from tokenizers import normalizers

Json = dict[str, Any]

CHARACTERS = [
    *"abcABC12 3  -.,'\"!?_~$+<>\n\r\t|/éßſÅ²½¾٣४ⅣΩжЖ漢字あア한▁  \u3000\u200d\u200cK①\ufffd\x85\x1c\u2028",
    *("e\u0301", "'s", "'ll", "\r\n", "  ", "123", "--", "👍", "\u0301", "İ"),
]
BYTE_LEVEL: Json = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
GPT2: Json = {**BYTE_LEVEL, "use_regex": True}
BEHAVIORS = ("Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
SPACE = "▁"


def drawn(number: int, seed: int) -> list[str]:
    """Texts of few different characters, the same in each run."""
    rng = random.Random(seed)
    texts = []
    for _ in range(number):
        some = rng.sample(CHARACTERS, rng.randint(2, 8)) if rng.random() < 0.7 else CHARACTERS
        texts.append("".join(rng.choice(some) for _ in range(rng.choice([1, 2, 3, 5, 8, 13, 25]))))
    return texts


TEXTS = [*drawn(400, 1), "", "a", "  a", "123456", "2½", "a½b", "ò12 345", "-Ж's\n\n", "final--countdown the"]


def merged(symbols: list[str], vocab: dict[str, int], number: int) -> list[list[str]]:
    """Merges of the commonest pairs of symbols, across everything; the vocabulary gets what they make."""
    merges: list[list[str]] = []
    while len(merges) < number:
        for left, right in [pair for pair, _ in Counter(pairwise(symbols)).most_common(20)]:
            if left + right in vocab:
                continue
            vocab[left + right] = len(vocab)
            merges.append([left, right])
            joined: list[str] = []
            for symbol in symbols:
                if joined and (joined[-1], symbol) == (left, right):
                    joined[-1] = left + right
                else:
                    joined.append(symbol)
            symbols = joined
    return merges


def file(vocab: dict[str, int], merges: list[list[str]], **model: Any) -> Json:
    settings = {
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
    }
    names = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    content = {"version": "1.0", **dict.fromkeys(names), "added_tokens": []}
    return content | {"model": {"type": "BPE", **settings, **model, "vocab": vocab, "merges": merges}}


def byte_characters() -> list[str]:
    """GPT-2's character for each byte."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) if byte in shown else chr(256 + hidden.index(byte)) for byte in range(256)]


@pytest.fixture(scope="module")
def of_bytes() -> Json:
    characters = byte_characters()
    vocab = {character: byte for byte, character in enumerate(characters)}
    merges = merged([characters[byte] for byte in "".join(drawn(200, 2)).encode()], vocab, 500)
    return file(vocab, merges) | {"pre_tokenizer": BYTE_LEVEL, "decoder": BYTE_LEVEL}


def of_characters(byte_fallback: bool) -> Json:
    """A SentencePiece vocabulary as Llama 2 and Gemma have it; few characters are in it."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for byte in range(256 if byte_fallback else 0):
        vocab[f"<0x{byte:02X}>"] = len(vocab)
    text = SPACE.join(drawn(200, 3)).replace(" ", SPACE)
    common = [character for character, _ in Counter(text).most_common(50)]
    for character in common:
        vocab[character] = len(vocab)
    merges = merged([character for character in text if character in common], vocab, 400)
    content = file(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=byte_fallback)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
    content["added_tokens"] = [
        {"id": id, "content": text, **flags} for id, text in enumerate(("<unk>", "<s>", "</s>"))
    ]
    replace = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
    content["decoder"] = sequence(replace, {"type": "ByteFallback"}, {"type": "Fuse"}, of="decoders")
    content["normalizer"] = sequence(PREPEND, REPLACE, of="normalizers")
    return content


PREPEND: Json = {"type": "Prepend", "prepend": SPACE}
REPLACE: Json = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}


def sequence(*steps: Json, of: str = "pretokenizers") -> Json:
    return {"type": "Sequence", of: list(steps)}


def split(pattern: str | Json, behavior: str = "Isolated", invert: bool = False) -> Json:
    regex = {"Regex": pattern} if isinstance(pattern, str) else pattern
    return {"type": "Split", "pattern": regex, "behavior": behavior, "invert": invert}


def check(content: Json, folder: Path, *, texts: list[str] = TEXTS, decodes: bool = True) -> None:
    """Ids, text and the ids of what is saved again are the library's; else `VocabFileError` by loading."""
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    ours = Tokenizer.load(path)
    theirs = hf.Tokenizer.from_file(str(path))
    ours.save(folder / "again", overwrite=True)
    again = Tokenizer.load(folder / "again")
    assert again.sha256 == ours.sha256
    library = hf.Tokenizer.from_file(str(folder / "again" / "tokenizer.json"))
    for text in texts:
        expected = theirs.encode(text, add_special_tokens=False).ids
        try:
            ids = ours.encode(text, allowed_special="all")
        except VocabError:
            # The library drops what has no token.
            assert theirs.decode(expected, skip_special_tokens=False) != text
            continue
        assert ids == expected, text
        with_template = theirs.encode(text).ids
        assert ours.encode(text, allowed_special="all", add_special_tokens=True) == with_template, text
        assert library.encode(text).ids == with_template, text
        if decodes:
            assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=False), text


# Each construct of Oniguruma in which another regex engine could differ, or does.
CONSTRUCTS = (
    r"\w+", r"\W+", r"[\w]+", r"[^\w]+", r"[\W]+", r"\bx|.|\n", r"\b", r"\B", r"a\b|b\B|.", r"\b\w+\b",
    r"^.", r".$", r"^", r"$", r"(?<=^)a", r"(?m:a.b)|.", r"(?m:.)+", r"(?m)a.|b", r"a(?i)B|K",
    r"(?i)ab|k", r"(?i:k|s)", r"(?i:[a-c])+", r"'(?i:[sdmt]|ll|ve|re)", r"(?i:x?y)", r"(?i:a(?-i:B)c)",
    r"\p{N}{1,3}+", r"\d{2}+", r"(?:ab){1,2}+", r"a{2}?", r"a{1,2}?b", r"a{,2}b", r"a{,2}+", r"a{2,}?",
    r"x{ 1}|a{b}|{|}", r"[]a]+", r"[^]a]+", r"[a-c&&[^b]]+", r"[\p{L}&&[^\p{Lu}]]+", r"[a~~b]+",
    r"[[:alpha:]]+", r"[[:^alpha:]]+", r"[[:space:][:digit:]]+", r"[[:punct:]]", r"[[:word:]]+",
    r"[^[:alpha:]]+", r"[[:blank:]]+", r"\h+", r"\R+", r"\N+", r"\O", r"\A.", r".\z", r".\Z", r"\Z",
    r"\s+$", r"\s+(?!\S)", r"(?<!a)b", r"(?>a|ab)c", r"a++b|.", r"(a|b)\1", r"(?<n>a)b", r"(?#c)a",
    r"\x61\x{62}|\u0063", r"\p{^L}+", r"\p{Alnum}+", r"\p{Punct}", r"(?=(\d{3})+(?!\d))",
    r"\A\p{Nd}{1,2}(?=\p{Nd}{3}+\z)", r"(a*)*b", r"a|", r"|a", r"\<|\>", r"[\b]", r"[a-c[^x]]", r"[a&&]",
    r"[a&b]+", r"~+", r"[\w'-]+", r"\d{1,3}(?=(?:\d{3})*\b)", r"-", r"ab", r"(?:(?=a)a|b)+", r"\p{L}{,3}",
)  # fmt: skip
NULLABLE = (r"a{2}?", r"a{,2}+", r"a|", r"|a", r"\p{L}{,3}")
# Those that the engines read otherwise, or that are not known to be read alike.
REFUSED = (
    r"\X", r"\pL+", r"\p{Graph}", r"(?x: a)", r"a**", r"a{2}{2}", r"(?i:é)", r"(?i:ss)", r"\Ga", r"\K",
    r"(?~ab)", r"[+--]", r"(?:)+a",
)  # fmt: skip


@pytest.mark.fault("V2")
@pytest.mark.parametrize("regex", CONSTRUCTS)
def test_patterns(regex: str, of_bytes: Json, tmp_path: Path) -> None:
    for behavior in BEHAVIORS:
        # Nothing is joined to what may be empty.
        is_refused = behavior != "Isolated" and regex in NULLABLE
        content = of_bytes | {"pre_tokenizer": sequence(split(regex, behavior), BYTE_LEVEL)}
        with pytest.raises(VocabFileError, match="can match nothing") if is_refused else nullcontext():
            check(content, tmp_path)


@pytest.mark.fault("V2")
@pytest.mark.parametrize("regex", REFUSED)
def test_patterns_that_are_refused(regex: str, of_bytes: Json, tmp_path: Path) -> None:
    with pytest.raises(VocabFileError):
        check(of_bytes | {"pre_tokenizer": sequence(split(regex), BYTE_LEVEL)}, tmp_path)


LITERALS = (" ", "ab", ".", "a|b", "", "\\p{L}+", "é", "-")


@pytest.mark.parametrize("behavior", BEHAVIORS)
def test_behaviors(behavior: str, of_bytes: Json, tmp_path: Path) -> None:
    patterns = [
        r"\p{N}",
        r"[^a]",
        r"ab|a",
        r"\s+(?!\S)|\s+",
        r"(?=1)",
        *({"String": text} for text in LITERALS),
    ]
    for pattern in patterns:
        for invert in (False, True):
            pre_tokenizer = sequence(split(pattern, behavior, invert), BYTE_LEVEL)
            check(of_bytes | {"pre_tokenizer": pre_tokenizer}, tmp_path)
    punctuation = {"type": "Punctuation", "behavior": behavior}
    check(of_bytes | {"pre_tokenizer": sequence(punctuation, GPT2)}, tmp_path)


DIGITS: list[Json] = [{"type": "Digits", "individual_digits": value} for value in (False, True)]
PUNCTUATION: list[Json] = [{"type": "Punctuation", "behavior": behavior} for behavior in BEHAVIORS]
THREE = split(r"[0-9][0-9][0-9]")
# Behind `ByteLevel` a step sees bytes as characters: the second byte of ò is a digit.
BEHIND = {
    "Falcon": [PUNCTUATION[3], GPT2, DIGITS[0], THREE],
    **{f"digits {step['individual_digits']}": [GPT2, step] for step in DIGITS},
    **{f"punctuation {step['behavior']}": [BYTE_LEVEL, step] for step in PUNCTUATION},
    **{f"class {behavior}": [GPT2, split(r"[a-f¡-«]", behavior)] for behavior in BEHAVIORS},
    **{
        f"pattern {regex}": [BYTE_LEVEL, split(regex)]
        for regex in (r"\p{L}+", ".", "Ġ", " ", "[0-9]{2}", r"\s")
    },
}


@pytest.mark.parametrize("name", BEHIND)
def test_steps_behind_byte_level(name: str, of_bytes: Json, tmp_path: Path) -> None:
    check(of_bytes | {"pre_tokenizer": sequence(*BEHIND[name])}, tmp_path)


@pytest.mark.parametrize("normalizer", [[], [{"type": "NFC"}], [{"type": "Lowercase"}]])
def test_byte_level_as_a_normalizer(normalizer: list[Json], of_bytes: Json, tmp_path: Path) -> None:
    steps = {"normalizer": sequence(*normalizer, {"type": "ByteLevel"}, of="normalizers")}
    for pre_tokenizer in (None, split("Ġ"), DIGITS[1]):
        check(of_bytes | steps | {"pre_tokenizer": pre_tokenizer}, tmp_path)


def metaspace(scheme: str, splits: bool = True) -> Json:
    return {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": splits}


SIMPLE = [{"type": kind} for kind in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents")]
EXTRA: list[Json] = [
    *SIMPLE,
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "Strip", "strip_left": True, "strip_right": False},
    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
    {"type": "Replace", "pattern": {"String": "▁▁"}, "content": "▁"},
    {"type": "Replace", "pattern": {"String": "a"}, "content": ""},
    {"type": "Replace", "pattern": {"Regex": "[0-9]"}, "content": "$0"},
    {"type": "Prepend", "prepend": "ab"},
]


@pytest.mark.parametrize("byte_fallback", [False, True])
@pytest.mark.parametrize("extra", EXTRA, ids=str)
def test_normalizers(extra: Json, byte_fallback: bool, of_bytes: Json, tmp_path: Path) -> None:
    base = of_characters(byte_fallback)
    for steps in ((extra, PREPEND, REPLACE), (PREPEND, extra, REPLACE), (PREPEND, REPLACE, extra)):
        is_refused = steps[2] is extra and (
            extra["type"] in ("NFKC", "NFKD", "Strip") or "Regex" in extra.get("pattern", {})
        )
        with pytest.raises(VocabFileError, match="writes spaces") if is_refused else nullcontext():
            check(base | {"normalizer": sequence(*steps, of="normalizers")}, tmp_path)
    decoder = sequence({"type": "ByteFallback"}, metaspace("always"), of="decoders")
    split_at_spaces = {"pre_tokenizer": metaspace("always"), "decoder": decoder}
    check(base | {"normalizer": extra} | split_at_spaces, tmp_path)
    check(of_bytes | {"normalizer": extra, "pre_tokenizer": GPT2}, tmp_path)


MODELS: list[Json] = [
    {},
    {"fuse_unk": False},
    {"unk_token": None},
    {"ignore_merges": True},
    {"byte_fallback": False},
    {"byte_fallback": False, "fuse_unk": False},
]


@pytest.mark.parametrize("byte_fallback", [False, True])
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_models_of_characters(model: Json, byte_fallback: bool, tmp_path: Path) -> None:
    base = of_characters(byte_fallback)
    base["model"] |= model
    # In an order that only merging by rank gives, and a token that no merge makes.
    base["model"]["vocab"]["▁countdown"] = len(base["model"]["vocab"])
    check(base, tmp_path)
    check(
        base | {"normalizer": REPLACE, "pre_tokenizer": split({"String": " "}, "MergedWithPrevious")},
        tmp_path,
    )
    for scheme in ("first", "always", "never"):
        for splits in (False, True):
            space = metaspace(scheme, splits)
            decoder = sequence({"type": "ByteFallback"}, space, of="decoders")
            check(base | {"normalizer": None, "pre_tokenizer": space, "decoder": decoder}, tmp_path)


TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "<s>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "</s>", "type_id": 0}},
    ],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {
        text: {"id": text, "ids": [id], "tokens": [text]} for id, text in ((1, "<s>"), (2, "</s>"))
    },
}
PAIR: Json = {"sep": ["</s>", 2], "cls": ["<s>", 1]}
POST_PROCESSORS: list[Json] = [
    TEMPLATE,
    {"type": "RobertaProcessing", **PAIR, "trim_offsets": True, "add_prefix_space": False},
    {"type": "BertProcessing", **PAIR},
    BYTE_LEVEL,
    sequence(BYTE_LEVEL, TEMPLATE, of="processors"),
]


@pytest.mark.parametrize("post_processor", POST_PROCESSORS, ids=lambda step: step["type"])
def test_post_processors(post_processor: Json, tmp_path: Path) -> None:
    check(of_characters(True) | {"post_processor": post_processor}, tmp_path, texts=TEXTS[:100])


SPACES: Json = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
BYTES, FUSE = {"type": "ByteFallback"}, {"type": "Fuse"}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}


@pytest.mark.parametrize("byte_fallback", [False, True])
def test_decoders(byte_fallback: bool, tmp_path: Path) -> None:
    base = of_characters(byte_fallback)
    for steps in (
        (SPACES, BYTES),
        (BYTES, SPACES),
        (SPACES, BYTES, FUSE, STRIP),
        (BYTES, FUSE, SPACES, STRIP),
        *((BYTES, metaspace(scheme)) for scheme in ("first", "always", "never")),
    ):
        check(base | {"decoder": sequence(*steps, of="decoders")}, tmp_path)
    refused: list[tuple[Json, ...]] = [
        (),
        (BYTES, FUSE),
        (SPACES, BYTES, STRIP, FUSE),
        (SPACES, BYTES, FUSE, STRIP | {"start": 2}),
        (SPACES, BYTES, FUSE, STRIP | {"start": 0, "stop": 1}),
        ({"type": "WordPiece", "prefix": "##", "cleanup": True},),
    ]
    if byte_fallback:
        refused += [(SPACES, FUSE), (SPACES, FUSE, BYTES)]
    for steps in refused:
        with pytest.raises(VocabFileError, match="decoder"):
            check(base | {"decoder": sequence(*steps, of="decoders")}, tmp_path)


def refusals() -> dict[str, Callable[[Json], None]]:
    def put(key: str, value: Any) -> Callable[[Json], None]:
        return lambda content: content.update({key: value})

    removing = [{"type": kind} for kind in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer")]
    removing += [{"type": "CharDelimiterSplit", "delimiter": "a"}, split(r"\s+", "Removed")]
    others = [{"type": "UnicodeScripts"}, {"type": "FixedLength", "length": 3}]
    prefix = BYTE_LEVEL | {"add_prefix_space": True}
    twice = [[BYTE_LEVEL, GPT2], [split("a"), prefix], [metaspace("always"), BYTE_LEVEL]]
    return {
        **{str(step): put("pre_tokenizer", sequence(step, BYTE_LEVEL)) for step in [*removing, *others]},
        **{str(steps): put("pre_tokenizer", sequence(*steps)) for steps in twice},
        "replace nothing": put("normalizer", {"type": "Replace", "pattern": {"String": ""}, "content": "b"}),
        "no ByteLevel but a decoder": put("pre_tokenizer", None),
        "a step behind the normalizer": put(
            "normalizer", sequence({"type": "ByteLevel"}, {"type": "NFC"}, of="normalizers")
        ),
    }


@pytest.mark.fault("V2")
@pytest.mark.parametrize("name", refusals())
def test_what_is_refused(name: str, of_bytes: Json, tmp_path: Path) -> None:
    content = copy.deepcopy(of_bytes)
    refusals()[name](content)
    with pytest.raises(VocabFileError, match="not supported"):
        check(content, tmp_path)


@pytest.mark.parametrize("kind", [step["type"] for step in SIMPLE])
def test_each_code_point_is_normalized_alike(kind: str, of_bytes: Json, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(of_bytes | {"normalizer": {"type": kind}}), encoding="utf-8")
    ours, theirs = Tokenizer.load(path), getattr(normalizers, kind)()
    points = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(points), 256):
        block = points[start : start + 256]
        # Kept apart, before a mark, and behind one.
        text = "\n".join(f"{c}\n{c}\u0301x{c}\u0323\u0301a{c}" for c in block)
        assert ours.normalize(text) == theirs.normalize_str(text)
