"""`propagate`: the reversible patching of one model for the time of a `with` block."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lxtlike.composites import Composite
from lxtlike.errors import AuditError, InputError
from lxtlike.propagation import atoms, fused, recompute
from lxtlike.propagation.atoms import ModuleRule
from lxtlike.propagation.audit import Audit
from lxtlike.propagation.implementations import written_out
from lxtlike.propagation.layers import layers_of
from lxtlike.propagation.mode import RuleMode
from lxtlike.propagation.parallel import is_parallel
from lxtlike.propagation.recompute import Here
from lxtlike.propagation.surroundings import differentiable, forwarded, frozen, owned, still_frozen, uncompiled
from lxtlike.propagation.walk import weights
from lxtlike.rules import RULES
from lxtlike.rules.call import tensors

_logger = logging.getLogger(__name__)


@contextmanager
def propagate(
    model: nn.Module,
    composite: str | Path | Composite = "default",
    *,
    strict: bool = False,
    unknown: str | None = None,
    fast: bool = True,
    trace: bool = False,
    by_layer: bool = False,
    checkpointing: bool | None = None,
) -> Iterator[Audit]:
    """Within the block, backward passes through `model` carry LRP coefficients instead of gradients.

    The forward values do not change. One instance is patched, and afterwards it is what it was, whatever happened inside:
    parameters are frozen and the model is in eval mode only within the block. Another thread that enters the same model
    waits; other models and threads are not affected.

    Args:
        model: any module; its own `forward` must be what is called inside the block.
        composite: name, ``name:parameter=value``, path of a YAML file or `Composite`.
        strict: raise at the end of the block when the audit found something.
        unknown: family of rules for operations that the composite does not know ("structure", "activation", "gate");
            None keeps their plain gradient and reports them.
        fast: use the fast lane (same numbers, fewer kept tensors).
        trace: record which rule every operation got (`Audit.rules`); slows the forward down.
        by_layer: keep the accounts of every layer as well (``Audit.ledger(by="layer")``); costs time and memory.
        checkpointing: whether layers are computed again in the backward pass instead of keeping their activations: less
            memory, more time, same numbers. None: where the model has gradient checkpointing switched on.

    Yields:
        The `Audit`, complete after the backward pass.

    Raises:
        InputError: unknown composite or family; a model that this thread has already entered; a custom autograd Function
            that raises in the backward pass; `nn.DataParallel`.
        AuditError: under `strict`, at the end of the block.
    """
    table = Composite.parse(composite)
    if unknown is not None and unknown not in RULES:
        raise InputError(f"unknown family {unknown!r} for `unknown`; choose from: {', '.join(RULES)}")
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise InputError(
            f"{type(model).__name__} wraps the model for training; pass the model inside it (`model.module`)"
        )
    if any(parameter.is_inference() for parameter in weights(model)):
        raise InputError(
            "the model's weights were made under torch.inference_mode and cannot be used in a backward pass: load the model "
            "outside of it"
        )
    layers, apart = recompute.find(model, checkpointing), layers_of(model) if by_layer else {}
    audit = Audit(model, table.name, trace=trace)
    audit.book.shared_out = is_parallel(model)
    mode = RuleMode(model, table, audit, fast=fast, unknown=unknown, by_layer=by_layer)
    here, alive = Here(), [True]
    with ExitStack() as stack:
        stack.enter_context(owned(model))
        stack.enter_context(frozen(model))
        stack.enter_context(written_out(model))
        stack.enter_context(uncompiled(model))
        stack.enter_context(differentiable())
        stack.callback(alive.clear)
        here.inside = True
        replaced: dict[nn.Module, ModuleRule] = dict(fused.find(model, table)) if fast else {}
        replaced.update(atoms.find(model, table))
        runs: list[tuple[nn.Module, Callable[..., Any]]] = [
            *((layer, functools.partial(recompute.run, layer, here, alive)) for layer in layers),
            *((module, functools.partial(_within, here, rule, mode)) for module, rule in replaced.items()),
            *((layer, functools.partial(_layer, here, mode, name)) for name, layer in apart.items()),
            (model, functools.partial(_root, model, here, mode, audit)),
        ]
        for module, run in runs:
            stack.enter_context(forwarded(module, run, lambda: bool(alive) and here.inside))
        stack.callback(audit.release)
        try:
            yield audit
        except Exception as error:
            if (name := audit.refusing(error)) is None:
                raise
            reason = str(error).strip().partition("\n")[0]
            raise InputError(
                f"{name}, a custom autograd Function of this model, refuses the backward pass ({reason}): what lies before it "
                "cannot be explained; write it with torch operations or map its module class as an atom"
            ) from error
    if not audit.forwards:
        _logger.warning("nothing was explained: the model's own forward did not run inside the `propagate` block.")
    else:
        mode.rules.warn_of_no_first()
    if strict and audit.uncovered:
        raise AuditError("; ".join(map(str, audit.uncovered)))


def _root(
    model: nn.Module, here: Here, mode: RuleMode, audit: Audit, forward: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """The explained model's forward: enters the rule mode."""
    if here.depth:
        return forward(*args, **kwargs)
    still_frozen(model)
    here.depth += 1
    try:
        audit.forwards += 1
        given = next((t for t in tensors(args, kwargs) if t.requires_grad), None)
        if given is not None and given.dim():
            audit.book.items = given.shape[0]
        if mode.layers is not None:
            mode.layers.begin(args, kwargs)
        with mode:
            outputs = forward(*args, **kwargs)
        if mode.layers is not None:
            outputs = mode.layers.end(outputs)
    finally:
        here.depth -= 1
    found = tensors(dict(outputs) if hasattr(outputs, "items") else outputs)
    audit.inspect_graph(t for t in found if t.requires_grad)
    return outputs


def _within(
    here: Here, rule: ModuleRule, mode: RuleMode, forward: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """A replaced module's forward: by its rule inside the rule mode, as it was elsewhere."""
    tracked = any(t.requires_grad for t in tensors(args, kwargs))
    if not here.depth or not tracked or mode.resting or not torch.is_grad_enabled():
        return forward(*args, **kwargs)  # mode.resting: inside of a module that is one operation
    if mode.layers is None:
        return rule(mode, forward, args, kwargs)
    with mode.suspended():
        args, kwargs = mode.layers.receive(args, kwargs)
    return mode.layers.made(rule(mode, forward, args, kwargs))


def _layer(here: Here, mode: RuleMode, name: str, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The forward of a layer whose accounts are kept apart."""
    with mode.layers.within(name) if here.depth and mode.layers is not None else nullcontext():
        return forward(*args, **kwargs)


__all__ = ["propagate"]
