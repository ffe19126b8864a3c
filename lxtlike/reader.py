"""A reader: a setting with its task, which turns texts into what the model is called with, and explains them in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch

from lxtlike.attribution import Attribution
from lxtlike.baselines import Scores
from lxtlike.cases import Case
from lxtlike.choices import Choices
from lxtlike.composites import Composite
from lxtlike.continuations import explained_span
from lxtlike.errors import InputError
from lxtlike.feeding import check_length
from lxtlike.method import Lrp, Method, explained_case, parse
from lxtlike.methods import ReadOut, Views
from lxtlike.methods.views import NO_VIEWS
from lxtlike.predictions import explained_choices, explained_function, padding_matters
from lxtlike.quality import QUALITIES, of_quality
from lxtlike.setting import Setting
from lxtlike.targets import MEAN, Asked, Span, Target
from lxtlike.tasks import EXPLAINED, Answer, NextToken, Reading
from lxtlike.text import Encoded, Given, Message, chat, named, token_ids

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Question:
    """A text ready for the model, and what is asked of it.

    Attributes:
        together: whether it can be explained in the same passes as others.
    """

    encoded: Encoded
    asked: Asked
    together: bool


class Reader(Setting):
    """What an explainer knows of texts and of methods; see `lxtlike.Explainer`."""

    _mixes: bool | None = None  # whether texts of different lengths may share a batch; measured when first asked

    @cached_property
    def _reading(self) -> Reading:
        return EXPLAINED[self.task](self.model, self.tokenizer)

    @torch.inference_mode(False)  # tensors made in inference mode cannot be differentiated
    def case(
        self,
        text: str | list[Message],
        target: str | int | Span | None = None,
        *,
        completion: str | None = None,
        contrast: str | int | None = None,
        objective: str = "logit",
        position: int | None = None,
        context: str | None = None,
        chat: bool | Mapping[str, Any] = False,
    ) -> Case:
        """A text with its target settled, for methods and measures that ask the plain model again; see `explain`.

        Raises:
            InputError: as `explain`; questions, functions, weights of a continuation, or another one as contrast.
        """
        asked = Asked(Span(completion) if completion is not None else target, contrast, objective, position)
        return self._case(self._encode(text, chat, None, context), asked)

    def method(self, method: str | Method) -> Method:
        """The method of this name (see `lxtlike.method`), or what a quality comes to for this model (`lxtlike.quality`).

        Raises:
            InputError: there is no such method or option.
        """
        if method in QUALITIES:
            return of_quality(method, self)
        return parse(method) if isinstance(method, str) else method

    def scores(self, case: Case, method: str | Method) -> Scores:
        """What a method says of a case: relevance [T] of its tokens.

        Raises:
            InputError: there is no such method, or it does not fit the model or the text.
        """
        return self.method(method).scores(case)

    def prepared(
        self,
        text: str | list[Message],
        asked: Asked,
        context: str | None = None,
        *,
        chat: bool | Mapping[str, Any] = False,
    ) -> Question:
        """A text ready for the model, as far as that can be said before it has run.

        Args:
            chat: as for `Explainer.explain`.

        Raises:
            InputError: whatever is wrong with the text or with what is asked of it.
        """
        encoded = self._encode(text, chat, None, context)
        check_length(encoded, self.model, self.tokenizer)
        if asked.spans(self._is_long):
            return Question(encoded, asked, False)
        self._reading.place(encoded, asked.position)
        if self._reading.pads:  # else logits may have to say which of several choices a name stands for
            asked = _by_id(asked, self._reading.choices(encoded))
        return Question(encoded, asked, self._reading.pads)

    def check_choices(self, asked: Asked) -> None:
        """Raise InputError where target or contrast is none of this model's, whatever the text."""
        if not isinstance(self._reading, Answer) and not asked.spans(self._is_long):
            _by_id(asked, self._reading.choices(Encoded("", ())))

    def explain_encoded(
        self,
        method: Method,
        batch: Sequence[Encoded],
        asked: Sequence[Asked],
        *,
        views: Views = NO_VIEWS,
        positions: bool = False,
        batch_size: int,
        strict: bool,
        mixes: bool | None = None,
    ) -> list[Attribution]:
        """Texts that are encoded, each explained for what is asked of it; see `Explainer.explain`.

        Args:
            mixes: whether texts of different lengths may share a batch; None: where the model does not mind padding.

        Raises:
            InputError: a target that a text or the method does not have, or a text that is too long.
        """
        if isinstance(method, Lrp):
            readout = method.readout(self, views, positions)
            for encoded in batch:
                readout.check(len(encoded.sequences))
            return self._under(method)._explain(batch, asked, readout, batch_size, strict, mixes)
        method.readout(self, views, positions)
        return [explained_case(self._case(*one), method) for one in zip(batch, asked, strict=True)]

    def _explain(
        self,
        batch: Sequence[Encoded],
        asked: Sequence[Asked],
        readout: ReadOut,
        batch_size: int,
        strict: bool,
        mixes: bool | None,
    ) -> list[Attribution]:
        """Texts that ask for one choice share batches; functions and continuations take passes of their own."""
        alone: dict[int, Callable[[], Attribution]] = {}
        for number, (encoded, one) in enumerate(zip(batch, asked, strict=True)):
            if (function := one.function()) is not None:
                alone[number] = partial(explained_function, self, encoded, function, strict=strict, readout=readout)
            elif spans := one.spans(self._is_long):
                alone[number] = partial(self._explain_span, encoded, spans, one.objective, strict, readout)
        together = [number for number in range(len(batch)) if number not in alone]
        texts, targets = [batch[number] for number in together], [asked[number].target() for number in together]
        size = self._size(texts, targets, batch_size, mixes)
        found: dict[int, Attribution] = {}
        for start in range(0, len(together), size):
            part = slice(start, start + size)
            these = explained_choices(self, self._reading, texts[part], targets[part], strict=strict, readout=readout)
            found.update(zip(together[part], these, strict=True))
        return [alone[number]() if number in alone else found[number] for number in range(len(batch))]

    def _size(self, batch: Sequence[Encoded], targets: Sequence[Target], most: int, mixes: bool | None) -> int:
        """How many of these texts are explained at once."""
        size = min(most, len(batch)) if self._reading.pads else 1
        if size <= 1 or len({len(encoded.tokens) for encoded in batch}) == 1:
            return size or 1
        if mixes is None:
            if self._mixes is None:
                self._mixes = not self.padding_matters(batch, targets[0].position)
            mixes = self._mixes
        return size if mixes else 1

    def fingerprint(self) -> str:
        """A digest of the shapes and the first numbers of all weights: other weights under the same name are noticed."""
        found = hashlib.sha256()
        for name, weights in self.model.state_dict().items():
            first = weights.reshape(-1)[:8]
            numbers = first.float().tolist() if first.device.type != "meta" else []
            found.update(f"{name} {tuple(weights.shape)} {weights.dtype} {numbers}\n".encode())
        return found.hexdigest()[:16]

    def padding_matters(self, batch: Sequence[Encoded], position: int | None = None) -> bool:
        """Whether the model gives a text another output in a batch with longer ones; see `lxtlike.predictions`."""
        return padding_matters(self, self._reading, batch, position)

    def _explain_span(
        self, prompt: Encoded, spans: Sequence[Span], objective: str, strict: bool, readout: ReadOut
    ) -> Attribution:
        Target(objective=objective)
        joined = [self._writer.extend(prompt, span.text) for span in spans]
        if len(joined) == 2 and joined[0] == joined[1]:
            raise InputError("target and contrast are the same continuation: their difference is 0")
        weights = [span.weights for span in spans]
        return explained_span(self, prompt, joined, objective, weights, strict=strict, readout=readout)

    def under(self, composite: Composite, *, compared: bool = False) -> Self:
        """The same reader with another composite.

        Args:
            compared: False: its first explanation also compares the patched model with the plain one.
        """
        other = copy(self)
        other.composite, other._compared = composite, compared
        return other

    def _under(self, method: Lrp) -> Self:
        return self if method.composite is self.composite else self.under(method.composite)

    def _case(self, encoded: Encoded, asked: Asked) -> Case:
        if asked.function() is not None:
            raise InputError("a target function is explained by LRP alone: name a token or a label")
        spans = asked.spans(self._is_long)
        if not spans:
            return Case.of(self, self._reading, encoded, asked.target())
        if len(spans) > 1 or spans[0].weights is not None:
            raise InputError("weights and contrasts of continuations are explained by LRP alone: leave them out")
        return Case.continued(self, self._writer, encoded, spans[0].text, asked.objective)

    def _encode(
        self,
        text: Any,
        options: bool | Mapping[str, Any],
        segments: Sequence[Given] | None,
        context: str | None = None,
    ) -> Encoded:
        if options is False:
            encoded = self._reading.encode(text, context)
        elif context is None:
            encoded = chat(text, self.tokenizer, **(options if isinstance(options, Mapping) else {}))
        else:
            raise InputError("messages have no context beside them: write it into one, or give it as a document")
        if segments is not None:
            encoded = replace(encoded, parts=named(segments, encoded.text))
        return self._reading.ready(encoded)

    def _is_long(self, choice: str) -> bool:
        return isinstance(self._reading, NextToken) and len(token_ids(choice, self.tokenizer)) > 1

    @property
    def _writer(self) -> NextToken:
        if not isinstance(self._reading, NextToken):
            raise InputError(f"only a language model continues a text; this model's task is {self.task}")
        return self._reading


def _by_id(asked: Asked, choices: Choices) -> Asked:
    """The same with ids in place of names."""
    target = asked.target()
    choice = None if target.choice is None else choices.id(target.choice)
    contrast = target.contrast if target.contrast in (None, MEAN) else choices.id(target.contrast)
    return replace(asked, choice=choice, contrast=contrast)
