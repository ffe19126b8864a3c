"""The records of a sweep as the page docs/architectures.md."""

from __future__ import annotations

from typing import Any

from tiny_architectures import MAPPINGS
from tiny_explanation import closed

Record = dict[str, Any]


def verdict(record: Record) -> str:
    """One word on a type."""
    if not record["built"]:
        return "not built"
    return "closed" if closed(record) else "open"


def remark(record: Record) -> str:
    """Why a type is not closed; empty for those that are."""
    if record.get("error"):
        return str(record["error"]).replace("\n", " ").replace("|", "\\|")[:200]
    found = []
    uncovered = sorted({u for run in record["runs"].values() for u in run["uncovered"]})
    if uncovered:
        found.append("no rule: " + ", ".join(uncovered[:3]))
    if not all(run["finite"] for run in record["runs"].values()):
        found.append("not finite")
    if not closed(record):
        for key, run in record["runs"].items():
            if run["error"] > 1e-8 and key.endswith("float64"):
                found.append(f"{key} error {run['error']:.0e}")
            if run["deviation"]:
                found.append(f"{key} forward {run['deviation']:.0e}")
            if run["tokens"] == 0.0:
                found.append(f"{key} no relevance")
    return "; ".join(found)


def summary_lines(records: list[Record]) -> list[str]:
    """One line per mapping: how many of all types are closed."""
    lines = []
    for mapping in MAPPINGS:
        rows = [record for record in records if record["mapping"] == mapping]
        if rows:
            built = sum(record["built"] for record in rows)
            lines.append(f"{mapping}: {sum(map(closed, rows))} closed of {len(rows)} types, {built} built")
    return lines


def page(records: list[Record], seconds: float) -> str:
    return ""
