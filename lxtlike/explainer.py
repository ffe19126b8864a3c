"""The explainer: glue between text, target, method and result."""

from __future__ import annotations

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
from lxtlike.feeding import check_length, model_inputs, prediction, rows_at
from lxtlike.loading import load, task_of, unwrapped
from lxtlike.methods import Explained, lrp
from lxtlike.targets import MEAN, Choices, Chosen, Labels, Span, Target, Vocabulary, contrast_of, resolve, values
from lxtlike.text import Encoded, encode, extend, extend_ids, token_ids
from lxtlike.version import versions

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

EXPLAINED = ("causal-lm", "sequence-classification", "masked-lm", "token-classification")
"""Tasks whose targets are one row of logits."""

CLOSED = 1e-3
"""Largest relative error of a batch item's ledger before the item is explained again on its own."""


class Explainer:
    """Explains predictions of one model. The model and the tokenizer are never changed.

    Args:
        model: a transformers model for one of the tasks `EXPLAINED`; taken out of the wrappers of torch.compile, peft and
            data parallelism.
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
        text: str,
        target: str | int | Span | None = None,
        *,
        completion: str | None = None,
        contrast: str | int | Span | None = None,
        objective: str = "logit",
        position: int | None = None,
        batch_size: int = 8,
        strict: bool | None = None,
    ) -> Attribution: ...

    @overload
    def explain(
        self,
        text: list[str] | tuple[str, ...],
        target: str | int | Span | None = None,
        *,
        completion: str | None = None,
        contrast: str | int | Span | None = None,
        objective: str = "logit",
        position: int | None = None,
        batch_size: int = 8,
        strict: bool | None = None,
    ) -> list[Attribution]: ...

    def explain(
        self,
        text: str | list[str] | tuple[str, ...],
        target: str | int | Span | None = None,
        *,
        completion: str | None = None,
        contrast: str | int | Span | None = None,
        objective: str = "logit",
        position: int | None = None,
        batch_size: int = 8,
        strict: bool | None = None,
    ) -> Attribution | list[Attribution]:
        """Explain one text, or a list of texts in batches (same results, less time).

        Args:
            text: the input; special tokens are added as the tokenizer does.
            target: a token's text or a label (str), an id (int), or None for the model's first choice. A text of several
                tokens, or a `Span`, is a continuation: explained is the sum over its tokens, in one backward pass.
            completion: the same as ``target=Span(completion)``, for language models.
            contrast: explain the target minus this one (text, label or id), or minus the "mean" of all; of a continuation,
                minus another one.
            objective: "logit", "centered", "logprob" or "prob" of the target.
            position: index of the token whose output is read. Default: the last token of a causal model, the first mask of
                a masked one, the first token whose label is not the most frequent one for token classification.
            strict: overrides the explainer's own.

        Raises:
            InputError: empty or too long text, unknown target, position out of range.
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
        encoded = [encode(item, self.tokenizer) for item in ([text] if isinstance(text, str) else text)]
        spans = self._spans(target, contrast)
        if spans:
            if position is not None:
                raise InputError("a continuation follows the whole text: leave the position out")
            found = [self._explain_span(prompt, spans, objective, strict) for prompt in encoded]
            return found[0] if isinstance(text, str) else found
        asked = Target(target, contrast, objective, position)  # type: ignore[arg-type]  # no spans are left
        if isinstance(text, str):
            return self._explain(encoded, asked, strict)[0]
        size = batch_size if self._pads() else 1
        chunks = [encoded[start : start + size] for start in range(0, len(encoded), size)]
        return [attribution for chunk in chunks for attribution in self._explain(chunk, asked, strict)]

    __call__ = explain

    def generate(
        self,
        text: str,
        *,
        completion: str | None = None,
        objective: str = "logit",
        strict: bool | None = None,
        **options: Any,
    ) -> GenerationAttribution:
        """Generate a continuation and explain every token of it: one forward pass, a backward pass for each token.

        Args:
            completion: explain this continuation instead of generating one.
            objective: as in `explain`; a token's target is the token itself.
            options: of the model's own `generate`, such as `max_new_tokens` (20 if not given); greedy unless they say else.

        Raises:
            InputError: no language model, an empty or too long text, an option that `generate` refuses, nothing generated.
            NumericalError: NaN in the model's output.
            AuditError: under `strict`.
        """
        self._needs_language_model()
        Target(objective=objective)
        strict = self.strict if strict is None else strict
        prompt = encode(text, self.tokenizer)
        if completion is not None:
            joined = extend(prompt, completion, self.tokenizer)
        else:
            check_length(prompt, self.model, self.tokenizer)
            joined = extend_ids(prompt, generated(self.model, self.tokenizer, prompt, options), self.tokenizer)
        compare = strict or not self._compared
        found = explained_outputs(self, prompt, joined, objective, strict=strict, compare=compare)
        self._compared = True
        return found

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
    def _explain(self, batch: list[Encoded], target: Target, strict: bool) -> list[Attribution]:
        for encoded in batch:
            check_length(encoded, self.model, self.tokenizer)
        choices = self._choices()
        chosen: list[Chosen] = []
        places: list[int | None] = [self._place(encoded, target.position) for encoded in batch]

        def read(outputs: Any) -> Tensor:
            return self._rows(outputs.logits, places, batch)

        def scalar(rows: Tensor, book: Any) -> Tensor:
            chosen.extend(resolve(target, row.detach(), choices) for row in rows)
            return values(rows, chosen, book)

        # The forward deviation is a matter of model and composite: measured once per explainer, and always under strict.
        (explained,) = lrp(
            self.model,
            model_inputs(batch, self.model, self.tokenizer, self._kept(places)),
            read,
            [scalar],
            self.composite,
            strict=strict,
            compare=strict or not self._compared,
            checkpointing=self.checkpointing,
        )
        self._compared = True
        found = [
            self._attribution(encoded, i, explained, chosen[i], places[i], choices) for i, encoded in enumerate(batch)
        ]
        if len(batch) > 1 and any(a.ledger.relative_error > CLOSED for a in found) and self.composite.rules:
            # Where tokens of all items are mixed (experts), what an item absorbed is only known item by item.
            return [self._explain([encoded], target, strict)[0] for encoded in batch]
        return found

    def _choices(self) -> Choices:
        if self.task in ("sequence-classification", "token-classification"):
            return Labels({int(number): label for number, label in self.model.config.id2label.items()})
        text_config = self.model.config.get_text_config()
        return Vocabulary(self.tokenizer, text_config.vocab_size)

    def _place(self, encoded: Encoded, position: int | None) -> int | None:
        """Index of the token whose output is read, None for the one output of a text; -1 where the model must choose."""
        length = len(encoded.tokens)
        if self.task == "sequence-classification":
            if position is not None:
                raise InputError("a sequence classifier has one output for the whole text: leave the position out")
            return None
        if position is None:
            if self.task == "causal-lm":
                return length - 1
            if self.task == "token-classification":
                return -1
            masks = [t.index for t in encoded.tokens if t.id == self.tokenizer.mask_token_id]
            if not masks:
                mask = self.tokenizer.mask_token
                raise InputError(f"the text has no mask: put {mask} where the model shall fill in, or give a position")
            return masks[0]
        if not -length <= position < length:
            raise InputError(f"position {position} is out of range: the text has {length} tokens, 0 to {length - 1}")
        return position % length

    def _rows(self, logits: Tensor, places: list[int | None], batch: list[Encoded]) -> Tensor:
        """The rows [B, V] of the logits [B, V] or [B, rows, V] that are explained; settles places left to the model."""
        if logits.dim() == 2:
            return logits
        for i, encoded in enumerate(batch):
            if places[i] == -1:
                places[i] = _first_tagged(logits[i].detach(), encoded)
        wanted = [place or 0 for place in places]
        return rows_at(logits, range(len(batch)), wanted, self._kept(places) or ())

    def _kept(self, places: list[int | None]) -> list[int] | None:
        """The positions whose logits are wanted; None where all are computed anyway."""
        return sorted({place or 0 for place in places}) if self.task == "causal-lm" else None

    def _pads(self) -> bool:
        """Whether texts of different lengths can share a batch: a decoder that classifies must know its padding."""
        return self.task != "sequence-classification" or self.model.config.get_text_config().pad_token_id is not None

    def _attribution(
        self, encoded: Encoded, item: int, explained: Explained, chosen: Chosen, place: int | None, choices: Choices
    ) -> Attribution:
        relevance = explained.relevance[item, : len(encoded.tokens)]
        special = torch.tensor([token.special for token in encoded.tokens], device=relevance.device)
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
        )


def _first_tagged(logits: Tensor, encoded: Encoded) -> int:
    """The first token whose label is not the most frequent one; the first token of the text if all are alike."""
    own = [token.index for token in encoded.tokens if not token.special]
    labels = logits.argmax(-1).tolist()
    most = max(own, key=lambda index: sum(labels[index] == labels[other] for other in own))
    return next((index for index in own if labels[index] != labels[most]), own[0])


@lru_cache(maxsize=1)
def _bundled(task: str) -> Explainer:
    return Explainer.from_pretrained(None, task=task)


def explain(text: str, target: str | int | None = None, *, task: str = "auto", **options: Any) -> Attribution:
    """Explain a text with the bundled model for `task` (a language model for "auto"); options as in `Explainer.explain`."""
    attribution: Attribution = _bundled(task).explain(text, target, **options)
    return attribution
