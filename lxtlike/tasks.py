"""Tasks: what a kind of model chooses from, and where its output says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from lxtlike.attribution import ResolvedTarget
from lxtlike.choices import Answers, Choices, Labels, Vocabulary
from lxtlike.errors import InputError
from lxtlike.feeding import rows_at
from lxtlike.targets import Chosen, contrast_of
from lxtlike.text import Encoded, begun, encode, encode_pair, extend, extend_ids, used

Place = int | None
"""Index of the token whose output is read; None where there is one output for the whole text."""


class Reading:
    """What goes into a kind of model and how its output is read: here of one with a row of logits for the whole text."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer

    @property
    def pads(self) -> bool:
        """Whether texts of different lengths can share a batch."""
        return True

    def encode(self, text: str, context: str | None) -> Encoded:
        """The text with its tokens, and with those of a second one that is read with it.

        Raises:
            InputError: a text that cannot be encoded, or a context that is missing or not read.
        """
        if context is None:
            return encode(text, self.tokenizer)
        return encode_pair(text, context, self.tokenizer, ("text", "context"))

    def ready(self, encoded: Encoded) -> Encoded:
        """What the model is called with, for a text that is encoded."""
        return encoded

    def choices(self, encoded: Encoded) -> Choices:
        """What the model chooses from."""
        return Labels({int(number): label for number, label in self.model.config.id2label.items()})

    def place(self, encoded: Encoded, position: int | None) -> Place:
        """Where the output is read, if the caller says `position`.

        Raises:
            InputError: the text has no such place.
        """
        if position is not None:
            raise InputError("this model has one output for the whole text: leave the position out")
        return None

    def kept(self, places: Sequence[Place]) -> list[int] | None:
        """The positions whose logits are wanted; None where all are computed anyway."""
        return None

    def queries(self, places: Sequence[Place], batch: Sequence[Encoded]) -> list[int] | None:
        """The positions, ascending, on whose last hidden states the rows depend; None if that is not known."""
        return None

    def rows(self, outputs: Any, places: list[Place], batch: Sequence[Encoded]) -> Tensor:
        """The rows of logits [B, V] that are explained; settles places that the model must choose."""
        logits: Tensor = outputs.logits
        return logits

    def target(self, chosen: Chosen, encoded: Encoded, choices: Choices, place: Place, value: float) -> ResolvedTarget:
        """What was explained, as results state it."""
        return ResolvedTarget(
            id=chosen.id,
            token=choices.name(chosen.id),
            position=place,
            objective=chosen.objective,
            contrast=contrast_of(chosen, choices),
            value=value,
        )


class TextLabel(Reading):
    """A sequence classifier."""

    @property
    def pads(self) -> bool:
        """See `Reading`; a decoder that classifies must know its padding."""
        return self._padding is not None

    @property
    def _padding(self) -> int | None:
        return getattr(self.model.config.get_text_config(), "pad_token_id", None)

    def queries(self, places: Sequence[Place], batch: Sequence[Encoded]) -> list[int] | None:
        # An encoder's head reads the first token, a decoder's the last one, or the last that is not the token of padding,
        # with which a text may end, too. One that reads all of them is found out.
        wanted = {0}
        for encoded in batch:
            said = [token.index for token in encoded.tokens if token.id != self._padding]
            wanted |= {len(encoded.tokens) - 1, *said[-1:]}
        return sorted(wanted)


class Answer(Reading):
    """A model that finds the answer to a question in a context: the best span, scored start + end (pairs of logits)."""

    pads = False  # each text has answers of its own

    def encode(self, text: str, context: str | None) -> Encoded:
        if context is None:
            raise InputError("a question needs a context in which its answer stands: give context (--context)")
        return encode_pair(text, context, self.tokenizer, ("question", "context"))

    def choices(self, encoded: Encoded) -> Answers:
        return Answers(encoded, "context")

    def rows(self, outputs: Any, places: list[Place], batch: Sequence[Encoded]) -> Tensor:
        if not {"start_logits", "end_logits"} <= set(outputs):
            raise InputError(
                f"{type(self.model).__name__} gives no start and end logits, from which answers are read: use "
                "`lxtlike.propagate`"
            )
        (encoded,) = batch
        firsts, lasts = torch.tensor(self.choices(encoded).places, device=outputs.start_logits.device).unbind(-1)
        scores: Tensor = outputs.start_logits[:, firsts] + outputs.end_logits[:, lasts]
        return scores

    def target(self, chosen: Chosen, encoded: Encoded, choices: Choices, place: Place, value: float) -> ResolvedTarget:
        first, last = self.choices(encoded).places[chosen.id]
        answer = encoded.tokens[first : last + 1]
        return replace(
            super().target(chosen, encoded, choices, place, value),
            ids=tuple(token.id for token in answer),
            positions=tuple(token.index for token in answer),
        )


class TokenLabel(Reading):
    """A token classifier: an output for every token, by default the first whose label is not the most frequent one."""

    _MODEL_CHOOSES = -1

    def place(self, encoded: Encoded, position: int | None) -> Place:
        length = len(encoded.tokens)
        if position is None:
            return self._default(encoded)
        if not -length <= position < length:
            raise InputError(f"position {position} is out of range: the text has {length} tokens, 0 to {length - 1}")
        return position % length

    def _default(self, encoded: Encoded) -> int:
        return self._MODEL_CHOOSES

    def queries(self, places: Sequence[Place], batch: Sequence[Encoded]) -> list[int] | None:
        known = {place for place in places if place is not None and place != self._MODEL_CHOOSES}
        return sorted(known) if known.issuperset(places) else None

    def rows(self, outputs: Any, places: list[Place], batch: Sequence[Encoded]) -> Tensor:
        for i, encoded in enumerate(batch):
            if places[i] == self._MODEL_CHOOSES:
                places[i] = _first_tagged(outputs.logits[i].detach(), encoded)
        return rows_at(outputs.logits, range(len(batch)), [place or 0 for place in places], self.kept(places) or ())


class MaskedToken(TokenLabel):
    """A masked language model: by default the first mask."""

    def choices(self, encoded: Encoded) -> Choices:
        return Vocabulary(self.tokenizer, self.model.config.get_text_config().vocab_size)

    def _default(self, encoded: Encoded) -> int:
        mask = next((t.index for t in encoded.tokens if t.id == self.tokenizer.mask_token_id), None)
        if mask is None:
            raise InputError(
                f"the text has no mask: put {self.tokenizer.mask_token} where the model shall fill in, or give a position"
            )
        return mask


class NextToken(MaskedToken):
    """A causal language model: by default the last token's output, which predicts the next one."""

    def extend(self, prompt: Encoded, completion: str) -> Encoded:
        """Prompt and a continuation that is given as text; see `lxtlike.text.extend`."""
        return extend(prompt, completion, self.tokenizer)

    def encode(self, text: str, context: str | None) -> Encoded:
        if context is not None:
            raise InputError("a language model reads one text: write the context into it")
        return super().encode(text, None)

    def _default(self, encoded: Encoded) -> int:
        return len(encoded.tokens) - 1

    def kept(self, places: Sequence[Place]) -> list[int] | None:
        return sorted({place or 0 for place in places})


class Output(NextToken):
    """An encoder-decoder that writes: the output that predicts what the decoder says next, at first what it begins with."""

    def ready(self, encoded: Encoded) -> Encoded:
        return begun(encoded, self.start, self.tokenizer)

    def extend(self, prompt: Encoded, completion: str) -> Encoded:
        """What the decoder says, tokenised as a text of its own (in the target's language, where there are two)."""
        if not completion:
            raise InputError("the completion is empty; give at least one character")
        with used(self.tokenizer):
            ids = self.tokenizer(text_target=completion, add_special_tokens=False, verbose=False)["input_ids"]
        return extend_ids(prompt, ids, self.tokenizer)

    @property
    def start(self) -> list[int]:
        """The ids with which the decoder starts: its own, and one that generation always puts behind it (a language)."""
        options = [self.model.generation_config, self.model.config]
        firsts = [getattr(o, name, None) for name in ("decoder_start_token_id", "bos_token_id") for o in options]
        first = next((number for number in firsts if number is not None), None)
        if first is None:
            raise InputError("the model's config names no token with which its decoder starts (decoder_start_token_id)")
        forced = getattr(self.model.generation_config, "forced_bos_token_id", None)
        return [*(first if isinstance(first, list) else [first]), *([] if forced is None else [forced])]

    def place(self, encoded: Encoded, position: int | None) -> Place:
        if position is not None:
            raise InputError("an encoder-decoder is explained where its decoder goes on: leave the position out")
        return len(encoded.sequences[1]) - 1


def _first_tagged(logits: Tensor, encoded: Encoded) -> int:
    """The first token whose label is not the most frequent one; the first token of the text if all are alike."""
    own = [token.index for token in encoded.tokens if not token.special]
    labels = logits.argmax(-1).tolist()
    most = max(own, key=lambda index: sum(labels[index] == labels[other] for other in own))
    return next((index for index in own if labels[index] != labels[most]), own[0])


EXPLAINED: Mapping[str, type[Reading]] = MappingProxyType(
    {
        "causal-lm": NextToken,
        "sequence-classification": TextLabel,
        "masked-lm": MaskedToken,
        "token-classification": TokenLabel,
        "question-answering": Answer,
        "seq2seq-lm": Output,
    }
)
"""The tasks that are explained: those whose targets are one row of logits."""
