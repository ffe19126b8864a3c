"""A transformers model of stored weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def streamed_model(
    auto: Any, config: PreTrainedConfig, weights: Mapping[str, Tensor], device: torch.device, **options: Any
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A model whose weights are used from their files, and what transformers says of its loading.

    transformers gives the weights their names, joins those of experts and casts them, which stored tensors take note of.
    Its layers are marked for gradient checkpointing, so that an explanation keeps no more of most of them than their inputs.

    Args:
        auto: the auto class of its task.
        weights: as `stored_weights` finds them.
        device: where it computes; weights go there for the time of one operation.
        options: of `from_pretrained`, such as `dtype`.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    with torch.device("meta"):
        kind = type(auto.from_config(config, trust_remote_code=options.pop("trust_remote_code", False)))
    model, info = kind.from_pretrained(
        None, config=config, state_dict=dict(weights), output_loading_info=True, **options
    )
    if device.type != "cpu":
        _move(model, torch.empty(0, device=device).device)  # with its number
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.gradient_checkpointing = True
    return model, info


def _move(model: nn.Module, device: torch.device) -> None:
    """Put what is in memory on a device, and have stored weights used there.

    Not by ``model.to``, which changes parameters in place: a stored one would still be read to where it was.
    """
    moved: dict[int, Any] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                tied = moved.setdefault(
                    id(parameter), nn.Parameter(parameter.detach().to(device), parameter.requires_grad)
                )
                module._parameters[name] = tied
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = moved.setdefault(id(buffer), buffer.to(device))
