"""The command line run inside the test process, with tiny models in the place of the bundled ones."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import tiny_models

from lxtlike import loading
from lxtlike.cli import main


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class Stdin(io.TextIOWrapper):
    """What a command reads: bytes, or a terminal where nobody types."""

    def __init__(self, content: bytes | None) -> None:
        super().__init__(io.BytesIO(content or b""), encoding="utf-8")
        self.terminal = content is None

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models: good ones, and each kind of bad one."""
    root = tmp_path_factory.mktemp("models")
    kinds = {"bindings": "causal-lm", "sentiment": "sequence-classification", "encoder": "masked-lm"}
    for name, kind in (kinds | {"answers": "question-answering"}).items():
        tiny_models.save(kind, root / name)
    (root / "empty").mkdir()
    pickled = Path(shutil.copytree(root / "bindings", root / "pickled"))
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    mute = Path(shutil.copytree(root / "bindings", root / "mute"))
    (mute / "tokenizer.json").unlink()
    (mute / "tokenizer_config.json").unlink()
    broken = tiny_models.model("causal-lm")
    with torch.no_grad():
        broken.model.norm.weight[0] = float("nan")
    broken.save_pretrained(root / "nan")
    tiny_models.tokenizer().save_pretrained(root / "nan")
    return root


@pytest.fixture
def run(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Run a command line in an empty folder; its exit code, stdout and stderr (of this process, not of Python only)."""
    monkeypatch.setattr(loading, "_MODELS", models)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)

    def command(*words: str, stdin: bytes | None = None) -> Ended:
        monkeypatch.setattr(sys, "stdin", Stdin(stdin))
        capfd.readouterr()
        code = main([word.replace("MODELS", str(models)) for word in words])
        return Ended(code, *capfd.readouterr())

    return command
