"""Many texts explained: windows of rows, batches within a window, and what goes wrong with a row stays with the row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import torch

from lxtlike.attribution import Attribution
from lxtlike.dataset.batches import Item, batches
from lxtlike.dataset.rows import Row, given
from lxtlike.errors import AuditError, InputError, reason
from lxtlike.explainer import Explainer
from lxtlike.method import Lrp, Method
from lxtlike.methods import Views
from lxtlike.quality import DEFAULT
from lxtlike.targets import Asked, Span, Target
from lxtlike.text import Message, check_template

BATCH, TOKENS = 32, 1024
"""How many texts, and how many tokens with their padding, are explained at once where nobody says."""

WINDOW = 16
"""How many full batches a window has: rows that are read together, sorted by length, and put back in order."""


@dataclass(frozen=True)
class Asking:
    """What is asked of every row, and how it is computed; arguments are those of `explain_rows`.

    Raises:
        InputError: an unknown objective, messages of what is no chat, or no text in a batch.
    """

    target: str | int | None = None
    contrast: str | int | None = None
    objective: str = "logit"
    method: str | Method = DEFAULT
    by: str = "token"
    position: int | None = None
    chat: bool | Mapping[str, Any] = False
    layers: bool = False
    heads: bool = False
    positions: bool = False
    batch_size: int = BATCH
    batch_tokens: int = TOKENS
    strict: bool | None = None

    def __post_init__(self) -> None:
        Target(self.target, self.contrast, self.objective, self.position)
        if self.by == "message" and self.chat is False:
            raise InputError("only a chat has messages: read the texts as chats, or sum by word or sentence")
        for name in ("batch_size", "batch_tokens"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")

    def of(self, row: Row) -> Asked:
        """What is asked of one row: what it says itself goes first."""
        if row.completion is not None and row.target is not None:
            raise InputError("the row has a target and a completion: leave one of them out")
        own = row.target if row.completion is None else Span(row.completion)
        contrast = self.contrast if row.contrast is None else row.contrast
        return Asked(self.target if own is None else own, contrast, self.objective, self.position)


@dataclass(frozen=True)
class ExplainedRow:
    """A row of the input, explained, or why it could not be.

    Attributes:
        number: its place in the input, from 0.
        id: its own, or its number.
    """

    number: int
    id: str | int
    attribution: Attribution | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of the attribution with the row's ``id``, or id and error."""
        if self.attribution is None:
            return {"id": self.id, "error": self.error}
        return {"id": self.id, **self.attribution.to_dict()}


def explain_rows(
    explainer: Explainer,
    rows: Iterable[Row | str | list[Message] | Mapping[str, Any]],
    *,
    target: str | int | None = None,
    contrast: str | int | None = None,
    objective: str = "logit",
    method: str | Method = DEFAULT,
    by: str = "token",
    position: int | None = None,
    chat: bool | Mapping[str, Any] = False,
    layers: bool = False,
    heads: bool = False,
    positions: bool = False,
    batch_size: int = BATCH,
    batch_tokens: int = TOKENS,
    strict: bool | None = None,
) -> Iterator[ExplainedRow]:
    """Each row explained, in order, while the next ones are read: there may be any number of them.

    A row that fails has an error, and stops nothing.

    Args:
        rows: texts, or mappings with the keys ``text`` and, if they have any, ``id``, ``target``, ``contrast``,
            ``completion`` and ``context``; see `lxtlike.dataset.rows`. Of a `chat` the text is a list of messages, as such or
            spelt in JSON, or one user turn.
        target, contrast, objective: as for `Explainer.explain`, of the rows that have none of their own.
        method: a method or a quality, by name; see `lxtlike.method`.
        by: "token", "word", "sentence", or "message" of a chat.
        position, chat, layers, heads, positions: as for `Explainer.explain`, of every row.
        batch_size: how many texts share passes at most.
        batch_tokens: how many tokens they have together at most, padding included; a longer text has passes of its own.
        strict: overrides the explainer's own.

    Raises:
        InputError: an unknown objective or method, no chat template, or layers of a method that has none.
        AuditError: under `strict`.
    """
    asking = Asking(
        target=target,
        contrast=contrast,
        objective=objective,
        method=method,
        by=by,
        position=position,
        chat=chat,
        layers=layers,
        heads=heads,
        positions=positions,
        batch_size=batch_size,
        batch_tokens=batch_tokens,
        strict=strict,
    )
    return in_order(explainer, given(rows, chat=chat is not False), asking)


def in_order(explainer: Explainer, rows: Iterable[Row], asking: Asking) -> Iterator[ExplainedRow]:
    """The rows explained, in their order."""
    found = windows(explainer, rows, asking)
    return (row for parts in found for row in sorted(chain.from_iterable(parts), key=lambda row: row.number))


def windows(
    explainer: Explainer,
    rows: Iterable[Row],
    asking: Asking,
    wanted: Callable[[int, Sequence[int]], bool] = lambda window, numbers: True,
    done: Callable[[int], bool] = lambda number: False,
) -> Iterator[Iterator[list[ExplainedRow]]]:
    """The windows of rows, each with its batches as they are explained; to be taken one after the other.

    Batches depend on the rows of their window alone: whoever explains some of them, and in whatever order windows come, the
    numbers are the same to the last bit.

    Args:
        wanted: called with the number of a window and those of its rows; False leaves it out.
        done: called with the number of a row; a batch all of whose rows are done is left out.

    Raises:
        InputError: an unknown method or one that does not read what is asked for, a target for all that the model does not
            have, or no chat template.
    """
    method = explainer.method(asking.method)
    method.readout(explainer, Views(asking.layers, asking.heads), asking.positions)
    explainer.check_choices(Asked(asking.target, asking.contrast, asking.objective, asking.position))
    if asking.chat is not False:
        check_template(explainer.tokenizer)
    return _windows(explainer, enumerate(rows), asking, method, wanted, done)


def _windows(
    explainer: Explainer,
    rows: Iterator[tuple[int, Row]],
    asking: Asking,
    method: Method,
    wanted: Callable[[int, Sequence[int]], bool],
    done: Callable[[int], bool],
) -> Iterator[Iterator[list[ExplainedRow]]]:
    """The windows, each made ready for the model by another thread while the one before is explained."""
    with ThreadPoolExecutor(1, "tokenizer") as thread:
        coming: Future[list[Item]] | None = None
        for window, taken in enumerate(iter(lambda: list(islice(rows, WINDOW * asking.batch_size)), [])):
            if wanted(window, [number for number, _ in taken]):
                ready, coming = coming, thread.submit(_prepared, explainer, taken, asking)
                if ready is not None:
                    yield _explained(explainer, ready.result(), asking, method, done)
        if coming is not None:
            yield _explained(explainer, coming.result(), asking, method, done)


def _prepared(explainer: Explainer, rows: Sequence[tuple[int, Row]], asking: Asking) -> list[Item]:
    """Rows as the model gets them; runs beside the model."""
    found = []
    for number, row in rows:
        try:
            if row.error is not None:
                raise InputError(row.error)
            question = explainer.prepared(row.text, asking.of(row), row.context, chat=asking.chat)
            found.append(Item(number, row.id, question))
        except Exception as error:  # noqa: BLE001 - one row of many, whatever is wrong with it
            found.append(Item(number, row.id, error=reason(error)))
    return found


def _explained(
    explainer: Explainer, items: Sequence[Item], asking: Asking, method: Method, done: Callable[[int], bool]
) -> Iterator[list[ExplainedRow]]:
    """The batches of one window, explained, but those that are done; the least also compares the patched with the plain model."""
    failed = [ExplainedRow(item.number, item.id, error=item.error) for item in items if item.question is None]
    if not all(done(row.number) for row in failed):
        yield failed
    composite = method.composite if isinstance(method, Lrp) else explainer.composite
    fine = [item for item in items if item.question is not None]
    mixed = asking.batch_size == 1 or not _padding_matters(explainer, fine, asking.position)
    found = batches(fine, asking.batch_size, asking.batch_tokens, mixed=mixed)
    least = min(found, key=lambda batch: len(batch) * batch[-1].length, default=None)
    for batch in found:
        if not all(done(item.number) for item in batch):
            yield _attributed(explainer.under(composite, compared=batch is not least), batch, asking, method)


def _padding_matters(explainer: Explainer, items: Sequence[Item], position: int | None) -> bool:
    """Whether texts of different lengths must not share a batch, by those of a window, and of no other."""
    texts = [item.question.encoded for item in items if item.question is not None and item.question.together]
    if len({len(encoded.tokens) for encoded in texts}) <= 1:
        return False
    try:
        return explainer.padding_matters(texts, position)
    except Exception:  # noqa: BLE001 - one of them fails, and will tell why
        return True


@torch.inference_mode(False)  # tensors made in inference mode cannot be differentiated
def _attributed(explainer: Explainer, batch: Sequence[Item], asking: Asking, method: Method) -> list[ExplainedRow]:
    """A batch explained; one that fails is halved until those that are the reason are alone."""
    questions = [item.question for item in batch if item.question is not None]
    try:
        found = explainer.explain_encoded(
            method,
            [question.encoded for question in questions],
            [question.asked for question in questions],
            views=Views(asking.layers, asking.heads),
            positions=asking.positions,
            batch_size=len(batch),
            strict=explainer.strict if asking.strict is None else asking.strict,
            mixes=True,
        )
        return [
            ExplainedRow(item.number, item.id, attribution.by(asking.by))
            for item, attribution in zip(batch, found, strict=True)
        ]
    except AuditError:
        raise
    except Exception as error:  # noqa: BLE001 - one row of many, whatever is wrong with it
        why = reason(error)
    # Out here the error is gone, and with it the tensors that it held.
    if len(batch) == 1:
        return [ExplainedRow(batch[0].number, batch[0].id, error=why)]
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = len(batch) // 2
    return [row for part in (batch[:half], batch[half:]) for row in _attributed(explainer, part, asking, method)]
