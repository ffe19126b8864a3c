"""The audit: what a patched run did, which operations no rule covers, and the ledger."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import FrameType
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from lxtlike.errors import InputError, LxtlikeError
from lxtlike.ledger import LayerLedger, Ledger, Uncovered
from lxtlike.propagation.book import AccountBook
from lxtlike.propagation.layers import Layers
from lxtlike.rules.call import tensors

_COVERED = "lxtlike.covered"


class Audit:
    """What `propagate` yields; complete after the backward pass.

    Attributes:
        composite: name of the composite that ran.
        forward_deviation: largest absolute difference of the patched outputs from the plain ones over the largest absolute
            plain output; None while nobody has compared them (`compare`).
    """

    def __init__(self, model: nn.Module, composite: str, *, trace: bool = False) -> None:
        self.composite = composite
        self.forward_deviation: float | None = None
        self.book = AccountBook()
        self.layers: Layers | None = None
        self.forwards = 0
        self._names = {id(module): name for name, module in model.named_modules()}
        self._uncovered: dict[Uncovered, None] = {}
        self._trace: dict[str, dict[str, str]] | None = {} if trace else None

    @property
    def uncovered(self) -> list[Uncovered]:
        """Operations without a rule whose result reached the target."""
        return list(self._uncovered)

    @overload
    def ledger(
        self, explained: float | Tensor, tokens: float | Tensor, *, special: float = 0.0, item: int | None = None
    ) -> Ledger: ...

    @overload
    def ledger(self, *, by: Literal["layer"], item: int | None = None) -> LayerLedger: ...

    def ledger(
        self,
        explained: float | Tensor = 0.0,
        tokens: float | Tensor = 0.0,
        *,
        special: float = 0.0,
        item: int | None = None,
        by: str | None = None,
    ) -> Ledger | LayerLedger:
        """The accounts of the latest backward pass, of the model or of each of its layers.

        Args:
            explained: the target's value F (of one item, or summed over the batch), a scalar.
            tokens: relevance of the tokens, of any shape; it is summed.
            special: the part of `tokens` on special tokens.
            item: index in the batch; None for the whole batch.
            by: "layer" gives a `LayerLedger`, which needs neither value nor relevance, only ``propagate(..., by_layer=True)``.

        Raises:
            InputError: an unknown `by`, or accounts that were not kept by layer.
            LxtlikeError: when the model's forward did not run inside the block, so that nothing was patched.
        """
        if not self.forwards:
            raise LxtlikeError(
                "the model's own forward did not run inside the `propagate` block; call the module that was passed to it."
            )
        if by is not None:
            return self._by_layer(by, item)
        accounts, kinds = self.book.accounts(item), self.book.kinds(item)
        return Ledger(_number(explained), _number(tokens), **accounts, special=special, bias_kinds=kinds)

    def _by_layer(self, by: str, item: int | None) -> LayerLedger:
        if by != "layer":
            raise InputError(f"a ledger by {by!r} does not exist: leave `by` out, or take by='layer'")
        if self.layers is None:
            raise InputError(
                "the accounts were not kept by layer: enter the block with `propagate(..., by_layer=True)`"
            )
        return self.layers.ledger(item)

    def compare(self, plain: Tensor, patched: Tensor) -> float:
        """Set and return `forward_deviation` from outputs of the plain and of the patched model, of equal shape."""
        difference = (plain.detach().double() - patched.detach().double()).abs().max()
        self.forward_deviation = float(difference / plain.detach().double().abs().max().clamp_min(1e-300))
        return self.forward_deviation

    def rules(self) -> dict[str, dict[str, str]]:
        """Module path -> operation -> rule, of what ran on the relevance path (only with ``propagate(..., trace=True)``)."""
        return {module: dict(rules) for module, rules in (self._trace or {}).items()}

    def note(self, operation: str, rule: str) -> None:
        """Remember which rule an operation got, when tracing."""
        if self._trace is not None:
            self._trace.setdefault(self._where(), {})[operation] = rule

    def suspect(self, operation: str, remedy: str, outputs: Iterable[Tensor]) -> None:
        """Report an operation if relevance comes by one of its outputs."""
        finding = Uncovered(operation, self._where(), remedy)
        for output in outputs:
            output.register_hook(lambda _: self._uncovered.setdefault(finding))  # type: ignore[no-untyped-call]

    def cover(self, inputs: Any, outputs: Any) -> None:
        """Take responsibility for the autograd Functions between the inputs and outputs of one operation that has a rule.

        Quantised weights bring kernels with Functions of their own. That their derivative is the one the rule promises is
        what the ledger checks.
        """
        before = {t.grad_fn for t in tensors(inputs)}
        stack = [t.grad_fn for t in tensors(outputs) if t.grad_fn is not None]
        while stack:
            node: Any = stack.pop()
            if node not in before and not node.metadata.get(_COVERED):
                node.metadata[_COVERED] = True
                stack.extend(parent for parent, _ in node.next_functions if parent is not None)

    def inspect_graph(self, outputs: Iterable[Tensor]) -> None:
        """Report foreign `torch.autograd.Function`s in the graph of `outputs`: no rule can look inside them."""
        stack = [t.grad_fn for t in outputs if t.grad_fn is not None]
        seen: set[Any] = set(stack)
        while stack:
            node: Any = stack.pop()
            if (
                isinstance(node, torch.autograd.function.BackwardCFunction)
                and not _ours(node)
                and _COVERED not in node.metadata
            ):
                name = type(node).__name__.removesuffix("Backward")
                remedy = (
                    "a custom autograd Function; map its module class as an atom or write it with torch operations."
                )
                finding = Uncovered(f"torch.autograd.Function {name}", "", remedy)
                node.register_prehook(lambda _, finding=finding: self._uncovered.setdefault(finding))
            for parent, _ in node.next_functions:
                if parent is not None and parent not in seen:
                    seen.add(parent)
                    stack.append(parent)

    def running(self) -> nn.Module | None:
        """The module whose forward is running: the innermost one on the Python stack that belongs to the model."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            module: nn.Module | None = frame.f_locals.get("self")
            if id(module) in self._names:
                return module
            frame = frame.f_back
        return None

    def _where(self) -> str:
        """Path of the module whose forward is running."""
        return str(self._names.get(id(self.running()), ""))


def _ours(node: Any) -> bool:
    return (getattr(getattr(type(node), "_forward_cls", None), "__module__", "") or "").startswith("lxtlike.")


def _number(value: float | Tensor) -> float:
    return float(value.detach().double().sum()) if isinstance(value, Tensor) else float(value)
