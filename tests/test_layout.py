"""Imports go one way, in Python and in Rust: the arrows that make the architecture readable."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

PYTHON = ROOT / "python"
RUST = ROOT / "rust"

TINYBPE_FILES = sorted((PYTHON / "tinybpe").glob("*.py"))
LM_FILES = sorted((PYTHON / "lm").glob("*.py"))

# Each layer may use those before it, a module its own submodules, and nothing else.
RUST_LAYERS = [
    {"error"},
    {"monitor", "atomic", "special", "piece_key", "cpu", "threads", "huge_pages"},
    {"pretokenizer", "vocab", "normalizer"},
    {"cutter", "pipeline"},
    {"vocab_file", "reader", "naive"},
    {"word_counts"},
    {"trainer", "encoder"},
    {"token_file"},
    {"py"},
]


def imports(path: Path, *, at_import_time: bool = False) -> Iterator[str]:
    """Yield the modules that a file imports, or those that it imports when it is imported itself."""
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports hide the arrows"
            assert node.module is not None
            yield node.module
            if node.module in ("tinybpe", "lm"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        if at_import_time and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if at_import_time and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        todo.extend(ast.iter_child_nodes(node))


def top_levels(names: Iterator[str]) -> set[str]:
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)


def test_there_is_something_to_check() -> None:
    assert "tokenizer.py" in {path.name for path in TINYBPE_FILES}


@pytest.mark.parametrize("path", TINYBPE_FILES, ids=lambda path: path.name)
def test_tinybpe_needs_itself_alone(path: Path) -> None:
    """Libraries that some calls use are imported by these calls; NumPy too, for a quick start."""
    expected = {"regex"} if path.name == "reference.py" else {"tinybpe"}
    assert top_levels(imports(path, at_import_time=True)) <= expected
    assert "lm" not in top_levels(imports(path))


@pytest.mark.parametrize("path", TINYBPE_FILES + LM_FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_nobody_imports_the_reference_and_three_the_extension(path: Path) -> None:
    names = set(imports(path))
    assert "tinybpe.reference" not in names
    allowed = [PYTHON / "tinybpe" / f"{name}.py" for name in ("patterns", "tokenizer", "word_counts")]
    if path not in allowed:
        assert "tinybpe._tinybpe" not in names


@pytest.mark.parametrize("path", LM_FILES, ids=lambda path: path.name)
def test_lm_uses_public_names_in_few_files(path: Path) -> None:
    names = {name for name in imports(path) if name.split(".")[0] == "tinybpe"}
    # What messages about unknown names share is no tokenizer, so any file may have it.
    names -= {"tinybpe.suggest"}
    if path.name not in ("api.py", "evaluation.py", "first.py", "huggingface.py", "text.py", "tokenizer.py"):
        assert names == set()
    import tinybpe

    public = {"tinybpe", *(f"tinybpe.{name}" for name in tinybpe.__all__)}
    assert names <= public | {"tinybpe.errors"}


def rust_modules() -> dict[str, list[Path]]:
    modules: dict[str, list[Path]] = {}
    for path in sorted(RUST.rglob("*.rs")):
        name = path.relative_to(RUST).parts[0].removesuffix(".rs")
        if name != "lib":
            modules.setdefault(name, []).append(path)
    return modules


def rust_uses(source: str) -> set[str]:
    """Return the modules of the crate that production code names; tests may use what they like."""
    source = re.sub(r"//[^\n]*", "", source)
    source = re.split(r"#\[cfg\(test\)\]\s*(?:pub )?mod \w+ \{", source)[0]
    used = set(re.findall(r"\bcrate::(\w+)", source))
    for group in re.findall(r"\bcrate::\{(.*?)\};", source, re.DOTALL):
        flat = re.sub(r"\{[^{}]*\}", "", group)
        used |= {item.strip().split("::")[0] for item in flat.split(",") if item.strip()}
    return used


@pytest.mark.parametrize("module", rust_modules())
def test_rust_arrows(module: str) -> None:
    layers = {name: index for index, names in enumerate(RUST_LAYERS) for name in names}
    assert module in layers, (
        f"`{module}` is new: give it a layer in this test, and its arrows in the crate docs"
    )
    for path in rust_modules()[module]:
        for used in rust_uses(path.read_text(encoding="utf-8")) & set(layers):
            assert used == module or layers[used] < layers[module], f"{path.name}: {module} -> {used}"


def test_rust_arrows_are_read_right() -> None:
    source = "use crate::{error::Result, vocab::{self, Vocab}};\n// crate::trainer\n"
    source += "fn f() { crate::reader::cut() }\n#[cfg(test)]\nmod tests {\n use crate::py;\n}"
    assert rust_uses(source) == {"error", "reader", "vocab"}


@pytest.mark.parametrize("path", sorted(RUST.rglob("*.rs")), ids=lambda path: str(path.relative_to(RUST)))
def test_pyo3_stands_in_one_place(path: Path) -> None:
    used = re.search(r"\b(?:pyo3|numpy)::", path.read_text(encoding="utf-8")) is not None
    assert used == (path.parent == RUST / "py")
