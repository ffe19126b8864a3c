"""The architectures that sentence embeddings are made with, tiny and with random weights: every ledger closes."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_models
import torch
import transformers
from two_texts import FIRST, SECOND, tokenizer

import lxtlike

WORDS = {"vocab_size": len(tiny_models.VOCABULARY)}
SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "pad_token_id": 0}
SIZE |= {"max_position_embeddings": 64, **WORDS}
FAMILIES: dict[str, dict[str, Any]] = {
    "MPNet": SIZE,
    "XLMRoberta": SIZE,
    "DistilBert": {**WORDS, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "Albert": {**SIZE, "embedding_size": 8},
    "ModernBert": {**SIZE, **dict.fromkeys(("cls_token_id", "bos_token_id"), 2), "sep_token_id": 3, "eos_token_id": 3},
    "RoFormer": SIZE,
    "Qwen3": {**SIZE, "num_key_value_heads": 1, "head_dim": 8},
    "T5": {**WORDS, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2},
}


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_ledger_closes(family: str, pooling: str) -> None:
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**FAMILIES[family])
    model = getattr(transformers, f"{family}EncoderModel" if family == "T5" else f"{family}Model")(config).eval()
    for dtype, allowed in ((torch.float64, 1e-6), (torch.bfloat16, 2e-2)):
        explainer = lxtlike.SimilarityExplainer(model.to(dtype), tokenizer(), pooling=pooling)
        found = explainer.explain(FIRST, SECOND, "tokens")
        assert found.audit.uncovered == ()
        assert found.ledger.relative_error < allowed
        assert abs(found.ledger.pairs) > 1e-4
