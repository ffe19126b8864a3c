"""A case: one text with its target settled, asked again of the plain model with tokens taken away or embeddings changed.

Whatever measures a map of relevance, and every method that is not LRP, knows the model through its case alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lxtlike.attribution import ResolvedTarget
from lxtlike.attribution.parts import Candidate
from lxtlike.continuations import start_of
from lxtlike.errors import InputError
from lxtlike.feeding import check_length, keeps_logits, model_inputs, prediction, rows_at
from lxtlike.methods import Scalar
from lxtlike.methods.leaves import looked_up
from lxtlike.propagation.surroundings import frozen, owned
from lxtlike.replacements import DELETE, RANDOM, Replacement, random_ids
from lxtlike.rules.primitives import Book, wide
from lxtlike.setting import Setting
from lxtlike.targets import Chosen, Target, resolve, values
from lxtlike.tasks import Answer, NextToken, Place, Reading
from lxtlike.text import Encoded

TOKENS = 4096
"""How many tokens a forward pass of altered texts has at most, as long as one text is shorter."""

LOGITS = 2**26
"""How many logits it may hold, of models that cannot leave out those of the positions that are not read."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """What the plain model says of altered texts.

    Attributes:
        values: the target's value F [N].
        probabilities: of the target's choice [N]; of a continuation the product over its tokens.
    """

    values: Floats
    probabilities: Floats


@dataclass(frozen=True)
class Case:
    """One text, and the scalar of the model's output for it that is explained.

    Attributes:
        encoded: the text; with a continuation behind it, if that is explained.
        inputs: the keyword arguments of the model's forward, for a batch of this one text.
        chosen: of each row of logits that is read, what is read of it [R].
        places: of each, the index of the token behind which it stands; one None where there is a row for the whole text.
        target: what is explained, as results state it.
        predicted: the model's most probable choices at the first of the places.
        removable: [T], the tokens that may be taken away: no special ones, no continuation, no decoder's, and not the one
            whose own label or filling is read.
        alone: whether texts must not share a batch.
    """

    setting: Setting
    encoded: Encoded
    inputs: dict[str, Any]
    chosen: tuple[Chosen, ...]
    places: tuple[Place, ...]
    target: ResolvedTarget
    predicted: tuple[Candidate, ...]
    removable: Bools
    alone: bool

    @classmethod
    def of(cls, setting: Setting, reading: Reading, encoded: Encoded, target: Target) -> Case:
        """What the model chooses for a text, or `target`.

        Raises:
            InputError: the text is too long, there is no such target, or a question is answered.
        """
        if isinstance(reading, Answer):
            raise InputError(
                "answers stand in the text itself, which cannot be taken away from under them: of question answering only "
                "LRP is there"
            )
        check_length(encoded, setting.model, setting.tokenizer)
        places = [reading.place(encoded, target.position)]
        inputs = model_inputs([encoded], setting.model, setting.tokenizer, reading.kept(places))
        with _asked(setting):
            row = reading.rows(setting.model(**inputs), places, [encoded])[0]
        chosen = resolve(target, row, choices := reading.choices(encoded))
        stated = reading.target(chosen, encoded, choices, places[0], float(chosen.value(row)))
        own = None if isinstance(reading, NextToken) else places[0]
        return cls(
            setting,
            encoded,
            inputs,
            (chosen,),
            tuple(places),
            stated,
            prediction(row, choices),
            _removable(encoded, len(encoded.tokens), own),
            not reading.pads,
        )

    @classmethod
    def continued(cls, setting: Setting, reading: NextToken, prompt: Encoded, text: str, objective: str) -> Case:
        """A continuation of a text as a whole: the sum over its tokens.

        Raises:
            InputError: they are too long, or the continuation has no token.
        """
        joined = reading.extend(prompt, text)
        check_length(joined, setting.model, setting.tokenizer)
        start, first = start_of(prompt, joined), 1 + (joined.decoder or 0)
        places = [index - first for index in range(start, len(joined.tokens))]
        chosen = tuple(Chosen(token.id, None, objective) for token in joined.tokens[start:])
        inputs = model_inputs([joined], setting.model, setting.tokenizer, places)
        with _asked(setting):
            rows = rows_at(setting.model(**inputs).logits, [0] * len(places), places, places)
        value = sum(float(one.value(row)) for one, row in zip(chosen, rows, strict=True))
        said = range(start, len(joined.tokens))
        ids = tuple(joined.ids[index] for index in said)
        stated = ResolvedTarget(None, text, None, objective, None, value, ids, tuple(said))
        predicted = prediction(rows[0], reading.choices(joined))
        removable = _removable(joined, start, None)
        return cls(setting, joined, inputs, chosen, tuple(places), stated, predicted, removable, False)

    @property
    def value(self) -> float:
        """The target's value F at the text."""
        return self.target.value

    @cached_property
    def probability(self) -> float:
        """That of the target's choice at the text."""
        return float(self.replaced(np.ones((1, len(self.removable)), bool), Replacement(DELETE)).probabilities[0])

    def read(self, outputs: Any) -> Tensor:
        """The rows of logits [R, V] of the model's outputs for `inputs`."""
        return self._rows(outputs, 1, [self.places])[0]

    @property
    def scalar(self) -> Scalar:
        """The target's value [1], from the rows [R, V] and the account book."""

        def scalar(rows: Tensor, book: Book) -> Tensor:
            return values(rows, list(self.chosen), book).sum()[None]

        return scalar

    def replaced(self, keep: Bools, replacement: Replacement, *, seed: int = 0) -> Measured:
        """The text with some of its tokens replaced.

        Rows that say the same are computed once, and texts of one length together, so that nothing is padded. Where deletion
        would leave nothing, the last token stays; an output that is read behind a deleted token is read behind the one
        before it.

        Args:
            keep: [N, T], False where a token is replaced; those that are not `removable` are always kept.
            seed: of random tokens; the same ones stand in all rows.
        """
        wanted, back = np.unique(keep | ~self.removable, axis=0, return_inverse=True)
        found = self._deleted(wanted) if replacement.name == DELETE else self._substituted(wanted, replacement, seed)
        back = back.reshape(-1)  # its shape has changed between versions of numpy
        return Measured(found.values[back], found.probabilities[back])

    def embedded(self, place: Callable[[Tensor, slice], Tensor], count: int) -> Measured:
        """The text so many times, the model going on with other embeddings of its tokens.

        Args:
            place: the embeddings [n, T, D] of n times the text, and which of all they are -> those that the model goes on with.

        Raises:
            InputError: the model looks the text up more than once.
        """
        found = []
        for first in range(0, count, step := self._at_once(self._length)):
            size = min(step, count - first)
            rows = slice(first, first + size)
            with _asked(self.setting), self._changed(partial(_of, place, rows), size):
                found.append(self._measured(self.setting.model(**self._repeated(size)), size, [self.places] * size))
        return _joined(found)

    def gradient(
        self, place: Callable[[Tensor, slice], Tensor] | None = None, count: int = 1
    ) -> tuple[Floats, Tensor, Tensor]:
        """Values F [count], the embeddings [count, T, D] (those of `place`), and the plain gradient of F by them.

        Raises:
            InputError: as `embedded`.
        """
        values, leaves, gradients = list[Floats](), list[Tensor](), list[Tensor]()

        def leaf(rows: slice, embedded: Tensor) -> Tensor:
            leaves.append((embedded if place is None else place(embedded, rows)).detach().requires_grad_())
            return leaves[-1].clone()  # models scale what they looked up in place, which torch refuses for a leaf

        for first in range(0, count, step := self._at_once(self._length)):
            size = min(step, count - first)
            with (
                _asked(self.setting),
                torch.enable_grad(),
                self._changed(partial(leaf, slice(first, first + size)), size),
            ):
                rows = self._rows(self.setting.model(**self._repeated(size)), size, [self.places] * size)
                scores = self._scores(rows)
                gradients += torch.autograd.grad(scores.sum(), leaves[-1:], materialize_grads=True)
            values.append(_numbers(scores))
        return np.concatenate(values), wide(torch.cat(leaves).detach()), wide(torch.cat(gradients))

    @property
    def _length(self) -> int:
        """Of what an encoder or the one model reads."""
        return len(self.encoded.sequences[0])

    @property
    def _skipped(self) -> tuple[int | None, ...]:
        """Tokens that a model may skip when it meets their ids: it must get their embeddings instead."""
        config = self.setting.model.config.get_text_config()
        return getattr(config, "pad_token_id", None), self.setting.tokenizer.pad_token_id

    def _at_once(self, length: int) -> int:
        if self.alone:
            return 1
        free = self.places == (None,) or keeps_logits(self.setting.model)
        size = self.setting.model.config.get_text_config().vocab_size
        return max(1, min(TOKENS // max(length, 1), TOKENS if free else LOGITS // (length * size)))

    def _repeated(self, count: int) -> dict[str, Any]:
        """The inputs for a batch of so many times this text."""
        return {
            name: value.expand(count, *value.shape[1:])
            if name != "logits_to_keep" and isinstance(value, Tensor)
            else value
            for name, value in self.inputs.items()
        }

    def _substituted(self, keep: Bools, replacement: Replacement, seed: int) -> Measured:
        tokenizer, config = self.setting.tokenizer, self.setting.model.config.get_text_config()
        ids: Tensor = self.inputs["input_ids"]
        kept = torch.from_numpy(keep[:, : self._length]).to(ids.device)
        reference = replacement.reference
        if replacement.name == RANDOM:
            drawn = random_ids(self.encoded, tokenizer, config.vocab_size, seed)[: self._length]
            other = torch.from_numpy(drawn).to(ids)
        elif reference is not None and reference.id is not None and reference.id not in self._skipped:
            other = ids.new_tensor([reference.id])
        elif reference is not None:
            with _asked(self.setting):
                vector = reference.embedding(self.setting.model, ids.device)
            return self.embedded(lambda e, rows: torch.where(kept[rows, :, None], e, vector.to(e)), len(keep))
        else:
            raise InputError(f"{replacement.name!r} replaces no token: choose delete, random or a reference")
        found = []
        for part in torch.split(kept, self._at_once(self._length)):
            inputs = {**self._repeated(len(part)), "input_ids": torch.where(part, ids, other)}
            with _asked(self.setting):
                found.append(self._measured(self.setting.model(**inputs), len(part), [self.places] * len(part)))
        return _joined(found)

    def _deleted(self, keep: Bools) -> Measured:
        keep = keep[:, : self._length].copy()
        keep[~keep.any(1), -1] = True
        found = Measured(np.zeros(len(keep)), np.zeros(len(keep)))
        lengths = keep.sum(1)
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            for first in range(0, len(rows), step := self._at_once(int(length))):
                part = rows[first : first + step]
                measured = self._shortened(keep[part])
                found.values[part], found.probabilities[part] = measured.values, measured.probabilities
        return found

    def _shortened(self, keep: Bools) -> Measured:
        """Texts [N, T] that are all of one length when their tokens are deleted."""
        count, text = len(keep), self.inputs["input_ids"].shape
        left = torch.from_numpy(np.nonzero(keep)[1].reshape(count, -1))
        inputs = self._repeated(count)
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            if name in inputs and self.inputs[name].shape == text:
                inputs[name] = inputs[name].gather(1, left.to(inputs[name].device))
        places: Sequence[tuple[Place, ...]] = [self.places] * count
        if self.encoded.decoder is None and None not in self.places:
            behind = np.maximum(keep.cumsum(1) - 1, 0)
            places = [tuple(int(row[place]) for place in self.places if place is not None) for row in behind]
            if "logits_to_keep" in inputs:
                inputs["logits_to_keep"] = list(_all(places))
        with _asked(self.setting):
            return self._measured(self.setting.model(**inputs), count, places)

    def _rows(self, outputs: Any, count: int, places: Sequence[tuple[Place, ...]]) -> Tensor:
        """The rows of logits [N, R, V] at the places of each text."""
        if self.places == (None,):
            logits: Tensor = outputs.logits
            return logits[:, None]
        items = [item for item in range(count) for _ in self.places]
        flat = [place or 0 for row in places for place in row]
        rows = rows_at(outputs.logits, items, flat, _all(places))
        return rows.view(count, len(self.places), -1)

    def _scores(self, rows: Tensor) -> Tensor:
        return torch.stack([one.value(rows[:, number]) for number, one in enumerate(self.chosen)]).sum(0)

    def _measured(self, outputs: Any, count: int, places: Sequence[tuple[Place, ...]]) -> Measured:
        rows = self._rows(outputs, count, places)
        chances = [replace(one, contrast=None, objective="logprob") for one in self.chosen]
        likely = sum(one.value(rows[:, number]) for number, one in enumerate(chances))
        return Measured(_numbers(self._scores(rows)), np.exp(_numbers(torch.as_tensor(likely))))

    @contextmanager
    def _changed(self, place: Callable[[Tensor], Tensor], count: int) -> Iterator[None]:
        looks: list[torch.Size] = []

        def change(embedded: Tensor) -> Tensor:
            looks.append(embedded.shape)
            if len(looks) > 1 and "decoder_input_ids" in self.inputs:
                return embedded  # that of what the decoder says
            if len(looks) > 1:
                raise InputError(
                    f"{type(self.setting.model).__name__} looks a text up more than once, so its embeddings cannot be changed: "
                    "replace tokens by delete, random or another token"
                )
            return place(embedded).to(embedded.dtype)

        with looked_up(self.setting.model, change, self._repeated(count)["input_ids"]):
            yield


@contextmanager
def _asked(setting: Setting) -> Iterator[None]:
    """The plain model, as it answers: frozen, in eval mode, without gradients."""
    with torch.inference_mode(False), owned(setting.model), frozen(setting.model), torch.no_grad():
        yield


def _removable(encoded: Encoded, end: int, own: int | None) -> Bools:
    length = min(end, len(encoded.sequences[0]))
    return np.array([t.index < length and not t.special and t.index != own for t in encoded.tokens], bool)


def _of(place: Callable[[Tensor, slice], Tensor], rows: slice, embedded: Tensor) -> Tensor:
    return place(embedded, rows)


def _all(places: Sequence[tuple[Place, ...]]) -> list[int]:
    return sorted({place or 0 for row in places for place in row})


def _numbers(x: Tensor) -> Floats:
    return x.detach().double().cpu().numpy()


def _joined(found: Sequence[Measured]) -> Measured:
    return Measured(*(np.concatenate([getattr(one, name) for one in found]) for name in ("values", "probabilities")))
