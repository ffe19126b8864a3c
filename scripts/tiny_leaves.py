"""Where relevance is read: token embeddings and pixels, or the patches of a picture, as leaves of the graph."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tiny_exceptions import LEAVES
from torch import Tensor, nn

from lxtlike.methods.leaves import decoder_embedding, embedding_leaves

TOKENS = ("input_ids", "decoder_input_ids")
SENSED = re.compile(r"pixel_values|patches$|input_features|input_values|visual_feats|^state$|^noise$")
"""Names of the inputs that are numbers: pictures, sound, measurements."""


@dataclass
class Leaves:
    """The tensors that relevance is read at; `text` fills as the model looks tokens up."""

    picture: list[Tensor] = field(default_factory=list)
    text: list[Tensor] = field(default_factory=list)


@contextlib.contextmanager
def leaves_of(model: Any, inputs: dict[str, Any]) -> Iterator[Leaves]:
    """All inputs of a forward as leaves: entries of `inputs` are replaced, embeddings of tokens caught on their way."""
    leaves = Leaves()
    for name, value in inputs.items():
        if SENSED.search(name) and value.is_floating_point():
            inputs[name] = value.detach().requires_grad_()
            leaves.picture.append(inputs[name])
    with contextlib.ExitStack() as stack:
        if "input_ids" in inputs and model.config.model_type not in LEAVES:
            leaves.text = stack.enter_context(embedding_leaves(model))
        for module in _other_embeddings(model, inputs):
            stack.callback(module.register_forward_hook(_catch(leaves.text)).remove)
        yield leaves


@contextlib.contextmanager
def patch_leaves(model: nn.Module, _inputs: dict[str, Any]) -> Iterator[Leaves]:
    """What the first layer makes of the pixels, as a leaf: the embeddings of the patches, or the first feature maps."""
    leaves = Leaves()

    def first(module: nn.Module, args: object, output: Tensor) -> Tensor:
        return output if leaves.picture else _catch(leaves.picture)(module, args, output)

    with contextlib.ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.Conv3d)):
                stack.callback(module.register_forward_hook(first).remove)
        yield leaves


def _catch(leaves: list[Tensor]) -> Any:
    def as_leaf(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_())
        return leaves[-1].clone()

    return as_leaf


def _other_embeddings(model: Any, inputs: dict[str, Any]) -> list[nn.Embedding]:
    """Embeddings of tokens beside those that `embedding_leaves` finds: of decoders of pictures or sound, of several tables."""
    if "decoder_input_ids" in inputs:
        decoder = decoder_embedding(model)
        return [] if decoder is None or "input_ids" in inputs else [decoder]
    part = LEAVES.get(model.config.model_type)
    named = model.named_modules() if part else ()
    return [module for name, module in named if part in name and isinstance(module, nn.Embedding)]
