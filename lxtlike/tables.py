"""The explainer of models that read rows of a table: glue between rows, target, method and result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from lxtlike.attribution import ExplainedRow, ResolvedTarget, TableAttribution
from lxtlike.choices import Labels
from lxtlike.composites import Composite
from lxtlike.errors import InputError
from lxtlike.feeding import prediction
from lxtlike.methods import ExplainedInput, input_lrp
from lxtlike.rules.primitives import Book, wide
from lxtlike.setting import Setting, summary
from lxtlike.targets import FUNCTION, Chosen, Target, contrast_of, resolve, values
from lxtlike.version import versions

RowFunction = Callable[[Tensor], Tensor]
"""A target of the caller's own: from the model's outputs [N, C] to one number for each row, [N]."""


class TableExplainer(Setting):
    """Explains a model that takes rows of numbers [N, F]. The model is never changed.

    Args:
        model: any module; it returns numbers [N, C], or [N].
        features: the names of the F features, in the model's order.
        labels: the names of the C outputs; without them they are numbered.
        means, scales: for a model that was trained on ``(row - means) / scales``: rows are given as they are, and relevance
            is that of the standardised values, 0 for a feature at its mean. None where the model does this itself.
        composite, strict, name: as for `lxtlike.Explainer`.

    Raises:
        InputError: no features, names given twice, means or scales that do not fit, an unknown composite.
    """

    def __init__(
        self,
        model: nn.Module,
        features: Sequence[str],
        *,
        labels: Sequence[str] | None = None,
        means: ArrayLike | None = None,
        scales: ArrayLike | None = None,
        composite: str | Path | Composite = "default",
        strict: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            model=model,
            tokenizer=None,
            composite=Composite.parse(composite),
            task="table",
            name=name or type(model).__name__,
            strict=strict,
            checkpointing=None,
        )
        self.features = tuple(map(str, features))
        if not self.features or isinstance(features, str):
            raise InputError("features are the names of the model's inputs, a list of at least one")
        if len(set(self.features)) < len(self.features):
            twice = next(name for name in self.features if self.features.count(name) > 1)
            raise InputError(f"the feature {twice!r} is there twice: give every feature a name of its own")
        self.labels = None if labels is None else tuple(map(str, labels))
        self._means = self._for_each("means", means, 0.0)
        self._scales = self._for_each("scales", scales, 1.0)
        if not (self._scales != 0).all():
            raise InputError("a scale is 0: rows cannot be divided by it; give 1 for a feature that never changes")

    @torch.inference_mode(False)  # tensors made in inference mode cannot be differentiated
    def explain(
        self,
        rows: ArrayLike,
        target: str | int | RowFunction | None = None,
        *,
        contrast: str | int | None = None,
        objective: str = "logit",
        batch_size: int = 1024,
        strict: bool | None = None,
    ) -> TableAttribution:
        """Explain some rows.

        Args:
            rows: numbers [N, F], or [F] for one row; of a pandas frame the columns that are called as the features.
            target: a label (str), an index (int), or None for what the model puts first in each row, which is the output
                itself where there is only one. A function gets the outputs [N, C] and returns a number for each row.
            contrast: explain the target minus this one (label or index), or minus the "mean" of all.
            objective: "logit", "centered", "logprob" or "prob" of the target.
            strict: overrides the explainer's own.

        Raises:
            InputError: rows that do not fit the features, an unknown target.
            NumericalError: NaN in the model's output.
            AuditError: under `strict`.
        """
        strict = self.strict if strict is None else strict
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        given = self._rows(rows)
        if callable(target) and (contrast is not None or objective != "logit"):
            raise InputError("a target function says all that is explained: leave contrast and objective out")
        asked = target if callable(target) else Target(target, contrast, objective)
        scaled = torch.from_numpy((given - self._means) / self._scales)
        found = [self._explain(batch, asked, strict) for batch in torch.split(scaled, batch_size)]
        return TableAttribution(
            model=self.name,
            composite=self.composite.name,
            features=self.features,
            values=given,
            relevance=np.concatenate([run.relevance.float().cpu().numpy() for run, _ in found]),
            rows=tuple(row for _, rows in found for row in rows),
            audit=summary(found[0][0]),
            versions=versions(),
        )

    __call__ = explain

    def _explain(
        self, batch: Tensor, asked: Target | RowFunction, strict: bool
    ) -> tuple[ExplainedInput, list[ExplainedRow]]:
        """What is explained of a batch of rows, in one forward and one backward pass."""
        chosen: list[Chosen] = []

        def scalar(rows: Tensor, book: Book) -> Tensor:
            if not isinstance(asked, Target):
                return _measured(rows, asked, book)
            labels = self._labels(rows)
            chosen.extend(resolve(asked, row.detach(), labels) for row in rows)
            return values(rows, chosen, book)

        run = self._run(batch, scalar, strict)
        labels = self._labels(run.rows)
        amounts = run.values.tolist()
        if isinstance(asked, Target):
            targets = [
                ResolvedTarget(one.id, labels.name(one.id), None, one.objective, contrast_of(one, labels), value)
                for one, value in zip(chosen, amounts, strict=True)
            ]
        else:
            name = getattr(asked, "__name__", type(asked).__name__)
            targets = [ResolvedTarget(None, name, None, FUNCTION, None, value) for value in amounts]
        return run, [
            ExplainedRow(target, prediction(row, labels) if len(row) > 1 else (), ledger)
            for target, row, ledger in zip(targets, run.rows, run.ledgers, strict=True)
        ]

    def _run(self, batch: Tensor, scalar: Callable[[Tensor, Book], Tensor], strict: bool) -> ExplainedInput:
        weight = next((p for p in self.model.parameters() if p.is_floating_point()), torch.empty(0))
        (run,) = input_lrp(
            self.model,
            batch.to(device=weight.device, dtype=weight.dtype),
            lambda outputs: _outputs(outputs, len(batch)),
            [scalar],
            self.composite,
            strict=strict,
            compare=strict or not self._compared,
        )
        self._compared = True
        return run

    def _labels(self, rows: Tensor) -> Labels:
        """The names of the outputs [N, C]."""
        count = rows.shape[1]
        if self.labels is not None and len(self.labels) != count:
            raise InputError(f"{len(self.labels)} labels were given, but the model has {count} outputs")
        names = self.labels or (["output"] if count == 1 else [f"output {number}" for number in range(count)])
        return Labels(dict(enumerate(names)))

    def _rows(self, rows: Any) -> NDArray[np.float64]:
        """The rows [N, F] in float64."""
        if hasattr(rows, "columns") and hasattr(rows, "to_numpy"):
            missing = next((name for name in self.features if name not in rows.columns), None)
            if missing is not None:
                raise InputError(f"the rows have no column {missing!r}: give one for each feature")
            rows = rows[list(self.features)].to_numpy()
        try:
            array = np.array(
                rows.detach().cpu().double().numpy() if isinstance(rows, Tensor) else rows, dtype=np.float64
            )
        except (TypeError, ValueError) as error:
            raise InputError(f"the rows are no numbers of equal count ({error}): give an array [N, F]") from error
        array = array[None] if array.ndim == 1 else array
        if array.ndim != 2 or array.shape[1] != len(self.features) or not len(array):
            raise InputError(
                f"rows of shape {list(array.shape)} do not fit {len(self.features)} features: give an array [N, F]"
            )
        if not np.isfinite(array).all():
            row, column = (int(place[0]) for place in np.nonzero(~np.isfinite(array)))
            raise InputError(
                f"row {row} has no finite number in {self.features[column]!r}: fill it, or leave the row out"
            )
        return array

    def _for_each(self, name: str, given: ArrayLike | None, otherwise: float) -> NDArray[np.float64]:
        array = np.array(otherwise if given is None else given, dtype=np.float64)
        if array.shape not in ((), (len(self.features),)) or not np.isfinite(array).all():
            raise InputError(
                f"{name} must be {len(self.features)} finite numbers, one for each feature, or one for all"
            )
        return array


def _outputs(outputs: Any, count: int) -> Tensor:
    """The model's outputs as [N, C]."""
    found = outputs["logits"] if isinstance(outputs, Mapping) and "logits" in outputs else outputs
    if isinstance(found, Tensor) and found.dim() == 1:
        found = found[:, None]
    if not isinstance(found, Tensor) or found.dim() != 2 or len(found) != count:
        what = f"a tensor of shape {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise InputError(f"the model must return numbers [N, C] or [N] for {count} rows, not {what}")
    return found


def _measured(rows: Tensor, function: RowFunction, book: Book) -> Tensor:
    """The scalars F [N] that `function` makes of the outputs; what its Taylor expansion leaves over is a bias."""
    used = rows.view_as(rows)
    found = function(used)
    if not isinstance(found, Tensor) or found.shape != rows.shape[:1]:
        what = f"a tensor of shape {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise InputError(f"the target function must return a number for each of the {len(rows)} rows, not {what}")
    if not found.requires_grad:
        raise InputError("what the target function returns does not depend on the model's outputs: nothing to explain")
    explained, outputs = wide(found), rows.detach()
    total = explained.detach()
    book.absorb("biases.taylor", explained, lambda c: total * c)
    book.absorb("biases.taylor", used, lambda c: -wide(outputs) * wide(c))
    return explained
