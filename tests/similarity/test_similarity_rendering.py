"""What people see of a similarity: terminal, page, figure; every text in it is a stranger's."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from two_texts import FIRST, SECOND

from lxtlike import InputError, PairAttribution
from lxtlike.render import pairs
from lxtlike.render.pairs.view import PairView

if TYPE_CHECKING:
    from playwright.sync_api import Browser

EVIL = "</script><img src=x onerror=alert(1)>"


@pytest.fixture
def hostile(explained: PairAttribution) -> dict[str, Any]:
    """Every token of the first text is code for some medium; two of the second share their characters."""
    data = explained.to_dict()
    words = [EVIL, "$x^2$", "\x1b[31mred", "=1+1", "\u202eevil", "", "a\nb"]
    text, tokens = "", []
    for index, (word, token) in enumerate(zip(words, data["first"]["tokens"], strict=False)):
        tokens.append({**token, "index": index, "token": word, "text": word, "start": len(text), "special": False})
        text += word
        tokens[-1]["end"] = len(text)
        text += " "
    data["first"] = {"text": text, "tokens": tokens}
    data["matrix"] = data["matrix"][: len(tokens)]
    one, other = data["second"]["tokens"][1:3]
    other |= {key: one[key] for key in ("start", "end", "text")}
    return data


def test_the_terminal_shows_texts_pairs_matrix_and_ledger(explained: PairAttribution) -> None:
    shown = pairs.terminal(explained.to_dict(), width=80, top=3)
    assert max(map(len, shown.splitlines())) <= 80
    assert f"first: {FIRST}" in shown
    assert f"second: {SECOND}" in shown
    one, other, _ = explained.top(1)[0]
    assert f" {one.text} ~ {other.text}" in shown
    assert len(re.findall(" ~ ", shown)) == 6
    assert re.search(r"ledger: cosine \S+ = (- )?pairs of tokens .* rest", shown.replace("\n", " "))
    assert "\x1b" not in shown
    assert "\x1b[" in pairs.terminal(explained.to_dict(), color="truecolor")
    assert " ~ " not in pairs.terminal(explained.to_dict(), top=0)


def test_a_narrow_terminal_breaks_the_matrix(explained: PairAttribution) -> None:
    shown = pairs.terminal(explained.to_dict(), width=40)
    assert max(map(len, shown.splitlines())) <= 40
    assert len(re.findall(r"^ +box ", shown, re.MULTILINE)) == 2


def test_no_medium_obeys_a_text(hostile: dict[str, Any]) -> None:
    assert "\x1b" not in pairs.terminal(hostile)
    assert "\u202e" not in pairs.terminal(hostile)
    for page in (pairs.html(hostile), pairs.fragment(hostile)):
        assert "<img" not in page
        assert EVIL.replace("<", "&lt;").replace(">", "&gt;") in page
    assert "'=1+1" in pairs.csv(hostile, spreadsheet=True)
    assert "\x1b" not in pairs.tsv(hostile)
    assert pairs.figure(hostile)[:4] == b"\x89PNG"


def test_other_schemas_and_kinds_are_refused(explained: PairAttribution) -> None:
    for show in (pairs.terminal, pairs.html, pairs.fragment, pairs.drawing):
        with pytest.raises(InputError, match="no similarity"):
            show({"schema": "lxtlike/attribution/1"})
    with pytest.raises(InputError, match="lines, matrix"):
        explained.plot("bars")
    with pytest.raises(InputError, match="figure format"):
        pairs.figure(explained.to_dict(), "gif")
    with pytest.raises(InputError, match="figure"):
        explained.to_latex()


def test_an_open_ledger_and_an_operation_without_a_rule_are_said(explained: PairAttribution) -> None:
    data = explained.to_dict()
    data["ledger"] |= {"rest": 0.2, "relative_error": 0.3}
    data["audit"]["uncovered"] = [{"operation": "cumprod", "module": "", "remedy": "map it", "source": ""}]
    for shown in (pairs.terminal(data, width=200), pairs.html(data), pairs.fragment(data)):
        assert "No rule covers cumprod in the model: map it" in shown
        assert "does not close" in shown


def test_lines_join_the_strongest_pairs(explained: PairAttribution) -> None:
    (axes,) = explained.plot(top=6).axes
    assert len(axes.lines) == 6
    words = [text.get_text() for text in axes.texts]
    assert words == [*FIRST.split(), *SECOND.split()]
    strongest = sorted(explained.top(6), key=lambda pair: abs(pair[2]))  # the strongest one is drawn last
    signs = [line.get_linestyle() == "-" for line in axes.lines]
    assert signs == [value > 0 for _, _, value in strongest]
    assert len(set(signs)) == 2
    (cells, _bar) = explained.plot("matrix").axes
    assert cells.images[0].get_array().shape == (8, 9)
    for kind in ("lines", "matrix"):
        file = io.BytesIO()
        explained.plot(kind).savefig(file)
        assert file.getbuffer().nbytes > 5000


def test_the_page_shows_what_a_token_meets(explained: PairAttribution, browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(explained.to_html(), encoding="utf-8")
    heard: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.goto((tmp_path / "a.html").as_uri())
    assert page.locator("#first").evaluate("e => e.textContent") == FIRST
    assert page.locator("#matrix td[title]").count() == 8 * 9

    def ratios() -> list[str | None]:
        return [a.get_attribute("style") for a in page.locator("#second a").all()]

    before = ratios()
    view = PairView.of(explained.to_dict())
    page.hover('#first a[data-i="2"]')
    expected = [view.scale.ratio(value) for value in explained.matrix[2].tolist()]
    for found, ratio in list(zip(ratios(), expected, strict=True))[1:-1]:
        assert found is not None
        assert float(found.removeprefix("--r:")) == pytest.approx(ratio, abs=0.006)
    strongest = max(range(1, 10), key=lambda j: abs(explained.matrix[2, j]))
    assert f"“red” meets “{explained.second.tokens[strongest].text}”" in page.inner_text("#now")
    page.hover("h1")
    assert ratios() == before
    page.click('#first a[data-i="2"]')
    page.hover("h1")
    assert ratios() != before
    page.focus('#second a[data-i="1"]')
    assert "“a” meets" in page.inner_text("#now")
    for place, value in enumerate(explained.matrix[1:-1, 1].tolist(), start=1):
        style = page.get_attribute(f'#first a[data-i="{place}"]', "style")
        assert style is not None
        assert float(style.removeprefix("--r:")) == pytest.approx(view.scale.ratio(value), abs=0.006)
    assert heard == []


def test_hostile_tokens_show_as_themselves(hostile: dict[str, Any], browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(pairs.html(hostile), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "a.html").as_uri())
    assert page.locator("img").count() == 0
    assert page.locator("#first").evaluate("e => e.textContent") == hostile["first"]["text"]
    page.hover('#first a[data-i="0"]')
    assert page.inner_text("#now").startswith(f"“{EVIL}” meets")
