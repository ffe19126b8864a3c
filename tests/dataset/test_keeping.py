"""A run over a file: ended at any moment it goes on to the same bytes, and leaves nothing beside its output."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models

from lxtlike import Explainer, InputError, LxtlikeError, explain_rows
from lxtlike.dataset.explaining import Asking
from lxtlike.dataset.journal import Journal
from lxtlike.dataset.keeping import explain_file
from lxtlike.dataset.processes import Processes
from lxtlike.dataset.rows import Columns

WORDS = tiny_models.WORDS.split()
ROWS: list[dict[str, Any]] = [{"text": " ".join(WORDS[n % 5 : n % 5 + 1 + n % 4])} for n in range(20)]
ROWS[3], ROWS[17], ROWS[18] = (
    {"text": "", "id": "empty"},
    {"text": "a bag", "target": "red"},
    {"text": "x", "target": "?"},
)
ASKING = Asking(batch_size=1, by="word")  # windows of 16 rows


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(tiny_models.model("causal-lm"), tiny_models.tokenizer(), name="tiny")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture(scope="module")
def whole(explainer: Explainer, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What an undisturbed run writes."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    explain_file(explainer, folder / "in.jsonl", folder / "out.jsonl", ASKING)
    return (folder / "out.jsonl").read_bytes()


@pytest.fixture
def run(explainer: Explainer, source: Path) -> Callable[..., bytes]:
    """Explain the rows into a file; what it holds."""

    def explain(output: Path, asking: Asking = ASKING, **options: Any) -> bytes:
        explain_file(explainer, source, output, asking, **options)
        return output.read_bytes()

    return explain


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"in.jsonl"}


def test_a_file_holds_a_line_for_each_row_in_order(
    explainer: Explainer, run: Callable[..., bytes], tmp_path: Path
) -> None:
    told: list[tuple[int, int | None]] = []
    found = [
        json.loads(line) for line in run(tmp_path / "a.jsonl", progress=lambda *one: told.append(one)).splitlines()
    ]
    assert found == [row.to_dict() for row in explain_rows(explainer, ROWS, batch_size=1, by="word")]
    assert [row["id"] for row in found[:4]] == [0, 1, 2, "empty"]
    assert told[-1] == (20, 20)
    assert left(tmp_path) == {"a.jsonl"}


@pytest.mark.parametrize("moment", [1, 9, 19])
@pytest.mark.parametrize("torn", [False, True])
def test_a_run_killed_while_it_explains_goes_on(
    moment: int, torn: bool, whole: bytes, run: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added, add = 0, Journal.add

    def killing(self: Journal, *entries: Any) -> None:
        nonlocal added
        added += 1
        add(self, *entries)
        if added == moment:
            raise Killed

    output = tmp_path / "a.jsonl"
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "add", killing)
        with pytest.raises(Killed):
            run(output)
    assert left(tmp_path) == {"a.jsonl.journal"}
    journal = tmp_path / "a.jsonl.journal"
    if torn:
        journal.write_bytes(journal.read_bytes()[:-7])
    todo: list[int] = []
    kept = journal.read_bytes().count(b"\n") - 1
    found = run(output, resume=True, progress=lambda done, total: todo.append(done))
    assert todo[-1] == 20 - kept  # of batches with several rows, a torn one is explained again
    assert found == whole
    assert left(tmp_path) == {"a.jsonl"}


@pytest.mark.parametrize("step", ["touch", "replace", "unlink"])
@pytest.mark.parametrize("after", [False, True])
def test_a_run_killed_while_it_writes_goes_on(
    step: str, after: bool, whole: bytes, run: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, doing = tmp_path / "a.jsonl", getattr(Path, step)

    def killing(self: Path, *given: Any, **options: Any) -> Any:
        if "journal" in self.name and (step != "unlink" or output.exists()):
            if after:
                doing(self, *given, **options)
            raise Killed
        return doing(self, *given, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, step, killing)
        with pytest.raises(Killed):
            run(output)
    assert not output.exists() or output.read_bytes() == whole
    assert run(output, resume=True) == whole
    assert left(tmp_path) == {"a.jsonl"}


def share(explainer: Explainer, source: Path, output: Path, number: int, count: int) -> None:
    """What one of several processes does, while the others are not there."""
    explain_file(explainer, source, output, ASKING, resume=True, processes=Processes(number, count))


def test_processes_share_the_rows_and_any_number_of_them_goes_on(
    explainer: Explainer, source: Path, whole: bytes, run: Callable[..., bytes], tmp_path: Path
) -> None:
    output = tmp_path / "a.jsonl"
    with pytest.raises(LxtlikeError, match="row 16 was finished by no process"):
        share(explainer, source, output, 0, 3)
    journals = [path.read_bytes().count(b"\n") - 1 for path in sorted(tmp_path.glob("*.journal*"))]
    assert journals == [16]
    share(explainer, source, output, 1, 2)
    assert not output.exists()
    assert run(output, resume=True) == whole
    assert left(tmp_path) == {"a.jsonl"}
    share(explainer, source, output, 1, 2)  # of a run that nobody goes on with
    assert run(output) == whole
    assert left(tmp_path) == {"a.jsonl"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"asking": Asking(batch_size=2, by="word")}, "another batch_size \\(1 instead of 2\\)"),
        ({"asking": Asking("red", batch_size=1, by="word")}, "another target"),
        ({"asking": Asking(batch_size=1, by="word", layers=True)}, "another layers \\(false instead of true\\)"),
        ({"rows": ROWS[:-1]}, "another input"),
        ({"weights": 2.0}, "another weights"),
    ],
)
def test_another_run_is_not_gone_on_with(
    change: dict[str, Any], says: str, source: Path, run: Callable[..., bytes], tmp_path: Path, explainer: Explainer
) -> None:
    output = tmp_path / "a.jsonl"
    share(explainer, source, output, 1, 2)
    journal = (tmp_path / "a.jsonl.journal.1").read_bytes()
    if rows := change.pop("rows", None):
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    other = explainer
    if factor := change.pop("weights", None):
        model = tiny_models.model("causal-lm")
        model.model.norm.weight.data *= factor
        other = Explainer(model, explainer.tokenizer, name="tiny")
    with pytest.raises(InputError, match=says):
        explain_file(other, source, output, **{"asking": ASKING, "resume": True, **change})
    assert (tmp_path / "a.jsonl.journal.1").read_bytes() == journal
    assert not output.exists()


def test_a_run_that_is_still_going_on_is_left_alone(whole: bytes, run: Callable[..., bytes], tmp_path: Path) -> None:
    output = tmp_path / "a.jsonl"

    def again(done: int, total: int | None) -> None:
        for resume in (True, False) if done == 2 else ():
            with pytest.raises(InputError, match="another run is still writing"):
                run(output, resume=resume)

    assert run(output, progress=again) == whole
    with pytest.raises(InputError, match="is the input, too"):
        run(tmp_path / "in.jsonl")


def test_parquet_has_the_same_rows(whole: bytes, run: Callable[..., bytes], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    lines = [json.loads(line) for line in whole.splitlines()]
    run(tmp_path / "a.parquet")
    rows = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["id"] for row in rows] == [str(line["id"]) for line in lines]
    assert [row["error"] for row in rows] == [line.get("error") for line in lines]
    for row, line in zip(rows, lines, strict=True):
        if "error" not in line:
            assert [token["relevance"] for token in row["tokens"]] == [token["relevance"] for token in line["tokens"]]
            assert {name: row["ledger"][name] for name in line["ledger"]} == line["ledger"]
            assert row["target"]["token"] == line["target"]["token"]
    assert left(tmp_path) == {"a.parquet"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"columns": Columns(target="gold")}, "no column 'gold': choose one of text, id, target"),
        ({"asking": Asking("nothing")}, "not in the model's vocabulary"),
        ({"asking": Asking(method="attnlrb")}, "did you mean attnlrp"),
    ],
)
def test_what_is_wrong_for_every_row_leaves_nothing(
    options: dict[str, Any], says: str, run: Callable[..., bytes], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=says):
        run(tmp_path / "a.jsonl", **options)
    assert left(tmp_path) == set()


def test_without_pyarrow_nothing_is_computed(
    run: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LxtlikeError, match=r"pip install 'lxtlike\[data\]'"):
        run(tmp_path / "a.parquet")
    assert left(tmp_path) == set()


def test_processes_killed_at_random_moments() -> None:
    """A sample of what the script does fifty times; two processes talk by gloo."""
    script = Path(__file__).parents[2] / "scripts" / "kill_and_resume.py"
    words = ["--kills", "3", "--rows", "30", "--processes", "1", "2"]
    found = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False)
    assert found.stdout.count("nothing left over") == 2, found.stderr
