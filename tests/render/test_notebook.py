"""The page as the output of a notebook's cell: run, saved, opened again by front ends that run scripts and that do not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import examples
import nbformat
import pytest
from browsing import Opened, background, outputs, pressed
from nbclient import NotebookClient

from lxtlike.render import fragment

if TYPE_CHECKING:
    from playwright.sync_api import Page

CELL = """\
import sys
sys.path.insert(0, {folder!r})
import examples
from lxtlike.render import fragment

class Shown:
    def _repr_html_(self):
        return fragment(examples.generation())

Shown()
"""
# JupyterLab and its kind put the markup of a saved output into the document and then run its scripts.
INSERT = """made => {
    const out = document.body.appendChild(document.createElement("div"));
    out.className = "out";
    out.innerHTML = made;
    for (const old of out.querySelectorAll("script")) {
        const script = document.createElement("script");
        script.type = old.type;
        script.textContent = old.textContent;
        old.replaceWith(script);
    }
}"""
# A front end with a style of its own, and with the names that the page uses.
FRONT = """<!DOCTYPE html><title>t</title><style>
button, a { color: rgb(1, 2, 3); text-transform: uppercase }
.text { display: none }
</style><p id=now class=page>mine</p><a class=text id=text href=#>link</a>"""
LOOKS = """() => [...document.querySelectorAll("body, #now, body > #text")].map(e => {
    const style = getComputedStyle(e);
    return [style.font, style.color, style.backgroundColor, style.display, style.padding, style.margin, style.boxShadow];
})"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The HTML outputs of a notebook with two cells that was run, saved and read again."""
    cells = [nbformat.v4.new_code_cell(CELL.format(folder=str(Path(__file__).parent))) for _ in range(2)]
    ran = NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=60).execute()
    file = tmp_path_factory.mktemp("notebook") / "saved.ipynb"
    nbformat.write(ran, file)
    return [
        output["data"]["text/html"]
        for cell in nbformat.read(file, as_version=4).cells
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]


def works(page: Page, place: int, of: int) -> None:
    """The page in that place answers to a click, and only that one."""
    each = len(examples.generation()["outputs"])
    shown = outputs(page).nth(place * each + 3)
    shown.click()
    assert shown.get_attribute("aria-pressed") == "true"
    assert pressed(page) == ["Lind"] * (place + 1)
    assert outputs(page).count() == of * each


def test_saved_outputs_work_again(opened: Opened, saved: list[str]) -> None:
    page = opened(FRONT)
    looked = page.evaluate(LOOKS)
    for made in saved:
        page.evaluate(INSERT, made)
    for place in range(2):
        works(page, place, of=2)
    # Neither takes the names or the looks of what is around it.
    assert page.evaluate(LOOKS) == looked
    assert page.evaluate("document.querySelectorAll('#text,#now,#controls').length") == 2
    assert page.locator(".out #text").first.is_visible()
    button = page.locator(".out #copy").first
    assert button.evaluate("e => getComputedStyle(e).textTransform") == "none"
    page.reload()
    for made in saved:
        page.evaluate(INSERT, made)
    works(page, 0, of=2)


def test_saved_outputs_work_in_a_document(opened: Opened, saved: list[str]) -> None:
    """As nbconvert writes them, where the browser's own parser meets the scripts."""
    page = opened(FRONT + "".join(f"<div class=out>{made}</div>" for made in saved))
    for place in range(2):
        works(page, place, of=2)
    page.reload()
    works(page, 0, of=2)


@pytest.mark.parametrize("options", [{}, {"java_script_enabled": False}])
def test_without_scripts_the_text_is_there(opened: Opened, options: dict[str, bool]) -> None:
    made = fragment(examples.generation())
    page = opened(FRONT + (made if options else "<div id=out></div>"), **options)
    if not options:  # markup that is only inserted does not run
        page.evaluate("made => document.getElementById('out').innerHTML = made", made)
    assert "Anna Lind lived there." in page.locator(".lxtlike").inner_text()
    assert page.locator(".lxtlike span[style*=background]").count() > 10
    assert background(page, ".lxtlike span[style*=background]") != background(page, "body")
