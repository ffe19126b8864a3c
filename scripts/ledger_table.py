"""Print the ledger of every architecture that the tests know, as Markdown, and write it to docs/ledger.md.

python scripts/ledger_table.py

The models are tiny and random. Whether their accounts close does not depend on training.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "propagation"))

from families import EAGER_ONLY, FAMILIES, build, embeddings_of, run  # noqa: E402 - the table exists once, there

from lxtlike import Ledger, propagate  # noqa: E402
from lxtlike.files import write_whole  # noqa: E402
from lxtlike.propagation.precision import Float64Casts  # noqa: E402

COMPOSITES = ("attnlrp", "cp-lrp")
ACCOUNTS = ("explained", "tokens", "positions", "biases", "softmax", "router", "rest")
COLUMNS = ("family", "class", "attention", "composite", *ACCOUNTS, "relative error float64", "float32")

TEXT = """# The ledger of {count} architectures in {variants} variants

Written by `scripts/ledger_table.py` with torch {torch} and transformers {transformers}. The models are tiny and random (two
layers, hidden size 32; weights, norms and biases all random): the accounts say nothing about trained models, whether they
close does not depend on training. One input of 9 tokens; explained is the largest logit of the last position, or the
largest class logit. Of an encoder-decoder, the decoder's inputs count as tokens.

`explained = tokens + positions + biases + softmax + router + rest`; the account `epsilon` is zero in all rows. The numbers
are those of float64, where transformers' own casts to float32 go to float64 as well. `relative error` is
|rest| over the sum of the absolute accounts, in float64 and in float32. In every row the patched forward gives the plain
model's numbers{deviation} and no operation is without a rule{uncovered}. What the accounts mean: [rules](rules.md#the-ledger).

"""


def main() -> None:
    torch.set_num_threads(1)
    lines, deviation, uncovered = [], 0.0, 0
    for name in FAMILIES:
        for attention in ("eager",) if name in EAGER_ONLY else ("eager", "sdpa"):
            for composite in COMPOSITES:
                double, *found = measured(name, attention, composite, torch.float64)
                single, *found32 = measured(name, attention, composite, torch.float32)
                deviation, uncovered = max(deviation, found[0], found32[0]), uncovered + found[1] + found32[1]
                lines.append(row(name, attention, composite, double, single))
    text = TEXT.format(
        count=len({build(name).config.model_type for name in FAMILIES}),
        variants=len(FAMILIES),
        torch=torch.__version__.partition("+")[0],
        transformers=transformers.__version__,
        deviation=f" (largest deviation {deviation:.0e})" if deviation else ", bit for bit,",
        uncovered=f" ({uncovered} findings)" if uncovered else "",
    )
    head = f"| {' | '.join(COLUMNS)} |\n|{'---|' * 4}{'---:|' * (len(COLUMNS) - 4)}\n"
    page = text + head + "\n".join(lines) + "\n"
    write_whole(ROOT / "docs" / "ledger.md", page)
    sys.stdout.write(page)


def measured(name: str, attention: str, composite: str, dtype: torch.dtype) -> tuple[Ledger, float, int]:
    """The ledger, the deviation of the forward and the number of operations without a rule."""
    model = build(name, attention, dtype)
    with Float64Casts() if dtype == torch.float64 else contextlib.nullcontext():
        with torch.no_grad():
            plain, _ = run(model, embeddings_of(model))
        with propagate(model, composite) as audit:
            logits, leaves = run(model, embeddings_of(model))
            value = logits.max()
            coefficients = torch.autograd.grad(value, leaves)
    tokens = sum((e * c).sum() for e, c in zip(leaves, coefficients, strict=True))
    return audit.ledger(value, tokens), audit.compare(plain, logits), len(audit.uncovered)


def row(name: str, attention: str, composite: str, double: Ledger, single: Ledger) -> str:
    """One line of the table."""
    return f"| {' | '.join(cells(name, attention, composite, double, single))} |"


def cells(name: str, attention: str, composite: str, double: Ledger, single: Ledger) -> Iterator[str]:
    yield from (name, type(build(name, attention)).__name__, attention, composite)
    accounts = double.to_dict()
    yield from (f"{accounts[account]:.4f}" for account in ACCOUNTS[:-1])
    yield f"{accounts['rest']:.0e}"
    yield f"{double.relative_error:.0e}"
    yield f"{single.relative_error:.0e}"


if __name__ == "__main__":
    main()
