"""Room in memory: whether layers are computed again in the backward pass, decided beforehand or because memory ran out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lxtlike.errors import ExhaustedError
from lxtlike.memory import free_bytes
from lxtlike.propagation.parallel import agreed, shares_weights
from lxtlike.propagation.recompute import marked
from lxtlike.propagation.walk import weights

_logger = logging.getLogger(__name__)

Result = TypeVar("Result")


def within_memory(
    model: nn.Module, inputs: Mapping[str, Any], asked: bool | None, run: Callable[[bool | None], Result]
) -> Result:
    """What `run` gives, called with whether layers are computed again in the backward pass (see `propagate`).

    Args:
        asked: True or False is obeyed. None: they are where the activations may not fit into memory, and where memory ran out
            without; what was done is logged as a warning. Else None is passed on.

    Raises:
        ExhaustedError: memory runs out.
    """
    possible = asked is None and any(True for _ in marked(model))
    if possible and (needed := activation_bytes(model, inputs)) > (free := agreed(free_bytes(_device(model)), model)):
        _logger.warning(
            "keeping all activations may take %s and %s are free: layers are computed again in the backward pass.",
            *map(_size, (needed, free)),
        )
        possible, asked = False, True
    try:
        return run(asked)
    except Exception as error:
        if not exhausted(error):
            raise
        reason = str(error).strip().partition("\n")[0]
    # Out of the exception's reach, whose frames hold what filled the memory. Other processes would not start again.
    if possible and not shares_weights(model):
        _logger.warning("memory ran out: once more, with layers computed again in the backward pass.")
        return within_memory(model, inputs, True, run)
    raise ExhaustedError(
        f"memory ran out explaining {' x '.join(map(str, inputs['input_ids'].shape))} tokens ({reason}): use checkpointing, "
        "shorter texts, fewer at once, a smaller dtype, or device_map='stream' for the weights"
    )


def exhausted(error: Exception) -> bool:
    """Whether an error says that memory ran out, of an accelerator or of the machine."""
    from accelerate.utils.memory import should_reduce_batch_size  # slow to import

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or bool(should_reduce_batch_size(error))


def activation_bytes(model: nn.Module, inputs: Mapping[str, Any]) -> int:
    """A generous estimate of what a forward pass keeps for the backward pass, from the sizes of the model's weights.

    For each token the inputs and outputs of every matrix in a layer; of experts, those of as many as a token uses; of
    attention that is not fused three matrices for each head.
    """
    config = model.config.get_text_config()  # type: ignore[operator, union-attr]
    (texts, length), width = inputs["input_ids"].shape, _bytes_of(model)
    layers = list(marked(model))
    used = _largest(config, "num_experts_per_tok")
    shapes = [parameter.shape for layer in layers for parameter in weights(layer)]
    numbers = sum((used if len(shape) == 3 else 1) * sum(shape[-2:]) for shape in shapes if len(shape) > 1)
    heads = _largest(config, "num_attention_heads")
    fused = getattr(config, "_attn_implementation", None) != "eager"
    attention = 0 if fused else 3 * heads * length * len(layers)
    return int(texts * length * (numbers + attention) * width)


def _largest(config: Any, name: str) -> int:
    """A number of a config, 1 if it has none; the largest where transformers has a config for each layer."""
    configs = config.per_layer_config if getattr(config, "is_heterogeneous", False) else [config]
    return max(int(getattr(each, name, None) or 1) for each in configs)


def _bytes_of(model: nn.Module) -> int:
    dtype = getattr(model, "dtype", torch.float32)
    return int(dtype.itemsize) if isinstance(dtype, torch.dtype) and dtype.is_floating_point else 4


def _device(model: nn.Module) -> torch.device:
    found = (t for t in chain(weights(model), model.buffers()) if isinstance(t, Tensor) and not t.is_meta)
    return next((t.device for t in found), torch.device("cpu"))


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**29 else f"{count / 2**20:.0f} MiB"
