"""Many texts: rows of files, explained in batches, and kept so that an interrupted run can go on."""

from lxtlike.dataset.explaining import ExplainedRow, explain_rows
from lxtlike.dataset.rows import Columns, Row

__all__ = ["Columns", "ExplainedRow", "Row", "explain_rows"]
