from __future__ import annotations

import sys
import warnings

import examples
import pytest

from lxtlike.errors import InputError, LxtlikeError
from lxtlike.render import drawing, figure

matplotlib = pytest.importorskip("matplotlib")
HEADS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.mark.parametrize("format", HEADS)
def test_formats(format: str) -> None:
    assert figure(examples.next_token(), format).startswith(HEADS[format])


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("bars", examples.words),
        ("bars", examples.generation),
        ("bars", examples.zero),
        ("matrix", examples.generation),
        ("layers", examples.layered),
        ("heads", examples.layered),
    ],
)
def test_kinds_draw_without_a_warning(kind: str, make: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert b"</svg>" in figure(make(), "svg", kind=kind)  # type: ignore[operator]


def test_layers_and_heads_are_counted() -> None:
    made = examples.layered()
    panel = drawing(made, "layers").axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == [
        "embeddings",
        *(f"layer {i}" for i in range(1, 7)),
    ]
    # The special token's relevance is shown, beyond the ends of a scale that the others set.
    special = panel.images[0].get_array()[:, 0]
    assert not special.mask.any()
    made["layers"][3][0] = -1e6
    assert drawing(made, "layers").axes[0].images[0].get_clim() == panel.images[0].get_clim()
    heads = drawing(made, "heads").axes[0]
    assert [label.get_text() for label in heads.get_xticklabels()] == [str(i) for i in range(1, 9)]
    assert [label.get_text() for label in heads.get_yticklabels()][::5] == ["layer 1", "layer 6"]


def test_the_matrix_leaves_special_tokens_out() -> None:
    made = examples.generation()
    cells = drawing(made).axes[0].images[0].get_array()
    assert [bool(column.all()) for column in cells.mask.T] == [token["special"] for token in made["tokens"]]


def test_bars_tell_their_numbers() -> None:
    made = examples.classifier()
    panel = drawing(made, top=3).axes[0]
    assert [text.get_text() for text in panel.texts] == ["+1.900", "+1.600", "+1.500"]
    made["tokens"][2]["relevance"] = -1e-7
    assert [text.get_text() for text in drawing(made, top=30).axes[0].texts][1] == "−1.00e−07"


def test_text_is_never_a_formula_and_other_scripts_do_not_warn() -> None:
    text = r"$\frac{1 $x$ 日本語 ש 🎉 $\oops$ <b> ꙮ"
    tokens = [examples.token(i, piece, start, i + 1.0) for i, (piece, start) in enumerate(examples.cut(text, r"\S+"))]
    made = examples.result(text, tokens)
    made["target"]["token"] = r"$\frac{$"
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.fonttype": "none"}):
        warnings.simplefilter("error")
        page = figure(made, "svg").decode()
        figure(made, "pdf")
    assert r"$\frac{1" in page
    assert "$x$" in page
    assert "&lt;b&gt;" in page


def test_nothing_of_matplotlib_is_changed() -> None:
    before = dict(matplotlib.rcParams)
    sys.modules.pop("matplotlib.pyplot", None)
    figure(examples.generation())
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules


def test_the_same_result_gives_the_same_picture() -> None:
    assert figure(examples.next_token()) == figure(examples.next_token())


def test_wrong_wishes() -> None:
    with pytest.raises(InputError, match="'gif' is unknown: use png, svg, pdf"):
        figure(examples.zero(), "gif")
    with pytest.raises(InputError, match="'pie' is unknown: use bars, layers, heads, matrix"):
        figure(examples.zero(), kind="pie")
    with pytest.raises(InputError, match="only a generation has one"):
        figure(examples.zero(), kind="matrix")
    with pytest.raises(InputError, match="no layers"):
        figure(examples.zero(), kind="layers")


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(LxtlikeError, match=r"pip install 'lxtlike\[plot\]'"):
        figure(examples.zero())
