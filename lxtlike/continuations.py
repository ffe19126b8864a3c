"""Continuations of a text: one explained as a whole in one backward pass, or token by token with one for each.

Rows that predict the continuation come from a forward pass over text and continuation together (method, section 5), which
many outputs share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lxtlike.attribution import Attribution, AuditSummary, GenerationAttribution, Output, ResolvedTarget
from lxtlike.choices import Vocabulary
from lxtlike.errors import InputError
from lxtlike.feeding import check_length, model_inputs, prediction, rows_at
from lxtlike.memory import free_bytes
from lxtlike.methods import PLAIN, Explained, Progress, ReadOut
from lxtlike.propagation.parallel import agreed
from lxtlike.rules.primitives import Book
from lxtlike.setting import Setting, on_special, summary
from lxtlike.targets import Chosen, values
from lxtlike.text import Encoded
from lxtlike.version import versions

LEAST = 32
"""So many outputs share a forward pass at least, if memory has room for their rows."""

_COPIES = 4
"""Of a row of logits: as the model gives it, what the backward pass fills of its size, and what the objective needs."""


def explained_outputs(
    setting: Setting,
    prompt: Encoded,
    joined: Encoded,
    objective: str,
    *,
    strict: bool,
    readout: ReadOut = PLAIN,
    progress: Progress | None = None,
) -> GenerationAttribution:
    """Every token behind the prompt, explained by those before it: a backward pass for each.

    Some of them share a forward pass at a time (see `sharing`), over the text up to their last one.

    Args:
        joined: prompt and continuation.
        progress: called after each backward pass.

    Raises:
        InputError: the text is too long; a reference.
    """
    check_length(joined, setting.model, setting.tokenizer)
    first = start = start_of(prompt, joined)
    vocabulary = _vocabulary(setting)
    outputs: list[Output] = []
    relevance = np.zeros((len(joined.tokens) - start, len(joined.tokens)), np.float32)
    audits: list[AuditSummary] = []
    while first < len(joined.tokens):
        end = first + sharing(first, vocabulary.size, setting.model)
        read = replace(joined, tokens=joined.tokens[:end])
        chosen = [Chosen(number, None, objective) for number in read.ids[first:]]
        scalars = [partial(_one, chosen, n) for n in range(len(chosen))]
        told = partial(_shifted, progress, len(outputs), len(relevance)) if progress is not None else None
        found = _explain(setting, [read], first, scalars, strict, readout, progress=told)
        for row, (token, explained) in enumerate(zip(read.tokens[first:], found, strict=True)):
            own, index = explained.of(0, read), token.index - start
            relevance[index, : len(read.tokens)] = own.float().cpu().numpy()
            ledger = replace(explained.ledgers[0], special=on_special(read, own))
            best, value = prediction(explained.rows[row], vocabulary), float(explained.values[0])
            outputs.append(Output(index, token.id, token.token, token.index, value, best, ledger))
        audits.append(summary(found[-1]))
        first = end
    return GenerationAttribution(
        model=setting.name,
        task=setting.task,
        composite=setting.composite.name,
        text=joined.text,
        objective=objective,
        tokens=joined.tokens,
        outputs=tuple(outputs),
        relevance=relevance,
        audit=_together(audits),
        versions=versions(),
        parts=joined.parts,
    )


def sharing(length: int, vocabulary: int, model: Any) -> int:
    """How many outputs behind a text of `length` tokens share one forward pass.

    With n of them there are a forward pass and n backward passes over n tokens more; of these, each output needs those before
    it. So each output costs 1/n of a forward pass, and n/2 tokens that say nothing of it: least for n = sqrt(2 length).
    Their rows of logits may take a quarter of the memory that is left.
    """
    row = _COPIES * 4 * vocabulary
    return max(1, min(max(LEAST, math.isqrt(2 * length)), agreed(free_bytes(model.device), model) // 4 // row))


def explained_span(
    setting: Setting,
    prompt: Encoded,
    joined: Sequence[Encoded],
    objective: str,
    weights: Sequence[Sequence[float] | None],
    *,
    strict: bool,
    readout: ReadOut,
) -> Attribution:
    """A continuation as a whole, or what speaks for it rather than for another: one forward and one backward pass.

    Args:
        joined: prompt and continuation; a second one, of the same prompt and another continuation, is subtracted.
        weights: of each continuation one for each of its tokens; None means 1.
        readout: what is read besides the tokens' relevance; like that, it is of both texts together.

    Raises:
        InputError: weights that do not fit; a reference; two composites for the difference of two texts.
    """
    if readout.blend is not None and len(joined) > 1:
        raise InputError(
            "two composites are blended text by text, and a continuation against another one is a difference of two texts: "
            "explain it under one composite"
        )
    first, others, start = joined[0], joined[1:], start_of(prompt, joined[0])
    ids = [encoded.ids[start:] for encoded in joined]
    signed = []
    for item, (own, given) in enumerate(zip(ids, weights, strict=True)):
        if given is not None and len(given) != len(own):
            raise InputError(f"{len(given)} weights for a continuation of {len(own)} tokens: one for each is needed")
        signed += [(-1.0) ** item * float(weight) for weight in given or [1.0] * len(own)]
    chosen = [Chosen(number, None, objective) for own in ids for number in own]

    def scalar(rows: Tensor, book: Book) -> Tensor:
        scores = values(rows, chosen, book)
        weighted = scores * scores.new_tensor(signed)
        return torch.stack([part.sum() for part in torch.split(weighted, [len(own) for own in ids])])

    def together(relevance: Sequence[Tensor]) -> Tensor:
        """Of all texts [..., T]: that of the first one's tokens, with that of the others' for the prompt they share."""
        total = relevance[0][..., : len(first.tokens)].clone()
        for other in relevance[1:]:
            total[..., :start] += other[..., :start]
        return total

    (explained,) = _explain(setting, joined, start, [scalar], strict, readout)
    relevance = [explained.of(item, encoded) for item, encoded in enumerate(joined)]
    contrast: dict[str, Any] | None = None
    for item, other in enumerate(others, start=1):
        contrast = {
            "id": None,
            "token": other.text[len(prompt.text) :],
            "ids": ids[item],
            "relevance": relevance[item][start:].float().tolist(),
        }
    value = float(explained.values.sum())
    return setting.attribution(
        first,
        summary(explained),
        together(relevance),
        # Of both texts together: what is booked for the batch as a whole belongs to the difference, too.
        explained.audit.ledger(value, sum(ledger.tokens for ledger in explained.ledgers))
        if others
        else explained.ledgers[0],
        prediction=prediction(explained.rows[0], _vocabulary(setting)),
        target=ResolvedTarget(
            id=None,
            token=first.text[len(prompt.text) :],
            position=None,
            objective=objective,
            contrast=contrast,
            value=value,
            ids=tuple(ids[0]),
            positions=tuple(range(start, len(first.tokens))),
        ),
        layers=None if explained.layers is None else together(list(explained.layers)),
        heads=None if explained.heads is None else explained.heads.sum(0),
        positions=None if explained.positions is None else together(list(explained.positions)),
    )


def _one(chosen: list[Chosen], number: int, rows: Tensor, book: Book) -> Tensor:
    return values(rows[number : number + 1], [chosen[number]], book)


def _shifted(progress: Progress, before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)


def _explain(
    setting: Setting,
    joined: Sequence[Encoded],
    start: int,
    scalars: Sequence[Any],
    strict: bool,
    readout: ReadOut,
    **options: Any,
) -> list[Explained]:
    if readout.way is not None:
        raise InputError(
            "a reference stands for the whole text, and a continuation's own words are a part of it: explain one of its "
            "tokens, or leave the reference out"
        )
    for encoded in joined:
        check_length(encoded, setting.model, setting.tokenizer)
    first = 1 + (joined[0].decoder or 0)
    places = [(item, place - first) for item, one in enumerate(joined) for place in range(start, len(one.tokens))]
    kept = sorted({place for _, place in places})

    def read(outputs: Any) -> Tensor:
        return rows_at(outputs.logits, [item for item, _ in places], [place for _, place in places], kept)

    inputs = model_inputs(joined, setting.model, setting.tokenizer, kept)
    return setting.explained(inputs, read, scalars, strict=strict, readout=readout, queries=kept, **options)


def start_of(prompt: Encoded, joined: Encoded) -> int:
    """Index of the continuation's first token: a prompt may have lost special tokens that stood at its end."""
    pairs = zip(prompt.tokens, joined.tokens, strict=False)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), len(prompt.tokens))


def _vocabulary(setting: Setting) -> Vocabulary:
    return Vocabulary(setting.tokenizer, setting.model.config.get_text_config().vocab_size)


def _together(audits: Sequence[AuditSummary]) -> AuditSummary:
    deviations = [audit.forward_deviation for audit in audits if audit.forward_deviation is not None]
    uncovered = dict.fromkeys(operation for audit in audits for operation in audit.uncovered)
    return AuditSummary(max(deviations, default=None), tuple(uncovered))
