"""What a real browser makes of a page. Skipped where there is none."""

from __future__ import annotations

import html as entities
import json
import re
import shutil
import subprocess
from pathlib import Path

import examples
import pytest

from lxtlike.render import fragment, html

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr --v=0 --dump-dom"
).split(" ")

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on PATH")


def opened(page: str, folder: Path) -> tuple[str, list[str]]:
    """The document as the browser has it after loading `page` from disk, and what was said on its console."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={folder / 'profile'}", path.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    said = done.stderr.decode(errors="replace").splitlines()
    return done.stdout.decode(), [line for line in said if "CONSOLE" in line]


def test_hostile_tokens_show_as_themselves(tmp_path: Path) -> None:
    made = examples.hostile()
    document, console = opened(html(made), tmp_path)
    assert console == []
    assert "<img" not in document
    assert document.count("<script") == 2
    text = re.search(r'<div class="text".*?>(.*?)</div>', document, re.DOTALL)
    assert text is not None
    assert entities.unescape(re.sub(r"<[^>]*>", "", text[1])) == made["text"]
    # The page's own script ran: it names every token in a tooltip and shows its buttons.
    assert re.search(r'<button id="copy" type="button">', document)
    assert len(re.findall(r'title="[^"]*\(token \d+\)', text[1])) == len({t["start"] for t in made["tokens"]})


def test_the_page_gives_its_json_and_its_table_back(tmp_path: Path) -> None:
    # Offsets count code points, and a script counts an emoji as two.
    text = "🎉 big 🎉 film"
    tokens = [examples.token(i, piece, start, i - 0.7) for i, (piece, start) in enumerate(examples.cut(text, r"\S+"))]
    units = [{"text": t["text"], "start": t["start"], "end": t["end"], "tokens": [t["index"]]} for t in tokens]
    made = examples.result(text, tokens)
    made["units"] = [unit | {"relevance": t["relevance"]} for unit, t in zip(units, tokens, strict=True)]
    probe = '$("table").click(); console.error("heard")'
    probe += '; document.body.append(make("pre", JSON.stringify(result), {id: "probe"}));'
    page = re.sub(r"<meta http-equiv[^>]*>", "", html(made)).replace("</body>", f"<script>{probe}</script></body>")
    document, console = opened(page, tmp_path)
    assert any("heard" in line for line in console), "the other tests rely on hearing the console"
    found = re.search(r'<pre id="probe">(.*?)</pre>', document, re.DOTALL)
    assert found is not None
    restored = json.loads(entities.unescape(found[1]))
    for key in ("tokens", "units"):
        assert [examples.single(row.pop("relevance")) for row in restored[key]] == [r["relevance"] for r in made[key]]
        assert restored[key] == [{k: v for k, v in row.items() if k != "relevance"} for row in made[key]]
    assert restored["text"] == made["text"]
    assert document.count("<tr>") == 1 + len(made["units"])


def test_a_fragment_opens_its_shadow_root(tmp_path: Path) -> None:
    """The template is consumed by the parser, so what is left for the page to see is the plain text under it."""
    document, console = opened(f"<!DOCTYPE html><title>t</title>{fragment(examples.hostile())}", tmp_path)
    assert console == []
    assert "<template" not in document
    assert "<img" not in document
