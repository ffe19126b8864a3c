"""The networks on which lxtlike's rules are compared with zennit's and captum's: shared by the script and the test."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

NETWORKS = ("mlp", "mlp-no-bias", "cnn", "cnn-no-bias", "cnn-norm", "residual", "transposed")
CLASSES = 4
POSITIVE = 2  # items of a batch whose inputs are not negative; the others' have both signs


class Sum(nn.Module):
    """The sum over the last dimension, as a module, for tools that know modules only."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(-1)


class Residual(nn.Module):
    """What a block makes of `x`, added to `x`."""

    def __init__(self, block: nn.Module, add: nn.Module) -> None:
        super().__init__()
        self.block, self.add = block, add

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.add(torch.stack([x, self.block(x)], dim=-1))
        return added


def network(name: str, add: Callable[[], nn.Module] = Sum) -> nn.Sequential:
    """One of `NETWORKS`, float64, in eval mode, with whatever weights torch draws; `add` makes what adds in it."""
    bias = not name.endswith("-no-bias")
    layers: list[nn.Module]
    if name.startswith("mlp"):
        layers = [
            nn.Linear(6, 10, bias=bias),
            nn.ReLU(),
            nn.Linear(10, 8, bias=bias),
            nn.ReLU(),
            nn.Linear(8, CLASSES, bias=bias),
        ]
    elif name == "residual":
        block = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 10))
        layers = [nn.Linear(6, 10), nn.ReLU(), Residual(block, add()), nn.ReLU(), nn.Linear(10, CLASSES)]
    elif name == "transposed":
        up = nn.ConvTranspose1d(4, 2, 3, stride=2, groups=2)
        layers = [nn.Conv1d(2, 4, 3), nn.ReLU(), up, nn.ReLU(), nn.Flatten(), nn.Linear(18, CLASSES)]
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


def drawn(name: str, seed: int, add: Callable[[], nn.Module] = Sum) -> tuple[nn.Sequential, Tensor, Tensor]:
    """A network with random weights, four inputs, and the classes [4] that are explained.

    These are the highest logit of every other input, and the lowest one, which may be negative, of those between.
    """
    generator = torch.Generator().manual_seed(seed)
    model = network(name, add)
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
        shape = {"cnn": (2, 6, 6), "transposed": (2, 6)}.get(name.partition("-")[0], (6,))
        given = 2 * torch.rand((2 * POSITIVE, *shape), generator=generator, dtype=torch.float64) - 1
        given[:POSITIVE] = given[:POSITIVE].abs()
        logits = model(given)
    wanted = torch.where(torch.arange(len(given)) % 2 == 0, logits.argmax(-1), logits.argmin(-1))
    return model, given, wanted


def load(name: str, weights: Mapping[str, Tensor]) -> nn.Sequential:
    """The network with stored weights."""
    model = network(name)
    model.load_state_dict(weights, strict=False)  # without the counter of batches
    return model
