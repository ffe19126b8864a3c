"""Layer-wise relevance propagation: one forward and one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lxtlike.composites import Composite
from lxtlike.errors import InputError
from lxtlike.ledger import Ledger
from lxtlike.methods.leaves import TokenPlaces, embedding_leaves
from lxtlike.methods.passes import Progress, Scalar, backward_passes, check
from lxtlike.methods.queries import OtherQueries, queried
from lxtlike.methods.reference import Point
from lxtlike.methods.views import NO_VIEWS, ViewPlaces, Views, layer_runs
from lxtlike.propagation import Audit, propagate
from lxtlike.propagation.surroundings import frozen, owned
from lxtlike.text import Encoded

Read = Callable[[Any], Tensor]


@dataclass(frozen=True)
class Explained:
    """What a method gives back for a batch.

    Attributes:
        relevance: [B, T], float32 or wider; raw. Of an encoder's tokens where there is a decoder.
        values: the explained scalars F [B].
        rows: the rows of logits [R, V] that were read.
        ledgers: one for each item [B].
        audit: complete.
        layers: [B, L + 1, T], relevance of every position at the embeddings and behind every layer; None if not asked for.
        heads: [B, L, H], relevance of what every attention head puts out; None if not asked for.
        decoder: [B, D], relevance of a decoder's tokens.
        positions: [B, T], relevance of what is added to the tokens for where they stand; None if not asked for.
        points: over how many points of a path the coefficients of each item [B] are averaged; empty without one.
    """

    relevance: Tensor
    values: Tensor
    rows: Tensor
    ledgers: tuple[Ledger, ...]
    audit: Audit
    layers: Tensor | None = None
    heads: Tensor | None = None
    decoder: Tensor | None = None
    positions: Tensor | None = None
    points: tuple[int, ...] = ()

    def of(self, item: int, encoded: Encoded) -> Tensor:
        """Relevance [T] of all tokens of one item, without its padding."""
        found = [self.relevance] if self.decoder is None else [self.relevance, self.decoder]
        return torch.cat([r[item, : len(tokens)] for r, tokens in zip(found, encoded.sequences, strict=True)])


def lrp(
    model: nn.Module,
    inputs: Mapping[str, Any],
    read: Read,
    scalars: Sequence[Scalar],
    composite: Composite,
    *,
    strict: bool = False,
    compare: bool = False,
    checkpointing: bool | None = None,
    views: Views = NO_VIEWS,
    positions: bool = False,
    at: Point | None = None,
    queries: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> list[Explained]:
    """Relevance of the input tokens: ``R = sum_d e_d c_d`` at the input embeddings (2502.15886; method, section 1).

    One forward pass serves all targets; each takes a backward pass of its own.

    Args:
        model: a transformers model with `get_input_embeddings`.
        inputs: keyword arguments of its forward, ``input_ids`` [B, T] among them, and an encoder-decoder's
            ``decoder_input_ids`` [B, D].
        read: outputs -> the rows of logits [R, V] that are explained.
        scalars: each rows [R, V] and the account book -> F [B]; see `backward_passes`.
        compare: run a plain forward first and measure the patched one's deviation from it.
        checkpointing: see `propagate`.
        views, positions: what is read besides the relevance of the tokens.
        at: where on the way from a reference to the text: relevance is that of the whole way, ``(e - e_ref) c``, and ledgers
            are of this point.
        queries: the positions on whose hidden states the rows depend, ascending; the last layer then runs for these only where
            it can (`lxtlike.methods.queries`). None: on all, for all that is known.
        progress: called after each backward pass.

    Raises:
        InputError: heads are asked for, and the model has none, or none that can be told apart; layers of a text that a
            decoder reads again, or its way from a reference; positions of a model that adds nothing for them.
        NumericalError: NaN in the logits, or NaN or inf in the target or in the relevance.
        AuditError: under `strict`.
    """
    plain = None
    if compare:
        with owned(model), frozen(model), torch.no_grad():
            plain = read(model(**inputs))

    def explained(audit: Audit, asked: Sequence[int] | None) -> list[Explained]:
        """The forward pass, and a backward pass for each target; OtherQueries if it reads more than the positions asked for."""
        ids, place = inputs["input_ids"], None if at is None else at.place
        with embedding_leaves(model, ids, place) as leaves, layer_runs(model, views) as runs:
            audit.book.items = len(ids)
            audit.book.text = ids.shape if positions else None
            with queried(model, asked) as last:
                rows = read(model(**inputs))
        last.check(rows, lambda: read(model(**inputs)))
        if at is not None and len(leaves) != 1:
            raise InputError(
                "a reference is for models that look a text up once, and this one has a decoder: leave it out"
            )
        if plain is not None:
            audit.compare(plain, rows)
        tokens = TokenPlaces.of(model, leaves, inputs, audit.book)
        if tokens.repeats and views.layers:
            raise InputError(
                "layers are not read of a classifier whose decoder reads the text again, one place further on: leave them out"
            )
        places = ViewPlaces.of(model, runs, views, leaves[0].shape[:2])
        wanted = [*leaves, *places.tensors]
        found = []
        for backward in backward_passes(rows, scalars, wanted, audit, progress):
            relevance, decoder = tokens.sums(backward.relevance)
            whole = relevance if decoder is None else torch.cat([relevance, decoder], 1)
            check(bool(whole.isfinite().all()), "the relevance is NaN or infinite")
            values = backward.values
            ledgers = tuple(audit.ledger(values[item], whole[item], item=item) for item in range(len(values)))
            viewed = places.sums(backward.relevance, relevance)
            if at is not None:
                relevance = audit.relevance(at.steps[0], backward.coefficients[0]).sum(-1)
            held = _held(model, audit) if positions else None
            found.append(Explained(relevance, values, rows.detach(), ledgers, audit, *viewed, decoder, held))
        return found

    with torch.enable_grad(), propagate(model, composite, strict=strict, checkpointing=checkpointing) as audit:
        if queries is not None and not any(views):
            with suppress(OtherQueries):
                return explained(audit, queries)
        return explained(audit, None)


def _held(model: nn.Module, audit: Audit) -> Tensor:
    found = audit.book.by_position
    if found is None:
        raise InputError(
            f"{type(model).__name__} under {audit.composite!r} adds nothing to its tokens for where they stand (rotary and "
            "relative positions act inside of attention): leave positions out"
        )
    return found
