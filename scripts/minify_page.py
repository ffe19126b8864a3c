"""Write the small form of the page's script, `page.min.js`, after a change of `page.js`: pip install tdewolff-minify."""

from __future__ import annotations

import hashlib
from pathlib import Path

import minify  # type: ignore[import-not-found]

FOLDER = Path(__file__).parents[1] / "lxtlike" / "render" / "templates"

source = (FOLDER / "page.js").read_text(encoding="utf-8")
small = minify.string("application/javascript", source)
# The first line, which no page gets, says of which source this is; the tests compare.
head = (
    f"// {hashlib.sha256(source.encode()).hexdigest()} is the SHA-256 of page.js; written by scripts/minify_page.py\n"
)
(FOLDER / "page.min.js").write_text(head + small + "\n", encoding="utf-8")
