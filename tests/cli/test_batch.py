"""``lxtlike batch``: rows in, a line of JSON out for each, and one line on stderr for what is wrong."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models

from lxtlike import Attribution
from lxtlike.dataset import keeping

Run = Callable[..., Any]
ROWS = [
    {"text": "the red ball is", "id": "first", "gold": "blue", "contrast": "red"},
    {"text": ""},
    {"text": "a box holds the blue hat"},
]


def lines(content: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def written(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def without(result: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name not in names}


def test_a_line_is_what_explain_prints_and_the_id(run: Run, tmp_path: Path) -> None:
    ended = run("batch", "-", "--target-column", "gold", "--by", "word", stdin=written(ROWS))
    assert ended.code == 0
    assert ended.err == "warning: 1 of 3 rows have an error; row 1: the text is empty; give at least one character\n"
    first, bad, last = lines(ended.out)
    assert bad == {"id": 1, "error": "the text is empty; give at least one character"}
    for row, words in ((first, ("--target", "blue", "--contrast", "red")), (last, ())):
        (single,) = lines(run("explain", row["text"], *words, "--by", "word", "--format", "json").out)
        assert row.keys() == {"id", *single}
        assert without(row, "id", "tokens", "units", "ledger", "audit", "prediction", "target") == without(
            single, "tokens", "units", "ledger", "audit", "prediction", "target"
        )
        assert [unit["relevance"] for unit in row["units"]] == pytest.approx(
            [unit["relevance"] for unit in single["units"]], rel=1e-5, abs=1e-6
        )
        assert row["ledger"]["biases"] == pytest.approx(single["ledger"]["biases"], rel=1e-5, abs=1e-6)
        assert Attribution.from_dict(row).target.token == single["target"]["token"]
    assert (first["id"], last["id"]) == ("first", 2)


def test_layers_heads_and_chats_are_those_of_explain(run: Run, models: Path) -> None:
    asked = ("--position", "-2", "--layers", "--heads")
    (row,) = lines(run("batch", "-", *asked, stdin=written(ROWS[2:])).out)
    (single,) = lines(run("explain", ROWS[2]["text"], *asked, "--format", "json").out)
    assert row["target"]["position"] == len(row["tokens"]) - 2
    for name in ("layers", "heads"):
        np.testing.assert_allclose(row[name], single[name], atol=1e-6)
    messages = [{"role": "user", "content": "the red ball is"}, {"role": "assistant", "content": "a box"}]
    for options in ((), ("-o", "a.jsonl")):
        ended = run("batch", "-", "--chat", *options, stdin=written([{"text": messages}]))
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert "no chat template" in ended.err
    shutil.copytree(models / "bindings", "talks")
    tokenizer = tiny_models.tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} . {% endfor %}"
    tokenizer.save_pretrained("talks")
    words = ("--model", "talks", "--chat", "--by", "message")
    (single,) = lines(run("explain", json.dumps(messages), *words, "--format", "json").out)
    assert lines(run("batch", "-", *words, stdin=written([{"text": messages}])).out) == [{"id": 0, **single}]
    assert run("batch", "-", *words, "-o", "a.jsonl", stdin=written([{"text": messages}])).code == 0
    assert lines(Path("a.jsonl").read_text()) == [{"id": 0, **single}]


def test_files_of_every_kind(run: Run, tmp_path: Path) -> None:
    table = io.StringIO()
    writer = csv.DictWriter(table, ["id", "text", "gold", "contrast"])
    writer.writeheader()
    writer.writerows(ROWS)
    (tmp_path / "in.csv").write_text(table.getvalue())
    (tmp_path / "in.jsonl").write_bytes(written(ROWS))
    (tmp_path / "in.txt").write_text("the red ball is\n")
    for source in ("in.csv", "in.jsonl"):
        assert run("batch", source, "-o", f"{source}.out.jsonl").code == 0
    assert (tmp_path / "in.csv.out.jsonl").read_bytes() == (tmp_path / "in.jsonl.out.jsonl").read_bytes()
    assert lines(run("batch", "in.txt").out)[0]["text"] == "the red ball is"
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    assert run("batch", "in.jsonl", "-o", "a.parquet", "--contrast", "mean").code == 0
    targets = [row["target"] for row in parquet.read_table(tmp_path / "a.parquet").to_pylist()]
    assert [target and target["contrast"]["token"] for target in targets] == ["red", None, "mean"]
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "in.parquet")
    assert run("batch", "in.parquet", "-o", "b.jsonl").code == 0
    assert (tmp_path / "b.jsonl").read_bytes() == (tmp_path / "in.jsonl.out.jsonl").read_bytes()
    assert {path.name for path in tmp_path.iterdir() if "journal" in path.name} == set()


def test_ctrl_c_keeps_what_is_finished(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.jsonl").write_bytes(written(ROWS))
    words = ("batch", "in.jsonl", "--batch-size", "1", "-o", "a.jsonl")
    assert run(*words).code == 0
    whole = (tmp_path / "a.jsonl").read_bytes()
    (tmp_path / "a.jsonl").unlink()
    told: list[int] = []

    def interrupted(*given: Any, progress: object, **options: Any) -> Any:
        def tell(done: int, total: int | None) -> None:
            told.append(done)
            if len(told) == 2:
                raise KeyboardInterrupt

        return explain_file(*given, progress=tell, **options)

    explain_file = keeping.explain_file
    monkeypatch.setattr(keeping, "explain_file", interrupted)
    ended = run(*words)
    assert ended.code == 130
    assert "kept beside a.jsonl: --resume goes on with it" in ended.err
    assert not (tmp_path / "a.jsonl").exists()
    refused = run(*words, "--resume", "--objective", "prob")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "another objective" in refused.err
    assert run(*words, "--resume").code == 0
    assert told == [1, 2, 1]
    assert (tmp_path / "a.jsonl").read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "in.jsonl"]


def test_an_empty_input_is_an_empty_output(run: Run, tmp_path: Path) -> None:
    assert run("batch", "-", stdin=b"") == (0, "", "")
    (tmp_path / "in.jsonl").write_bytes(b"\n")
    assert run("batch", "in.jsonl", "-o", "a.jsonl", "--resume").code == 0
    assert (tmp_path / "a.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "INPUT"),
        (["none.jsonl"], "cannot read 'none.jsonl'"),
        (
            ["in.jsonl", "--text-column", "txt"],
            "no column 'txt': choose one of text, id, gold, contrast (did you mean text?)",
        ),
        (["in.jsonl", "--target-column", "answer"], "no column 'answer'"),
        (["in.csv"], "no column 'text'"),
        (["in.jsonl", "--target", "nothing"], "not in the model's vocabulary"),
        (["in.jsonl", "--target", "red", "--target-id", "3"], "--target and --target-id"),
        (["in.jsonl", "--method", "attnlrb"], "did you mean attnlrp"),
        (["in.jsonl", "--method", "occlusion", "--quality", "high"], "leave --composite and --quality out"),
        (["in.jsonl", "--by", "message"], "only a chat has messages"),
        (["in.jsonl", "--layers", "--method", "occlusion"], "read by LRP, not by occlusion"),
        (["in.jsonl", "--batch-size", "0"], "--batch-size"),
        (["in.jsonl", "--model", "MODELS/none"], "does not exist"),
        (["in.jsonl", "-o", "a.csv"], "must end in .jsonl or .parquet"),
        (["in.jsonl", "-o", "none/a.jsonl"], "does not exist"),
        (["broken.parquet"], "is no Parquet file"),
        (["-", "-o", "a.jsonl", "--resume"], "what stdin held before"),
    ],
)
def test_what_concerns_all_rows_is_one_line_before_anything_is_written(
    run: Run, words: list[str], says: str, tmp_path: Path
) -> None:
    if "broken.parquet" in words:
        pytest.importorskip("pyarrow")
    (tmp_path / "in.jsonl").write_bytes(written(ROWS))
    (tmp_path / "in.csv").write_text("sentence\na\n")
    (tmp_path / "broken.parquet").write_text("x")
    ended = run("batch", *words, stdin=written(ROWS))
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert says in ended.err
    assert ended.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.parquet", "in.csv", "in.jsonl"]


def test_several_processes_need_files(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from lxtlike.dataset import processes

    monkeypatch.setattr(processes, "launched", lambda: processes.Processes(1, 2))
    ended = run("batch", "-", stdin=b"")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "give INPUT as a file, and -o FILE" in ended.err
