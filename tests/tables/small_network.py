"""The network that tests explain."""

from __future__ import annotations

import torch
from torch import nn

FEATURES = ["age", "income", "=1+1", "<img src=x onerror=alert(1)>"]
LABELS = ["no", "yes", "$x^2$"]


def network(outputs: int = 3) -> nn.Sequential:
    """Two hidden layers with biases, float64, random weights."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, outputs)).double()
    return made.eval()
