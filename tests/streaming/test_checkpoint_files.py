"""Safetensors files: matrices stay in them, vectors are read, and damage is said in one sentence."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lxtlike.errors import InputError
from lxtlike.streaming import Stored, checkpoint, checkpoint_files, stored_weights

WEIGHTS = {
    "matrix": torch.arange(12.0).reshape(4, 3),
    "half": torch.arange(6.0).reshape(3, 2).bfloat16(),
    "cube": torch.arange(8).reshape(2, 2, 2),
    "empty": torch.zeros(0, 3),
    "vector": torch.ones(5),
    "number": torch.tensor(3.5),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_matrices_stay_in_the_file(file: Path) -> None:
    found = stored_weights([file])
    assert {name: isinstance(weight, Stored) for name, weight in found.items()} == {
        name: weight.dim() > 1 for name, weight in WEIGHTS.items()
    }
    for name, weight in found.items():
        values = weight.read() if isinstance(weight, Stored) else weight
        assert values.dtype == WEIGHTS[name].dtype
        assert torch.equal(values, WEIGHTS[name])
    matrix = found["matrix"]
    assert isinstance(matrix, Stored)
    assert torch.equal(matrix.read(torch.tensor([3, 0, 3])), WEIGHTS["matrix"][[3, 0, 3]])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="what is open is asked of Linux")
def test_no_file_stays_open(file: Path) -> None:
    def opened() -> int:
        return sum(entry.resolve() == file for entry in Path("/proc/self/fd").iterdir())

    found = stored_weights([file])
    assert not opened()
    matrix = found["matrix"]
    assert isinstance(matrix, Stored)
    values = matrix.read()
    assert opened()
    del values
    assert not opened()


def relabelled(old: bytes, new: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(file.read_bytes().replace(old, new, 1))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda file: file.write_bytes(b""), "no safetensors header"),
    "no header": (lambda file: file.write_bytes(b"\xff" * 100), "no safetensors header"),
    "a list": (lambda file: file.write_bytes((2).to_bytes(8, "little") + b"[]"), "no safetensors header"),
    "cut short": (lambda file: file.write_bytes(file.read_bytes()[:-8]), "shorter than its header says"),
    "other words": (relabelled(b"data_offsets", b"some_offsets"), "not that of safetensors"),
    "wrong shape": (relabelled(b"[4,3]", b"[4,4]"), "shorter than its header says"),
    "8 bits": (relabelled(b'"BF16"', b'"F8_E"'), "dtype F8_E, which cannot be streamed"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_files(kind: str, file: Path) -> None:
    damage, says = DAMAGE[kind]
    damage(file)
    with pytest.raises(InputError, match=f"model.safetensors .*{says}") as caught:
        stored_weights([file])
    assert "\n" not in str(caught.value)


def test_what_happens_to_a_file_after_loading(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = stored_weights([file])["matrix"]
    whole = file.read_bytes()
    file.write_bytes(whole[:-200])
    with pytest.raises(InputError, match="has become shorter"):
        matrix @ torch.ones(3, 1)
    file.unlink()
    with pytest.raises(InputError, match="cannot be read any more"):
        matrix @ torch.ones(3, 1)
    file.write_bytes(whole)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(checkpoint.mmap, "mmap", refuse)  # type: ignore[attr-defined]
    with pytest.raises(MemoryError, match="cannot be mapped"):
        matrix @ torch.ones(3, 1)


def test_which_files_a_model_has(tmp_path: Path) -> None:
    def files(*names: str) -> list[Path]:
        return checkpoint_files(names, lambda name: tmp_path / name)

    index = tmp_path / "model.safetensors.index.json"
    assert files("config.json", "model.safetensors", "consolidated.safetensors") == [tmp_path / "model.safetensors"]
    index.write_text(
        json.dumps({"weight_map": {"a": "second.safetensors", "b": "first.safetensors", "c": "second.safetensors"}})
    )
    assert files(index.name, "first.safetensors", "second.safetensors") == [
        tmp_path / "first.safetensors",
        tmp_path / "second.safetensors",
    ]
    with pytest.raises(InputError, match="1 of 2 files of the weights are missing, such as 'second"):
        files(index.name, "first.safetensors")
    with pytest.raises(InputError, match="neither is there"):
        files("consolidated.safetensors")
    index.write_text("[]")
    with pytest.raises(InputError, match="json is damaged"):
        files(index.name)
