"""The ways of explaining that scripts/benchmark.py compares. Each tool is imported only when it is asked for.

A method takes a `Subject` and gives back what is run and measured: from token ids or text to relevance of every token. What a
tool sets up once (a class, a tokenizer) is set up before; every tool is used as its own documentation shows.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmark_cases import Subject
from torch import Tensor

Run = Callable[[], Any]
Method = Callable[[Subject], Run]

STEPS = 32
"""Of integrated gradients."""


def embedded(subject: Subject, ids: Tensor) -> Tensor:
    """The embeddings of ids [1, T] as a leaf [1, T, d]."""
    leaf: Tensor = subject.model.get_input_embeddings()(ids).detach().requires_grad_()
    return leaf


def last_row(subject: Subject, **inputs: Any) -> Tensor:
    """The logits [V] of the last token, or those of all labels, out of a forward pass."""
    logits: Tensor = subject.model(**inputs, **subject.options).logits
    return logits[0] if logits.dim() == 2 else logits[0, -1]


def frozen(subject: Subject) -> None:
    """As for every use but training."""
    subject.model.requires_grad_(False)


# --- lxtlike ---


def plain_gradient(subject: Subject) -> Run:
    """Input x gradient in torch alone: the least that any explanation by one backward pass costs without tricks."""
    frozen(subject)
    least = {"logits_to_keep": 1} if subject.options else {}

    def run() -> Tensor:
        e = embedded(subject, subject.ids)
        (gradient,) = torch.autograd.grad(last_row(subject, inputs_embeds=e, **least).max(), e)
        return (e * gradient).sum(-1)

    return run


def by_propagate(subject: Subject, **options: Any) -> Run:
    """As whoever writes the loop themselves does it."""
    from lxtlike import propagate

    least = {"logits_to_keep": 1} if subject.options else {}

    def run() -> Tensor:
        with propagate(subject.model, **options):
            e = embedded(subject, subject.ids)
            (coefficient,) = torch.autograd.grad(last_row(subject, inputs_embeds=e, **least).max(), e)
        return (e * coefficient).sum(-1)

    return run


def explained(subject: Subject, *, quality: str = "default", **options: Any) -> Run:
    """`lxtlike.Explainer`, from the text to the result with its ledger and audit; a call on a model that has been explained."""
    from lxtlike import Explainer

    explainer, text = Explainer(subject.model, subject.tokenizer, **options), subject.words(0, subject.tokens)
    explainer.explain(subject.words(0, 4))
    return lambda: explainer.explain(text, quality=quality)


def explained_first(subject: Subject) -> Run:
    """The first call, which measures the deviation of the patched forward pass with a plain one."""
    from lxtlike import Explainer

    text = subject.words(0, subject.tokens)
    return lambda: Explainer(subject.model, subject.tokenizer).explain(text)


def outputs_explained(subject: Subject) -> Run:
    """Every token of a continuation on its own."""
    from lxtlike import Explainer

    explainer, (text, said) = Explainer(subject.model, subject.tokenizer), halves(subject)
    return lambda: explainer.generate(text, completion=said, objective="logprob")


def outputs_summed(subject: Subject) -> Run:
    """The sum over all tokens of a continuation."""
    from lxtlike import Explainer

    explainer, (text, said) = Explainer(subject.model, subject.tokenizer), halves(subject)
    explainer.explain(subject.words(0, 4))
    return lambda: explainer.explain(text, completion=said, objective="logprob")


def halves(subject: Subject) -> tuple[str, str]:
    """The text and its continuation."""
    return subject.words(0, subject.tokens), subject.words(subject.tokens, subject.tokens + subject.outputs)


# --- the peers ---


def lxt(subject: Subject, *, checkpointing: bool = False) -> Run:
    """LXT as in its examples: the model's classes are patched (`prepared`), weights frozen, the last logit's gradient."""
    frozen(subject)

    def run() -> Tensor:
        subject.model.train(checkpointing)
        if checkpointing:
            subject.model.gradient_checkpointing_enable()
        try:
            e = embedded(subject, subject.ids)
            last_row(subject, inputs_embeds=e).max().backward()
            return lxt_relevance(e)
        finally:
            subject.model.gradient_checkpointing_disable()
            subject.model.eval()

    return run


def lxt_outputs(subject: Subject) -> Run:
    """LXT in a loop: every token of a continuation by a forward and a backward pass of its own."""
    frozen(subject)

    def run() -> None:
        for place in range(subject.tokens, subject.ids.shape[1]):
            e = embedded(subject, subject.ids[:, :place])
            last_row(subject, inputs_embeds=e).log_softmax(-1)[subject.ids[0, place]].backward()
            lxt_relevance(e)

    return run


def lxt_relevance(e: Tensor) -> Tensor:
    """Embedding times gradient, in float32."""
    return (e * e.grad).float().sum(-1)


def autolrp(subject: Subject) -> Run:
    """autoLRP with its AttnLRP preset."""
    import autolrp as tool

    frozen(subject)

    def run() -> Tensor:
        e = tool.tensor(embedded(subject, subject.ids))
        row = last_row(subject, inputs_embeds=e)
        row[int(row.argmax())].lrp(config=tool.LRPConfig.attnlrp())
        return e.relevance.sum(-1)

    return run


def captum_once(subject: Subject) -> Run:
    """captum's InputXGradient of the embeddings."""
    from captum.attr import InputXGradient

    method = InputXGradient(lambda e: subject.model(inputs_embeds=e, **subject.options).logits[:, -1])
    return lambda: method.attribute(embedded(subject, subject.ids), target=1).sum(-1)


def captum_path(subject: Subject) -> Run:
    """captum's LayerIntegratedGradients at the embeddings; steps one by one, as in its text tutorials for long texts."""
    from captum.attr import LayerIntegratedGradients

    def chosen(ids: Tensor) -> Tensor:
        logits = subject.model(ids, **subject.options).logits
        return logits if logits.dim() == 2 else logits[:, -1]

    method = LayerIntegratedGradients(chosen, subject.model.get_input_embeddings())
    return lambda: method.attribute(
        subject.ids, baselines=torch.zeros_like(subject.ids), target=1, n_steps=STEPS, internal_batch_size=1
    )


def inseq(subject: Subject, *, name: str, **options: Any) -> Run:
    """inseq's attribution of the next token."""
    from inseq import load_model

    model = load_model(subject.model, name, tokenizer=subject.tokenizer)
    text = subject.words(0, subject.tokens)
    return lambda: model.attribute(text, f"{text} w5", attributed_fn="logit", show_progress=False, **options)


TOOLS: Mapping[str, Mapping[str, Method]] = {
    "lxtlike": {
        "plain gradient": plain_gradient,
        "propagate": by_propagate,
        "propagate, by layer": partial(by_propagate, by_layer=True),
        "explain": explained,
        "explain, first call": explained_first,
        "explain, checkpointing": partial(explained, checkpointing=True),
        "explain, cp-lrp": partial(explained, composite="cp-lrp"),
        "explain, no rules": partial(explained, composite="input-x-gradient"),
        "explain, high": partial(explained, quality="high"),
        "every output": outputs_explained,
        "sum of outputs": outputs_summed,
    },
    "lxt": {"lrp": lxt, "lrp, checkpointing": partial(lxt, checkpointing=True), "every output": lxt_outputs},
    "autolrp": {"lrp": autolrp},
    "captum": {"input x gradient": captum_once, "integrated gradients": captum_path},
    "inseq": {
        "input x gradient": partial(inseq, name="input_x_gradient"),
        "integrated gradients": partial(inseq, name="integrated_gradients", n_steps=STEPS, internal_batch_size=1),
    },
}


def prepared(tool: str) -> None:
    """What a tool does to its whole process before a model is made."""
    if tool == "lxtlike":
        sys.path.insert(0, str(Path(__file__).parents[1]))  # the code beside this file, whatever is installed
    if tool == "lxt":
        from lxt.efficient import monkey_patch

        for family in ("llama", "qwen3", "bert"):
            monkey_patch(importlib.import_module(f"transformers.models.{family}.modeling_{family}"))
