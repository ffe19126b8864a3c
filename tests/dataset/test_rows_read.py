"""Texts from files of every kind, and what of them is refused."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lxtlike
from lxtlike import InputError
from lxtlike.dataset.rows import Columns, Row, read, stream, taken


def test_json_lines_with_all_that_is_known() -> None:
    full = {
        "id": "a",
        "text": "one two",
        "target": 3,
        "contrast": "no",
        "completion": " x",
        "context": "c",
        "evidence": [[0, 3]],
    }
    content = json.dumps(full) + "\n\n" + '{"text": "line\\u2028break"}\r\n'
    first, second = read("a.jsonl", content.encode())
    assert first == Row("a", "one two", 3, "no", " x", "c", ((0, 3),))
    assert second == Row(1, "line\u2028break")


def test_tables_and_plain_texts() -> None:
    table = 'sentence\tlabel\tspans\n"a ""b"""\tpositive\t"[[0, 1]]"\nc\t\t\n'
    columns = Columns(text="sentence", target="label", evidence="spans")
    assert read("a.tsv", table.encode(), columns) == [
        Row(0, 'a "b"', "positive", evidence=((0, 1),)),
        Row(1, "c"),
    ]
    assert read("a.csv", "\ufefftext,id\r\none,x\r\n".encode()) == [Row("x", "one")]
    assert read("a.txt", b"one \n\n two\r\n") == [Row(0, "one "), Row(1, " two")]
    assert read("-", b'  {"text": "t"}\n') == [Row(0, "t")]
    assert read("-", b"t\n") == [Row(0, "t")]


def test_known_causes_are_read_with_their_own_keys() -> None:
    path = Path(lxtlike.__file__).parent / "assets" / "known_cause.jsonl"
    rows = read(path, columns=Columns(target="answer", evidence="cause"))
    assert read("known-cause") == rows
    assert len(rows) == 500
    assert all(row.error is None and row.evidence and isinstance(row.target, str) for row in rows)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "no JSON object"),
        ("[1]", "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ("{}", "has no 'text', its keys are none"),
        ('{"txt": "a"}', "'txt'"),
        ('{"text": 1}', "'text' must be a text"),
        ('{"text": "a", "target": true}', "'target' must be a text"),
        ('{"text": "a", "evidence": [[0, 2]]}', "within the text's 1 characters"),
        ('{"text": "a", "evidence": [[0, 0]]}', "within"),
        ('{"text": "a", "evidence": "cause"}', "must be spans"),
        ('{"text": "a", "evidence": [[0]]}', "must be spans"),
        ('{"text": "a", "evidence": [[0.0, 1.0]]}', "must be spans"),
    ],
)
def test_a_bad_row_is_kept_with_its_error(line: str, says: str) -> None:
    good, bad = read("a.jsonl", b'{"text": "fine"}\n' + line.encode())
    assert good.error is None
    assert bad.id == 1
    assert says in (bad.error or "")
    with pytest.raises(InputError, match="no row of"):
        read("a.jsonl", line.encode())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.jsonl", None, "cannot read"),
        ("a.txt", b" \n", "holds no text"),
        ("a.txt", b"caf\xe9", "not valid UTF-8"),
        ("a.csv", b"a,b\n1,2\n", "no column 'text'"),
        ("a.csv", b"", "no column 'text'"),
        ("a.csv", b"text\n" + b"x" * 200_000, "no table in line"),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence(name: str, content: bytes | None, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read(tmp_path / name, content)
    assert "\n" not in str(caught.value)


@given(st.lists(st.text(min_size=1), min_size=1))
def test_any_text_survives_json_lines(texts: list[str]) -> None:
    content = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    assert [row.text for row in read("a.jsonl", content)] == texts


@settings(deadline=None)
@given(st.binary())
def test_whatever_a_file_holds_there_is_one_sentence(content: bytes) -> None:
    for name in ("a.jsonl", "a.csv", "a.txt", "a"):
        with suppress(InputError):
            assert read(name, content)


def test_a_stream_says_at_once_which_columns_are_missing() -> None:
    def streamed(kind: str, content: bytes, **columns: str) -> list[Row]:
        return list(stream(io.BytesIO(content), kind, "a", Columns(**columns)))

    lines = b'{"text": "a", "context": "b"}\n\xff\n{"text": "\xff"}\n'
    first, second, third = streamed("json", lines, context="")
    assert (first, second.error) == (Row(0, "a"), "the row is no JSON object")
    assert third.text == "\udcff"
    assert streamed("text", b"") == []
    for kind, content in (("json", lines), (",", b"text,b\n"), ("\t", b"text\n")):
        with pytest.raises(InputError, match="'a' has no column 'gold': choose one of text"):
            stream(io.BytesIO(content), kind, "a", Columns(target="gold"))


def test_a_stream_of_chats_reads_messages_and_turns(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "a, b"}]
    spelt, cell = json.dumps(messages), json.dumps(json.dumps(messages))
    deep = "[{" + '"a": [' * 100_000
    found = [
        *stream(
            io.BytesIO(f'{{"text": {spelt}}}\n{{"text": {cell}}}\n{spelt}\n'.encode()),
            "json",
            "a",
            Columns(),
            chat=True,
        ),
        *stream(
            io.BytesIO(f"text\n{chr(34)}{spelt.replace(chr(34), chr(34) * 2)}{chr(34)}\n".encode()),
            ",",
            "a",
            Columns(),
            chat=True,
        ),
        *stream(io.BytesIO(f"{spelt}\na, b\n{deep}\n".encode()), "text", "a", Columns(), chat=True),
    ]
    assert [row.text for row in found] == [messages] * 5 + ["a, b", deep]
    assert [row.error is None for row in found] == [True] * 6 + [False]


def test_an_id_that_cannot_be_written_is_the_rows_number() -> None:
    first, second = read("a.jsonl", b'{"text": "a", "id": "\\ud800"}\n{"text": "b", "id": [1]}')
    assert (first.id, second.id) == (0, 1)


def test_rows_of_a_callers_own() -> None:
    assert taken(["a", {"text": "b", "id": 7}, Row(9, "c")]) == [Row(0, "a"), Row(7, "b"), Row(9, "c")]
    with pytest.raises(InputError, match="at least one"):
        taken([])
