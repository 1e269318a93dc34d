"""Wrong command lines: each ends with its exit code and a message that helps, and changes no file.

A message names the value that is wrong and what to do about it; the fragments in the table are these two. The
exit code is 2 where a flag or its value is wrong, 1 where a file is.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import GOLDEN
from tinybpe import Tokenizer
from tinybpe.cli import main as tinybpe

SPECIAL = "<|endoftext|>"
TINY = (
    "--vocab-size 400 --context-length 8 --d-model 8 --num-layers 1 --num-heads 1 --d-ff 8 --batch-size 2 "
    "--max-iters 2 --eval-every 2 --eval-iters 1 --log-every 1 --sample-tokens 0 --device cpu --threads 1"
)
TRAIN = "tinybpe train text.md --vocab-size 300 --out new"
ENCODE = "tinybpe encode --tok tok text.md --output new.bin"
LM_TRAIN = f"lm.train --train-bin text.bin --valid-bin text.bin {TINY} --ckpt-path new"
SWEEP = f"--train-bin text.bin --valid-bin text.bin {TINY.partition(' --batch-size')[0]} --out new"

# (command line, exit code, fragments of the message)
MISTAKES: list[tuple[str, int, tuple[str, ...]]] = [
    # --- tinybpe: the command itself
    ("tinybpe", 2, ("COMMAND", "usage: tinybpe")),
    ("tinybpe trian text.md", 2, ("trian", "did you mean `train`")),
    ("tinybpe train text.md --vocab-sise 300 --out new", 2, ("required", "--vocab-size")),
    (f"{ENCODE} --shardtokens 9", 2, ("--shardtokens", "--shard-tokens")),
    ("tinybpe encode --tokenizer tok text.md --output new.bin", 2, ("--tok",)),
    # --- tinybpe train
    ("tinybpe train --vocab-size 300 --out new", 2, ("no input", "--input")),
    ("tinybpe train text.md --out new", 2, ("--vocab-size",)),
    ("tinybpe train text.md --vocab-size many --out new", 2, ("many", "10000")),
    ("tinybpe train text.md --vocab-size 200 --out new", 2, ("--vocab-size 200", "256")),
    ("tinybpe train text.md --vocab-size -5 --out new", 2, ("--vocab-size -5", "256")),
    ("tinybpe train text.md --vocab-size 99999999999 --out new", 2, ("--vocab-size 99999999999", "limit")),
    (f"{TRAIN} --threads 0", 2, ("--threads 0", "at least 1")),
    (f"{TRAIN} --threads two", 2, ("--threads", "two")),
    (f"{TRAIN} --threads 99999", 2, ("--threads 99999", "at most 1024")),
    (f"{TRAIN} --max-memory lots", 2, ("--max-memory", "lots", "2GB")),
    (f"{TRAIN} --max-memory 1kB", 1, ("--max-memory", "1000")),
    (f"{TRAIN} --pattern gpt9", 2, ("gpt9", "gpt2", "cl100k", "o200k")),
    (f"{TRAIN} --pattern '('", 2, ("(", "pattern")),
    (f"{TRAIN} --tie-break random", 2, ("random", "huggingface")),
    (f"{TRAIN} --special ''", 2, ("special token", "empty")),
    (f"{TRAIN} --special a --special a", 2, ("special token", "twice")),
    ("tinybpe train nothere.txt --vocab-size 300 --out new", 1, ("nothere.txt", "No such file")),
    ("tinybpe train notes --vocab-size 300 --out new", 1, ("notes", "directory")),
    ("tinybpe train text.md --vocab-size 300 --out notes", 1, ("notes", "other files", "--out")),
    ("tinybpe train text.md --vocab-size 300 --out text.md", 1, ("text.md", "Not a directory")),
    ("tinybpe train text.md --vocab-size 300 --out tok", 1, ("tok", "holds", "--overwrite")),
    ("tinybpe train rows.jsonl --field body --vocab-size 300 --out new", 1, ("rows.jsonl", "body", "text")),
    ("tinybpe train cut.jsonl --field text --vocab-size 300 --out new", 1, ("cut.jsonl, line 2", "JSON")),
    ("tinybpe train rows.parquet --vocab-size 300 --out new", 1, ("rows.parquet", "--column")),
    ("tinybpe train rows.parquet --column body --vocab-size 300 --out new", 1, ("body", "text")),
    ("tinybpe train text.md --column text --vocab-size 300 --out new", 1, ("text.md", "Parquet")),
    (f"{TRAIN} --field text --column text", 2, ("--field", "--column")),
    ("tinybpe train fake.gz --vocab-size 300 --out new", 1, ("fake.gz", "gzip")),
    ("tinybpe train text.bz2 --vocab-size 300 --out new", 1, ("text.bz2", ".gz", "decompress")),
    # --- tinybpe encode
    ("tinybpe encode --tok tok --input text.md --output text.md", 1, ("text.md", "is also read")),
    ("tinybpe encode --tok tok text.md notes/diary.txt --output notes/diary.txt", 1, ("is also read",)),
    ("tinybpe encode --tok tok --input text.md --output other.bin", 1, ("other.bin", "--overwrite")),
    ("tinybpe encode --tok nothere text.md --output new.bin", 1, ("nothere", "No such file")),
    ("tinybpe encode --tok notes text.md --output new.bin", 1, ("notes", "tokenizer")),
    ("tinybpe encode --tok text.md text.md --output new.bin", 1, ("text.md", "so it is no tokenizer")),
    ("tinybpe encode --tok tok text.md --output nothere/new.bin", 1, ("nothere", "does not exist")),
    ("tinybpe encode --tok tok text.md --output notes", 1, ("notes", "directory")),
    ("tinybpe encode --tok tok text.md --output -", 2, ("-", "standard output")),
    ("tinybpe encode --tok tok text.md --output new.uint16.bin --dtype uint32", 1, ("uint16", "uint32")),
    (f"{ENCODE} --format tfrecord", 2, ("tfrecord", "llm.c")),
    (f"{ENCODE} --dtype int8", 2, ("int8", "uint16")),
    (f"{ENCODE} --shards 0", 2, ("--shards 0", "at least 1")),
    (f"{ENCODE} --shards 2 --shard-tokens 9", 2, ("--shards", "--shard-tokens")),
    (f"{ENCODE} --end-of-document '<|eot|>'", 2, ("<|eot|>", SPECIAL)),
    # --- tinybpe decode, info, export
    ("tinybpe decode --tok tok nothere.bin", 1, ("nothere.bin", "No such file")),
    ("tinybpe decode --tok other text.bin --output new.md", 1, ("text.bin", "another tokenizer", "--tok")),
    ("tinybpe decode --tok tok bare.bin --output new.md", 1, ("bare.bin", "--dtype")),
    ("tinybpe decode --tok tok odd.uint16.bin --output new.md", 1, ("odd.uint16.bin", "3 bytes")),
    ("tinybpe decode --tok tok high.uint16.bin --output new.md", 1, ("65535", "400")),
    ("tinybpe decode --tok tok short.bin --output new.md", 1, ("short.bin", "tokens")),
    ("tinybpe decode --tok tok torn.bin --output new.md", 1, ("torn.bin.json",)),
    ("tinybpe decode --tok tok text.bin --output text.bin", 1, ("text.bin", "is also read")),
    ("tinybpe decode --tok tok text.bin --output notes/diary.txt", 1, ("diary.txt", "--overwrite")),
    ("tinybpe info --tok nothere", 1, ("nothere", "No such file")),
    ("tinybpe info --tok torn", 1, ("torn",)),
    ("tinybpe export --tok tok --to gguf --out new", 2, ("gguf", "tiktoken")),
    ("tinybpe export --tok tok --to tiktoken --out notes", 1, ("notes", "directory")),
    ("tinybpe export --tok tok --to hf --out notes", 1, ("notes", "other files")),
    # --- lm.train
    (f"{LM_TRAIN} --learning-rate 1e-3", 2, ("--learning-rate", "`--lr`")),
    (f"{LM_TRAIN} --lr fast", 2, ("--lr", "fast")),
    ("lm.train --valid-bin text.bin --ckpt-path new", 2, ("--train-bin",)),
    (f"{LM_TRAIN} --lr 0", 2, ("--lr",)),
    (f"{LM_TRAIN} --lr -1", 2, ("--lr", "-1", "at least 0")),
    (f"{LM_TRAIN} --max-iters 0", 2, ("--max-iters", "at least 1")),
    (f"{LM_TRAIN} --num-heads 3", 2, ("--d-model", "--num-heads", "3")),
    (f"{LM_TRAIN} --batch-size 4 --accumulate 3", 2, ("--batch-size", "4", "--accumulate", "3")),
    (f"{LM_TRAIN} --optimizer sgd", 2, ("sgd", "adamw", "muon")),
    (f"{LM_TRAIN} --preset defualt", 2, ("defualt", "did you mean `default`")),
    (f"{LM_TRAIN} --config nothere.toml", 1, ("nothere.toml", "No such file")),
    (f"{LM_TRAIN} --config wrong.toml", 2, ("wrong.toml", "d_modell", "d_model")),
    (f"{LM_TRAIN} --config torn.toml", 2, ("torn.toml", "line 1")),
    (f"{LM_TRAIN} --device tpu", 2, ("tpu", "cuda")),
    (f"{LM_TRAIN} --train-bin nothere.bin", 1, ("nothere.bin", "no such token file")),
    (f"{LM_TRAIN} --train-bin notes", 1, ("notes", "folder")),
    (f"{LM_TRAIN} --train-bin text.md", 1, ("text.md", "--dtype")),
    (f"{LM_TRAIN} --train-bin odd.uint16.bin", 1, ("odd.uint16.bin", "3 bytes")),
    (f"{LM_TRAIN} --train-bin short.bin", 1, ("short.bin", "tokens")),
    (f"{LM_TRAIN} --vocab-size 100", 1, ("text.bin", "100", "400")),
    (f"{LM_TRAIN} --valid-bin other.bin", 1, ("other.bin", "tokenizer")),
    (f"{LM_TRAIN} --context-length 100000", 1, ("text.bin", "--context-length")),
    (f"{LM_TRAIN} --ckpt-path run", 1, ("run", "--resume", "--overwrite")),
    (f"{LM_TRAIN} --resume", 1, ("new", "no checkpoint")),
    (f"{LM_TRAIN} --tokenizer other", 1, ("other", "another tokenizer")),
    # --- lm.evaluate, lm.generate
    ("lm.evaluate --bin text.bin", 2, ("--ckpt",)),
    ("lm.evaluate --ckpt nothere --bin text.bin", 1, ("nothere",)),
    ("lm.evaluate --ckpt notes --bin text.bin", 1, ("notes", "no checkpoint")),
    ("lm.evaluate --ckpt damaged --bin text.bin", 1, ("model.safetensors", "damaged")),
    ("lm.evaluate --ckpt stateless --bin text.bin", 1, ("state.json", "damaged")),
    ("lm.evaluate --ckpt run --bin nothere.bin", 1, ("nothere.bin", "no such token file")),
    ("lm.evaluate --ckpt run --bin other.bin", 1, ("other.bin", "another tokenizer")),
    ("lm.evaluate --ckpt run --bin one.bin", 1, ("one.bin", "1 token")),
    ("lm.evaluate --ckpt run --bin text.bin --batch-size 0", 2, ("--batch-size", "at least 1")),
    ("lm.generate --ckpt run --temprature 1", 2, ("--temprature", "--temperature")),
    ("lm.generate --ckpt run --temperature -1", 2, ("--temperature", "-1")),
    ("lm.generate --ckpt run --top-p 2", 2, ("--top-p", "at most 1")),
    ("lm.generate --ckpt run --max-tokens 0", 2, ("--max-tokens", "at least 1")),
    ("lm.generate --ckpt run --tokenizer other", 1, ("another tokenizer",)),
    ("lm.generate --ckpt nothere", 1, ("nothere",)),
    # --- the other commands of lm
    ("lm --minutes 0", 2, ("--minutes", "0", "more than 0")),
    ("lm --minute 1 --device tpu", 2, ("tpu", "cpu")),
    ("lm.compare nothere run", 1, ("nothere",)),
    ("lm.compare notes", 1, ("notes", "metrics.jsonl")),
    ("lm.compare run --out run/metrics.jsonl", 1, ("run/metrics.jsonl",)),
    ("lm.plot nothere", 1, ("nothere",)),
    ("lm.report nothere", 1, ("nothere",)),
    ("lm.sweep --batches 2 --tokens 64 --train-bin text.bin --valid-bin text.bin", 2, ("--rates",)),
    (f"lm.sweep --rates 1e-3 --batches 2 --tokens 1 {SWEEP}", 2, ("--tokens",)),
    (f"lm.sweep --rates 0 --batches 2 --tokens 1e4 {SWEEP}", 2, ("--lr",)),
    (f"lm.sweep --rates 1e-3 --batches 2 --tokens 1e4 --lr 1 {SWEEP}", 2, ("--lr", "--rates")),
    ("lm.export --out new", 2, ("--ckpt", "--from-llama")),
    ("lm.export --ckpt nothere --out new", 1, ("nothere",)),
    ("lm.export --ckpt run --out tok", 1, ("tok", "--overwrite")),
    ("lm.export --ckpt run --out run", 1, ("run",)),
    ("lm.export --from-llama notes --out new", 1, ("notes", "config.json")),
    ("lm.download shakespeare", 2, ("shakespeare", "tinystories")),
]  # fmt: skip


def call(command: str) -> int | str | None:
    """Run a command line in this process and return its exit code."""
    program, *arguments = shlex.split(command)
    module = "lm.__main__" if program == "lm" else program
    main = tinybpe if program == "tinybpe" else importlib.import_module(module).main
    try:
        return int(main(arguments))
    except SystemExit as stopped:
        return stopped.code


def contents(folder: Path) -> dict[str, str]:
    """Return what is in a folder: each path with the digest of its file."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*")}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for name, path in files.items()
    }


def copy_run(name: str, damaged: str, content: bytes) -> None:
    """Make a run whose checkpoints have another content in one file."""
    shutil.copytree("run", name)
    for path in Path(name).glob(f"checkpoints/*/{damaged}"):
        path.write_bytes(content)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts, tokenizers, token files and runs, sound and damaged ones."""
    folder = tmp_path_factory.mktemp("pristine")
    with contextlib.chdir(folder):
        shutil.copy(GOLDEN / "stories.md", "text.md")
        Path("notes").mkdir()
        Path("notes/diary.txt").write_text("Monday. Nothing happened.\n")
        Path("rows.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
        Path("cut.jsonl").write_text('{"text": "one"}\n{"text": "tw')
        Path("fake.gz").write_text("no gzip\n")
        Path("text.bz2").write_bytes(b"whatever")
        Path("wrong.toml").write_text("d_modell = 8\n")
        Path("torn.toml").write_text("d_model = \n")
        write_parquet(Path("rows.parquet"))
        for name, size, output in (("tok", 400, "text.bin"), ("other", 300, "other.bin")):
            tokenizer = Tokenizer.train("text.md", size, special_tokens=[SPECIAL])
            tokenizer.save(name)
            tokenizer.encode_file("text.md", output)
        shutil.copytree("tok", "torn")
        Path("torn/tokenizer.json").write_text('{"model": ')
        ids, told = Path("text.bin").read_bytes(), json.loads(Path("text.bin.json").read_text())
        Path("bare.bin").write_bytes(ids)
        Path("odd.uint16.bin").write_bytes(b"abc")
        np.array([65535], dtype="<u2").tofile("high.uint16.bin")
        with_sidecar("short.bin", ids[:40], json.dumps(told))
        with_sidecar("torn.bin", ids, "{")
        with_sidecar("one.bin", ids[:2], json.dumps({**told, "num_tokens": 1, "num_bytes": 1}))
        assert call(LM_TRAIN.replace("--ckpt-path new", "--ckpt-path run")) == 0
        copy_run("damaged", "model.safetensors", b"\0" * 64)
        copy_run("stateless", "state.json", b"{")
    return folder


def with_sidecar(name: str, ids: bytes, sidecar: str) -> None:
    """Write a token file and what is beside it."""
    Path(name).write_bytes(ids)
    Path(f"{name}.json").write_text(sidecar)


def write_parquet(path: Path) -> None:
    """Write a table with a column of texts and one of numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["one", "two"], "number": [1, 2]}), path)


@pytest.fixture(scope="module")
def desk(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the mistakes are made."""
    return Path(shutil.copytree(pristine, tmp_path_factory.mktemp("desk") / "files"))


@pytest.mark.parametrize(
    ("command", "code", "fragments"),
    [pytest.param(*mistake, id=mistake[0].replace(TINY, "...")) for mistake in MISTAKES],
)
def test_mistake(
    pristine: Path,
    desk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    code: int,
    fragments: tuple[str, ...],
) -> None:
    before = contents(desk)
    monkeypatch.chdir(desk)
    returned = call(command)
    message = capsys.readouterr().err
    after = contents(desk)
    if after != before:  # so that the next mistake finds what it needs
        shutil.rmtree(desk)
        shutil.copytree(pristine, desk)
    assert returned == code, message
    assert [fragment for fragment in fragments if fragment not in message] == [], message
    assert "Traceback" not in message
    assert after == before
