"""A tiny model explained as users do it: from text, through `Explainer`, in every way that its task has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from tiny_architectures import VOCABULARY
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from lxtlike import Explainer, LxtlikeError
from lxtlike.propagation.precision import Float64Casts
from lxtlike.tasks import EXPLAINED

MASK, END = 58, 59
LONG, SHORT = "w20 w21 w22 w23 w24 w25 w26", "w40 w41 w42 w43 w44"


def explained(mapping: str, model: Any) -> dict[str, Any] | str:
    """Relative errors of the ledgers in float64, by way: one text, a continuation, a generation; and what a batch changes.

    `batch` is the largest difference of relevance between a text in a batch with a longer one and alone, relative to the
    largest. Where the explainer refuses the model, or the model refuses a text alone, what it says.
    """
    mask = " w58" * (mapping == "masked-lm")
    long, short = LONG + mask, SHORT + mask
    with _float64(), Float64Casts():
        try:
            explainer = Explainer(model, _tokenizer(model.config), task=mapping)
            if mapping == "question-answering":
                return {"explain": explainer.explain(SHORT, context=LONG).ledger.relative_error}
            found = {"explain": explainer.explain(long).ledger.relative_error}
            if mapping in ("causal-lm", "seq2seq-lm"):
                found["continuation"] = explainer.explain(long, completion="w30 w31").ledger.relative_error
                generation = explainer.generate(long, max_new_tokens=2)
                found["generation"] = max(output.ledger.relative_error for output in generation.outputs)
            alone, together = explainer.explain(short), explainer.explain([long, short])[1]
        except LxtlikeError as error:
            return str(error)
        except (ValueError, RuntimeError) as error:
            if _reads_text_alone(model):
                raise
            return f"{type(error).__name__}: {error}"
    difference = np.abs(alone.relevance - together.relevance).max()
    return {**found, "batch": float(difference / max(np.abs(alone.relevance).max(), 1e-30))}


def _reads_text_alone(model: Any) -> bool:
    """Whether the plain model takes such ids and nothing else."""
    try:
        model(input_ids=torch.tensor([list(range(20, 29))], device=model.device))
    except (ValueError, RuntimeError):
        return False
    return True


def explainable(mapping: str) -> bool:
    """Whether there is a way from text."""
    return mapping in EXPLAINED


def _tokenizer(config: Any) -> PreTrainedTokenizerFast:
    """Words w0, w1, ... are ids; texts end with the token at which some classifiers look."""
    own = getattr(config, "eos_token_id", None)
    end = own if isinstance(own, int) and 0 <= own < VOCABULARY else END
    words = Tokenizer(WordLevel({f"w{number}": number for number in range(VOCABULARY)}, unk_token="w1"))
    words.pre_tokenizer = WhitespaceSplit()
    words.post_processor = TemplateProcessing(
        single=f"$A w{end}", pair=f"$A w{end} w{end} $B:0 w{end}:0", special_tokens=[(f"w{end}", end)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w1", mask_token=f"w{MASK}", pad_token="w0")


@contextmanager
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
