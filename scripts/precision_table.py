"""Write the tables of docs/precision.md: relevance in float32, bfloat16 and float16 against float64, and quantised models.

python scripts/precision_table.py
python scripts/precision_table.py --model FOLDER    # a language model of one's own, printed only

Takes a quarter of an hour. Rows of libraries for quantised models that are not installed are left out.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from precision_measure import (
    BARS,
    COMPOSITES,
    REPEATED,
    ROOT,
    SHORT,
    TEXTS,
    Agreement,
    compare,
    difference,
    forward_alone,
    loud,
    random_inputs,
    spearman,
    text_inputs,
)

sys.path.insert(0, str(ROOT / "tests"))

from families import EAGER_ONLY, FAMILIES, build
from quantised import LIBRARIES, bundled, explained, twins

from lxtlike import Explainer
from lxtlike.errors import NumericalError
from lxtlike.files import write_whole

PAGE = ROOT / "docs" / "precision.md"
STORY = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
HEADS = {
    "trained": "model|input|composite|dtype|rank|unrounded|Pearson|cosine|difference|finite|ledger",
    "random": "model|dtype|lowest rank|where|lowest cosine|where|largest ledger error|finite",
    "missed": "model|input|composite|dtype|rank|forward alone|cosine",
    "quantised": "library|bits|model|composite|rank|difference|ledger|difference from the full model",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a trained causal language model")
    own: Path | None = parser.parse_args().model
    torch.set_num_threads(1)
    if own is not None:
        explainer = Explainer.from_pretrained(own)
        given = list(text_inputs(explainer, STORY, "Tom had a dog", STORY))
        print(table("trained", (row for row, _ in rows(own.name, explainer.model, given))))
        return
    trained: list[list[str]] = []
    missed: list[list[str]] = []
    random: list[list[str]] = []
    for name in TEXTS:
        explainer = Explainer.from_pretrained(name)
        given = list(text_inputs(explainer, TEXTS[name], SHORT[name], REPEATED[name]))
        collect(rows(name, explainer.model, given), trained, missed)
        if name == "bindings":
            collect(rows("bindings, loud", loud(explainer.model), given[:2]), trained, missed)
    for name in FAMILIES:
        print(name, file=sys.stderr)
        random.extend(summary(name, missed))
    tables = {"trained": trained, "random": random, "missed": missed, "quantised": list(quantised())}
    text = PAGE.read_text(encoding="utf-8")
    for kind, lines in tables.items():
        text = between(text, kind, table(kind, lines))
    versions = f"torch {torch.__version__.partition('+')[0]} and transformers {transformers.__version__}"
    write_whole(PAGE, between(text, "versions", versions))


def rows(name: str, model: Any, given: list[Any]) -> Iterator[tuple[list[str], list[str] | None]]:
    """The cells of each input, composite and dtype; and those of the table of what misses its bar."""
    for entry in given:
        for composite in COMPOSITES:
            for dtype in BARS:
                where = [name, entry.kind, composite, str(dtype)[6:]]
                try:
                    found = compare(model, entry, composite, dtype)
                except NumericalError:
                    yield [*where, "the model overflows", *["-"] * 6], None
                    continue
                yield where + cells(found), miss(where, found, model, entry, composite, dtype)


def cells(found: Agreement) -> list[str]:
    """An agreement as text."""
    ranks = [number(value) for value in (found.rank, found.original, found.pearson)]
    finite = "yes" if found.finite else "NO"
    return [*ranks, number(found.cosine), size(found.difference), finite, size(found.ledger)]


def miss(
    where: list[str], found: Agreement, model: Any, entry: Any, composite: str, dtype: torch.dtype
) -> list[str] | None:
    """The row of an agreement that misses its bar, with what the forward pass alone has lost."""
    if not found.rank < BARS[dtype]:
        return None
    return [*where, number(found.rank), number(forward_alone(model, entry, composite, dtype)), number(found.cosine)]


def number(value: float) -> str:
    """Four digits that never round up to 1."""
    return "-" if math.isnan(value) else "1" if value > 1 - 1e-9 else f"{math.floor(value * 1e4) / 1e4:.4f}"


def size(value: float) -> str:
    """One digit."""
    return "-" if math.isnan(value) else "0" if value == 0 else f"{value:.0e}"


def collect(
    found: Iterator[tuple[list[str], list[str] | None]], all_rows: list[list[str]], missed: list[list[str]]
) -> None:
    for row, missing in found:
        all_rows.append(row)
        if missing is not None:
            missed.append(missing)


def summary(name: str, missed: list[list[str]]) -> Iterator[list[str]]:
    """One row for each dtype: the worst of a random model over inputs, composites and attention implementations."""
    found: list[list[str]] = []
    for attention in ("eager",) if name in EAGER_ONLY else ("eager", "sdpa"):
        model = build(name, attention)
        collect(rows(f"{name} {attention}", model, list(random_inputs(model))), found, missed)
    for dtype in BARS:
        judged = [row for row in found if row[3] == str(dtype)[6:] and row[4] not in ("-", "the model overflows")]
        rank, angle = min(judged, key=lambda row: float(row[4])), min(judged, key=lambda row: float(row[7]))
        ledger = max((row[10] for row in found if row[3] == str(dtype)[6:] and row[10] != "-"), key=float, default="-")
        finite = "yes" if all(row[9] == "yes" for row in judged) else "NO"
        yield [name, rank[3], rank[4], place(rank), angle[7], place(angle), ledger, finite]


def place(row: list[str]) -> str:
    """Where a row was measured: input, composite, attention."""
    return f"{row[1]}, {row[2]}, {row[0].split()[-1]}"


def quantised() -> Iterator[list[str]]:
    """Quantised models against their dequantised twins."""
    for library, bits, name in itertools.product(LIBRARIES, (8, 4), TEXTS):
        try:
            models = [*twins(library, bits, name), bundled(name).model]
        except ImportError:
            print(f"{library} is not installed", file=sys.stderr)
            continue
        for composite in COMPOSITES:
            found, twin, full = (explained(model, name, composite) for model in models)
            own, its, whole = (attribution.relevance.astype(float) for attribution in (found, twin, full))
            sizes = [difference(own, its), found.ledger.relative_error, difference(own, whole)]
            yield [library, str(bits), name, composite, number(spearman(own, its)), *map(size, sizes)]


def table(kind: str, lines: Any) -> str:
    """A table in Markdown."""
    head = HEADS[kind].split("|")
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n{body}\n"


def between(text: str, kind: str, content: str) -> str:
    """`text` with what lies between two marks replaced."""
    start, end = f"<!-- {kind} -->", f"<!-- end {kind} -->"
    before, rest = text.split(start)
    return f"{before}{start}\n{content.strip()}\n{end}{rest.split(end)[1]}"


if __name__ == "__main__":
    main()
