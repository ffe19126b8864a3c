"""A model that leans on a feature it should not use, found by its relevance: ``python scripts/table_example.py``.

Rows are scikit-learn's bundled breast cancer data with one column more, the code of the hospital. In the rows that the
leaning model is trained on, one hospital sends most of the malignant cases, as where a clinic for hard cases takes part in
a study; elsewhere it does not. A second model is trained on the same rows with the codes shuffled. Both numbers and
pictures of docs/tables.md are from here. Needs ``pip install 'lxtlike[test]'``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn

from lxtlike import TableAttribution, TableExplainer

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
CODE = "hospital code"
LEAK = 0.95
"""How often, in the rows of the study, the code tells the diagnosis."""

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """Rows [N, F] and their classes [N]."""

    rows: Rows
    classes: NDArray[np.int64]

    def shuffled(self, seed: int) -> Data:
        """The same with the last column, the code, in another order."""
        rows = self.rows.copy()
        rows[:, -1] = np.random.default_rng(seed).permutation(rows[:, -1])
        return Data(rows, self.classes)


@dataclass(frozen=True)
class Trained:
    """A network with the means and scales of the rows it was trained on."""

    network: nn.Module
    means: Rows
    scales: Rows

    def logits(self, rows: Rows) -> Tensor:
        """The network's outputs [N, 2]."""
        with torch.no_grad():
            outputs: Tensor = self.network(torch.tensor((rows - self.means) / self.scales, dtype=torch.float32))
        return outputs

    def accuracy(self, data: Data) -> float:
        """The share of rows that are put into their class."""
        return float((self.logits(data.rows).argmax(1).numpy() == data.classes).mean())


def prepared(columns: int) -> tuple[Data, Data, Data, list[str], list[str]]:
    """Rows to train on and rows to test on, both of the study; the latter with codes of elsewhere; names."""
    bundled = load_breast_cancer()
    generator = np.random.default_rng(0)
    order = generator.permutation(len(bundled.target))
    classes = bundled.target[order]
    told = np.where(generator.random(len(order)) < LEAK, 1 - classes, classes)  # 1 sends malignant cases, class 0
    rows = np.column_stack([bundled.data[order][:, :columns], told])
    cut = 380
    train, study = Data(rows[:cut], classes[:cut]), Data(rows[cut:], classes[cut:])
    names = [*map(str, bundled.feature_names[:columns]), CODE]
    return train, study, study.shuffled(1), names, list(map(str, bundled.target_names))


def trained(data: Data, epochs: int = 300) -> Trained:
    """A network of two hidden layers."""
    torch.manual_seed(0)
    means, scales = data.rows.mean(0), data.rows.std(0)
    inputs = torch.tensor((data.rows - means) / scales, dtype=torch.float32)
    network = nn.Sequential(nn.Linear(inputs.shape[1], 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1.0)
    classes = torch.tensor(data.classes)
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), classes).backward()
        optimizer.step()
    return Trained(network.eval(), means, scales)


def explained(model: Trained, data: Data, features: list[str], labels: list[str], composite: str) -> TableAttribution:
    """What spoke for the diagnosis that the model gives, in every row."""
    explainer = TableExplainer(
        model.network, features, labels=labels, means=model.means, scales=model.scales, composite=composite
    )
    return explainer.explain(data.rows, objective="centered")


def misled(leaning: Trained, clean: Trained, data: Data) -> list[int]:
    """The rows that the leaning model puts into the wrong class, and the clean one into the right one."""
    wrong, right = leaning.logits(data.rows).argmax(1).numpy(), clean.logits(data.rows).argmax(1).numpy()
    found: list[int] = np.flatnonzero((wrong != data.classes) & (right == data.classes)).tolist()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, default=FOLDER, metavar="FOLDER")
    parser.add_argument("--composite", default="default")
    parser.add_argument("--columns", type=int, default=10, help="how many of the 30 measured features are used")
    options = parser.parse_args()
    train, study, elsewhere, features, labels = prepared(options.columns)
    models = {"leaning": trained(train), "clean": trained(train.shuffled(2))}
    print(f"{'':10}{'study':>10}{'elsewhere':>11}{'code: share of |relevance|':>29}{'place':>8}")
    for name, model in models.items():
        result = explained(model, study, features, labels, options.composite)
        share = result.importance[-1] / result.importance.sum()
        place = 1 + [feature for feature, _ in result.top(len(features))].index(CODE)
        print(f"{name:10}{model.accuracy(study):10.1%}{model.accuracy(elsewhere):11.1%}{share:29.1%}{place:8}")
        result.plot(top=11).savefig(options.pictures / f"table-{name}.png", dpi=110)
    wrong = misled(models["leaning"], models["clean"], elsewhere)
    result = explained(models["leaning"], elsewhere, features, labels, options.composite)
    result[wrong[0]].plot(top=11).savefig(options.pictures / "table-row.png", dpi=110)
    by_code = sum(result[number].top(1)[0][0] == CODE for number in wrong)
    print(f"elsewhere, {len(wrong)} rows are wrong for the leaning model alone; the code is first in {by_code} of them")


if __name__ == "__main__":
    main()
