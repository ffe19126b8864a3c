"""The networks on which lxtlike's rules are compared with zennit's and captum's: shared by the script and the test."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

NETWORKS = ("mlp", "mlp-no-bias", "cnn", "cnn-no-bias", "cnn-norm")
SIGNS = ("positive", "mixed")
CLASSES = 4


def network(name: str) -> nn.Sequential:
    """One of `NETWORKS`, float64, in eval mode, with whatever weights torch draws."""
    bias = not name.endswith("-no-bias")
    if name.startswith("mlp"):
        layers: list[nn.Module] = [
            nn.Linear(6, 10, bias=bias),
            nn.ReLU(),
            nn.Linear(10, 8, bias=bias),
            nn.ReLU(),
            nn.Linear(8, CLASSES, bias=bias),
        ]
    else:
        # eps 0: zennit leaves it in the norm that it has merged, which changes the network by half of it.
        norms = [nn.BatchNorm2d(channels, eps=0.0) for channels in (4, 6)] if name.startswith("cnn-norm") else []
        layers = [
            nn.Conv2d(2, 4, 3, padding=1, bias=bias),
            *norms[:1],
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, padding=1, bias=bias),
            *norms[1:],
            nn.ReLU(),
            nn.AvgPool2d(2, stride=1),
            nn.Flatten(),
            nn.Linear(24, CLASSES, bias=bias),
        ]
    return nn.Sequential(*layers).double().eval()


def drawn(name: str, seed: int) -> tuple[nn.Sequential, dict[str, Tensor]]:
    """A network with random weights, and its two batches of two inputs by their signs."""
    generator = torch.Generator().manual_seed(seed)
    model = network(name)
    with torch.no_grad():
        for path, value in [*model.named_parameters(), *model.named_buffers()]:
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator, dtype=value.dtype)
                if value.dim() > 1:
                    noise = noise / value[0].numel() ** 0.5
                elif "bias" in path or "mean" in path:
                    noise = 0.2 * noise
                else:  # what a batch norm scales by
                    noise = 0.7 + 0.3 * noise.abs()
                value.copy_(noise)
    shape = (2, 6) if name.startswith("mlp") else (2, 2, 6, 6)
    mixed = 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1
    return model, {"positive": mixed.abs(), "mixed": mixed}


def load(name: str, weights: Mapping[str, Tensor]) -> nn.Sequential:
    """The network with stored weights."""
    model = network(name)
    model.load_state_dict(weights, strict=False)  # without the counter of batches
    return model


def targets(model: nn.Module, given: Tensor) -> Tensor:
    """The explained classes [2]: the first item's highest logit and the second one's lowest, which may be negative."""
    with torch.no_grad():
        logits = model(given)
    return torch.stack([logits[0].argmax(), logits[1].argmin()])
