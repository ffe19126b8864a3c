"""The documents say what happens: every command, snippet and notebook cell in them runs and prints what is printed there.

In a ```console block, a line that starts with ``$`` is a command; what follows is its output, in which ``...`` stands for
whatever was left out. Numbers are compared to three digits; rounding errors (``rest``, ``1.2e-07``) and white space are not.
"""

from __future__ import annotations

import io
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from lxtlike import COMPOSITES, Composite, __version__
from lxtlike.cli import main
from lxtlike.rules import RULES

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
AUDIT = ROOT / "docs" / "audit.md"
BATCH = ROOT / "docs" / "batch.md"
CHATS = ROOT / "docs" / "chats.md"
GENERATIONS = ROOT / "docs" / "generations.md"
IMAGES = ROOT / "docs" / "images.md"
EVALUATION = ROOT / "docs" / "evaluation.md"
OPTIONS = ROOT / "docs" / "options.md"
SIMILARITY = ROOT / "docs" / "similarity.md"
NOTEBOOK = ROOT / "docs" / "example.ipynb"
DOCUMENTS = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
_NUMBER = r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?"
PRIVATE = re.compile(r"/(?:home|root|work|tmp|Users)/\w+")


class Terminal(io.TextIOWrapper):
    """A terminal 80 columns wide that remembers what it shows."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        self.buffer.seek(0)
        return re.sub(r"[^\n]*\r", "", self.buffer.read().decode("utf-8"))  # a progress bar wipes itself away


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all commands run, one after the other, beside the example images."""
    folder = tmp_path_factory.mktemp("reader")
    return Path(shutil.copytree(ROOT / "lxtlike" / "assets" / "images", folder, dirs_exist_ok=True))


@pytest.fixture
def reader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[int, str]]:
    """Run a command line as somebody at a terminal does: its exit code and what the terminal shows."""
    monkeypatch.chdir(folder)
    for name, value in {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)

    def run(command: str) -> tuple[int, str]:
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        code = main(shlex.split(command)[1:])
        return code, terminal.text()

    return run


def blocks(document: Path, language: str) -> list[str]:
    """The contents of the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(document: Path) -> Iterator[tuple[str, str]]:
    """The commands of the console blocks, each with the output that is shown."""
    for block in blocks(document, "console"):
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = entry.partition("\n")
            yield command, shown


def normal(text: str) -> str:
    """`text` without what may differ from machine to machine."""
    text = re.sub(rf'(?:[-+] )?(rest|relative.error|forward.deviation)\b(?:[" :]|\s)*(?:{_NUMBER}\s*)+', r"\1 ~ ", text)
    text = re.sub(r"-?\d+(?:\.\d+)?e[-+]\d+", "~", text)
    text = re.sub(r"[-+]?\d+\.\d+", lambda match: f"{float(match[0]):.3g}", text)
    return " ".join(text.split())


def shows(actual: str, shown: str) -> bool:
    """Whether `shown` is `actual` with nothing changed but what ``...`` leaves out."""
    parts = [re.escape(normal(part)) for part in shown.split("...")]
    return re.fullmatch(r"\s*.*?\s*".join(parts), normal(actual), re.DOTALL) is not None


def test_shows_is_not_blind() -> None:
    assert shows("one 1.2345\ntwo 3e-08\nthree", "one 1.2344 ... three")
    assert not shows("one 1.2345\ntwo\nthree", "one 1.2445 ... three")
    assert not shows("one two three", "one two")


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        entry
        for document in (README, AUDIT, BATCH, CHATS, EVALUATION, GENERATIONS, IMAGES, OPTIONS, SIMILARITY)
        for entry in commands(document)
    ],
)
def test_commands_print_what_is_shown(command: str, shown: str, reader: Callable[[str], tuple[int, str]]) -> None:
    code, printed = reader(command)
    assert shows(printed, shown), printed
    assert code == (2 if shown.startswith("error:") else 0)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_snippets_run(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    namespace: dict[str, Any] = {}
    exec("import lxtlike, torch", namespace)
    for snippet in blocks(document, "python"):
        exec(compile(snippet, str(document), "exec"), namespace)


def test_the_composite_file_is_one(tmp_path: Path) -> None:
    for number, content in enumerate(blocks(README, "yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(content, encoding="utf-8")
        assert set(Composite.parse(file).rules) == set(RULES)


def test_the_notebook_runs_and_shows_what_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    stored = nbformat.read(NOTEBOOK, as_version=4)
    run = NotebookClient(
        nbformat.read(NOTEBOOK, as_version=4), timeout=60, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert not PRIVATE.search(NOTEBOOK.read_text(encoding="utf-8"))
    pairs = [(old, new) for old, new in zip(stored.cells, run.cells, strict=True) if old.cell_type == "code"]
    assert any("text/html" in output.get("data", {}) for old, _ in pairs for output in old.outputs)
    for old, new in pairs:
        assert plain(old) == plain(new), old.source


def plain(cell: nbformat.NotebookNode) -> str:
    """What a cell printed and returned, as text (what it prints may come in pieces); not the warnings of libraries."""
    shown = [output for output in cell.outputs if output.get("name") != "stderr"]
    return normal("".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in shown))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert not PRIVATE.search(text)
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        file = document.parent / name if name else document
        assert file.exists(), target
        headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}, target


def test_the_table_of_rules_is_that_of_the_composites() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|.*\| `([\w-]+)` \| `([\w-]+)` \|$", _text("docs/rules.md"), re.MULTILINE)
    assert [family for family, *_ in rows] == list(COMPOSITES["attnlrp"].rules)
    assert {family for family, *_ in rows} == set(RULES)
    for column, name in enumerate(("attnlrp", "cp-lrp"), start=1):
        assert {row[0]: row[column] for row in rows} == {f: r.name for f, r in COMPOSITES[name].rules.items()}


def test_the_ledger_has_every_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "propagation"))
    from families import FAMILIES

    rows = re.findall(
        r"^\| ([\w-]+) \| \w+ \| (?:eager|sdpa) \|.* (\S+) \| (\S+) \|$", _text("docs/ledger.md"), re.MULTILINE
    )
    assert {name for name, *_ in rows} == set(FAMILIES)
    assert all(float(double) <= 1e-8 and float(single) <= 1e-3 for _, double, single in rows)


def test_the_version_is_the_same_everywhere() -> None:
    assert f"## [{__version__}]" in _text("CHANGELOG.md")
    assert f"\nversion: {__version__}\n" in _text("CITATION.cff")


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
