"""Which torch function belongs to which family of rules.

A name stands for the function in every namespace that has it (`torch`, `torch.Tensor`, `torch.nn.functional`, ...), and for
its in-place variants (`add_`, `__iadd__`), which derive from the out-of-place function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lxtlike.rules import attention, nonlinear, product
from lxtlike.rules.call import Function, Operation

_NAMESPACES: tuple[Any, ...] = (
    torch,
    Tensor,
    F,
    torch._C._nn,
    torch.special,
    torch.linalg,
    torch.fft,
    torch.functional,
)

_DUNDERS = {
    "add": ("__add__", "__radd__"),
    "sub": ("__sub__",),
    "mul": ("__mul__", "__rmul__"),
    "div": ("__truediv__", "__div__"),
    "matmul": ("__matmul__", "__rmatmul__"),
    "pow": ("__pow__",),
    "neg": ("__neg__",),
    "abs": ("__abs__",),
}

_STRUCTURE = """
    view view_as reshape reshape_as flatten unflatten ravel transpose swapaxes swapdims permute movedim moveaxis t adjoint
    squeeze unsqueeze expand expand_as broadcast_to broadcast_tensors contiguous clone to type type_as float double half
    bfloat16 cpu cuda positive
    chunk tensor_split unbind narrow select index_select gather take take_along_dim masked_select
    __getitem__ diagonal diag tril triu roll flip fliplr flipud rot90 repeat repeat_interleave tile unfold fold
    as_strided meshgrid view_as_real view_as_complex real imag rfft irfft fft ifft fft2 ifft2 fftn ifftn rfft2 irfft2
    sum mean nansum cumsum nanmean max min amax amin topk sort msort kthvalue median cummax maximum minimum fmax fmin
    neg negative
    pixel_shuffle pixel_unshuffle channel_shuffle interpolate upsample grid_sample
    avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    requires_grad_ retain_grad register_hook
    """.split()

_GATES = """
    sinc sigmoid expit logit exp exp2 log log2 log10 rsqrt reciprocal cos cosh softplus logsigmoid hardsigmoid erfc erfcx ndtr
    norm vector_norm matrix_norm var std var_mean std_mean logsumexp sign sgn floor ceil round trunc heaviside cumprod prod
    inverse inv pinv det slogdet logdet
    """.split()

_DROPOUTS = """
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout
    """.split()

_ACTIVATIONS: dict[str, Callable[..., Tensor] | None] = {
    "silu": nonlinear.silu_ratio,
    "relu": nonlinear.relu_ratio,
    "leaky_relu": nonlinear.leaky_relu_ratio,
    "mish": nonlinear.mish_ratio,
    "hardswish": nonlinear.hardswish_ratio,
    "softsign": nonlinear.softsign_ratio,
    "square": nonlinear.square_ratio,
    **dict.fromkeys(
        """tanh elu selu celu prelu rrelu tanhshrink softshrink hardshrink threshold erf erfinv
        sin tan asin atan arcsin arctan sinh asinh arcsinh atanh arctanh log1p expm1 abs absolute sqrt nan_to_num""".split()
    ),
}

_TABLE: dict[str, Operation] = {
    **{name: Operation(name, "structure") for name in _STRUCTURE},
    **{name: Operation(name, "gate") for name in _GATES},
    **{name: Operation(name, "dropout") for name in _DROPOUTS},
    **{name: Operation(name, "activation", ("input",), ratio=ratio) for name, ratio in _ACTIVATIONS.items()},
    "leaky_relu": Operation("leaky_relu", "activation", ("input", "negative_slope"), ratio=nonlinear.leaky_relu_ratio),
    "relu6": Operation("relu6", "activation", ("input",), ratio=nonlinear.clamp_ratio),
    "hardtanh": Operation("hardtanh", "activation", ("input", "min_val", "max_val"), ratio=nonlinear.clamp_ratio),
    "gelu": Operation("gelu", "activation", ("input", "approximate"), ratio=nonlinear.gelu_ratio),
    "pow": Operation("pow", nonlinear.power, ("input", "exponent"), ratio=nonlinear.power_ratio),
    "clamp": Operation("clamp", nonlinear.clamp, ("input", "min", "max"), ratio=nonlinear.clamp_ratio),
    "clip": Operation("clip", nonlinear.clamp, ("input", "min", "max"), ratio=nonlinear.clamp_ratio),
    "clamp_min": Operation("clamp_min", nonlinear.clamp, ("input", "min"), ratio=nonlinear.clamp_ratio),
    "clamp_max": Operation("clamp_max", nonlinear.clamp, ("input", "max"), ratio=nonlinear.clamp_ratio),
    # Additive: what is not tracked among the operands is a constant that absorbs relevance.
    **{
        name: Operation(name, "additive", ("input", "other"), ("input", "other"))
        for name in ("add", "sub", "subtract", "rsub", "__rsub__")
    },
    **{
        name: Operation(name, "additive", ("tensors",), ("tensors",))
        for name in "cat concat concatenate stack hstack vstack dstack column_stack block_diag".split()
    },
    "where": Operation("where", "additive", ("condition", "input", "other"), ("input", "other")),
    "masked_fill": Operation("masked_fill", "additive", ("input", "mask", "value"), ("input", "value")),
    "masked_scatter": Operation("masked_scatter", "additive", ("input", "mask", "source"), ("input", "source")),
    "pad": Operation("pad", "additive", ("input", "pad", "mode", "value"), ("input", "value")),
    "lerp": Operation("lerp", "additive", ("input", "end", "weight"), ("input", "end")),
    **{
        name: Operation(name, "additive", ("input", "dim", "index", operand), ("input", operand))
        for name, operand in {
            "index_add": "source",
            "index_copy": "source",
            "index_reduce": "source",
            "index_fill": "value",
            "scatter": "src",
            "scatter_add": "src",
            "scatter_reduce": "src",
            "select_scatter": "src",
        }.items()
    },
    "slice_scatter": Operation("slice_scatter", "additive", ("input", "src"), ("input", "src")),
    "index_put": Operation("index_put", "additive", ("input", "indices", "values"), ("input", "values")),
    # Contractions: linear layers while one operand is tracked, products when more are.
    "linear": Operation("linear", product.linear_or_product, ("input", "weight", "bias"), ("input", "weight"), "bias"),
    **{
        f"conv{transposed}{n}d": Operation(
            f"conv{transposed}{n}d",
            product.convolution_or_product,
            ("input", "weight", "bias"),
            ("input", "weight"),
            "bias",
            channel=1,
        )
        for transposed in ("", "_transpose")
        for n in (1, 2, 3)
    },
    "bilinear": Operation(
        "bilinear", product.linear_or_product, ("input1", "input2", "weight", "bias"), ("input1", "input2"), "bias"
    ),
    **{
        name: Operation(name, product.linear_or_product, ("input", *operands), operands, "input")
        for name, operands in {
            "addmm": ("mat1", "mat2"),
            "addmv": ("mat", "vec"),
            "addbmm": ("batch1", "batch2"),
            "baddbmm": ("batch1", "batch2"),
        }.items()
    },
    **{
        name: Operation(name, product.linear_or_product)
        for name in "matmul mm bmm mv dot vdot inner outer ger einsum tensordot kron chain_matmul multi_dot".split()
    },
    **{
        name: Operation(name, product.linear_or_product, ("input", "mat2"), ("input", "mat2"))
        for name in ("grouped_mm", "_grouped_mm")
    },
    **{
        name: Operation(name, product.factor_or_product, ("input", "other"), ("input", "other"))
        for name in ("mul", "multiply")
    },
    **{
        name: Operation(name, product.quotient, ("input", "other"), ("input", "other"))
        for name in ("div", "divide", "true_divide")
    },
    # Solving a system is dividing by its matrix (the chunked delta rule of linear attention).
    **{
        name: Operation(name, product.quotient, ("other", "input"), ("other", "input"))
        for name in ("solve", "solve_triangular")
    },
    **{name: Operation(name, "gate") for name in ("__rtruediv__", "__rdiv__", "__rpow__")},
    "layer_norm": Operation(
        "layer_norm", "norm", ("input", "normalized_shape", "weight", "bias", "eps"), addend="bias"
    ),
    "rms_norm": Operation("rms_norm", "norm", ("input", "normalized_shape", "weight", "eps")),
    "group_norm": Operation(
        "group_norm", "norm", ("input", "num_groups", "weight", "bias", "eps"), addend="bias", channel=1
    ),
    "instance_norm": Operation(
        "instance_norm",
        "norm",
        ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps"),
        addend="bias",
        channel=1,
    ),
    "batch_norm": Operation(
        "batch_norm",
        "batch-norm",
        ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
        addend="bias",
        channel=1,
    ),
    "normalize": Operation("normalize", "norm", ("input", "p", "dim", "eps")),
    **{name: Operation(name, product.scan_or_structure) for name in ("split", "split_with_sizes")},
    "softmax": Operation("softmax", attention.softmax_or_router, ("input", "dim")),
    "log_softmax": Operation("log_softmax", "log-softmax", ("input", "dim")),
    "scaled_dot_product_attention": Operation(
        "scaled_dot_product_attention",
        "attention",
        ("query", "key", "value", "attn_mask", "dropout_p", "is_causal"),
    ),
}


def _setitem(x: Tensor, index: Any, value: Any) -> Tensor:
    changed = x.clone()
    changed[index] = value
    return changed


def _copy(x: Tensor, source: Tensor, *_: Any) -> Tensor:
    return source.to(x.dtype).broadcast_to(x.shape)


def _named(name: str) -> Iterator[Function]:
    for namespace in _NAMESPACES:
        function = namespace.__dict__.get(name) or getattr(namespace, name, None)
        if callable(function):
            yield function


def _expand() -> Iterator[tuple[Function, Operation]]:
    for name, operation in _TABLE.items():
        for spelling in (name, *_DUNDERS.get(name, ())):
            for function in _named(spelling):
                yield function, operation
        outplace = next(iter(_named(name)), None)
        for spelling in (f"{name}_", *(d.replace("__", "__i", 1) for d in _DUNDERS.get(name, ()))):
            for function in _named(spelling):
                yield function, replace(operation, outplace=outplace)
    setitem = Operation("__setitem__", "additive", ("input", "index", "value"), ("input", "value"), outplace=_setitem)
    yield Tensor.__setitem__, setitem
    yield Tensor.copy_, Operation("copy_", "additive", ("input", "source"), ("source",), outplace=_copy)
    for attribute in ("T", "mT", "H", "mH", "real", "imag"):
        yield getattr(Tensor, attribute).__get__, Operation(attribute, "structure")


OPERATIONS: Mapping[Function, Operation] = MappingProxyType(dict(_expand()))
"""Torch function -> what is known of it."""
