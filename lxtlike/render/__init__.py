"""Rendering: one result (the JSON object of an attribution or a generation) in, text for people, tables or pictures out.

`view` says once what there is to show; `page`, `console`, `table`, `latex`, `figure` and `comparison` lower it to their
medium. Nothing here knows a model, torch, transformers or numpy, and every string of the result is treated as written by a
stranger.
"""

from lxtlike.render.canvas import FORMATS as FIGURES
from lxtlike.render.comparison import comparison
from lxtlike.render.console import terminal
from lxtlike.render.figure import drawing, figure
from lxtlike.render.latex import latex
from lxtlike.render.page import fragment, html
from lxtlike.render.table import csv, table, tsv

__all__ = ["FIGURES", "comparison", "csv", "drawing", "figure", "fragment", "html", "latex", "table", "terminal", "tsv"]
