"""Vocabularies as other libraries make them: ids and decoded texts are those of the library they come from.

Real files lie outside the project; here each of their structures is made small: tokens that merges never
make, missing bytes, added tokens of every kind, normalizers, SentencePiece's spaces and bytes, ranks of equal
score.
"""

from __future__ import annotations

import base64
import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiktoken
import tokenizers as hf
from conftest import shared_file
from strategies import adversarial_texts
from tinybpe import StreamDecoder, Tokenizer, VocabError, VocabFileError
from tinybpe.patterns import PATTERNS
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers

COUNT = 20_000
SPACE = "▁"

Make = Callable[[list[str]], hf.Tokenizer]


def added() -> list[AddedToken]:
    """Tokens with every flag, of which some overlap and some are ordinary words."""
    flags = ("lstrip", "rstrip", "single_word")
    one = [AddedToken(f"<{flag}>", special=False, normalized=False, **{flag: True}) for flag in flags]
    late = [AddedToken(f"[{flag}]", special=True, normalized=True, **{flag: True}) for flag in flags]
    plain = [AddedToken(text, special=False, normalized=True) for text in ("  ", "   ", "Å", "the light")]
    return [*one, *late, *plain, AddedToken("<|end|>", special=True), AddedToken("<|end|>x", special=True)]


def byte_level(texts: list[str], pattern: str, normalizer: Any = None, **model: Any) -> hf.Tokenizer:
    tokenizer = hf.Tokenizer(models.BPE(**model))
    splits = [pre_tokenizers.Split(hf.Regex(regex), "isolated") for regex in PATTERNS[pattern]]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def changed(tokenizer: hf.Tokenizer, change: Callable[[dict[str, Any]], None]) -> hf.Tokenizer:
    content = json.loads(tokenizer.to_str())
    change(content)
    return hf.Tokenizer.from_str(json.dumps(content))


def like_llama3(texts: list[str]) -> hf.Tokenizer:
    """Whole pieces first, of which some no merge makes; a begin of text on request."""

    def unreachable(content: dict[str, Any]) -> None:
        vocab = content["model"]["vocab"]
        for token in (".:.:", "lighthousekeeper", "Ġlighthousekeeper", "äººåĬĽ", "qzqz"):
            vocab[token] = len(vocab)
        content["model"]["ignore_merges"] = True

    tokenizer = changed(byte_level(texts, "cl100k"), unreachable)
    tokenizer.add_special_tokens(["<|begin|>", "<|end|>"])
    begin = tokenizer.token_to_id("<|begin|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", begin)]
    )
    return tokenizer


def like_deepseek(texts: list[str]) -> hf.Tokenizer:
    tokenizer = byte_level(texts, "deepseek", normalizers.Sequence([]))
    tokenizer.add_tokens(added())
    return tokenizer


def like_qwen(texts: list[str]) -> hf.Tokenizer:
    tokenizer = byte_level(texts, "qwen3_5", normalizers.NFC())
    tokenizer.add_tokens(added())
    return tokenizer


def like_smollm(texts: list[str]) -> hf.Tokenizer:
    """Bytes without a token, and one that stands for them."""

    def lack(content: dict[str, Any]) -> None:
        vocab, merges = content["model"]["vocab"], content["model"]["merges"]
        lost = [c for c in pre_tokenizers.ByteLevel.alphabet() if c in "ÀÁõö÷øùúûüýþÿ"]
        kept = {token: i for token, i in vocab.items() if not any(c in token for c in lost)}
        content["model"]["vocab"] = {token: i for i, token in enumerate(sorted(kept, key=kept.__getitem__))}
        is_kept = lambda pair: all(part in kept for part in (*pair, "".join(pair)))  # noqa: E731
        content["model"]["merges"] = [pair for pair in merges if is_kept(pair)]
        content["model"]["unk_token"] = "!"

    return changed(byte_level(texts, "starcoder"), lack)


def like_roberta(texts: list[str]) -> hf.Tokenizer:
    tokenizer = byte_level(texts, "gpt2", normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.add_tokens(added())
    return tokenizer


def characters(texts: list[str], normalizer: Any, pre_tokenizer: Any, decoder: Any) -> hf.Tokenizer:
    """A character-level vocabulary with the bytes to fall back on."""
    tokenizer = hf.Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words = [word for text in texts for word in text.split()]
    trainer = trainers.BpeTrainer(
        vocab_size=1200, special_tokens=special, limit_alphabet=60, show_progress=False, max_token_length=12
    )
    tokenizer.train_from_iterator(words if pre_tokenizer is None else texts, trainer)

    def not_added(content: dict[str, Any]) -> None:
        content["added_tokens"] = content["added_tokens"][:3]

    return changed(tokenizer, not_added)


FALLBACK = (decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse())


def like_llama2(texts: list[str]) -> hf.Tokenizer:
    steps = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer = characters(texts, steps, None, decoders.Sequence([*FALLBACK, decoders.Strip(" ", 1, 0)]))
    tokenizer.add_tokens(
        [AddedToken("<|end|>", special=True, normalized=False), AddedToken("▁▁", normalized=True)]
    )
    return tokenizer


def like_mistral(texts: list[str]) -> hf.Tokenizer:
    split = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    return characters(texts, None, split, decoders.Sequence([*FALLBACK, decoders.Strip(" ", 1, 0)]))


def like_gemma(texts: list[str]) -> hf.Tokenizer:
    split = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer = characters(texts, normalizers.Replace(" ", SPACE), split, decoders.Sequence(list(FALLBACK)))
    tokenizer.add_tokens([AddedToken("\n\n", special=False), AddedToken("▁▁", special=False)])
    return tokenizer


MADE: dict[str, Make] = {
    make.__name__: make
    for make in (
        like_llama3,
        like_deepseek,
        like_qwen,
        like_smollm,
        like_roberta,
        like_llama2,
        like_mistral,
        like_gemma,
    )
}


def strings(tokenizer: hf.Tokenizer, seed: str) -> list[str]:
    """Adversarial strings, a quarter of them with added tokens within."""
    rng = random.Random(seed)
    contents = [token.content for token in tokenizer.get_added_tokens_decoder().values()][:60]
    texts = adversarial_texts(COUNT)
    for i in range(0, COUNT, 4):
        at = rng.randrange(len(texts[i]) + 1)
        texts[i] = texts[i][:at] + rng.choice(["", " ", "x"]) + rng.choice(contents or [""]) + texts[i][at:]
    return texts


def compare(theirs: hf.Tokenizer, ours: Tokenizer, texts: list[str]) -> None:
    """Ids with added tokens and without special ones, and what they decode to."""
    expected = [encoding.ids for encoding in theirs.encode_batch(texts, add_special_tokens=False)]
    ids = ours.encode_batch(texts, allowed_special="all")
    for text, one, other in zip(texts, ids, expected, strict=True):
        assert one == other, text
    decoded = theirs.decode_batch(expected, skip_special_tokens=False)
    for text, one, other in zip(texts, ours.decode_batch(ids), decoded, strict=True):
        # Bytes that are no UTF-8 are shown as one character for each of them, or for all.
        assert one == other or "\ufffd" in other, text
    theirs.encode_special_tokens = True
    expected = [encoding.ids for encoding in theirs.encode_batch(texts, add_special_tokens=False)]
    theirs.encode_special_tokens = False
    assert ours.encode_ordinary_batch(texts) == expected


def every_call(ours: Tokenizer, texts: list[str], folder: Path) -> None:
    """One by one, in streams, in files, with offsets: the same ids."""
    (folder / "x.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    info = ours.encode_file(
        folder / "x.jsonl", folder / "x.bin", field="text", end_of_document="", overwrite=True
    )
    ordinary = [i for text in texts for i in ours.encode_ordinary(text)]
    assert info.ids().tolist() == ordinary
    for text in texts:
        ids = ours.encode(text, allowed_special="all")
        chunks = [text[i : i + 3] for i in range(0, len(text), 3)]
        assert list(ours.encode_iterable(chunks)) == ids
        (folder / "x.txt").write_bytes(text.encode())
        info = ours.encode_file(folder / "x.txt", folder / "y.bin", end_of_document="", overwrite=True)
        assert info.ids().tolist() == ids
        located, spans = ours.encode_with_offsets(text, allowed_special="all")
        assert located == ids
        assert all(0 <= start <= end <= len(text) for start, end in spans)
        decoder = StreamDecoder(ours)
        assert "".join(map(decoder.push, ids)) + decoder.finish() == ours.decode(ids)


@pytest.mark.parametrize("name", MADE)
def test_made_vocabularies(name: str, stories: str, tmp_path: Path) -> None:
    theirs = MADE[name](stories.splitlines())
    path = tmp_path / "tokenizer.json"
    theirs.save(str(path))
    ours = Tokenizer.load(path)
    texts = strings(theirs, name)
    compare(theirs, ours, texts)
    every_call(ours, texts[:60], tmp_path)
    before = theirs.encode("the light").ids
    assert ours.encode("the light", add_special_tokens=True) == before
    # What is saved is the same to both.
    ours.save(tmp_path / "saved")
    again = Tokenizer.load(tmp_path / "saved")
    assert again == ours == pickle.loads(pickle.dumps(ours))
    compare(hf.Tokenizer.from_file(str(tmp_path / "saved/tokenizer.json")), again, texts[:500])


@pytest.mark.parametrize("name", ["gpt2", "dolma2", "gpt_neox"])
def test_real_vocabularies(name: str) -> None:
    path = shared_file(f"vocabs/{name}.tokenizer.json")
    theirs = hf.Tokenizer.from_file(str(path))
    compare(theirs, Tokenizer.load(path), strings(theirs, name))


def test_ranks_without_merges(tmp_path: Path, stories: str) -> None:
    """tiktoken's ranks under any name, with tokens that no two lower ranks make."""
    trained = Tokenizer.train_from_iterator([stories], 700, pattern="cl100k")
    tokens = [trained.token_bytes(i) for i in range(700)]
    whole = [b".:.:", "人力资源".encode(), b"qzqz", b"zq", b" lighthousekeepers"]
    ranks = {token: rank for rank, token in enumerate([*tokens, *(t for t in whole if t not in tokens)])}
    path = tmp_path / "tokenizer.model"
    path.write_text("".join(f"{base64.b64encode(t).decode()} {rank}\n" for t, rank in ranks.items()))
    pattern, end = PATTERNS["cl100k"][0], len(ranks)
    theirs = tiktoken.Encoding("x", pat_str=pattern, mergeable_ranks=ranks, special_tokens={"<|end|>": end})
    ours = Tokenizer.load(path, pattern="cl100k", special_tokens=["<|end|>"])
    texts = adversarial_texts(COUNT)
    for i in range(0, COUNT, 5):
        texts[i] += random.Random(i).choice(whole).decode() * (1 + i % 3)
    assert ours.encode_ordinary_batch(texts) == theirs.encode_ordinary_batch(texts)
    ours.save(tmp_path / "saved")
    assert Tokenizer.load(tmp_path / "saved") == ours
    with pytest.raises(VocabFileError, match=r"family.*llama3"):
        Tokenizer.load(path)
    with pytest.raises(VocabFileError, match=r"llama9.*llama3"):
        Tokenizer.load(path, family="llama9")
    # An empty token, which Whisper has, decodes to nothing.
    path.write_text(path.read_text() + f" {end}\n")
    assert Tokenizer.load(path, pattern="cl100k").token_bytes(end) == b""


@pytest.mark.parametrize("byte_fallback", [True, False])
@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece(byte_fallback: bool, prefix: bool, stories: str, tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    (tmp_path / "text").write_text(stories)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"),
        model_prefix=str(tmp_path / "x"),
        model_type="bpe",
        vocab_size=900 if byte_fallback else 600,
        byte_fallback=byte_fallback,
        add_dummy_prefix=prefix,
        normalization_rule_name="identity",
        remove_extra_whitespaces=not prefix,
        user_defined_symbols=["<|x|>", "\n", *(["▁▁▁"] if prefix else [])],
        character_coverage=0.98,
        minloglevel=2,
    )
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "x.model"))
    ours = Tokenizer.load(tmp_path / "x.model")
    spaces = [" " * n + "a" + " " * (n % 7) + "b" for n in range(40)]
    texts = [*adversarial_texts(COUNT), *spaces, "a▁b <|x|>  <|x|> \n\n x"]
    # A zero ends a text there.
    texts = [text.replace("\0", "") for text in texts]
    ids = theirs.encode(texts)
    for text, one, other in zip(texts, ours.encode_ordinary_batch(texts), ids, strict=True):
        assert one == other, text
    for text, one, other in zip(texts, ours.decode_batch(ids), theirs.decode(ids), strict=True):
        assert one == other or "\ufffd" in other, text
    every_call(ours, texts[:40], tmp_path)
    ours.save(tmp_path / "saved")
    assert Tokenizer.load(tmp_path / "saved") == ours == pickle.loads(pickle.dumps(ours))


def test_a_character_without_a_token_is_an_error(tmp_path: Path, stories: str) -> None:
    theirs = changed(like_smollm(stories.splitlines()), lambda c: c["model"].update(unk_token=None))
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer.load(tmp_path / "tokenizer.json")
    assert ours.encode("the") == theirs.encode("the").ids
    with pytest.raises(VocabError, match=r"the text has `\\xff` at byte 1"):
        ours.encode(b"a\xff")
