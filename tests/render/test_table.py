from __future__ import annotations

import csv as reader
import io
from collections.abc import Callable

import examples
import pytest

from lxtlike.errors import InputError
from lxtlike.render import csv, table, tsv


def test_csv_gives_everything_back() -> None:
    made = examples.hostile()
    rows = list(reader.DictReader(io.StringIO(csv(made), newline="")))
    assert [row["text"] for row in rows] == [token["text"] for token in made["tokens"]]
    assert [row["token"] for row in rows] == [token["token"] for token in made["tokens"]]
    assert [float(row["relevance"]) for row in rows] == [token["relevance"] for token in made["tokens"]]
    assert {row["special"] for row in rows} == {"false"}


def test_columns() -> None:
    assert csv(examples.classifier()).startswith(
        "index,id,token,text,start,end,special,relevance\n0,100,[CLS],,0,0,true,0.6"
    )
    lines = csv(examples.words()).splitlines()
    assert lines[0] == "index,label,text,start,end,tokens,relevance"
    assert lines[3].startswith('2,,"gorgeous,",2,11,2 3,1.8')
    made = examples.words()
    made["units"][2]["label"] = 'document "1"'
    assert csv(made).splitlines()[3].startswith('2,"document ""1""","gorgeous,",2,11,2 3,1.8')


def test_tsv_is_one_harmless_line_a_row() -> None:
    made = examples.hostile()
    lines = tsv(made).split("\n")
    assert lines.pop() == ""
    assert len(lines) == 1 + len(made["tokens"])
    assert all(line.count("\t") == 7 for line in lines)
    assert all(c == "\t" or c.isprintable() for line in lines for c in line)
    assert lines[2].split("\t")[3] == r" \x1b[31mred\x1b[0m\x1b]0;title\x07"
    assert lines[4].split("\t")[3] == r" \u202eevil\u202c"
    assert lines[9].split("\t")[3] == r" a\tb\r\nc"


def test_a_generation_is_a_matrix() -> None:
    made = examples.generation()
    head, *rows = list(reader.reader(io.StringIO(csv(made), newline="")))
    assert head[:5] == ["index", "id", "token", "position", "value"]
    assert head[5:] == [token["token"] for token in made["tokens"]]
    assert [[float(x) for x in row[5:]] for row in rows] == [output["relevance"] for output in made["outputs"]]
    lines = tsv(made).splitlines()
    assert len(lines) == 1 + len(made["outputs"])
    assert lines[8].split("\t")[2] == r"\nShe"


def test_long_forms_have_every_number() -> None:
    made = examples.layered()
    rows = list(reader.DictReader(io.StringIO(csv(made, "layers"), newline="")))
    assert [float(row["relevance"]) for row in rows] == [x for layer in made["layers"] for x in layer]
    assert (rows[-1]["layer"], rows[-1]["index"]) == ("6", str(len(made["tokens"]) - 1))
    assert {(row["index"], row["token"]) for row in rows} == {(str(t["index"]), t["token"]) for t in made["tokens"]}
    rows = list(reader.DictReader(io.StringIO(csv(made, "heads"), newline="")))
    assert [float(row["relevance"]) for row in rows] == [x for heads in made["heads"] for x in heads]
    assert (rows[0]["layer"], rows[0]["head"], rows[-1]["layer"], rows[-1]["head"]) == ("1", "1", "6", "8")
    made = examples.generation()
    head, rows = table(made, "pairs")
    assert head == ("output", "output_token", "index", "token", "relevance")
    assert len(rows) == sum(output["position"] for output in made["outputs"])
    assert sum(row[-1] for row in rows) == pytest.approx(sum(sum(o["relevance"]) for o in made["outputs"]))


def test_kinds_that_are_not_there() -> None:
    with pytest.raises(InputError, match="'rows' is unknown: use layers, heads, pairs"):
        csv(examples.zero(), "rows")
    with pytest.raises(InputError, match="no layers: ask for them"):
        csv(examples.zero(), "layers")
    with pytest.raises(InputError, match="no pairs: only a generation"):
        csv(examples.zero(), "pairs")


def test_formulas_are_text_for_a_spreadsheet_if_asked() -> None:
    pieces = ['=HYPERLINK("http://x";"y")', "+1", "-", "@a", "\tb", "\r=c", "＝1", " =d", "'e", "f=1"]
    made = examples.result("".join(pieces), [])
    for piece in pieces:
        at = sum(len(t["text"]) for t in made["tokens"])
        made["tokens"].append(examples.token(len(made["tokens"]), piece, at, -1.0))
    rows = list(reader.DictReader(io.StringIO(csv(made, spreadsheet=True), newline="")))
    assert [row["text"] for row in rows] == [f"'{piece}" for piece in pieces[:7]] + pieces[7:]
    assert {row["relevance"] for row in rows} == {"-1.0"}
    assert [row["text"] for row in reader.DictReader(io.StringIO(csv(made), newline=""))] == pieces


def test_tsv_escapes_the_escape() -> None:
    made = examples.result("\\t", [examples.token(0, "\\t", 0, 1.0)])
    assert tsv(made).splitlines()[1].split("\t")[3] == "\\\\t"


def test_snapshots(snapshot: Callable[[str, str], None]) -> None:
    snapshot("hostile.csv", csv(examples.hostile()))
    snapshot("words.tsv", tsv(examples.words()))
