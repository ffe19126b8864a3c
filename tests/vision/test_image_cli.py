"""``lxtlike explain picture.png``: formats, targets, and one line for what is wrong."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tiny_images
from PIL import Image

import lxtlike
from lxtlike.cli import main
from lxtlike.loading import load

NINE = Path(lxtlike.__file__).parent / "assets" / "images" / "digits-vit-misreads-9.png"


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)

    def command(*words: str, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfd.readouterr()
        code = main(["explain", *words])
        return Ended(code, *capfd.readouterr())

    return command


def test_json_is_one_object_with_the_account(run: Callable[..., Ended]) -> None:
    ended = run(str(NINE), "-m", "digits-vit", "--target", "9", "--contrast", "5", "--format", "json")
    assert (ended.code, ended.err) == (0, "")
    result = json.loads(ended.out)
    assert (result["schema"], result["model"], result["task"]) == (
        "lxtlike/image/1",
        "digits-vit",
        "image-classification",
    )
    assert (result["target"]["token"], result["target"]["contrast"]) == ("9", {"id": 5, "token": "5"})
    assert np.sum(result["relevance"]) == pytest.approx(result["ledger"]["tokens"], abs=1e-5)
    assert result["ledger"]["relative_error"] < 1e-5
    assert (result["patch"], result["image"]["height"]) == ([2, 2], 8)


def test_the_task_chooses_the_bundled_model_and_stdin_is_an_image(run: Callable[..., Ended]) -> None:
    words = (
        "--task",
        "image-classification",
        "--format",
        "json",
        "--objective",
        "prob",
        "--composite",
        "epsilon-gamma-box",
    )
    piped = run("-", *words, stdin=NINE.read_bytes())
    assert (piped.code, piped.err) == (0, "")
    result = json.loads(piped.out)
    assert (result["model"], result["composite"], result["target"]["objective"]) == (
        "digits-cnn",
        "epsilon-gamma-box",
        "prob",
    )
    assert json.loads(run(str(NINE), *words).out) == result


def test_every_format(run: Callable[..., Ended], tmp_path: Path) -> None:
    for name in ("a.json", "a.safetensors", "a.html", "a.png", "a.svg", "a.pdf", "a.csv", "a.tsv", "a.txt"):
        ended = run(str(NINE), "-m", "digits-vit", "--by", "patch", "-o", name)
        assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert lxtlike.load(tmp_path / "a.json") == lxtlike.load(tmp_path / "a.safetensors")
    rows = list(csv.reader((tmp_path / "a.csv").open()))
    assert (rows[0], len(rows)) == (["y", "x", "height", "width", "relevance"], 17)
    assert [row.split("\t") for row in (tmp_path / "a.tsv").read_text().splitlines()] == rows
    assert Image.open(tmp_path / "a.png").size[0] > 1000
    assert "first choices: “" in (tmp_path / "a.txt").read_text()
    assert run(str(NINE), "-m", "digits-vit").out.splitlines()[0] == "y\tx\trelevance"


def test_a_folder_of_ones_own(run: Callable[..., Ended], tmp_path: Path) -> None:
    folder = tiny_images.save("convnext", tmp_path / "model")
    tiny_images.picture().save(tmp_path / "picture.jpg")
    ended = run("picture.jpg", "--model", str(folder), "--dtype", "float64", "--format", "json", "--strict")
    assert ended.code == 0
    assert json.loads(ended.out)["ledger"]["relative_error"] < 1e-9


def test_verify_takes_image_classifiers(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "digits-vit", "--strict"]) == 0
    assert "closes" in capfd.readouterr().out


WRONG: list[tuple[list[str], int, list[str]]] = [
    (["nowhere.png"], 2, ["no image file 'nowhere.png'"]),
    (["."], 2, ["'.' cannot be read"]),
    (["text.png"], 2, ["'text.png' is no image"]),
    (["huge.png"], 2, ["more pixels than are read: make it smaller"]),
    ([str(NINE), "--target", "nine"], 2, ["no label 'nine'", "'0', '1'"]),
    ([str(NINE), "--target-id", "10"], 2, ["0 to 9"]),
    ([str(NINE), "--by", "word"], 2, ["by pixel, patch or (height, width), not by 'word'"]),
    ([str(NINE), "--heads"], 2, ["--heads is for texts", "leave it out"]),
    ([str(NINE), "--position", "0"], 2, ["--position is for texts"]),
    ([str(NINE), "--format", "latex"], 2, ["no LaTeX form"]),
    ([str(NINE), "--composite", "gama"], 2, ["did you mean 'gamma'?"]),
]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    WRONG,
    ids=lambda value: " ".join(map(str, value))[-30:] if isinstance(value, list) else "",
)
def test_what_is_wrong_gets_one_line(
    words: list[str], code: int, says: list[str], run: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("this is no image")
    (tmp_path / "huge.png").write_bytes(_claiming(30_000))
    ended = run(*words, "-m", "digits-vit")
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert all(part in ended.err for part in says), ended.err


def test_texts_stay_texts(run: Callable[..., Ended]) -> None:
    ended = run(str(NINE), "-m", "sentiment", "--by", "patch")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "patch" in ended.err
    assert main(["generate", "the box", "--model", "digits-vit"]) == 2


def test_loading_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_images.save("vit", tmp_path / "model")
    assert load(folder, need_tokenizer=False).processor is None
    config = folder / "preprocessor_config.json"
    monkeypatch.setattr("lxtlike.loading.find_spec", lambda name: None)
    with pytest.raises(lxtlike.LxtlikeError, match=r"pip install 'lxtlike\[vision\]'"):
        load(folder)
    monkeypatch.undo()
    config.write_text(config.read_text().replace("ViTImageProcessor", "TimmWrapperImageProcessor"))
    with pytest.raises(lxtlike.LxtlikeError, match=r"need torchvision: install it, or pass pixel values") as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    config.unlink()
    with pytest.raises(lxtlike.InputError, match="has no image processor: save"):
        load(folder)


def _claiming(edge: int) -> bytes:
    """A file of a few bytes that unpacks to a picture of so many pixels squared."""
    whole = io.BytesIO()
    Image.new("1", (edge, edge)).save(whole, "PNG")
    return whole.getvalue()
