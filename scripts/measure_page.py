"""How large a page is and how fast it answers, in a headless browser: ``python scripts/measure_page.py``.

Times are medians in milliseconds. An action's runs from the event to the end of the frame that shows it, waiting for that
frame (16.7 ms apart) included. Needs a chromium or chrome on PATH and playwright (``pip install '.[test]'``).
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "render"))

import examples

from lxtlike.render import html

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
TOKENS = (100, 1000, 4000)
OUTPUTS = (0, 20, 200)
COLUMNS = ("page", "load", "hover", "click", "words", "matrix")

ANSWERED = """action => new Promise(done => {
    const start = performance.now();
    action();
    const shown = new MessageChannel();
    shown.port1.onmessage = () => done(performance.now() - start);
    requestAnimationFrame(() => shown.port2.postMessage(0));
})"""


def main() -> None:
    """Print the table in Markdown."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        sys.exit("there is no chromium or chrome on PATH")
    print("| tokens | outputs | " + " | ".join(COLUMNS) + " |\n" + "|---:" * (2 + len(COLUMNS)) + "|")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-quic"])
        for tokens in TOKENS:
            for outputs in OUTPUTS:
                if outputs >= tokens:
                    continue
                measured = measure(browser, html(made(tokens, outputs)), outputs)
                print(
                    f"| {tokens} | {outputs} | " + " | ".join(measured.get(c, "") for c in COLUMNS) + " |", flush=True
                )
        browser.close()


def made(tokens: int, outputs: int) -> examples.Result:
    """A made-up result of about that many tokens, without outputs an explanation."""
    generation = examples.long_generation(tokens - outputs, max(1, outputs))
    if outputs:
        return generation
    row = generation["outputs"][0]["relevance"]
    carriers = [token | {"relevance": x} for token, x in zip(generation["tokens"], row, strict=True)]
    return examples.result(generation["text"], carriers)


def measure(browser: Browser, content: str, outputs: int) -> dict[str, str]:
    """Bytes and times of a page, each as it stands in the table."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(content, encoding="utf-8")
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        loads = []
        for _ in range(3):
            page.goto(file.as_uri())
            loads.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
        one = "() => (all => all[%d %% all.length])(document.querySelectorAll('#text>{}'))".format(
            "[aria-pressed]" if outputs else "a"
        )
        hover = f"{one}.dispatchEvent(new PointerEvent('pointerover', {{bubbles: true}}))"
        click = f"{one}.click()"
        choose = "() => document.querySelector('input[value=%s]').click()"
        found = {"page": f"{len(content.encode()) / 1000:.0f} kB", "load": f"{statistics.median(loads):.0f}"}
        if outputs:
            found["click"] = median(page, [click % (3 * place) for place in range(1, 12)])
            found["matrix"] = median(page, [choose % view for view in ("matrix", "text") * 4], every=2)
            page.evaluate("document.querySelector('#all').click()")
        found["hover"] = median(page, [hover % (7 * place) for place in range(1, 22)])
        found["words"] = median(page, [choose % by for by in ("word", "token") * 3])
        page.close()
    return found


def median(page: Page, actions: list[str], every: int = 1) -> str:
    """The median of the times that these actions, one after the other, take to be shown; of each or of every second."""
    timed = [page.evaluate(f"({ANSWERED})({action})") for action in actions]
    return f"{statistics.median(timed[::every]):.0f}"


if __name__ == "__main__":
    main()
