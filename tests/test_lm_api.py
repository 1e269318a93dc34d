"""`lm.load`: text for several prompts at once, stop strings, losses and logits in Python."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import lm
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lm import checkpoint as ckpt
from lm import evaluate, generate, sampling, stories, train
from lm.api import LanguageModel
from lm.cli import escape
from lm.config import ConfigError, UserError
from lm.data import TokenFileError
from lm.plot import read_metrics
from lm.sampling import Sampling, generate_ids
from lm.text import TextStream, stop_strings
from lm_tools import ByteTokenizer, equal, tiny_config
from tinybpe import Tokenizer

PROMPTS = [
    "Once upon a time",
    "",
    "The",
    "Lily and Tom went to the park, and then they saw a very big dog there.",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with random enough weights that texts differ, and a context shorter than the texts."""
    folder = tmp_path_factory.mktemp("api")
    text = stories.write(folder / "t.txt", 20_000)
    tokenizer = Tokenizer.train([text], vocab_size=300, special_tokens=["<|endoftext|>"])
    tokenizer.encode_file([text], folder / "t.bin")
    tokenizer.save(folder / "tok")
    files = {"train_bin": str(folder / "t.bin"), "valid_bin": str(folder / "t.bin")}
    sizes = {"vocab_size": 300, "context_length": 16, "d_model": 32, "init_std": 0.3}
    return train.train(tiny_config(folder, **files, **sizes, lr=1e-4, sample_tokens=0))


@pytest.fixture(scope="module")
def model(run: Path) -> LanguageModel:
    return lm.load(run, device="cpu")


def test_import_is_instant_and_free_of_torch() -> None:
    program = (
        "import sys, lm; lm.load; print(sorted({'torch', 'numpy', 'tinybpe', 'pathlib'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(lm.__file__).parents[1],
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


@pytest.mark.parametrize("kernel", ["auto", "explicit", "masked"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_several_prompts_give_each_the_text_it_gets_alone(
    model: LanguageModel, temperature: float, kernel: str
) -> None:
    """Prompts from none to longer than the context; texts that forget the older half of it several times."""
    for layer in model.model.layers:
        layer.attention.kernel = kernel  # type: ignore[union-attr]
    settings: dict[str, Any] = {"temperature": temperature, "top_p": 1.0, "seed": 5}
    together = model.generate(PROMPTS, 50, **settings)
    assert together == [model.generate(prompt, 50, **settings) for prompt in PROMPTS]
    assert len(set(together)) == len(PROMPTS)
    assert together == ["".join(model.stream(prompt, 50, **settings)) for prompt in PROMPTS]
    assert together == model.generate(PROMPTS[::-1], 50, **settings)[::-1]
    if temperature:
        assert model.generate("The", 50, temperature=1.0, seed=6) != model.generate(
            "The", 50, temperature=1.0
        )
    assert model.generate([], 9) == []
    for layer in model.model.layers:
        layer.attention.kernel = "auto"  # type: ignore[union-attr]
    assert model.generate(["The", "The"], 9)[0] == model.generate(("The",), 9)[0]


@pytest.mark.parametrize("lengths", [(1, 16, 5), (3, 3, 3), (16, 16), (1, 1), (40, 2, 16, 15)])
def test_ids_of_rows_of_any_length_equal_those_without_a_cache(
    model: LanguageModel, lengths: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    prompts = [rng.integers(0, 299, n).tolist() for n in lengths]
    for how in (Sampling(temperature=0.0), Sampling(seed=3)):
        found = list(generate_ids(model.model, prompts, 40, how))
        assert found == list(generate_ids(model.model, prompts, 40, how, use_cache=False))
        for row, prompt in enumerate(prompts):
            assert [ids[row] for ids in found] == [
                ids[0] for ids in generate_ids(model.model, [prompt], 40, how)
            ]
            # a row that ends early leaves the others as they are
            stop = found[7][row]
            end = next(i for i, ids in enumerate(found) if ids[row] == stop)
            cut = list(generate_ids(model.model, prompts, 40, how, stop_id=stop))
            assert [ids[row] for ids in cut] == [ids[row] for ids in found[:end]] + [None] * (len(cut) - end)


# -- stop strings --


def first_complete(text: str, stops: list[str]) -> str:
    """The definition: the text before the stop string that is complete first, of several the longest."""
    for end in range(len(text) + 1):
        if found := [s for s in stops if text[:end].endswith(s)]:
            return text[: end - max(map(len, found))]
    return text


@given(
    st.text("abé🙂", max_size=12),
    st.lists(st.text("abé🙂", min_size=1, max_size=4), max_size=3),
)
def test_stop_strings_are_found_across_tokens_and_characters(text: str, stops: list[str]) -> None:
    """A token is a byte here, so that characters and stop strings are cut wherever they can be."""
    tokenizer: Any = ByteTokenizer()
    stream = TextStream(tokenizer, stop_strings(stops))
    shown = ""
    for token_id in text.encode():
        shown += stream.add(token_id)
        assert first_complete(text, stops).startswith(shown)  # nothing is shown too early
        if stream.ended:
            break
    assert shown + stream.finish() == first_complete(text, stops)


def test_held_text_is_shown_where_it_becomes_no_stop_string(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer: Any = ByteTokenizer()
    stream = TextStream(tokenizer, ("The end",))
    assert [stream.add(token_id) for token_id in b"x The er"] == ["x", " ", "", "", "", "", "", "The er"]
    assert [stream.add(token_id) for token_id in b"The en"] == [""] * 6
    assert stream.add(256) == "The en"
    assert stream.ended


def test_stop_in_a_batch_ends_only_the_texts_that_hold_it(model: LanguageModel) -> None:
    texts = model.generate(PROMPTS, 40, temperature=0.0)
    stop = texts[0][10:13]
    expected = [text.split(stop)[0] for text in texts]
    assert model.generate(PROMPTS, 40, temperature=0.0, stop=stop) == expected
    assert model.generate(PROMPTS, 40, temperature=0.0, stop=[stop, "\0"]) == expected
    assert len(expected[0]) <= 10 < len(texts[0])


# -- the rest of the object --


def test_attributes_and_errors(model: LanguageModel, run: Path, tmp_path: Path) -> None:
    assert model.config.context_length == 16
    assert model.tokenizer.vocab_size == 300
    assert repr(model).startswith(f"LanguageModel('{ckpt.find(run)}', step 12, ")
    for options, problem in (
        ({"max_tokens": 0}, "`max_tokens` is 0"),
        ({"temperature": -1.0}, "`temperature` is -1.0"),
        ({"seed": 2**70}, "`seed`"),
        ({"stop": ""}, "stop string is ''"),
        ({"stop": ["a", 3]}, "stop string is 3"),
    ):
        with pytest.raises(ConfigError, match=problem):
            model.generate("x", **options)  # type: ignore[arg-type]
    with pytest.raises(ckpt.CheckpointError, match="no checkpoint"):
        lm.load(tmp_path)
    bare = tmp_path / "bare"
    shutil.copytree(run, bare)
    shutil.rmtree(bare / "tokenizer")
    other = lm.load(bare, device="cpu")
    with pytest.raises(UserError, match="cannot turn ids into text"):
        other.generate("x")
    assert other.logits([1, 2]).shape == (2, 300)
    assert lm.load(bare, device="cpu", tokenizer=run / "tokenizer").generate("The", 5) == model.generate(
        "The", 5
    )
    Tokenizer.train_from_iterator(["abc"], 257, special_tokens=["<|endoftext|>"]).save(tmp_path / "other")
    with pytest.raises(UserError, match="another tokenizer"):
        lm.load(run, tokenizer=tmp_path / "other")


def test_logits(model: LanguageModel) -> None:
    ids = model.tokenizer.encode_ordinary("Once upon a time")
    found = model.logits("Once upon a time")
    with torch.no_grad():
        equal(found, model.model(torch.tensor([ids]))[0])
    equal(model.logits(np.array(ids)), found)  # type: ignore[arg-type]
    for wrong in ("", [], [300], [-1], [1] * 17):
        with pytest.raises(ConfigError):
            model.logits(wrong)


def test_evaluate_is_what_the_command_prints(
    model: LanguageModel, run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tokens = run.parent / "t.bin"
    found = model.evaluate(tokens)
    assert found.bits_per_byte is not None
    assert evaluate.main(["--ckpt", str(run), "--bin", str(tokens), "--device", "cpu"]) == 0
    assert capsys.readouterr().out.strip() == str(found)
    last = read_metrics(run / "metrics.jsonl")[-1]
    assert found.loss == pytest.approx(last["whole_valid_loss"])
    sidecar = json.loads((run.parent / "t.bin.json").read_text())
    shutil.copy(tokens, tmp_path / "x.bin")
    (tmp_path / "x.bin.json").write_text(json.dumps(sidecar | {"tokenizer_sha256": "u" * 64}))
    with pytest.raises(UserError, match="another tokenizer"):
        model.evaluate(tmp_path / "x.bin")
    (tmp_path / "x.bin.json").write_text(json.dumps(sidecar | {"vocab_size": 999}))
    with pytest.raises(TokenFileError, match="vocabulary of 999"):
        model.evaluate(tmp_path / "x.bin")


def test_the_best_checkpoint(run: Path, tmp_path: Path) -> None:
    steps = {path.name: ckpt.read_state(path)["best"] for path in ckpt.steps(run)}
    assert lm.load(run, device="cpu", best=True).step == steps["step-00000012"][1]
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    newest = ckpt.find(copy) / "state.json"
    state = json.loads(newest.read_text())
    for best, problem in (([1.0, 6], ""), ([1.0, 5], "not there any more"), (None, "names no best")):
        state["best"] = best
        state["sha256"] = ckpt.state_digest(state)
        newest.write_text(json.dumps(state))
        if problem:
            with pytest.raises(ckpt.CheckpointError, match=problem):
                lm.load(copy, best=True)
        else:
            assert lm.load(copy, device="cpu", best=True).step == 6


def test_command_with_several_prompts_and_stops(
    model: LanguageModel, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--ckpt", str(run), "--max-tokens", "20", "--device", "cpu", "--temperature", "0"]
    assert generate.main([*command, "--prompt", "The", "Once", "--stop", "zzz"]) == 0
    out = capsys.readouterr().out
    told = [escape(model.generate(prompt, 20, temperature=0.0)) for prompt in ("The", "Once")]
    expected = [f"[1 of 2, seed 0]\nThe{told[0]}\n", f"[2 of 2, seed 0]\nOnce{told[1]}\n"]
    assert out == "\n".join(expected)
    text = model.generate("The", 20, temperature=0.0)
    stop = text[3:5]
    assert generate.main([*command, "--prompt", "The", "--stop", stop, "qqq"]) == 0
    assert capsys.readouterr().out == f"The{escape(text.split(stop)[0])}\n"


def test_sampling_draws_each_row_from_its_own_generator() -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    how = Sampling()

    def draw(rows: torch.Tensor) -> list[int]:
        return sampling.sample(rows, how, [torch.Generator().manual_seed(4) for _ in rows]).tolist()

    assert draw(logits) == [draw(row[None])[0] for row in logits]
