"""The wheel carries what the package reads, and works where there is no checkout around it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LISTED = ("configs", "lxtlike/assets", "lxtlike/render", "lxtlike/cli", "lxtlike/serve", "lxtlike/py.typed")

SCRIPT = """
import sys
from pathlib import Path

import lxtlike
from lxtlike.cli import main
from lxtlike.composites import CONFIGS

here = Path(sys.argv[1])
assert Path(lxtlike.__file__).is_relative_to(here), lxtlike.__file__
assert CONFIGS.is_relative_to(here), CONFIGS
assert lxtlike.Composite.parse("attnlrp").name == "attnlrp"

found = lxtlike.explain("the box holds a red ball . the ball is")
assert found.composite == "attnlrp"
assert found.ledger.relative_error < 1e-3, found.ledger
found.to_html(), found._repr_html_()

assert main(["explain", "a warm and funny film .", "--model", "sentiment", "-o", "page.html"]) == 0
"""


def test_the_wheel_works_alone(tmp_path: Path) -> None:
    _ran("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist"), cwd=ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")

    packed = set(zipfile.ZipFile(wheel).namelist())
    assert _tracked() <= packed, _tracked() - packed
    assert not any("tests/" in name or "scripts/" in name or "__pycache__" in name for name in packed)

    target, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    _ran(
        "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target), str(wheel), cwd=tmp_path
    )
    _ran("-c", SCRIPT, str(target), cwd=elsewhere, path=target)
    assert "a warm and funny film" in (elsewhere / "page.html").read_text(encoding="utf-8")


def _tracked() -> set[str]:
    """The files beside the code that an installed package must have, by their names in the wheel."""
    folders = [ROOT / name for name in LISTED]
    files = [file for folder in folders for file in (folder.rglob("*") if folder.is_dir() else [folder])]
    names = {file.relative_to(ROOT).as_posix() for file in files if file.is_file() and file.suffix != ".pyc"}
    assert {"configs/attnlrp.yaml", "lxtlike/assets/known_cause.jsonl", "lxtlike/py.typed"} <= names
    assert {f"lxtlike/assets/models/{name}/model.safetensors" for name in ("bindings", "sentiment")} <= names
    return {f"lxtlike/{name}" if name.startswith("configs/") else name for name in names}


def _ran(*words: str, cwd: Path, path: Path | None = None) -> str:
    """Run this Python in another folder, offline; what it printed, and a failure with what it printed."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(path or "")}
    command = [sys.executable, *words]
    ended = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{words[:4]}: {ended.stdout}{ended.stderr}"
    return ended.stdout
