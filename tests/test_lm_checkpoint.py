"""Checkpoints: written whole, refused when damaged, pruned without losing the best."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from lm import checkpoint as ckpt
from lm import folders
from lm.model import TransformerLM
from lm_tools import tiny_model
from safetensors.torch import load_file, save_file


def held(step: int = 5) -> ckpt.Checkpoint:
    torch.manual_seed(0)
    model = TransformerLM(tiny_model())
    state = {"step": step, "config": {"model": {}}}
    return ckpt.Checkpoint(
        model=dict(model.named_parameters()), optimizer={"a.mean": torch.randn(3, 4)}, state=state
    )


def test_round_trip(tmp_path: Path) -> None:
    folder = ckpt.save(tmp_path, held())
    back = ckpt.load(folder)
    assert back.step == 5
    for name, tensor in held().model.items():
        assert torch.equal(tensor, back.model[name])
    assert torch.equal(back.optimizer["a.mean"], held().optimizer["a.mean"])
    assert [p.name for p in tmp_path.glob("checkpoints/*")] == ["step-00000005"]
    assert ckpt.save(tmp_path, held()) == folder  # the same step again
    assert ckpt.load(folder).step == 5


@pytest.mark.fault("L3")
def test_every_truncation_and_every_kind_of_flip_is_refused(tmp_path: Path) -> None:
    folder = ckpt.save(tmp_path, held())
    for name in ("model.safetensors", "optimizer.safetensors", "state.json"):
        path = folder / name
        good = path.read_bytes()
        for size in {0, 1, 7, 8, 9, len(good) // 2, len(good) - 1}:
            path.write_bytes(good[:size])
            with pytest.raises(ckpt.CheckpointError, match=name.split(".")[0]):
                ckpt.load(folder)
        for position in range(0, len(good), max(1, len(good) // 150)):
            changed = bytearray(good)
            changed[position] ^= 1 << position % 8
            path.write_bytes(changed)
            with pytest.raises(ckpt.CheckpointError):
                ckpt.load(folder)
        path.unlink()
        with pytest.raises(ckpt.CheckpointError, match="missing"):
            ckpt.load(folder)
        path.write_bytes(good)
    assert ckpt.load(folder).step == 5


@pytest.mark.fault("L3")
def test_flip_in_the_payload_names_the_tensor(tmp_path: Path) -> None:
    path = ckpt.save(tmp_path, held()) / "optimizer.safetensors"
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    with pytest.raises(ckpt.CheckpointError, match=r"tensor `a.mean` is damaged"):
        ckpt.load(path.parent)


@pytest.mark.fault("L3")
def test_not_a_number_names_the_tensor(tmp_path: Path) -> None:
    bad = held()
    bad.model["norm.weight"] = torch.tensor([1.0, float("nan")])
    with pytest.raises(ckpt.CheckpointError, match=r"`norm.weight` holds values that are not finite"):
        ckpt.load(ckpt.save(tmp_path, bad))


@pytest.mark.fault("L3")
def test_pickle_is_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, ("raise SystemExit('opened')",)

    path = ckpt.save(tmp_path, held()) / "model.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ckpt.CheckpointError, match="no safetensors file"):
        ckpt.load(path.parent)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ckpt.CheckpointError, match="no safetensors file"):
        ckpt.load(path.parent)


@pytest.mark.fault("L3")
def test_other_shapes_missing_and_extra_tensors(tmp_path: Path) -> None:
    folder = ckpt.save(tmp_path, held())
    tensors = ckpt.load(folder).model
    wrong = {**tensors, "extra": torch.zeros(1), "norm.weight": torch.zeros(3)}
    del wrong["head.weight"]
    with pytest.raises(ckpt.CheckpointError) as caught:
        ckpt.load_weights(TransformerLM(tiny_model()), wrong, folder)
    text = str(caught.value)
    assert "`head.weight` is missing" in text
    assert "`extra` does not belong" in text
    assert "`norm.weight` has shape [3], the model [8]" in text
    path = folder / "model.safetensors"
    swapped = load_file(path)
    del swapped["norm.weight"]
    save_file(swapped, path)
    with pytest.raises(ckpt.CheckpointError, match=r"tensor `norm.weight` is missing"):
        ckpt.load(folder)


@pytest.mark.fault("L1")
def test_prune_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        ckpt.save(tmp_path, held(step))
    (tmp_path / "checkpoints/.tmp-00000009-1").mkdir()
    ckpt.prune(tmp_path, keep_last=2, best=2)
    assert [p.name[-1] for p in ckpt.steps(tmp_path)] == ["2", "4", "5"]
    assert not list(tmp_path.glob("checkpoints/.tmp*"))
    assert ckpt.find(tmp_path).name == "step-00000005"
    assert ckpt.find(tmp_path / "ckpt.pt").name == "step-00000005"
    assert ckpt.find(tmp_path / "checkpoints/step-00000002").name == "step-00000002"
    with pytest.raises(ckpt.CheckpointError, match="no checkpoint"):
        ckpt.find(tmp_path / "checkpoints")


@pytest.mark.fault("L1")
def test_every_write_failing_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the first write, the second, the third ... until saving succeeds: never a partial checkpoint."""
    ckpt.save(tmp_path, held(1))
    write, calls, limit = ckpt.write_file, 0, 0

    def failing(path: Path, content: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls > limit:
            path.write_bytes(content[: len(content) // 2])
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(ckpt, "write_file", failing)
    for limit in range(10):  # noqa: B007
        calls = 0
        try:
            ckpt.save(tmp_path, held(2))
            break
        except OSError:
            assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
            assert ckpt.load(ckpt.find(tmp_path)).step == 1
    assert limit == 3
    assert ckpt.load(ckpt.find(tmp_path)).step == 2


def test_run_folder(tmp_path: Path) -> None:
    assert folders.run_folder("runs/x/ckpt.pt") == Path("runs/x")
    assert folders.run_folder("runs/x") == Path("runs/x")
    assert folders.run_folder("runs/v1.5") == Path("runs/v1.5")
    odd = tmp_path / "odd.pt"
    odd.mkdir()
    assert folders.run_folder(odd) == odd


@pytest.mark.fault("L5")
def test_replace_file_keeps_the_old_content_on_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    folders.replace_file(path, b"old")

    def failing(path: Path, content: bytes) -> None:
        path.write_bytes(b"ne")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders, "write_file", failing)
    with pytest.raises(OSError, match="No space"):
        folders.replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    shutil.rmtree(tmp_path)
