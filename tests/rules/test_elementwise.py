"""Elementwise functions against the oracle: the identity rule, and gates that are constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference as ref
import torch
import torch.nn.functional as F
from pairing import Of, check, measure, normal
from torch import Tensor, nn

X, C, Y = normal(3, 4), normal(3, 4, seed=1), normal(3, 4, seed=2)
POINTS = np.array([[-700.0, -6.5, -3.0, -1.5, -1e-4, -1e-20, -0.0], [0.0, 1e-20, 1e-4, 0.5, 1.5, 6.5, 700.0]])
C_POINTS = normal(2, 7)
BOTH = pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])

ACTIVATIONS: dict[str, dict[str, Callable[[Tensor], Tensor]]] = {
    "silu": {
        "F": F.silu,
        "module": nn.SiLU(),
        "in place": lambda x: F.silu(x.clone(), inplace=True),
        "product": lambda x: x * torch.sigmoid(x),
        "product, reflected": lambda x: x.sigmoid().mul(x),
        "product, in place": lambda x: x.clone().mul_(x.sigmoid()),
    },
    "gelu": {"F": F.gelu, "module": nn.GELU()},
    "gelu_tanh": {
        "F": lambda x: F.gelu(x, approximate="tanh"),
        "module": nn.GELU(approximate="tanh"),
    },
    "quick_gelu": {"product": lambda x: x * torch.sigmoid(1.702 * x)},
    "relu": {
        "F": F.relu,
        "torch": torch.relu,
        "method": lambda x: x.relu(),
        "module, in place": Of(lambda x: nn.ReLU(inplace=True)(x.clone())),
        "relu_": lambda x: torch.relu_(x.clone()),
        "clamp": lambda x: x.clamp(min=0),
        "clamp, tensor": lambda x: x.clamp(min=x.new_zeros(())),
        "clamp_min": lambda x: torch.clamp_min(x, 0.0),
        "clamp_": lambda x: x.clone().clamp_(min=0),
    },
    "relu_squared": {
        "square": lambda x: torch.square(F.relu(x)),
        "pow": lambda x: F.relu(x).pow(2),
        "operator": lambda x: F.relu(x) ** 2,
    },
    "relu6": {"F": F.relu6, "clamp": lambda x: x.clamp(0, 6), "hardtanh": lambda x: F.hardtanh(x, 0.0, 6.0)},
    "hardtanh": {"F": F.hardtanh, "module": nn.Hardtanh(), "clamp": lambda x: torch.clamp(x, min=-1, max=1)}
    | {"clamp, tensors": lambda x: torch.clamp(x, x.new_tensor(-1.0), x.new_tensor(1.0))},
    "leaky_relu": {"F": F.leaky_relu, "keyword": lambda x: F.leaky_relu(input=x, negative_slope=0.01)},
    "elu": {"F": F.elu, "in place": lambda x: F.elu_(x.clone())},
    "tanh": {"torch": torch.tanh, "F": F.tanh, "method": lambda x: x.tanh(), "in place": lambda x: x.clone().tanh_()},
    "softcap": {"divided": lambda x: torch.tanh(x / 30) * 30, "multiplied": lambda x: 30 * torch.tanh(x * (1 / 30))},
    "mish": {"F": F.mish, "product": lambda x: x * torch.tanh(F.softplus(x))},
    "hardswish": {"F": F.hardswish},
    "softsign": {"F": F.softsign},
    "square": {
        "operator": lambda x: x**2,
        "pow": lambda x: torch.pow(x, 2),
        "product": lambda x: x * x,
        "in place": lambda x: x.clone().square_(),
    },
    "cube": {"operator": lambda x: x**3, "products": lambda x: x * x * x, "pow_": lambda x: x.clone().pow_(3)},
    "abs": {"torch": torch.abs, "method": lambda x: x.abs(), "python": abs},
    "sin": {"torch": torch.sin},
    "erf": {"torch": torch.erf},
}
GATES: dict[str, dict[str, Callable[[Tensor], Tensor]]] = {
    "sigmoid": {
        "torch": torch.sigmoid,
        "F": F.sigmoid,
        "module": nn.Sigmoid(),
        "in place": lambda x: x.clone().sigmoid_(),
    },
    "softplus": {"F": F.softplus, "module": nn.Softplus()},
    "exp": {"torch": torch.exp, "in place": lambda x: x.clone().exp_()},
    "cos": {"torch": torch.cos},
    "sinc": {"torch": torch.sinc},
    "hardsigmoid": {"F": F.hardsigmoid},
}


def spellings(table: dict[str, dict[str, Any]]) -> Any:
    pairs = [(name, f) for name, forms in table.items() for f in forms.values()]
    ids = [f"{name}: {form}" for name, forms in table.items() for form in forms]
    return pytest.mark.parametrize(("name", "function"), pairs, ids=ids)


class TestElementwise:
    @spellings(ACTIVATIONS)
    def test_identity_rule(self, name: str, function: Callable[[Tensor], Tensor]) -> None:
        for number, point in np.ndenumerate(POINTS):  # One by one: 700^2 must not hide an error at 1e-4.
            x, c = np.array([[point]]), C_POINTS[number].reshape(1, 1)
            check(function, ref.elementwise(x, ref.IDENTITY[name], c), (x,), c)

    def test_identity_rule_is_the_same_in_cp_lrp(self) -> None:
        for name, forms in ACTIVATIONS.items():
            form = next(iter(forms.values()))
            check(form, ref.elementwise(X, ref.IDENTITY[name], C), (X,), C, "cp-lrp")

    @BOTH
    @spellings(GATES)
    def test_gates_are_constants(self, name: str, function: Callable[[Tensor], Tensor], composite: str) -> None:
        opened = ref.elementwise(X, ref.GATES[name], C).output
        step = ref.Step(opened * Y, (np.zeros_like(X), opened * C), {})
        check(lambda x, y: y * function(x), step, (X, Y), C, composite)
        kept = ref.Step(opened + Y, (np.zeros_like(X), C), {"constant": float((opened * C).sum())})
        check(lambda x, y: function(x) + y, kept, (X, Y), C, composite)

    @BOTH
    def test_every_spelling_of_silu_says_the_same(self, composite: str) -> None:
        """`x * sigmoid(x)` is a tensor times a constant gate, which is what the identity rule gives in closed form."""
        first, *others = (measure(f, (POINTS,), C_POINTS, composite) for f in ACTIVATIONS["silu"].values())
        for other in others:
            torch.testing.assert_close(other.coefficients, first.coefficients, rtol=1e-14, atol=0)

    @pytest.mark.parametrize(
        ("name", "oracle"),
        [
            ("gelu_new", "gelu_tanh"),
            ("gelu_fast", "gelu_tanh"),
            ("gelu_pytorch_tanh", "gelu_tanh"),
            ("gelu_python", "gelu"),
            ("gelu", "gelu"),
            ("quick_gelu", "quick_gelu"),
            ("relu2", "relu_squared"),
            ("relu6", "relu6"),
            ("silu", "silu"),
            ("mish", "mish"),
            ("tanh", "tanh"),
        ],
    )
    def test_activation_modules_of_transformers(self, name: str, oracle: str) -> None:
        """Some are written as products, which would conserve relevance and be wrong if one looked inside."""
        from transformers.activations import ACT2FN

        module = Of(lambda x: act(x), act=(act := ACT2FN[name]))
        check(module, ref.elementwise(X, ref.IDENTITY[oracle], C), (X,), C)
