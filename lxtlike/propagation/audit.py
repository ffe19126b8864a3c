"""The audit: what a patched run did, which operations no rule covers, and the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn
from torch.nn.modules._functions import BackwardHookFunction

from lxtlike.errors import InputError, LxtlikeError
from lxtlike.ledger import LayerLedger, Ledger, Uncovered
from lxtlike.propagation import stack
from lxtlike.propagation.book import AccountBook
from lxtlike.propagation.layers import Layers
from lxtlike.propagation.report import AND, Check, report
from lxtlike.rules.call import tensors
from lxtlike.rules.primitives import wide

_COVERED = "lxtlike.covered"
_SAFE = ("lxtlike.", "torch.distributed.fsdp.", "torch.distributed.tensor.", "transformers.distributed.")

_FOREIGN = (
    "a custom autograd Function; if its module is one elementwise function, map the module's class as an atom, "
    "`composite | {ModuleClass: 'activation'}` (or 'gate'; 'linear' for a quantised linear layer), else write it with torch "
    "operations."
)
_LEAF = (
    "it requires grad, and its relevance was not asked for: pass it to `torch.autograd.grad` as an input too, or, if it is no "
    "input, set its requires_grad to False (parameters must be registered in the model to be frozen)."
)


class Audit:
    """What `propagate` yields; complete after the backward pass.

    Attributes:
        composite: name of the composite that ran.
        dtype: of the model's weights, as in "float32".
        forward_deviation: largest absolute difference of the patched outputs from the plain ones over the largest absolute
            plain output; None while nobody has compared them (`compare`).
    """

    def __init__(self, model: nn.Module, composite: str, *, trace: bool = False) -> None:
        self.composite = composite
        self.forward_deviation: float | None = None
        self.book = AccountBook()
        dtypes = (p.dtype for p in model.parameters() if p.is_floating_point())
        self.dtype = str(next(dtypes, torch.get_default_dtype())).removeprefix("torch.")
        self.layers: Layers | None = None
        self._latest: Ledger | None = None
        self.forwards = 0
        self._names = {id(module): name for name, module in model.named_modules()}
        self._suspects: dict[Uncovered, bool] = {}
        self._functions: dict[int, tuple[str, str]] = {}
        self._backwards: dict[Any, str] = {}
        self._release: list[Callable[[], None]] = []
        self._ends: list[tuple[Uncovered, list[bool]]] = []
        self._trace: dict[str, dict[str, dict[str, None]]] | None = {} if trace else None

    @property
    def uncovered(self) -> list[Uncovered]:
        """Operations without a rule whose result reached the target, and places where relevance ends without an account."""
        ends = dict.fromkeys(finding for finding, (reached, explained) in self._ends if reached and not explained)
        return [*(finding for finding, reached in self._suspects.items() if reached), *ends]

    def relevance(self, x: Tensor, coefficient: Tensor) -> Tensor:
        """Relevance of a tensor, in its own shape and in float32 or wider, from its coefficient in the latest backward pass.

        That is ``x c``, and what the rules for first layers (flat, w^2, box) have given an input beside it.
        """
        return wide(x.detach()) * (wide(coefficient) / self.book.scale) + self.book.deposited(x)

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
        self._latest = Ledger(_number(explained), _number(tokens), **accounts, special=special, bias_kinds=kinds)
        return self._latest

    def _by_layer(self, by: str, item: int | None) -> LayerLedger:
        if by != "layer":
            raise InputError(f"a ledger by {by!r} does not exist: leave `by` out, or take by='layer'")
        if self.layers is None:
            raise InputError(
                "the accounts were not kept by layer: enter the block with `propagate(..., by_layer=True)`"
            )
        return self.layers.ledger(item)

    def report(self, ledger: Ledger | None = None) -> str:
        """Rules by module, operations without a rule, the ledger (by layer too where it was kept), and a verdict.

        Args:
            ledger: what `ledger` gave; None is the latest that was asked for.
        """
        ledger = ledger or self._latest
        checks = [] if ledger is None else [Check(self.dtype, ledger, self.forward_deviation)]
        layers = None if self.layers is None else self.layers.ledger()
        return report(self.rules(), self.uncovered, checks, layers)

    def compare(self, plain: Tensor, patched: Tensor) -> float:
        """Set and return `forward_deviation` from outputs of the plain and of the patched model, of equal shape."""
        plain, patched = wide(plain.detach()), wide(patched.detach())  # not wider: MPS has no float64
        tiny = torch.finfo(plain.dtype).tiny
        self.forward_deviation = float((plain - patched).abs().max() / plain.abs().max().clamp_min(tiny))
        return self.forward_deviation

    def rules(self) -> dict[str, dict[str, str]]:
        """Module path -> operation -> rule, of what ran on the relevance path (only with ``propagate(..., trace=True)``).

        An operation that ran by several rules, in several calls, has them all, joined by `AND`.
        """
        return {
            module: {operation: AND.join(rules) for operation, rules in operations.items()}
            for module, operations in (self._trace or {}).items()
        }

    @property
    def traces(self) -> bool:
        """Whether it is recorded which rule every operation got."""
        return self._trace is not None

    def note(self, operation: str, rule: str) -> None:
        """Remember which rule an operation got, when tracing."""
        if self._trace is not None:
            self._trace.setdefault(self._where(), {}).setdefault(operation, {})[rule] = None

    def suspect(self, operation: str, remedy: str, outputs: Iterable[Tensor]) -> None:
        """Report an operation if relevance comes by one of its outputs."""
        finding = Uncovered(operation, self._where(), remedy, stack.line())
        self._suspects.setdefault(finding, False)  # in the order of the forward pass
        for output in outputs:
            output.register_hook(lambda _: self._suspects.update({finding: True}))  # type: ignore[no-untyped-call]

    def cover(self, inputs: Any, outputs: Any) -> None:
        """Take responsibility for the autograd Functions between the inputs and outputs of one operation that has a rule.

        Quantised weights bring kernels with Functions of their own. That their derivative is the one the rule promises is
        what the ledger checks.
        """
        before = {t.grad_fn for t in tensors(inputs)}
        waiting = [t.grad_fn for t in tensors(outputs) if t.grad_fn is not None]
        while waiting:
            node: Any = waiting.pop()
            if node not in before and not node.metadata.get(_COVERED):
                node.metadata[_COVERED] = True
                waiting.extend(parent for parent, _ in node.next_functions if parent is not None)

    def inspect_graph(self, outputs: Iterable[Tensor]) -> None:
        """Report what no rule can look inside in the graph of `outputs`, and leaves that nobody asks the relevance of."""
        waiting = [t.grad_fn for t in outputs if t.grad_fn is not None]
        users: dict[Any, list[Any]] = {node: [] for node in waiting}
        while waiting:
            node: Any = waiting.pop()
            if isinstance(node, torch.autograd.function.BackwardCFunction) and not _known(node):
                finding = self._foreign(node)
                backward = getattr(getattr(type(node), "_forward_cls", None), "backward", None)
                self._backwards[getattr(backward, "__code__", None)] = type(node).__name__.removesuffix("Backward")
                node.register_prehook(lambda _, finding=finding: self._suspects.update({finding: True}))
            for parent, _ in node.next_functions:
                if parent is not None and parent not in users:
                    users[parent] = []
                    waiting.append(parent)
                if parent is not None:
                    users[parent].append(node)
        for node in users:
            if hasattr(node, "variable"):
                self._watch(node.variable, _joins(node, users))

    def refusing(self, error: BaseException) -> str | None:
        """Name of the custom autograd Function in whose backward an error was raised; None for all other errors."""
        trace = error.__traceback__
        while trace is not None:
            if (name := self._backwards.get(trace.tb_frame.f_code)) is not None:
                return name
            trace = trace.tb_next
        return None

    def _foreign(self, node: Any) -> Uncovered:
        """The finding of a custom autograd Function, with the line that called it where its forward was seen to run."""
        name = type(node).__name__.removesuffix("Backward")
        module, source = self._functions.get(id(node), ("", ""))
        return Uncovered(f"torch.autograd.Function {name}", module, _FOREIGN, source)

    def _watch(self, leaf: Tensor, joins: Iterable[Any]) -> None:
        """Report a leaf if the backward pass comes by where its way branches off, and does not go on to it."""
        came = [False, False]
        self._ends.append((Uncovered(f"a leaf of shape {list(leaf.shape)}", "", _LEAF), came))
        for node in joins:
            node.register_prehook(lambda _: came.__setitem__(0, True))
        hook = leaf.register_hook(lambda _: came.__setitem__(1, True))  # type: ignore[no-untyped-call]
        self._release.append(hook.remove)

    def release(self) -> None:
        """Take the hooks off the leaves, which are not ours."""
        while self._release:
            self._release.pop()()
        self._ends = [end for end in self._ends if end[1][0]]

    def locate_function(self) -> bool:
        """Whether the forward of a custom autograd Function is running; if so, remember where it was called."""
        found = stack.function()
        if found is not None:
            node, frame = found
            self._functions[id(node)] = self._where(), stack.line(frame.f_back)
        return found is not None

    def made_by_model(self) -> bool:
        """Whether the model's own code is running, and not a hook on one of its modules."""
        return stack.by_model(self._names)

    def running(self) -> nn.Module | None:
        """The module whose forward is running: the innermost one on the Python stack that belongs to the model."""
        return stack.running(self._names)[0]

    def _where(self) -> str:
        """Path of the module whose forward is running."""
        return str(self._names.get(id(self.running()), ""))


def _joins(node: Any, users: Mapping[Any, list[Any]]) -> set[Any]:
    """Where the way to a node branches off: the nearest users of it that lead elsewhere, too."""
    found, waiting = set(), [node]
    while waiting:
        for user in users[waiting.pop()]:
            if sum(parent is not None for parent, _ in user.next_functions) > 1:
                found.add(user)
            else:
                waiting.append(user)
    return found


def _known(node: Any) -> bool:
    """Whether a custom autograd Function is ours, only calls hooks, moves tensors between processes, or has a rule."""
    function: Any = getattr(type(node), "_forward_cls", None)
    ours = (getattr(function, "__module__", "") or "").startswith(_SAFE)
    return ours or function is BackwardHookFunction or _COVERED in node.metadata


def _number(value: float | Tensor) -> float:
    return float(value.detach().cpu().double().sum()) if isinstance(value, Tensor) else float(value)
