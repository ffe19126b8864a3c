"""One tiny model explained: its ledger under both composites, in float64 and float32, as a plain record."""

from __future__ import annotations

import contextlib
import time
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from tiny_architectures import build, inputs_of
from tiny_exceptions import LEAVES
from torch import Tensor, nn

from lxtlike import Ledger, propagate
from lxtlike.methods.leaves import embedding_leaves
from lxtlike.propagation.precision import Float64Casts

COMPOSITES = ("attnlrp", "cp-lrp")
CLOSED = 1e-8
"""A ledger is closed when |rest| is at most this part of the summed absolute accounts, in float64."""


def record(mapping: str, model_type: str, class_name: str) -> dict[str, Any]:
    """What the sweep knows of one type: a JSON object; failures are told, not raised."""
    begun = time.monotonic()
    result: dict[str, Any] = {"mapping": mapping, "type": model_type, "class": class_name, "built": False, "runs": {}}
    warnings.filterwarnings("ignore")
    try:
        model = build(model_type, class_name)
        result["parameters"] = sum(p.numel() for p in model.parameters())
        inputs = inputs_of(model, mapping)
        _plain(model, inputs)
        result["built"] = True
        for dtype in (torch.float32, torch.float64):
            model = model.to(dtype)
            for composite in COMPOSITES:
                result["runs"][f"{composite}/{str(dtype).removeprefix('torch.')}"] = _run(
                    model, model_type, inputs, composite, dtype
                )
    except Exception as error:  # noqa: BLE001 - whatever a type does, the sweep goes on and the page tells it
        result["error"] = f"{type(error).__name__}: {error}".strip()[:600]
        result["trace"] = traceback.format_exc()[-3000:]
    result["seconds"] = round(time.monotonic() - begun, 1)
    return result


def closed(result: dict[str, Any]) -> bool:
    """Forward unchanged, ledgers closed, everything finite, no operation without a rule."""
    runs = result["runs"]
    return len(runs) == 2 * len(COMPOSITES) and all(
        run["finite"]
        and not run["uncovered"]
        and run["tokens"] != 0.0
        and run["deviation"] == 0.0
        and (not key.endswith("float64") or run["error"] <= CLOSED)
        for key, run in runs.items()
    )


def _plain(model: nn.Module, inputs: dict[str, Any]) -> Tensor:
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(2)
        return _row(model(**inputs))


def _run(
    model: nn.Module, model_type: str, inputs: dict[str, Any], composite: str, dtype: torch.dtype
) -> dict[str, Any]:
    inputs = {k: v.to(dtype) if isinstance(v, Tensor) and v.is_floating_point() else v for k, v in inputs.items()}
    with _default(dtype), Float64Casts() if dtype == torch.float64 else contextlib.nullcontext():
        plain = _plain(model, inputs)
        with propagate(model, composite) as audit, torch.random.fork_rng():
            torch.manual_seed(2)
            with leaves_of(model, model_type, inputs) as leaves:
                row = _row(model(**inputs))
            value = row.max()
            coefficients = torch.autograd.grad(value, leaves, allow_unused=True)
    deviation = audit.compare(plain, row)
    parts = [(x.detach() * c).flatten() for x, c in zip(leaves, coefficients, strict=True) if c is not None]
    relevance = torch.cat(parts)
    needed = 2 if "decoder_input_ids" in inputs else 1
    if len(parts) < needed:
        raise RuntimeError(f"{len(parts)} of {needed} inputs have relevance")
    ledger: Ledger = audit.ledger(value, relevance)
    return {
        "deviation": deviation,
        "finite": bool(relevance.isfinite().all()),
        "error": ledger.relative_error,
        "uncovered": [f"{u.operation} in {u.module}" for u in audit.uncovered],
        "explained": ledger.explained,
        "rest": ledger.rest,
        **ledger.accounts,
    }


@contextlib.contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    """Numbers that a model writes down as tensors have the dtype of its weights."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def leaves_of(model: Any, model_type: str, inputs: dict[str, Any]) -> Iterator[list[Tensor]]:
    """The inputs that are explained, as leaves: pixels, or embeddings (of a decoder with embeddings of its own too)."""
    if "input_ids" not in inputs:
        inputs["pixel_values"] = inputs["pixel_values"].detach().requires_grad_()
        yield [inputs["pixel_values"]]
        return
    own = [module for name, module in model.named_modules() if LEAVES.get(model_type, "//") in name]
    if "decoder_input_ids" in inputs:
        first = model.get_input_embeddings()
        decoder = model.get_decoder()
        decoder = getattr(decoder, "embed_tokens", None) or decoder.get_input_embeddings()
        own = [] if decoder.weight is first.weight else [decoder]
    with contextlib.ExitStack() as stack:
        leaves: list[Tensor] = []
        if model_type not in LEAVES:
            leaves = stack.enter_context(embedding_leaves(model))

        def as_leaf(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
            leaves.append(output.detach().requires_grad_())
            return leaves[-1].clone()

        for module in own:
            if isinstance(module, nn.Embedding):
                stack.callback(module.register_forward_hook(as_leaf).remove)
        yield leaves


def _row(outputs: Any) -> Tensor:
    """The scores of which the largest is explained."""
    for name in ("logits", "start_logits", "prediction_logits", "question_answering_score"):
        scores = outputs.get(name) if hasattr(outputs, "get") else None
        if isinstance(scores, Tensor):
            break
    else:
        scores = outputs[0]
    row = scores[0]
    return row[-1] if row.dim() == 2 else row
