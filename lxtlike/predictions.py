"""One prediction explained: a token, a label or an answer that the model chooses, or a function of its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lxtlike.attribution import Attribution, ResolvedTarget
from lxtlike.feeding import check_length, model_inputs, prediction
from lxtlike.methods import ReadOut
from lxtlike.propagation.surroundings import frozen, owned
from lxtlike.rules.call import tensors
from lxtlike.rules.primitives import Book, wide
from lxtlike.setting import Setting, summary
from lxtlike.targets import FUNCTION, Chosen, Function, Target, measured, resolve, values
from lxtlike.tasks import Reading
from lxtlike.text import Encoded

CLOSED = 1e-3
"""Largest relative error of a batch item's ledger before the item is explained again on its own."""

PADDED = 1e-3
"""By how much, relative to the largest logit, a text's output may change in a batch with longer ones."""


def padding_matters(setting: Setting, reading: Reading, batch: Sequence[Encoded], position: int | None) -> bool:
    """Whether the model gives the shortest text of a batch another output when it is padded to the length of the longest.

    Masks keep most models from it, but not those that mix neighbours by convolutions or Fourier transforms.
    """
    shortest, longest = (choose(batch, key=lambda encoded: len(encoded.tokens)) for choose in (min, max))
    check_length(longest, setting.model, setting.tokenizer)
    rows = []
    for texts in ([shortest], [shortest, longest]):
        places = [reading.place(encoded, position) for encoded in texts]
        inputs = model_inputs(texts, setting.model, setting.tokenizer, reading.kept(places))
        with owned(setting.model), frozen(setting.model), torch.no_grad():
            rows.append(reading.rows(setting.model(**inputs), places, texts)[0])
    alone, padded = map(wide, rows)
    rounding = max(PADDED, 16 * torch.finfo(rows[0].dtype).eps)  # of the output: weights may be integers
    return bool((alone - padded).abs().max() > rounding * alone.abs().max())


def explained_choices(
    setting: Setting,
    reading: Reading,
    batch: Sequence[Encoded],
    targets: Sequence[Target],
    *,
    strict: bool,
    readout: ReadOut,
) -> list[Attribution]:
    """What the model chooses for each text of a batch, or the text's own target, in one forward and one backward pass.

    Raises:
        InputError: a text is too long, or there is no such target.
    """
    for encoded in batch:
        check_length(encoded, setting.model, setting.tokenizer)
    places = [reading.place(encoded, target.position) for encoded, target in zip(batch, targets, strict=True)]
    choices = reading.choices(batch[0])  # the same for all: texts with choices of their own come alone
    chosen: list[Chosen] = []

    def read(outputs: Any) -> Tensor:
        return reading.rows(outputs, places, batch)

    def scalar(rows: Tensor, book: Book) -> Tensor:
        if not chosen:  # settled at the text, also for points on the way to it
            chosen.extend(resolve(target, row, choices) for target, row in zip(targets, rows.detach(), strict=True))
        return values(rows, chosen, book)

    inputs = model_inputs(batch, setting.model, setting.tokenizer, reading.kept(places))
    queries = reading.queries(places, batch)
    (explained,) = setting.explained(inputs, read, [scalar], strict=strict, readout=readout, queries=queries)
    found = []
    for item, encoded in enumerate(batch):
        length = len(encoded.tokens)
        value = float(explained.values[item])
        found.append(
            setting.attribution(
                encoded,
                summary(explained),
                explained.of(item, encoded),
                explained.ledgers[item],
                prediction=prediction(explained.rows[item], choices),
                target=replace(
                    reading.target(chosen[item], encoded, choices, places[item], value),
                    **readout.stated(explained, item),
                ),
                layers=None if explained.layers is None else explained.layers[item, :, :length],
                heads=None if explained.heads is None else explained.heads[item],
                positions=None if explained.positions is None else explained.positions[item, :length],
            )
        )
    if len(batch) > 1 and any(a.ledger.relative_error > CLOSED for a in found) and setting.composite.rules:
        # Where tokens of all items are mixed (experts), what an item absorbed is only known item by item.
        alone = zip(batch, targets, strict=True)
        return [explained_choices(setting, reading, [e], [t], strict=strict, readout=readout)[0] for e, t in alone]
    return found


def explained_function(
    setting: Setting, encoded: Encoded, function: Function, *, strict: bool, readout: ReadOut
) -> Attribution:
    """What a caller's own function makes of the model's outputs for one text.

    Raises:
        InputError: the text is too long, or the function does not return one number.
    """
    check_length(encoded, setting.model, setting.tokenizer)
    latest: list[Any] = []

    def read(outputs: Any) -> Tensor:
        latest[:] = [outputs]
        return next(t for t in tensors(outputs) if t.is_floating_point())

    def scalar(_rows: Tensor, book: Book) -> Tensor:
        return measured(latest[0], function, book)

    inputs = model_inputs([encoded], setting.model, setting.tokenizer)
    (explained,) = setting.explained(inputs, read, [scalar], strict=strict, readout=readout)
    name = getattr(function, "__name__", type(function).__name__)
    return setting.attribution(
        encoded,
        summary(explained),
        explained.of(0, encoded),
        explained.ledgers[0],
        prediction=(),
        target=ResolvedTarget(
            None, name, None, FUNCTION, None, float(explained.values[0]), **readout.stated(explained, 0)
        ),
        layers=None if explained.layers is None else explained.layers[0],
        heads=None if explained.heads is None else explained.heads[0],
        positions=None if explained.positions is None else explained.positions[0],
    )
