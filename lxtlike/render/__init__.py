"""Rendering: one result (the JSON object ``lxtlike/attribution/1``) in, text for people or tables out.

`view` says once what there is to show; `page`, `console` and `table` lower it to their medium. Nothing here knows a
model, torch, transformers or numpy, and every string of the result is treated as written by a stranger.
"""

from lxtlike.render.console import terminal
from lxtlike.render.page import fragment, html
from lxtlike.render.table import csv, tsv

__all__ = ["csv", "fragment", "html", "terminal", "tsv"]
