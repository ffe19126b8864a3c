"""The bundled models with quantised weights, by three libraries, each beside its twin with dequantised weights."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lxtlike import Attribution, Composite, Explainer

TEXTS = {
    "bindings": "the box holds a red ball and the bag holds a blue hat . the hat is",
    "sentiment": "the jokes are stale , but the acting is superb and the ending is moving .",
}


@cache
def bundled(name: str) -> Explainer:
    return Explainer.from_pretrained(name)


@cache
def _unpacking() -> None:
    """Have optimum-quanto compile its unpacking of 4 bits, which it does at the first use.

    Raises:
        ImportError: it cannot be compiled here (no C++ compiler, no ninja, no headers of Python).
    """
    from optimum.quanto.library.extensions.cpp import ext

    for lock in Path(ext.build_directory).glob("lock"):
        lock.unlink()  # of a build that was killed: torch would wait for it forever
    try:
        torch.ops.quanto.unpack(torch.zeros(4, dtype=torch.uint8), 4)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        raise ImportError("optimum-quanto cannot compile its unpacking of 4 bits here") from error


def _quanto(model: nn.Module, bits: int) -> None:
    import optimum.quanto as library

    if bits == 4:
        _unpacking()
    library.quantize(model, weights=getattr(library, f"qint{bits}"), exclude="lm_head")
    library.freeze(model)


def _torchao(model: nn.Module, bits: int) -> None:
    import torchao.quantization as library

    grouped = library.IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=library.PerGroup(32))
    chosen = library.Int8WeightOnlyConfig() if bits == 8 else grouped
    library.quantize_(model, chosen, filter_fn=lambda module, path: type(module) is nn.Linear and path != "lm_head")


def _bitsandbytes(model: nn.Module, bits: int) -> None:
    import bitsandbytes.nn as library

    for path, linear in [(p, m) for p, m in model.named_modules() if isinstance(m, nn.Linear) and p != "lm_head"]:
        size, bias = (linear.in_features, linear.out_features), linear.bias is not None
        if bits == 8:
            module = library.Linear8bitLt(*size, bias, has_fp16_weights=False)
        else:
            module = library.Linear4bit(*size, bias, compute_dtype=torch.float32, quant_type="nf4")
        module.load_state_dict(linear.state_dict())
        model.set_submodule(path, module.to("cpu").eval())


LIBRARIES: dict[str, Callable[[nn.Module, int], None]] = {
    "optimum-quanto": _quanto,
    "torchao": _torchao,
    "bitsandbytes": _bitsandbytes,
}
"""Each raises ImportError where it is not installed, or cannot run.

Only optimum-quanto is among the test extras: torchao writes to stderr whenever transformers is imported, where the command
line promises one line, and bitsandbytes is large.
"""


def weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The quantised linear layers of a model, each with its weight dequantised."""
    for path, module in model.named_modules():
        weight: Any = getattr(module, "weight", None)
        if type(module).__name__ == "Linear8bitLt":
            yield path, weight.data.float() * weight.SCB[:, None] / 127
        elif type(module).__name__ == "Linear4bit":
            from bitsandbytes.functional import dequantize_4bit

            yield path, dequantize_4bit(weight.data, weight.quant_state).reshape(weight.quant_state.shape)
        elif isinstance(module, nn.Linear) and type(weight) is not nn.Parameter:
            yield path, weight.dequantize().detach()


def twins(library: str, bits: int, name: str) -> tuple[Any, Any]:
    """A quantised model, and the same with its weights dequantised, as plain linear layers."""
    quantised, plain = copy.deepcopy(bundled(name).model), copy.deepcopy(bundled(name).model)
    LIBRARIES[library](quantised, bits)
    found = dict(weights(quantised))
    assert len(found) >= 14
    for path, weight in found.items():
        layer = plain.get_submodule(path)
        assert (weight != layer.weight).any()
        layer.weight = nn.Parameter(weight.clone())
    return quantised, plain


def explained(model: Any, name: str, composite: str | Composite) -> Attribution:
    return Explainer(model, bundled(name).tokenizer, composite=composite).explain(TEXTS[name])
