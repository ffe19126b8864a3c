"""One intercepted operation, as a rule sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lxtlike.rules.primitives import Book

Function = Callable[..., Any]


@dataclass(frozen=True)
class Operation:
    """What the table of operations knows of a torch function.

    Attributes:
        name: the function's name, for reports.
        family: the family of rules that applies ("linear", "activation", ...; the keys of `lxtlike.rules.RULES`), or a
            function that tells it from the call.
        parameters: names of the leading parameters, where a rule must tell them apart.
        operands: the parameters that are multiplied (products) or added (additive operations); empty means all tensors.
        addend: the parameter that is added to a product (a bias, the `input` of `addmm`).
        channel: dimension of the output along which a one-dimensional addend lies.
        ratio: for activations, ``f(x) / x`` in closed form; None means the quotient with its limit at 0.
        outplace: the out-of-place function, for a function that changes its first argument.
    """

    name: str
    family: str | Callable[[Call], str]
    parameters: tuple[str, ...] = ()
    operands: tuple[str, ...] = ()
    addend: str | None = None
    channel: int = -1
    ratio: Callable[..., Tensor] | None = None
    outplace: Function | None = None


def transform(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """`value` with `change` applied to the tensors in it, lists and tuples included."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)(transform(item, change) for item in value) if _plain(value) else value
    return value


def tensors(*values: Any) -> list[Tensor]:
    """The tensors in `values`, lists and tuples included."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend(tensors(*value))
        elif isinstance(value, dict):
            found.extend(tensors(*value.values()))
    return found


def _plain(value: list[Any] | tuple[Any, ...]) -> bool:
    return type(value) in (list, tuple)


@dataclass(frozen=True)
class Activated:
    """What is remembered of the output of an activation: its input, ``f(x) / x``, and their versions when it ran."""

    source: Tensor
    ratio: Tensor
    source_version: int
    output_version: int

    def holds(self, output: Tensor) -> bool:
        """Whether neither was changed in place since."""
        return self.source._version == self.source_version and output._version == self.output_version


@dataclass(frozen=True)
class Layered:
    """What is remembered of the output of a layer: its call, its rule, and the output's version when it ran."""

    call: Call
    rule: Function
    version: int


@dataclass(frozen=True)
class Call:
    """A call of `function` with at least one tracked tensor among its arguments.

    Attributes:
        book: where absorbed relevance is written.
        activated: the outputs of activations that are still alive: what tells a gated product from any other product.
        layers: the outputs of convolution and linear layers that a batch norm may follow.
        looked_up: tells whether a tensor is what an embedding table handed out, or a view of it.
        running: gives the module whose forward is running; it walks the Python stack, so only rare operations ask.
        fast: whether rules may use forms that keep fewer tensors, with the same numbers.
    """

    function: Function
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    operation: Operation
    book: Book
    activated: MutableMapping[Tensor, Activated]
    layers: MutableMapping[Tensor, Layered] = field(default_factory=dict)
    looked_up: Callable[[Tensor], bool] = lambda _: False
    running: Callable[[], Any] = lambda: None
    fast: bool = True

    def run(self) -> Any:
        """Call the function as the model did."""
        return self.function(*self.args, **self.kwargs)

    def tracked(self) -> list[Tensor]:
        """The tensors among the arguments that come from the explained input."""
        return [t for t in tensors(self.args, dict(self.kwargs)) if t.requires_grad]

    def transform(self, change: Callable[[Tensor], Any]) -> Call:
        """The same call with `change` applied to every tensor argument."""
        return replace(
            self,
            args=tuple(transform(value, change) for value in self.args),
            kwargs={key: transform(value, change) for key, value in self.kwargs.items()},
        )

    @property
    def family(self) -> str:
        """The family of rules that applies to this call."""
        family = self.operation.family
        return family if isinstance(family, str) else family(self)

    def operands(self) -> list[Any]:
        """The arguments that are multiplied or added; all of them where the operation names none."""
        names = self.operation.operands
        return [self.get(name) for name in names] if names else [*self.args, *self.kwargs.values()]

    def transform_operands(self, change: Callable[[Tensor], Any]) -> Call:
        """The same call with `change` applied to the tensors among its operands."""
        names = self.operation.operands
        if not names:
            return self.transform(change)
        given = {name: self.get(name) for name in names}
        return self.having(**{name: transform(value, change) for name, value in given.items() if value is not None})

    def get(self, name: str, default: Any = None) -> Any:
        """The argument called `name`, given by position (see `Operation.parameters`) or by keyword."""
        position = self._position(name)
        return self.args[position] if position is not None else self.kwargs.get(name, default)

    def having(self, **changes: Any) -> Call:
        """The same call with other arguments."""
        args, kwargs = list(self.args), dict(self.kwargs)
        for name, value in changes.items():
            position = self._position(name)
            if position is not None:
                args[position] = value
            else:
                kwargs[name] = value
        return replace(self, args=tuple(args), kwargs=kwargs)

    def _position(self, name: str) -> int | None:
        names = self.operation.parameters
        return names.index(name) if name in names and names.index(name) < len(self.args) else None

    def quietly(self) -> Any:
        """Run without recording a gradient: for values whose derivative a rule supplies itself."""
        with torch.no_grad():
            return self.transform(Tensor.detach).run()
