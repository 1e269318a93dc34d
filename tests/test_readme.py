"""What README.md and CONTRIBUTING.md tell people to type: parsers take each command, the example runs."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from tinybpe.cli import build_parser
from tinybpe.cli import main as tinybpe

COMMANDS_OF_LM = [
    path.stem for path in (ROOT / "python/lm").glob("*.py") if "\nif __name__ ==" in path.read_text()
]


class ParsedError(Exception):
    """Raised in place of doing what a command line asks for."""


def code_blocks(document: str, language: str) -> Iterator[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    yield from re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def shell_commands(document: str) -> Iterator[list[str]]:
    """Yield the words of each command, without `uv run` and its flags, up to a pipe or a comment."""
    inline = re.findall(r"`((?:uv run|tinybpe|python) [^`]+)`", (ROOT / document).read_text(encoding="utf-8"))
    for block in [*code_blocks(document, "sh"), *inline]:
        for line in block.replace("\\\n", " ").replace("\n\n", "\n").split("\n"):
            words = shlex.split(re.split(r" [|>] | && ", line)[0], comments=True)
            if words[:2] == ["uv", "run"]:
                words = words[2:]
                while words[:1] in (["--group"], ["--no-sync"]):
                    words = words[1 if words[0] == "--no-sync" else 2 :]
            if words:
                yield words


def program(words: list[str]) -> str:
    """Return the name of our program that a command line runs, or nothing."""
    if words[0] == "tinybpe":
        return "tinybpe"
    is_lm = words[:2] == ["python", "-m"] and words[2].split(".")[0] == "lm"
    return " ".join(words[:3]) if is_lm else ""


OURS = [
    pytest.param(words, id=shlex.join(words))
    for document in ("README.md", "CONTRIBUTING.md")
    for words in shell_commands(document)
    if program(words)
]


@pytest.mark.parametrize("words", OURS)
def test_the_parser_takes_the_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    name = program(words)
    main: Any = tinybpe
    if name != "tinybpe":
        module = words[2] if "." in words[2] else f"{words[2]}.__main__"
        main = importlib.import_module(module).main
    parse = argparse.ArgumentParser.parse_known_args

    def stop(parser: argparse.ArgumentParser, *arguments: Any, **options: Any) -> Any:
        parsed, unknown = parse(parser, *arguments, **options)
        if parser.prog != name:  # a parser of a part of the command line
            return parsed, unknown
        assert not unknown
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", stop)
    with pytest.raises(ParsedError):
        main(words[len(name.split()) :])


def test_every_command_is_in_the_readme() -> None:
    shown = {tuple(words[:3]) for words in shell_commands("README.md")}
    (commands,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    assert set(commands.choices) <= {words[1] for words in shown if words[0] == "tinybpe"}
    assert ("python", "-m", "lm") in shown
    for command in COMMANDS_OF_LM:
        if command != "__main__":
            assert ("python", "-m", f"lm.{command}") in shown


def test_the_example_in_python_runs(
    tmp_path: Path, stories: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("stories.txt").write_text(stories, encoding="utf-8")
    for block in code_blocks("README.md", "python"):
        program = compile(block, "README.md", "exec")
        if not block.startswith("import lm"):  # that one needs a trained model
            exec(program, {})
    assert Path("stories.bin").exists()
    assert Path("tok/tokenizer.json").exists()
    capsys.readouterr()


def test_files_that_commands_name_are_there() -> None:
    for document in ("README.md", "CONTRIBUTING.md"):
        for words in shell_commands(document):
            for word in words:
                if word.startswith(("tests/", "benches/", ".ci/")) and "TARGET" not in word:
                    assert (ROOT / word.split("::")[0]).exists(), shlex.join(words)
