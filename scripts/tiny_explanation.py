"""One tiny model explained: its ledger under both composites, in float64 and float32, as a plain record."""

from __future__ import annotations

import contextlib
import time
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from tiny_architectures import build
from tiny_explainer import explainable, explained
from tiny_inputs import inputs_of
from tiny_leaves import SENSED, TOKENS, Leaves, leaves_of, patch_leaves
from torch import Tensor, nn

from lxtlike import Audit, Ledger, propagate
from lxtlike.propagation.precision import Float64Casts
from lxtlike.propagation.report import LIMITS

COMPOSITES = ("attnlrp", "cp-lrp")
CLOSED = LIMITS["float64"]
"""A ledger is closed when |rest| is at most this part of the summed absolute accounts, in float64."""
EQUAL = 1e-10
"""The fast lane changes nothing when no relevance differs by more than this part of the largest one, in float64."""


def record(mapping: str, model_type: str, class_name: str) -> dict[str, Any]:
    """What the sweep knows of one type: a JSON object; failures are told, not raised."""
    begun = time.monotonic()
    result: dict[str, Any] = {"mapping": mapping, "type": model_type, "class": class_name, "built": False}
    result |= {"runs": {}, "fast": {}, "lanes": {}, "refused": []}
    warnings.filterwarnings("ignore")
    try:
        model = build(model_type, class_name)
        result["parameters"] = sum(p.numel() for p in model.parameters())
        inputs, result["refused"] = inputs_of(model, mapping)
        result["fed"] = sorted(name for name in inputs if name in TOKENS or SENSED.search(name))
        _plain(model, inputs)
        result["built"] = True
        for dtype in (torch.float32, torch.float64):
            model = model.to(dtype)
            for composite in COMPOSITES:
                key = f"{composite}/{str(dtype).removeprefix('torch.')}"
                result["runs"][key], relevance, audit = _run(model, inputs, composite, dtype, trace=True)
                if dtype == torch.float64:
                    _, plain, _ = _run(model, inputs, composite, dtype, fast=False)
                    result["lanes"][composite] = _lanes(audit)
                    result["fast"][composite] = float((relevance - plain).abs().max() / plain.abs().max())
        if explainable(mapping):
            result["explainer"] = explained(mapping, model)
        if mapping == "image-classification" and "input_ids" not in inputs:
            for composite in COMPOSITES:
                result["runs"][f"{composite}/patches"], *_ = _run(model, inputs, composite, torch.float64, patches=True)
    except Exception as error:  # noqa: BLE001 - whatever a type does, the sweep goes on and the page tells it
        result["error"] = f"{type(error).__name__}: {error}".strip()[:600]
        result["trace"] = traceback.format_exc()[-3000:]
    result["seconds"] = round(time.monotonic() - begun, 1)
    return result


def closed(result: dict[str, Any]) -> bool:
    """Forward unchanged, ledgers closed, everything finite, every input explained, no operation without a rule.

    Under `cp-lrp`, which holds softmaxes constant, a picture that comes by one may get nothing.
    """
    runs = result["runs"]
    return (
        "error" not in result
        and all(difference <= EQUAL for difference in result["fast"].values())
        and not wrong(result)
        and all(
            run["finite"]
            and not run["uncovered"]
            and not set(run["silent"]) - ({"picture"} if key.startswith("cp-lrp") else set())
            and run["deviation"] == 0.0
            and (key.endswith("float32") or run["error"] <= CLOSED)
            for key, run in runs.items()
        )
    )


def wrong(result: dict[str, Any]) -> dict[str, float]:
    """The ledgers that the explainer does not close, by way."""
    ways = result.get("explainer") or {}
    if isinstance(ways, str):
        return {}
    return {way: error for way, error in ways.items() if way != "batch" and not error <= CLOSED}


def _lanes(audit: Audit) -> int:
    """Number of modules that took the fast lane."""
    return sum(any("fast lane" in rule for rule in rules.values()) for rules in audit.rules().values())


def _plain(model: nn.Module, inputs: dict[str, Any], leaves: Any = None) -> Tensor:
    """The unpatched model's scores; with `leaves`, computed with gradients on."""
    with torch.random.fork_rng(), torch.no_grad() if leaves is None else leaves:
        torch.manual_seed(2)
        return _row(model(**inputs)).detach()


def _run(
    model: nn.Module,
    inputs: dict[str, Any],
    composite: str,
    dtype: torch.dtype,
    *,
    patches: bool = False,
    **options: bool,
) -> tuple[dict[str, Any], Tensor, Audit]:
    """One explanation: its accounts and checks, the relevance of all leaves [N], the audit."""
    inputs = {k: v.to(dtype) if isinstance(v, Tensor) and v.is_floating_point() else v for k, v in inputs.items()}
    with _default(dtype), Float64Casts() if dtype == torch.float64 else contextlib.nullcontext():
        plain = _plain(model, inputs)
        catch = patch_leaves if patches else leaves_of
        with propagate(model, composite, **options) as audit, torch.random.fork_rng():
            torch.manual_seed(2)
            with catch(model, inputs) as leaves:
                row = _row(model(**inputs))
            value = row.max()
            picture, text = _relevance(value, leaves)
        deviation = without = audit.compare(plain, row)
        if deviation:  # torch takes other kernels for some products when gradients are on, patched or not
            deviation = audit.compare(_plain(model, inputs, catch(model, inputs)), row)
    total = torch.cat([part.flatten() for part in (*picture, *text)])
    ledger: Ledger = audit.ledger(value, total)
    found = {
        "deviation": deviation,
        "deviation from no_grad": without,
        "finite": bool(total.isfinite().all()),
        "error": ledger.relative_error,
        "uncovered": [f"{u.operation} in {u.module}" for u in audit.uncovered],
        "explained": ledger.explained,
        "rest": ledger.rest,
        "picture": float(sum(part.sum() for part in picture)) if picture else None,
        "codes": len(picture) > len(leaves.picture),
        "silent": _silent(picture, text, inputs),
        **ledger.accounts,
    }
    return found, total, audit


def _relevance(value: Tensor, leaves: Leaves) -> tuple[list[Tensor], list[Tensor]]:
    """Relevance of the pictures and of the text, of the leaves' shapes."""
    both = [*leaves.picture, *leaves.text]
    coefficients = torch.autograd.grad(value, both, allow_unused=True)
    found = [torch.zeros_like(x) if c is None else x.detach() * c for x, c in zip(both, coefficients, strict=True)]
    count = len(leaves.picture)
    picture, text = found[:count], found[count:]
    if picture and len(text) > 1 and not any(part.any() for part in picture):
        # The picture became tokens of a codebook, which are looked up after those of the text.
        return [*picture, *text[1:]], text[:1]
    return picture, text


def _silent(picture: list[Tensor], text: list[Tensor], inputs: dict[str, Any]) -> list[str]:
    """Kinds of input without relevance; an encoder and a decoder have text each."""
    expected = sum(name in inputs for name in TOKENS)
    silent = ["picture"] if picture and not any(part.any() for part in picture) else []
    return silent + ["text"] * (sum(bool(part.any()) for part in text) < expected)


@contextlib.contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    """Numbers that a model writes down as tensors have the dtype of its weights."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


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
