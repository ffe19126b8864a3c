"""All modules of a model, and their weights.

torch's own walks have a generator for each level of nesting; a patched run needs a dozen of them, which counts on short texts.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn


def modules(model: nn.Module) -> list[nn.Module]:
    """Every module of a model once, in the order of `nn.Module.modules`: itself first."""
    found: dict[nn.Module, None] = {}

    def visit(module: nn.Module) -> None:
        found[module] = None
        for child in module._modules.values():
            if child is not None and child not in found:
                visit(child)

    visit(model)
    return list(found)


def weights(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of a model; one that several modules share comes several times."""
    return (p for module in modules(model) for p in module._parameters.values() if p is not None)
