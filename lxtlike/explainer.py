"""The explainer: glue between text, target, method and result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor

from lxtlike.attribution import Attribution, AuditSummary, GenerationAttribution, ResolvedTarget
from lxtlike.composites import Composite
from lxtlike.continuations import explained_outputs, explained_span, generated
from lxtlike.errors import InputError
from lxtlike.feeding import check_length, model_inputs, prediction
from lxtlike.loading import load, task_of, unwrapped
from lxtlike.methods import Explained, Progress, lrp
from lxtlike.targets import MEAN, Choices, Chosen, Span, Target, contrast_of, resolve, values
from lxtlike.tasks import EXPLAINED
from lxtlike.text import Encoded, Given, Message, chat, encode, extend, extend_ids, named, token_ids
from lxtlike.version import versions

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CLOSED = 1e-3
"""Largest relative error of a batch item's ledger before the item is explained again on its own."""


class Explainer:
    """Explains predictions of one model. The model and the tokenizer are never changed.

    Args:
        model: a transformers model for one of the tasks `lxtlike.tasks.EXPLAINED`; taken out of the wrappers of
            torch.compile, peft and data parallelism.
        tokenizer: its tokenizer, fast or slow.
        composite: name, ``name:parameter=value``, path of a YAML file or `Composite`; "default" is the one that measurement
            chose for this kind of model.
        task: needed only where the model's class name does not tell it.
        strict: raise `AuditError` when an operation without a rule reached the target.
        checkpointing: whether layers are computed again in the backward pass instead of keeping their activations (less
            memory, more time, same numbers); None: where the model has gradient checkpointing switched on.
        name: what results call the model; by default its own name or path.

    Raises:
        InputError: the task cannot be told or is not supported, no tokenizer, an unknown composite.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        composite: str | Path | Composite = "default",
        task: str | None = None,
        strict: bool = False,
        checkpointing: bool | None = None,
        name: str | None = None,
    ) -> None:
        if tokenizer is None:
            raise InputError("an explainer needs the model's tokenizer; pass it as the second argument")
        self.model = unwrapped(model)
        self.tokenizer = tokenizer
        self.composite = Composite.parse(composite)
        self.task = task_of(self.model, task)
        if self.task not in EXPLAINED:
            raise InputError(
                f"{self.task} models are not explained here yet, only {', '.join(EXPLAINED)}: use `lxtlike.propagate`, which "
                "takes any model"
            )
        self._reading = EXPLAINED[self.task](self.model, tokenizer)
        self.strict = strict
        self.checkpointing = checkpointing
        self.name = name or self.model.name_or_path or type(self.model).__name__
        self._compared = False

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path | None = None,
        *,
        composite: str | Path | Composite = "default",
        task: str = "auto",
        strict: bool = False,
        checkpointing: bool | None = None,
        **options: Any,
    ) -> Explainer:
        """Load a model and its tokenizer by name or folder (None: the bundled model) and explain it.

        The other arguments, `dtype`, `device`, `device_map` and `trust_remote_code`, are those of `lxtlike.loading.load`.
        """
        rules = Composite.parse(composite)
        loaded = load(model, task=task, **options)
        if loaded.tokenizer is None:
            raise InputError(f"{loaded.name!r} has no tokenizer")
        return cls(
            loaded.model,
            loaded.tokenizer,
            composite=rules,
            task=loaded.task,
            strict=strict,
            checkpointing=checkpointing,
            name=loaded.name,
        )

    @overload
    def explain(
        self,
        text: str | list[Message],
        target: str | int | Span | None = None,
        *,
        completion: str | None = None,
        contrast: str | int | Span | None = None,
        objective: str = "logit",
        position: int | None = None,
        chat: bool | Mapping[str, Any] = False,
        segments: Sequence[Given] | None = None,
        layers: bool = False,
        batch_size: int = 8,
        strict: bool | None = None,
    ) -> Attribution: ...

    @overload
    def explain(
        self,
        text: list[str] | tuple[str, ...] | list[list[Message]],
        target: str | int | Span | None = None,
        *,
        completion: str | None = None,
        contrast: str | int | Span | None = None,
        objective: str = "logit",
        position: int | None = None,
        chat: bool | Mapping[str, Any] = False,
        segments: None = None,
        layers: bool = False,
        batch_size: int = 8,
        strict: bool | None = None,
    ) -> list[Attribution]: ...

    def explain(
        self,
        text: str | list[Message] | list[str] | tuple[str, ...] | list[list[Message]],
        target: str | int | Span | None = None,
        *,
        completion: str | None = None,
        contrast: str | int | Span | None = None,
        objective: str = "logit",
        position: int | None = None,
        chat: bool | Mapping[str, Any] = False,
        segments: Sequence[Given] | None = None,
        layers: bool = False,
        batch_size: int = 8,
        strict: bool | None = None,
    ) -> Attribution | list[Attribution]:
        """Explain one text, or a list of texts in batches (same results, less time).

        Args:
            text: the input; special tokens are added as the tokenizer does. Several texts: a list of them.
            target: a token's text or a label (str), an id (int), or None for the model's first choice. A text of several
                tokens, or a `Span`, is a continuation: explained is the sum over its tokens, in one backward pass.
            completion: the same as ``target=Span(completion)``, for language models.
            contrast: explain the target minus this one (text, label or id), or minus the "mean" of all; of a continuation,
                minus another one.
            objective: "logit", "centered", "logprob" or "prob" of the target.
            position: index of the token whose output is read. Default: the last token of a causal model, the first mask of
                a masked one, the first token whose label is not the most frequent one for token classification.
            chat: the text is a list of messages, or one user turn, and goes through the tokenizer's chat template. More
                than True: its options, such as ``{"documents": [...]}`` (see `lxtlike.text.chat`).
            segments: what the text consists of, ``[(label, start, end), ...]``; `Attribution.by` knows them as parts.
            layers: read the tokens' relevance behind every layer, too (`Attribution.layers`); not of continuations.
            strict: overrides the explainer's own.

        Raises:
            InputError: empty or too long text, unknown target, position out of range, a chat that has no template.
            NumericalError: NaN in the model's output.
            AuditError: under `strict`.
        """
        strict = self.strict if strict is None else strict
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        if completion is not None:
            if target is not None:
                raise InputError("give a target or a completion, not both")
            target = Span(completion)
        single = isinstance(text, str) or (bool(chat) and all(isinstance(item, Mapping) for item in text))
        encoded = [self._encode(item, chat, segments) for item in ([text] if single else text)]
        spans = self._spans(target, contrast)
        if spans:
            if position is not None:
                raise InputError("a continuation follows the whole text: leave the position out")
            if layers:
                raise InputError("layers are read for one token or label, not for a continuation")
            found = [self._explain_span(prompt, spans, objective, strict) for prompt in encoded]
            return found[0] if single else found
        asked = Target(target, contrast, objective, position)  # type: ignore[arg-type]  # no spans are left
        if single:
            return self._explain(encoded, asked, strict, layers)[0]
        size = batch_size if self._reading.pads else 1
        chunks = [encoded[start : start + size] for start in range(0, len(encoded), size)]
        return [attribution for chunk in chunks for attribution in self._explain(chunk, asked, strict, layers)]

    __call__ = explain

    def generate(
        self,
        text: str | list[Message],
        *,
        completion: str | None = None,
        objective: str = "logit",
        chat: bool | Mapping[str, Any] = False,
        segments: Sequence[Given] | None = None,
        strict: bool | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> GenerationAttribution:
        """Generate a continuation and explain every token of it: one forward pass, a backward pass for each token.

        Args:
            completion: explain this continuation instead of generating one.
            objective: as in `explain`; a token's target is the token itself.
            chat, segments: as in `explain`.
            progress: called with (explained, all) after each token is explained; raising in it ends the work, and the model
                is left as it was.
            options: of the model's own `generate`, such as `max_new_tokens` (20 if not given); greedy unless they say else.

        Raises:
            InputError: no language model, an empty or too long text, an option that `generate` refuses, nothing generated.
            NumericalError: NaN in the model's output.
            AuditError: under `strict`.
        """
        self._needs_language_model()
        Target(objective=objective)
        strict = self.strict if strict is None else strict
        prompt = self._encode(text, chat, segments)
        if completion is not None:
            joined = extend(prompt, completion, self.tokenizer)
        else:
            check_length(prompt, self.model, self.tokenizer)
            joined = extend_ids(prompt, generated(self.model, self.tokenizer, prompt, options), self.tokenizer)
        compare = strict or not self._compared
        found = explained_outputs(self, prompt, joined, objective, strict=strict, compare=compare, progress=progress)
        self._compared = True
        return found

    def _encode(self, text: Any, options: bool | Mapping[str, Any], segments: Sequence[Given] | None) -> Encoded:
        if options is False:
            encoded = encode(text, self.tokenizer)
        else:
            encoded = chat(text, self.tokenizer, **(options if isinstance(options, Mapping) else {}))
        return encoded if segments is None else replace(encoded, parts=named(segments, encoded.text))

    def _spans(self, *choices: str | int | Span | None) -> list[Span]:
        """Target and contrast as continuations, if one of them is several tokens; empty if each is one choice."""
        if not any(isinstance(choice, Span) or self._is_long(choice) for choice in choices):
            return []
        self._needs_language_model()
        for choice in choices:
            if not isinstance(choice, (str, Span, type(None))) or choice == MEAN:
                raise InputError(f"a continuation is contrasted with another one, given as text, not with {choice!r}")
        spans = [choice if isinstance(choice, Span) else Span(choice) for choice in choices if choice is not None]  # type: ignore[arg-type]
        if choices[0] is None:
            raise InputError("a continuation as contrast needs one as target")
        return spans

    def _is_long(self, choice: object) -> bool:
        if self.task != "causal-lm" or not isinstance(choice, str) or choice == MEAN:
            return False
        return len(token_ids(choice, self.tokenizer)) > 1

    def _needs_language_model(self) -> None:
        if self.task != "causal-lm":
            raise InputError(f"only a causal language model continues a text; this model's task is {self.task}")

    def _explain_span(self, prompt: Encoded, spans: list[Span], objective: str, strict: bool) -> Attribution:
        Target(objective=objective)
        joined = [extend(prompt, span.text, self.tokenizer) for span in spans]
        if len(joined) == 2 and joined[0] == joined[1]:
            raise InputError("target and contrast are the same continuation: their difference is 0")
        weights = [span.weights for span in spans]
        compare = strict or not self._compared
        found = explained_span(self, prompt, joined, objective, weights, strict=strict, compare=compare)
        self._compared = True
        return found

    @torch.inference_mode(False)  # tensors made in inference mode cannot be differentiated
    def _explain(self, batch: list[Encoded], target: Target, strict: bool, layers: bool) -> list[Attribution]:
        for encoded in batch:
            check_length(encoded, self.model, self.tokenizer)
        choices = self._reading.choices()
        chosen: list[Chosen] = []
        places = [self._reading.place(encoded, target.position) for encoded in batch]

        def read(outputs: Any) -> Tensor:
            return self._reading.rows(outputs, places, batch)

        def scalar(rows: Tensor, book: Any) -> Tensor:
            chosen.extend(resolve(target, row.detach(), choices) for row in rows)
            return values(rows, chosen, book)

        # The forward deviation is a matter of model and composite: measured once per explainer, and always under strict.
        (explained,) = lrp(
            self.model,
            model_inputs(batch, self.model, self.tokenizer, self._reading.kept(places)),
            read,
            [scalar],
            self.composite,
            strict=strict,
            compare=strict or not self._compared,
            checkpointing=self.checkpointing,
            layers=layers,
        )
        self._compared = True
        found = [
            self._attribution(encoded, i, explained, chosen[i], places[i], choices) for i, encoded in enumerate(batch)
        ]
        if len(batch) > 1 and any(a.ledger.relative_error > CLOSED for a in found) and self.composite.rules:
            # Where tokens of all items are mixed (experts), what an item absorbed is only known item by item.
            return [self._explain([encoded], target, strict, layers)[0] for encoded in batch]
        return found

    def _attribution(
        self, encoded: Encoded, item: int, explained: Explained, chosen: Chosen, place: int | None, choices: Choices
    ) -> Attribution:
        relevance = explained.relevance[item, : len(encoded.tokens)]
        special = torch.tensor([token.special for token in encoded.tokens], device=relevance.device)
        behind = explained.layers
        return Attribution(
            model=self.name,
            task=self.task,
            composite=self.composite.name,
            text=encoded.text,
            tokens=encoded.tokens,
            relevance=relevance.float().cpu().numpy(),
            prediction=prediction(explained.rows[item], choices),
            target=ResolvedTarget(
                id=chosen.id,
                token=choices.name(chosen.id),
                position=place,
                objective=chosen.objective,
                contrast=contrast_of(chosen, choices),
                value=float(explained.values[item]),
            ),
            ledger=replace(explained.ledgers[item], special=float(relevance[special].sum())),
            audit=AuditSummary(explained.audit.forward_deviation, tuple(explained.audit.uncovered)),
            versions=versions(),
            parts=encoded.parts,
            layers=None if behind is None else behind[item, :, : len(encoded.tokens)].float().cpu().numpy(),
        )


@lru_cache(maxsize=1)
def _bundled(task: str) -> Explainer:
    return Explainer.from_pretrained(None, task=task)


def explain(text: str, target: str | int | None = None, *, task: str = "auto", **options: Any) -> Attribution:
    """Explain a text with the bundled model for `task` (a language model for "auto"); options as in `Explainer.explain`."""
    attribution: Attribution = _bundled(task).explain(text, target, **options)
    return attribution
