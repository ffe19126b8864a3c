"""The rule mode: every torch operation on the relevance path is looked up in the composite's table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import FunctionType, MethodWrapperType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils.weak import WeakTensorKeyDictionary

from lxtlike.composites import Composite
from lxtlike.propagation.assigned import AssignedRules
from lxtlike.propagation.audit import Audit
from lxtlike.propagation.layers import Layers
from lxtlike.rules import OPERATIONS, RuleFunction
from lxtlike.rules.call import Call, Function, Layered, Operation, tensors
from lxtlike.rules.linear import additive, constant_operands

_REMEDY = "add it to the composite in one line, `composite | {{function: family}}`, if it is {families}."
_FAMILIES = "'structure' (linear), 'activation' (f(0) = 0) or 'gate' (a constant)"

_CUT = (
    "it adds what the model computed from the input under `torch.no_grad`: that part's relevance stays here, booked as a "
    "constant, and does not reach the input. Compute it with gradients, or read the map as one of the rest."
)
_LEAVES = frozenset({Tensor.requires_grad_, Tensor.requires_grad.__set__})  # type: ignore[attr-defined]
_PLAIN = {Tensor, torch.nn.Parameter}


class RuleMode(TorchFunctionMode):
    """Runs operations on tracked tensors by the rules of a composite; everything else passes untouched.

    Tracked means: carries gradient while all parameters are frozen, so it comes from the explained input.

    Attributes:
        untouched: families whose operations run as they are, and nobody asks what they did.
        resting: whether operations pass untouched (`suspended`).
    """

    def __init__(
        self,
        model: nn.Module,
        composite: Composite,
        audit: Audit,
        *,
        fast: bool,
        unknown: str | None,
        by_layer: bool = False,
    ) -> None:
        super().__init__()
        self.rules = AssignedRules(model, composite, audit.running)
        self.plain = not (composite.rules or composite.layers)
        self.untouched = () if audit.traces else self.rules.untouched
        self.own = {function: Operation(_name(function), family) for function, family in composite.operations.items()}
        self.audit = audit
        self.fast = fast
        # The empty composite promises plain gradients for everything, so nothing is unknown to it.
        self.unknown = unknown or ("structure" if self.plain else None)
        self.activated: Any = WeakTensorKeyDictionary()
        self.layered: Any = WeakTensorKeyDictionary()
        self.lookups: Any = WeakTensorKeyDictionary()
        self.cut: Any = WeakTensorKeyDictionary()
        self._cutting = False
        self.layers = Layers(audit.book, self.activated) if by_layer else None
        audit.layers = self.layers
        self.resting = False

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Let operations pass untouched: inside a module that is one operation. Other function modes stay in force."""
        before, self.resting = self.resting, True
        try:
            yield
        finally:
            self.resting = before

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.resting:
            return func(*args, **kwargs)
        if func in _LEAVES or kwargs.get("requires_grad"):
            return self._leaf(func, args, kwargs)
        if not (_any_tracked(args) or (kwargs and _any_tracked(kwargs.values()))):
            result = func(*args, **kwargs)
            if func is F.embedding:
                self.lookups[result] = True
            elif self._cutting and any(t in self.cut for t in _origins(func, args, kwargs)):
                self._cut_off(result, *args[:1])
            return result
        operation = self.own.get(func) or OPERATIONS.get(func)
        run = self._run if _PLAIN.issuperset(types) else self._kernel
        if self.layers is None or (operation is None and isinstance(func, MethodWrapperType)):
            return run(func, args, kwargs, operation)
        inplace = (operation is not None and operation.outplace is not None) or kwargs.get("inplace")
        args, kwargs = self.layers.receive(args, kwargs, changed=args[0] if inplace else None)
        return self.layers.made(run(func, args, kwargs, operation))

    def _run(self, func: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], operation: Operation | None) -> Any:
        if func in COMPOUNDS and not self.plain:
            with self:
                return COMPOUNDS[func](*args, **kwargs)
        if operation is None:
            result = self._unknown(func, args, kwargs)
        elif operation.family in self.untouched and operation.outplace is None and not self._cutting:
            result = func(*args, **kwargs)
        else:
            call = self.call(func, args, kwargs, operation)
            result = self.apply(call)
            if self._cutting:
                self._suspect_cut(call, result)
        if not torch.is_grad_enabled() and not self.audit.locate_function() and _tracked_origin(func, args, kwargs):
            self._cut_off(result)
        return result

    def _leaf(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """A tensor that shall require grad: one of zeros that the model's own code makes has no relevance, ever.

        So it stays a constant, and what is computed from it is booked as such. Inputs are made outside, or by hooks.
        """
        if func in _LEAVES:
            made = args[0]
        else:
            made = func(*args, **{key: value for key, value in kwargs.items() if key != "requires_grad"})
        if not made.requires_grad and made.is_leaf and not bool(made.any()) and self.audit.made_by_model():
            return made
        return func(*args, **kwargs) if func in _LEAVES else made.requires_grad_()

    def _cut_off(self, *values: Any) -> None:
        """Remember tensors that come from the input and carry no gradient."""
        for t in tensors(*values):
            if t.is_floating_point() and not t.requires_grad:
                self._cutting = True
                self.cut[t] = True

    def _suspect_cut(self, call: Call, result: Any) -> None:
        """Report what is added to tracked tensors although it was itself computed from the input, without gradient."""
        addend = call.operation.addend
        added = call.operands() if call.family == "additive" else [call.get(addend)] if addend else []
        if any(t in self.cut for t in tensors(*added)):
            outputs = [t for t in tensors(result, *call.args[:1]) if t.requires_grad]
            self.audit.suspect(f"cut: {call.operation.name}", _CUT, outputs[:1])
            for t in outputs:
                self.cut.pop(t, None)  # changed in place: on the way of relevance from here on

    def _kernel(
        self, func: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], operation: Operation | None
    ) -> Any:
        """An operation on tensors of a class of their own, such as quantised weights: how they do it is their business."""
        result = self._run(func, args, kwargs, operation)
        if operation is not None:
            self.audit.cover((args, dict(kwargs)), result)
        return result

    def call(self, func: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], operation: Operation) -> Call:
        """The call of an operation, as rules see it."""
        return Call(
            func,
            tuple(args),
            kwargs,
            operation,
            self.audit.book,
            self.activated,
            self.layered,
            lambda t: t in self.lookups or (t._base is not None and t._base in self.lookups),
            self.audit.running,
            self.fast,
        )

    def apply(self, call: Call, lane: str = "") -> Any:
        """Run one operation by its rule; `lane` is what the report says of how it got there."""
        if call.kwargs.get("inplace"):
            outplace = call.having(inplace=False)
            return call.args[0].copy_(self.apply(outplace))
        family = call.family
        chosen = self.rules.rule(family, call)
        label = chosen.label if chosen else "gradient"
        self.audit.note(call.operation.name, f"{family}: {label}{lane and f' ({lane})'}")
        if chosen is None:
            return call.run()
        rule = chosen.function
        if call.operation.outplace is None or family == "structure":
            result = rule(call)
            if self.rules.merges and family in ("linear", "convolution"):
                self.layered[result] = Layered(call, rule, result._version)
            return result
        if rule is additive and not constant_operands(call):
            return call.run()
        return self._inplace(call, call.operation.outplace, rule)

    def _inplace(self, call: Call, outplace: Function, rule: RuleFunction) -> Any:
        """An in-place function is its out-of-place form on a copy, written over the first argument.

        On a copy, because rules hand out aliases of their inputs, which must not change under them.
        """
        changed = call.args[0]
        before = changed.clone()
        remembered = self.activated.get(changed)
        if remembered is not None and remembered.holds(changed):
            self.activated[before] = replace(remembered, output_version=before._version)
        call = replace(call, function=outplace, args=(before, *call.args[1:]))
        # What the rule remembers must not change either: recurrent states are read here and overwritten later.
        result = rule(call.transform_operands(lambda t: t if t.requires_grad or t is before else t.clone()))
        if changed.requires_grad and not result.requires_grad and not changed._is_view():
            changed.detach_()
        changed.copy_(result)
        return None if call.operation.name == "__setitem__" else changed

    def _unknown(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if isinstance(func, MethodWrapperType):
            return func(*args, **kwargs)  # An attribute such as x.shape; those that are tensors are in the table.
        if self.unknown is not None:
            return self.apply(self.call(func, args, kwargs, Operation(_name(func), self.unknown)))
        result = func(*args, **kwargs)
        outputs = [t for t in tensors(result) if t.requires_grad]
        if outputs:
            self.audit.note(_name(func), "no rule")
            self.audit.suspect(_name(func), _REMEDY.format(families=_FAMILIES), outputs)
        return result


def _any_tracked(values: Any) -> bool:
    for value in values:
        if isinstance(value, Tensor):
            if value.requires_grad:
                return True
        elif isinstance(value, (list, tuple)) and _any_tracked(value):
            return True
    return False


def _origins(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The tensors among the arguments that give the result its values, and not only its shape or dtype."""
    name, operation = getattr(func, "__name__", ""), OPERATIONS.get(func)
    if name.startswith("new_") or name.endswith("_like"):
        return []
    if operation is not None and operation.family == "structure" and args:
        return tensors(args[0])
    return tensors(args, dict(kwargs))


def _tracked_origin(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    return any(t.requires_grad for t in _origins(func, args, kwargs))


def _name(function: Callable[..., Any]) -> str:
    return str(resolve_name(function) or getattr(function, "__qualname__", repr(function)))


def _glu(input: Tensor, dim: int = -1) -> Tensor:
    value, gate = input.chunk(2, dim)
    return value * torch.sigmoid(gate)


def _addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    return input + value * (tensor1 * tensor2)


def _addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    return input + value * (tensor1 / tensor2)


def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    return (F.normalize(x1, dim=dim, eps=eps) * F.normalize(x2, dim=dim, eps=eps)).sum(dim)


def _opened(function: Any) -> Callable[..., Any]:
    """A torch function written in Python, whose body runs in the mode instead of being handed to it whole."""
    known = {**function.__globals__, "has_torch_function": lambda _tensors: False}
    body = FunctionType(function.__code__, known, function.__name__, function.__defaults__, function.__closure__)
    body.__kwdefaults__ = function.__kwdefaults__
    return body


COMPOUNDS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    F.glu: _glu,
    torch.addcmul: _addcmul,
    Tensor.addcmul: _addcmul,
    torch.addcdiv: _addcdiv,
    Tensor.addcdiv: _addcdiv,
    F.cosine_similarity: _cosine_similarity,
    F.multi_head_attention_forward: _opened(F.multi_head_attention_forward),
}
"""Functions that are written out in operations that have rules."""
