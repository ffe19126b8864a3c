"""Neurons of MLPs, found by what is computed and not by names: a linear layer reads what an activation function puts out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from lxtlike.rules import OPERATIONS, Operation
from lxtlike.rules.call import tensors
from lxtlike.rules.product import linear_or_product

_ACTIVATIONS = frozenset(
    """silu relu relu6 leaky_relu prelu rrelu elu selu celu gelu mish hardswish softsign hardtanh tanh erf""".split()
)
"""Not all of the family: square roots and sines are activations there, too, but of norms and of rotary positions."""

_PRODUCTS = frozenset({"mul", "multiply", "div", "divide", "pow", "square"})


class NeuronWatch(TorchFunctionMode):
    """Sees the neurons of MLPs; to be entered inside a model's forward, where it sees the model's own operations.

    Args:
        visit: what is called with the neurons' values [..., N]; the model goes on with the tensor that it returns.
    """

    def __init__(self, visit: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.visit = visit
        self._active: Any = WeakTensorKeyDictionary()
        self._visited: Any = WeakTensorKeyDictionary()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        operation = OPERATIONS.get(func)
        if operation is None:
            return func(*args, **kwargs)
        given = tensors(args, kwargs)
        active = [t for t in given if t in self._active]
        if active and operation.family is linear_or_product and all(_is_weight(t) for t in given if t is not active[0]):
            visited = self._visited.get(active[0])
            if visited is None:  # several layers may read it, an adapter beside the layer that it adapts
                visited = self._visited[active[0]] = self.visit(active[0])
            args = tuple(visited if value is active[0] else value for value in args)
            kwargs = {key: visited if value is active[0] else value for key, value in kwargs.items()}
            return func(*args, **kwargs)
        result = func(*args, **kwargs)
        if operation.name in _ACTIVATIONS or (active and _hands_on(operation, len(given))):
            for t in tensors(result):
                self._active[t] = True
        return result


def _is_weight(t: Tensor) -> bool:
    return isinstance(t, nn.Parameter) or isinstance(t._base, nn.Parameter)


def _hands_on(operation: Operation, count: int) -> bool:
    """Whether what an operation makes of an activation and other tensors is still one: gated, normalised, cut, dropped out."""
    if operation.name in ("add", "sub"):  # of a number; with another tensor it would be a residual stream
        return count == 1
    return operation.name in _PRODUCTS or operation.family in ("structure", "dropout", "norm")
