"""lxtlike: explain predictions of HuggingFace transformers by Layer-wise Relevance Propagation."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lxtlike.errors import AuditError, ExhaustedError, InputError, LxtlikeError, NumericalError
from lxtlike.version import __version__

if TYPE_CHECKING:
    from lxtlike.attribution import (
        Attribution,
        Evaluation,
        GenerationAttribution,
        ImageAttribution,
        PairAttribution,
        TableAttribution,
        compare,
        load,
    )
    from lxtlike.composites import COMPOSITES, Composite
    from lxtlike.dataset import explain_rows
    from lxtlike.explainer import Explainer, explain
    from lxtlike.faithfulness import evaluate, tune
    from lxtlike.ledger import Ledger
    from lxtlike.propagation import Audit, propagate
    from lxtlike.similarity import SimilarityExplainer
    from lxtlike.tables import TableExplainer
    from lxtlike.text import Token
    from lxtlike.vision import ImageExplainer

# torch takes a second to import and transformers more: each name is imported when it is first used.
_HOMES = {
    "Attribution": "lxtlike.attribution",
    "Audit": "lxtlike.propagation",
    "COMPOSITES": "lxtlike.composites",
    "Composite": "lxtlike.composites",
    "Evaluation": "lxtlike.attribution",
    "Explainer": "lxtlike.explainer",
    "GenerationAttribution": "lxtlike.attribution",
    "ImageAttribution": "lxtlike.attribution",
    "ImageExplainer": "lxtlike.vision",
    "Ledger": "lxtlike.ledger",
    "PairAttribution": "lxtlike.attribution",
    "SimilarityExplainer": "lxtlike.similarity",
    "TableAttribution": "lxtlike.attribution",
    "TableExplainer": "lxtlike.tables",
    "Token": "lxtlike.text",
    "compare": "lxtlike.attribution",
    "evaluate": "lxtlike.faithfulness",
    "explain": "lxtlike.explainer",
    "explain_rows": "lxtlike.dataset",
    "load": "lxtlike.attribution",
    "propagate": "lxtlike.propagation",
    "tune": "lxtlike.faithfulness",
}

__all__ = [
    "COMPOSITES",
    "Attribution",
    "Audit",
    "AuditError",
    "Composite",
    "Evaluation",
    "ExhaustedError",
    "Explainer",
    "GenerationAttribution",
    "ImageAttribution",
    "ImageExplainer",
    "InputError",
    "Ledger",
    "LxtlikeError",
    "NumericalError",
    "PairAttribution",
    "SimilarityExplainer",
    "TableAttribution",
    "TableExplainer",
    "Token",
    "__version__",
    "compare",
    "evaluate",
    "explain",
    "explain_rows",
    "load",
    "propagate",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lxtlike' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
