"""The explainer: glue between text, target, method and result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import torch

from lxtlike.attribution import Agreement, Attribution, GenerationAttribution
from lxtlike.composites import Composite
from lxtlike.continuations import explained_outputs
from lxtlike.errors import InputError
from lxtlike.feeding import check_length
from lxtlike.generating import generated
from lxtlike.loading import load
from lxtlike.method import Lrp, Method
from lxtlike.methods import Progress, Views
from lxtlike.quality import DEFAULT, of_quality
from lxtlike.reader import Reader
from lxtlike.recognition import IMAGES, task_of, unwrapped
from lxtlike.targets import Asked, Function, Span, Target
from lxtlike.text import Given, Message, extend_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FIRST, SECOND = "attnlrp", "cp-lrp"
"""Which method checks another: the second one, or the first if that is the second one."""

Texts = list[str] | tuple[str, ...] | list[list[Message]]
"""Several texts, or several chats."""

Choice = str | int | Span | Function | None


class Explainer(Reader):
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
            memory, more time, same numbers); None: where the model has gradient checkpointing switched on, where memory may
            not suffice otherwise, and where it ran out.
        name: what results call the model; by default its own name or path.

    Raises:
        InputError: the task cannot be told, an image classifier, no tokenizer, an unknown composite.
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
        inner = unwrapped(model)
        known = task_of(inner, task)
        if known == IMAGES:
            raise InputError(
                "image classifiers are explained by lxtlike.ImageExplainer, which takes an image processor"
            )
        if tokenizer is None:
            raise InputError("an explainer needs the model's tokenizer; pass it as the second argument")
        super().__init__(
            model=inner,
            tokenizer=tokenizer,
            composite=Composite.parse(composite),
            task=known,
            name=name or inner.name_or_path or type(inner).__name__,
            strict=strict,
            checkpointing=checkpointing,
        )

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

        The other arguments, `dtype`, `device`, `device_map`, `tp_plan` and `trust_remote_code`, are those of
        `lxtlike.loading.load`.
        """
        rules = Composite.parse(composite)
        loaded = load(model, task=task, **options)
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
        target: str | int | Span | Function | None = None,
        *,
        completion: str | None = None,
        contrast: str | int | Span | None = None,
        objective: str = "logit",
        position: int | None = None,
        context: str | None = None,
        chat: bool | Mapping[str, Any] = False,
        segments: Sequence[Given] | None = None,
        layers: bool = False,
        heads: bool = False,
        positions: bool = False,
        reference: str | int | None = None,
        path: int | None = None,
        quality: str = DEFAULT,
        method: str | Method | None = None,
        check: bool | str = False,
        batch_size: int = 8,
        strict: bool | None = None,
    ) -> Attribution: ...

    @overload
    def explain(
        self,
        text: Texts,
        target: Choice | Sequence[Choice] = None,
        *,
        completion: str | None = None,
        contrast: str | int | Span | Sequence[str | int | Span | None] | None = None,
        objective: str = "logit",
        position: int | None = None,
        context: str | Sequence[str] | None = None,
        chat: bool | Mapping[str, Any] = False,
        segments: None = None,
        layers: bool = False,
        heads: bool = False,
        positions: bool = False,
        reference: str | int | None = None,
        path: int | None = None,
        quality: str = DEFAULT,
        method: str | Method | None = None,
        check: bool | str = False,
        batch_size: int = 8,
        strict: bool | None = None,
    ) -> list[Attribution]: ...

    @torch.inference_mode(False)  # tensors made in inference mode cannot be differentiated
    def explain(
        self,
        text: str | list[Message] | Texts,
        target: Choice | Sequence[Choice] = None,
        *,
        completion: str | None = None,
        contrast: str | int | Span | Sequence[str | int | Span | None] | None = None,
        objective: str = "logit",
        position: int | None = None,
        context: str | Sequence[str] | None = None,
        chat: bool | Mapping[str, Any] = False,
        segments: Sequence[Given] | None = None,
        layers: bool = False,
        heads: bool = False,
        positions: bool = False,
        reference: str | int | None = None,
        path: int | None = None,
        quality: str = DEFAULT,
        method: str | Method | None = None,
        check: bool | str = False,
        batch_size: int = 8,
        strict: bool | None = None,
    ) -> Attribution | list[Attribution]:
        """Explain one text, or a list of texts in batches (same results, less time).

        Args:
            text: the input; special tokens are added as the tokenizer does. Several texts: a list of them.
            target: a token's text or a label (str), an id (int), or None for the model's first choice; of a question, the
                text of the answer. A text of several tokens, or a `Span`, is a continuation: explained is the sum over its
                tokens, in one backward pass. A function gets the model's outputs for one text (logits at all positions)
                and returns the number that is explained, a tensor. Of several texts: one for all, or a list with one for each.
            completion: the same as ``target=Span(completion)``, for language models.
            contrast: explain the target minus this one (text, label or id), or minus the "mean" of all; of a continuation,
                minus another one. Of several texts: one for all, or a list with one for each.
            objective: "logit", "centered", "logprob" or "prob" of the target.
            position: index of the token whose output is read. Default: the last token of a causal model, the first mask of
                a masked one, the first token whose label is not the most frequent one for token classification.
            context: a second text that the model reads with the first one: where a question's answer stands (its logit is
                that of its first token as start plus that of its last as end), or what a pair of texts is classified by.
            chat: the text is a list of messages, or one user turn, and goes through the tokenizer's chat template. More
                than True: its options, such as ``{"documents": [...]}`` (see `lxtlike.text.chat`).
            segments: what the text consists of, ``[(label, start, end), ...]``; `Attribution.by` knows them as parts.
            layers: read the tokens' relevance behind every layer, too (`Attribution.layers`).
            heads: read the relevance of every attention head, too (`Attribution.heads`).
            positions: read the relevance of what is added to every token for where it stands (`Attribution.positions`).
            reference: compare with the same text, every token of it replaced: "mask", "pad" or "unk", "mean" (of the
                vocabulary) or "zero", another token's text, or an id. Relevance is ``(e - e_ref) c`` then.
            path: the coefficient is averaged over so many points between reference and text.
            quality: "high" reads the relevance in up to four passes where measurement shows that it helps this kind of model
                (see `lxtlike.quality`).
            method: another one than LRP under the explainer's composite, by name (see `lxtlike.method`): a composite, read
                against a reference or not, or a baseline, such as "integrated-gradients" or "occlusion:by=word".
            check: explain once more with a second method (this one; True: CP-LRP, or AttnLRP where CP-LRP ran), and say how far
                both agree in `Attribution.agreement`.
            strict: overrides the explainer's own.

        Raises:
            InputError: empty or too long text, unknown target, position out of range, a chat that has no template, a
                question without context, a reference that is none or for which there is no place.
            NumericalError: NaN in the model's output.
            AuditError: under `strict`.
        """
        strict = self.strict if strict is None else strict
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        if (method is not None or quality != DEFAULT) and (reference is not None or path is not None):
            what = "a method names" if method is not None else "a quality chooses"
            raise InputError(f"{what} its reference and path itself, as in attnlrp:reference=mask,path=4")
        if method is not None and quality != DEFAULT:
            raise InputError("a method says itself how it is read out: leave the quality out")
        if completion is not None:
            if target is not None:
                raise InputError("give a target or a completion, not both")
            target = Span(completion)
        single = isinstance(text, str) or (bool(chat) and all(isinstance(item, Mapping) for item in text))
        texts = [text] if single else list(text)
        contexts = _each("contexts", context, len(texts))
        choices = zip(_each("targets", target, len(texts)), _each("contrasts", contrast, len(texts)), strict=True)
        batch = [self._encode(own, chat, segments, other) for own, other in zip(texts, contexts, strict=True)]
        if path is not None and reference is None:
            raise InputError("a path begins at a reference: name it, such as mask, pad, mean or zero")
        asked = [Asked(choice, other, objective, position) for choice, other in choices]
        chosen = of_quality(quality, self) if method is None else self.method(method)
        if reference is not None:
            chosen = Lrp(self.composite.name, self.composite, reference, path)
        shared: dict[str, Any] = {"batch_size": batch_size, "strict": strict}
        found = self.explain_encoded(chosen, batch, asked, views=Views(layers, heads), positions=positions, **shared)
        if check:
            name = check if isinstance(check, str) else SECOND if chosen.name != SECOND else FIRST
            others = self.explain_encoded(self.method(name), batch, asked, **shared)
            found = [replace(a, agreement=Agreement.of(a, b)) for a, b in zip(found, others, strict=True)]
        return found[0] if single else found

    __call__ = explain

    @torch.inference_mode(False)
    def generate(
        self,
        text: str | list[Message],
        *,
        completion: str | None = None,
        objective: str = "logit",
        chat: bool | Mapping[str, Any] = False,
        segments: Sequence[Given] | None = None,
        quality: str = DEFAULT,
        strict: bool | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> GenerationAttribution:
        """Generate a continuation and explain every token of it: a backward pass for each, forward passes that many share.

        Args:
            completion: explain this continuation instead of generating one.
            objective: as in `explain`; a token's target is the token itself.
            chat, segments, quality: as in `explain`.
            progress: called with (explained, all) after each token is explained; raising in it ends the work, and the model
                is left as it was.
            options: of the model's own `generate`, such as `max_new_tokens` (20 if not given); greedy unless they say else.

        Raises:
            InputError: no language model, an empty or too long text, an option that `generate` refuses, nothing generated,
                a quality under another composite than the default.
            NumericalError: NaN in the model's output.
            AuditError: under `strict`.
        """
        writer = self._writer
        Target(objective=objective)
        method = of_quality(quality, self)
        strict = self.strict if strict is None else strict
        prompt = self._encode(text, chat, segments)
        if completion is not None:
            joined = writer.extend(prompt, completion)
        else:
            check_length(prompt, self.model, self.tokenizer)
            joined = extend_ids(prompt, generated(self.model, self.tokenizer, prompt, options), self.tokenizer)
        setting, readout = self._under(method), method.readout(self)
        return explained_outputs(setting, prompt, joined, objective, strict=strict, readout=readout, progress=progress)


def _each(name: str, given: Any, texts: int) -> list[Any]:
    """What was given for all texts, or for each of them, one by one.

    Raises:
        InputError: more or fewer than there are texts.
    """
    if not isinstance(given, list | tuple):
        return [given] * texts
    if len(given) != texts:
        raise InputError(f"{len(given)} {name} for {texts} texts: one for each is needed, or one for all")
    return list(given)


@lru_cache(maxsize=1)
def _bundled(task: str) -> Explainer:
    return Explainer.from_pretrained(None, task=task)


def explain(text: str, target: str | int | None = None, *, task: str = "auto", **options: Any) -> Attribution:
    """Explain a text with the bundled model for `task` (a language model for "auto"); options as in `Explainer.explain`."""
    attribution: Attribution = _bundled(task).explain(text, target, **options)
    return attribution
