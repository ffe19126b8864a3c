"""Continuations of a text: one explained as a whole in one backward pass, or token by token with one for each.

All rows that predict the continuation come from one forward pass over text and continuation together (method, section 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lxtlike.attribution import Attribution, GenerationAttribution, Output, ResolvedTarget
from lxtlike.choices import Vocabulary
from lxtlike.errors import InputError
from lxtlike.feeding import check_length, model_inputs, prediction, rows_at
from lxtlike.methods import Explained, Progress, Views
from lxtlike.rules.primitives import Book
from lxtlike.setting import Setting, on_special, summary
from lxtlike.targets import Chosen, values
from lxtlike.text import Encoded
from lxtlike.version import versions


def explained_outputs(
    setting: Setting,
    prompt: Encoded,
    joined: Encoded,
    objective: str,
    *,
    strict: bool,
    progress: Progress | None = None,
) -> GenerationAttribution:
    """Every token behind the prompt, explained by those before it: one forward pass, a backward pass for each.

    Args:
        joined: prompt and continuation.
        progress: called after each backward pass.
    """
    start = _start(prompt, joined)
    chosen = [Chosen(number, None, objective) for number in joined.ids[start:]]
    scalars = [partial(_one, chosen, n) for n in range(len(chosen))]
    found = _explain(setting, [joined], start, scalars, strict, progress=progress)
    vocabulary = _vocabulary(setting)
    return GenerationAttribution(
        model=setting.name,
        task=setting.task,
        composite=setting.composite.name,
        text=joined.text,
        objective=objective,
        tokens=joined.tokens,
        outputs=tuple(
            Output(
                index=index,
                id=token.id,
                token=token.token,
                position=token.index,
                value=float(explained.values[0]),
                prediction=prediction(explained.rows[index], vocabulary),
                ledger=replace(explained.ledgers[0], special=on_special(joined, explained.relevance[0])),
            )
            for index, (token, explained) in enumerate(zip(joined.tokens[start:], found, strict=True))
        ),
        relevance=torch.cat([explained.relevance for explained in found]).float().cpu().numpy(),
        audit=summary(found[-1]),
        versions=versions(),
        parts=joined.parts,
    )


def explained_span(
    setting: Setting,
    prompt: Encoded,
    joined: Sequence[Encoded],
    objective: str,
    weights: Sequence[Sequence[float] | None],
    *,
    strict: bool,
    views: Views,
) -> Attribution:
    """A continuation as a whole, or what speaks for it rather than for another: one forward and one backward pass.

    Args:
        joined: prompt and continuation; a second one, of the same prompt and another continuation, is subtracted.
        weights: of each continuation one for each of its tokens; None means 1.
        views: what is read besides the tokens' relevance; like that, it is of both texts together.

    Raises:
        InputError: weights that do not fit.
    """
    first, others, start = joined[0], joined[1:], _start(prompt, joined[0])
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

    def together(relevance: Tensor) -> Tensor:
        """Of all texts [N, ..., T]: that of the first one's tokens, with that of the others' for the prompt they share."""
        total = relevance[0, ..., : len(first.tokens)].clone()
        total[..., :start] += relevance[1:, ..., :start].sum(0)
        return total

    (explained,) = _explain(setting, joined, start, [scalar], strict, views=views)
    contrast: dict[str, Any] | None = None
    for item, other in enumerate(others, start=1):
        contrast = {
            "id": None,
            "token": other.text[len(prompt.text) :],
            "ids": ids[item],
            "relevance": explained.relevance[item, start : len(other.tokens)].float().tolist(),
        }
    value = float(explained.values.sum())
    return setting.attribution(
        first,
        explained,
        together(explained.relevance),
        # Of both texts together: what is booked for the batch as a whole belongs to the difference, too.
        explained.audit.ledger(value, explained.relevance),
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
        layers=None if explained.layers is None else together(explained.layers),
        heads=None if explained.heads is None else explained.heads.sum(0),
    )


def generated(model: Any, tokenizer: Any, prompt: Encoded, options: Mapping[str, Any]) -> list[int]:
    """The ids that the model's own `generate` puts behind a prompt; greedy, 20 of them, unless the options say else.

    Raises:
        InputError: `generate` refuses an option, or generates nothing.
    """
    options = {"do_sample": False, "max_new_tokens": 20, **options}
    inputs = {k: v for k, v in model_inputs([prompt], model, tokenizer).items() if k != "use_cache"}
    training = model.training
    try:
        with torch.no_grad():
            found = model.eval().generate(**inputs, **options)
    except (TypeError, ValueError) as error:
        raise InputError(f"the model's generate refuses this: {error}") from error
    finally:
        model.train(training)
    ids: list[int] = getattr(found, "sequences", found)[0, len(prompt.tokens) :].tolist()
    if not ids:
        raise InputError("the model generated nothing; ask for at least one token (max_new_tokens)")
    return ids


def _one(chosen: list[Chosen], number: int, rows: Tensor, book: Book) -> Tensor:
    return values(rows[number : number + 1], [chosen[number]], book)


def _explain(
    setting: Setting,
    joined: Sequence[Encoded],
    start: int,
    scalars: Sequence[Any],
    strict: bool,
    **options: Any,
) -> list[Explained]:
    for encoded in joined:
        check_length(encoded, setting.model, setting.tokenizer)
    places = [(item, place - 1) for item, one in enumerate(joined) for place in range(start, len(one.tokens))]
    kept = sorted({place for _, place in places})

    def read(outputs: Any) -> Tensor:
        return rows_at(outputs.logits, [item for item, _ in places], [place for _, place in places], kept)

    inputs = model_inputs(joined, setting.model, setting.tokenizer, kept)
    return setting.explained(inputs, read, scalars, strict=strict, **options)


def _start(prompt: Encoded, joined: Encoded) -> int:
    """Index of the continuation's first token: a prompt may have lost special tokens that stood at its end."""
    pairs = zip(prompt.tokens, joined.tokens, strict=False)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), len(prompt.tokens))


def _vocabulary(setting: Setting) -> Vocabulary:
    return Vocabulary(setting.tokenizer, setting.model.config.get_text_config().vocab_size)
