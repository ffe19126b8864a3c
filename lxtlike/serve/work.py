"""What jobs do: a request to a result, by explainers that share one model."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from lxtlike.attribution import Attribution, GenerationAttribution
from lxtlike.explainer import Explainer
from lxtlike.serve.jobs import Job
from lxtlike.serve.schemas import ExplanationRequest, GenerationRequest


class Work:
    """Explains for jobs, one after the other.

    Args:
        explainer: of the model; its composite is used where a request names none.
    """

    def __init__(self, explainer: Explainer) -> None:
        self.explainer = explainer
        self._others: dict[str, Explainer] = {}

    def explain(self, asked: ExplanationRequest, job: Job) -> Attribution:
        """The result of `Explainer.explain`; InputError and the rest as there, Cancelled."""
        job.tell("explaining", 0, 1)
        text, chat = _input(asked)
        options = asked.model_dump(exclude={"text", "composite"})
        found: Attribution = self._by(asked.composite).explain(text, chat=chat, **options)
        return found

    def generate(self, asked: GenerationRequest, job: Job) -> GenerationAttribution:
        """The result of `Explainer.generate`; InputError and the rest as there, Cancelled."""
        text, chat = _input(asked)
        options: dict[str, Any] = {}
        if asked.completion is None:
            told = Generating(job, asked.max_new_tokens)
            options = {"max_new_tokens": asked.max_new_tokens, "stopping_criteria": StoppingCriteriaList([told])}
        return self._by(asked.composite).generate(
            text,
            chat=chat,
            completion=asked.completion,
            objective=asked.objective,
            progress=partial(job.tell, "explaining"),
            **options,
        )

    def _by(self, composite: str | None) -> Explainer:
        first = self.explainer
        if composite is None or composite == first.composite.name:
            return first
        if composite not in self._others:
            self._others[composite] = Explainer(
                first.model,
                first.tokenizer,
                composite=composite,
                task=first.task,
                strict=first.strict,
                checkpointing=first.checkpointing,
                name=first.name,
            )
        return self._others[composite]


class Generating(StoppingCriteria):  # type: ignore[misc]  # transformers has no types here
    """Asked by `generate` after every token whether that was the last one; says no, and tells how many there are."""

    def __init__(self, job: Job, all: int) -> None:
        self._job = job
        self._all = all
        self._done = 0

    def __call__(self, input_ids: Tensor, scores: Any, **_options: Any) -> Tensor:
        """False for each sequence [B]; raises Cancelled in a job that shall end."""
        self._done += 1
        self._job.tell("generating", self._done, self._all)
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def _input(asked: ExplanationRequest | GenerationRequest) -> tuple[Any, bool]:
    """The text, or messages for the chat template, and which of them it is."""
    if isinstance(asked.text, str):
        return asked.text, False
    return [message.model_dump() for message in asked.text], True
