"""What people see of explained rows: terminal, page, figure; names of features and labels are a stranger's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from small_network import FEATURES

from lxtlike import InputError, TableAttribution
from lxtlike.render import features

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_the_terminal_ranks_features(explained: TableAttribution) -> None:
    shown = features.terminal(explained.to_dict(), width=80)
    assert max(map(len, shown.splitlines())) <= 80
    assert "5 rows: " in shown
    names = [line.split("  ")[-2].split("▆")[-1].split("▒")[-1].strip() for line in shown.splitlines() if "▆" in line]
    assert names == [name[: len(found)] for found, (name, _) in zip(names, explained.top(), strict=True)]
    assert "ledger: mean logit" in shown
    one = features.terminal(explained[0].to_dict(), top=1)
    assert one.count(" = ") == 3  # two features with their values, and the ledger
    assert f"Output “{explained.rows[0].target.token}”" in one
    assert "probability" in one
    assert "\x1b" not in shown
    assert "\x1b[" in features.terminal(explained.to_dict(), color="256")
    assert "▆" not in features.terminal(explained.to_dict(), top=0)


@pytest.mark.parametrize("rows", [slice(None), 0], ids=["rows", "row"])
def test_a_page_without_a_script(
    explained: TableAttribution, rows: int | slice, browser: Browser, tmp_path: Path
) -> None:
    shown = explained[rows]
    (tmp_path / "a.html").write_text(shown.to_html(), encoding="utf-8")
    heard: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: heard.append(message.text))
    page.goto((tmp_path / "a.html").as_uri())
    assert page.locator("img, script").count() == 0
    assert page.locator("#features li").count() == 4
    assert page.locator("#features .q").first.inner_text() == shown.top(1)[0][0]
    cells = page.locator("#values tbody td")
    assert cells.count() == (5 * 7 if rows != 0 else 0)
    assert page.locator("#accounts").inner_text().startswith("+")
    assert heard == []
    assert "<img" not in shown._repr_html_()
    assert "&lt;img src=x" in shown._repr_html_()


def test_figures(explained: TableAttribution) -> None:
    (axes,) = explained.plot().axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [name[:31] + "…" * (len(name) > 32) if len(name) > 32 else name for name, _ in explained.top()]
    widths = [bar.get_width() for bar in axes.patches]
    assert sum(map(abs, widths)) == pytest.approx(float(explained.importance.sum()))
    (axes,) = explained[0].plot(top=2).axes
    assert all(" = " in label.get_text() for label in axes.get_yticklabels())
    widths = [bar.get_width() for bar in axes.patches if bar.get_width()]
    assert sorted(map(abs, widths)) == pytest.approx(sorted(size for _, size in explained[0].top(2)))
    assert features.figure(explained.to_dict(), "svg").startswith(b"<?xml")


def test_what_cannot_be_shown_is_refused(explained: TableAttribution) -> None:
    with pytest.raises(InputError, match="one figure"):
        explained.plot("matrix")
    with pytest.raises(InputError, match="LaTeX"):
        explained.to_latex()
    with pytest.raises(InputError, match="figure format"):
        features.figure(explained.to_dict(), "gif")
    with pytest.raises(InputError, match="no explained rows"):
        features.html({"schema": "lxtlike/attribution/1"})


def test_reasons_for_doubt_are_said(explained: TableAttribution) -> None:
    data = explained.to_dict()
    data["rows"][2]["ledger"]["relative_error"] = 0.2
    data["audit"]["uncovered"] = [{"operation": "cumprod", "module": "", "remedy": "map it", "source": ""}]
    for shown in (features.terminal(data, width=200), features.html(data), features.fragment(data)):
        assert "No rule covers cumprod in the model: map it" in shown
        assert "a row does not close: 20.0%" in shown
    assert FEATURES[0] in repr(explained)
