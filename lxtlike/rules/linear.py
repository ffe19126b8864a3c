"""Linear layers and everything else that is linear in the tracked input.

The coefficient passes by the plain gradient (LRP-epsilon with epsilon -> 0: Bach et al. 2015; 2402.05602). What a
constant adds to the output (a bias, a position embedding, an overwritten entry) is absorbed: ``constant * c``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lxtlike.rules.call import Call, tensors
from lxtlike.rules.primitives import keep, substitute, times, wide
from lxtlike.rules.rows import by_rows


def structure(call: Call) -> Any:
    """Views, reductions, selections, casts: the plain gradient, nothing is absorbed."""
    return call.run()


def expanded(call: Call) -> Any:
    """The plain gradient of a function that is not linear; what its Taylor expansion leaves over is an additive constant.

    ``f(x) - sum(x f'(x))`` is measured at the boundary, as output minus input relevance, whatever the function.
    """
    aliases: list[Tensor] = []

    def alias(x: Tensor) -> Tensor:
        if x.requires_grad:
            aliases.append(x := x.view_as(x))
        return x

    result = call.transform(alias).run()
    for output in (t for t in tensors(result) if t.requires_grad):
        call.book.absorb("biases.taylor", output, times(output))
    for x in aliases:
        call.book.absorb("biases.taylor", x, times(x, -1.0))
    return result


def dropped(call: Call) -> Any:
    """Dropout is off, whatever the model's mode: an explanation is of the deterministic model."""
    return call.args[0] if call.args else call.kwargs["input"]


def gradient(call: Call) -> Any:
    """A linear layer (or a product with one tracked factor): plain gradient; a constant addend absorbs ``b * c``."""
    output = by_rows(call)
    if output is None:
        output = call.run()
    absorb_addend(call, output)
    return output


def epsilon(call: Call, *, epsilon: float = 1e-6, relative: float = 0.0) -> Any:
    """LRP-epsilon: plain gradient of ``c * |y| / (|y| + epsilon)`` (Bach et al. 2015; sign(0) = +1).

    `relative` adds to epsilon this many times the root mean square of the outputs (Montavon et al. 2019, section 10.2): of an
    item's, of a convolution; of a position's, of a linear layer, so that padding and other items change nothing.
    """
    output = gradient(call)
    if epsilon == 0 and relative == 0:
        return output
    value = output.detach()
    size = wide(value).abs()
    own = (-1,) if call.operation.channel == -1 else tuple(range(1, size.dim()))
    spread = size.square().mean(own, keepdim=True).sqrt() if relative else 0.0
    ratio = torch.where(size == 0, 0.0, size / (size + epsilon + relative * spread)).to(value.dtype)
    # A tensor of its own: models add residuals to the result in place.
    absorbed = keep(wide(value) * (1 - wide(ratio)))
    result = substitute(value, output, ratio)
    call.book.absorb("epsilon", result, lambda c: wide(c) * absorbed())
    return result


def additive(call: Call) -> Any:
    """Addition, concatenation, selection, overwriting: plain gradient; the constant part absorbs ``constant * c``.

    The constant part is what the operation gives when all tracked inputs are zero.
    """
    output = call.run()
    constants = constant_operands(call)
    if not constants or not isinstance(output, Tensor) or not output.requires_grad:
        return output
    zeroed = call.transform(lambda t: t.new_zeros(()).expand(t.shape) if t.requires_grad else t)
    shape, account = output.shape, _account(call, "other", *constants)
    call.book.absorb(account, output, lambda c: _product(zeroed.run().broadcast_to(shape), c))
    return output


def constant_operands(call: Call) -> list[Any]:
    """The non-zero numbers and untracked float tensors that an additive operation adds to its tracked inputs."""
    operands = call.operands()
    numbers = [v for v in operands if isinstance(v, (int, float)) and not isinstance(v, bool) and v != 0]
    if not call.operation.operands:
        numbers = []  # Without names, numbers may be dimensions.
    constants = [t for t in tensors(*operands) if not t.requires_grad and t.is_floating_point() and t.numel()]
    buffer = call.args[0] if call.operation.outplace and call.args else None
    # A buffer of zeros that is filled in place (index_add_, slice assignment) adds nothing.
    return numbers + [t for t in constants if t is not buffer or bool(t.any())]


def absorb_addend(call: Call, output: Tensor) -> None:
    """Write ``b * c`` of the constant that is added to a product (bias, ALiBi in `baddbmm`) to its account."""
    name = call.operation.addend
    addend = call.get(name) if name else None
    if not isinstance(addend, Tensor) or addend.requires_grad:
        return
    beta = call.kwargs.get("beta", 1)
    constant = addend.detach() if beta == 1 else addend.detach() * beta
    output = _unviewed(output)
    kind = "norm" if call.family in ("norm", "batch-norm") else "linear"
    if constant.dim() <= 1:
        constant = constant.clone()  # FSDP empties weights behind a layer, and fills them only after our hooks
        channel = call.operation.channel

        def measure(c: Tensor) -> Tensor:
            c = wide(c if channel == -1 else c.movedim(channel, -1))
            return c @ constant.to(c.dtype)

        call.book.absorb(f"biases.{kind}", output, measure)
    else:
        shape = output.shape
        call.book.absorb(_account(call, kind, addend), output, lambda c: _product(constant.broadcast_to(shape), c))


def _unviewed(output: Tensor) -> Tensor:
    """What `output` is a view of: `F.linear` flattens its input and hands out a view of the result.

    If the model changes such a view in place, autograd drops the view's node and the hooks on it with it.
    """
    base = output._base
    if base is None or not base.requires_grad:  # without gradient: what a custom Function's own output is a view of
        return output
    if base.dim() != 2 or base.shape[-1] != output.shape[-1] or base.numel() != output.numel():
        return output
    return base if base.is_contiguous() and output.is_contiguous() else output


def _product(constant: Tensor, c: Tensor) -> Tensor:
    """``constant * c`` without what a mask hides: -inf, or about the lowest number there is.

    Where some entries of a row are hidden, no relevance arrives there. Where all are, their coefficients add up to zero, and
    rounding times the lowest number would be all that is left of it.
    """
    seen = (c != 0) & (constant > torch.finfo(constant.dtype).min / 2) if constant.is_floating_point() else c != 0
    return wide(torch.where(seen, constant, 0)) * wide(c)


def _account(call: Call, kind: str, *constants: Any) -> str:
    """A constant that may differ from position to position is a position embedding or bias; all others are biases.

    It may when it varies along two dimensions or more: a bias has its channels only, whatever shape it was given (an
    attention sink ``[1, H, 1, 1]``, a class token expanded over the batch). What was looked up in a table of embeddings
    belongs to a position even where there is but one.
    """
    found = [t for t in constants if isinstance(t, Tensor)]
    if any(_varying(t) > 1 or call.looked_up(t) for t in found):
        return "positions"
    return f"biases.{kind}"


def _varying(t: Tensor) -> int:
    """How many dimensions `t` really has: neither of size 1 nor expanded."""
    return sum(size > 1 and stride != 0 for size, stride in zip(t.shape, t.stride(), strict=True))
