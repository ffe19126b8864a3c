"""The explainer of similarities: two texts in, the relevance of their pairs of tokens out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lxtlike.attribution import AuditSummary, PairAttribution, Side
from lxtlike.composites import Composite
from lxtlike.errors import InputError, one_of
from lxtlike.feeding import check_length, model_inputs
from lxtlike.ledger import ACCOUNTS
from lxtlike.loading import load
from lxtlike.methods import Explained, Progress
from lxtlike.methods.passes import Scalar
from lxtlike.propagation.surroundings import frozen, owned
from lxtlike.recognition import SIMILARITY, unwrapped
from lxtlike.rules.primitives import Book, wide
from lxtlike.setting import Setting, summary
from lxtlike.similarity import pooling as pool
from lxtlike.similarity import products
from lxtlike.similarity.products import Along, Directions, Pooled
from lxtlike.text import Encoded, encode
from lxtlike.version import versions

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SIMILARITIES = ("cosine", "dot")
FORMS = ("bilrp", "tokens")


class SimilarityExplainer(Setting):
    """Explains how similar a model's embeddings of two texts are. The model and the tokenizer are never changed.

    Args:
        model: a transformers model whose last hidden states become embeddings; a head on top of it is left out.
        tokenizer: its tokenizer.
        pooling: how states become one embedding: "mean" (of all tokens, special ones too), "cls" (the first) or "last".
        similarity: "cosine", in which the two lengths are constants, or "dot".
        composite, strict, checkpointing, name: as for `Explainer`.

    Raises:
        InputError: an encoder-decoder, an unknown pooling or similarity, an unknown composite.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        pooling: str = "mean",
        similarity: str = "cosine",
        composite: str | Path | Composite = "default",
        strict: bool = False,
        checkpointing: bool | None = None,
        name: str | None = None,
    ) -> None:
        if tokenizer is None:
            raise InputError("an explainer needs the model's tokenizer; pass it as the second argument")
        inner = unwrapped(model)
        if getattr(inner.config, "is_encoder_decoder", False):
            raise InputError(
                "embeddings of an encoder-decoder are not explained here: pass its encoder, or its decoder"
            )
        if similarity not in SIMILARITIES:
            raise InputError(f"similarity {similarity!r} is unknown: {one_of(similarity, SIMILARITIES)}")
        super().__init__(
            model=inner.base_model,
            tokenizer=tokenizer,
            composite=Composite.parse(composite),
            task=SIMILARITY,
            name=name or inner.name_or_path or type(inner).__name__,
            strict=strict,
            checkpointing=checkpointing,
        )
        self.pooling = pool.checked(pooling)
        self.similarity = similarity

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        pooling: str | None = None,
        similarity: str = "cosine",
        composite: str | Path | Composite = "default",
        strict: bool = False,
        checkpointing: bool | None = None,
        **options: Any,
    ) -> SimilarityExplainer:
        """Load a model and its tokenizer by name or folder and explain its embeddings.

        A folder made by sentence-transformers says itself how it pools, which `pooling` overrides; any other one has "mean".
        The other arguments, `dtype`, `device`, `device_map` and `trust_remote_code`, are those of `lxtlike.loading.load`.

        Raises:
            InputError: the model does more with its states than sum them up.
        """
        rules = Composite.parse(composite)
        name = str(model)
        recipe = None if pooling is not None else pool.recipe(name)
        loaded = load(recipe.model if recipe else model, task=SIMILARITY, **options)
        if loaded.tokenizer is None:
            raise InputError(f"{loaded.name!r} has no tokenizer")
        if recipe is not None and recipe.normalised:
            similarity = "cosine" if similarity == "dot" else similarity  # of length 1, they are the same
        return cls(
            loaded.model,
            loaded.tokenizer,
            pooling=pooling or (recipe.pooling if recipe else "mean"),
            similarity=similarity,
            composite=rules,
            strict=strict,
            checkpointing=checkpointing,
            name=name,
        )

    @torch.inference_mode(False)  # tensors made in inference mode cannot be differentiated
    def explain(
        self,
        first: str,
        second: str,
        form: str = "bilrp",
        *,
        projections: int | None = None,
        seed: int = 0,
        batch_size: int = 32,
        strict: bool | None = None,
        progress: Progress | None = None,
    ) -> PairAttribution:
        """Which tokens of one text, met by which of the other, make them similar.

        Args:
            form: "bilrp", an LRP of each text along every dimension of the embedding; or "tokens", along the space of the
                tokens' last states only, which are fewer: nearly the same matrix where texts are short.
            projections: of "bilrp", so many random directions instead of all dimensions: the similarity and its ledger
                stay exact, the matrix is right in expectation. They are drawn from `seed`.
            batch_size: how many directions go through one backward pass.
            strict: overrides the explainer's own.
            progress: called after each backward pass with how many are done, and how many there are.

        Raises:
            InputError: an empty or too long text, an unknown form.
            NumericalError: NaN in the model's output.
            AuditError: under `strict`.
        """
        chosen = _directions(form, projections, seed)
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        texts = [encode(text, self.tokenizer) for text in (first, second)]
        for encoded in texts:
            check_length(encoded, self.model, self.tokenizer)
        strict = self.strict if strict is None else strict
        a, b = map(self._pooled, texts)
        lengths = float(a.embedding.norm() * b.embedding.norm()) if self.similarity == "cosine" else 1.0
        if lengths == 0.0:
            raise InputError("an embedding is zero, which has no cosine with anything: take similarity='dot'")
        along = chosen(a, b)
        runs = [
            self._along(text, along, batch_size, strict=strict, progress=_counting_on(progress, number))
            for number, text in enumerate(texts)
        ]
        one, other = (_gathered(run, len(along)) for run in runs)
        factor = 1.0 / lengths
        sides = [
            Side(text.text, text.tokens, relevance.float().numpy())
            for text, relevance in zip(
                texts, (products.held(one, other, factor), products.held(other, one, factor)), strict=True
            )
        ]
        return PairAttribution(
            model=self.name,
            composite=self.composite.name,
            form=form if projections is None else f"{form}, {projections} projections",
            similarity=self.similarity,
            pooling=self.pooling,
            first=sides[0],
            second=sides[1],
            token_matrix=products.matrix(one, other, factor).float().numpy(),
            ledger=products.ledger(one, other, factor),
            audit=_together([summary(run[0]) for run in runs]),
            versions=versions(),
        )

    __call__ = explain

    def embed(self, text: str) -> NDArray[np.float32]:
        """The embedding [D] of a text, as it is pooled; InputError for an empty or too long one."""
        encoded = encode(text, self.tokenizer)
        check_length(encoded, self.model, self.tokenizer)
        found: NDArray[np.float32] = self._pooled(encoded).embedding.float().numpy()
        return found

    def _pooled(self, encoded: Encoded) -> Pooled:
        """The text's states and embedding, of the model as it is."""
        inputs = model_inputs([encoded], self.model, self.tokenizer)
        with owned(self.model), frozen(self.model), torch.no_grad():
            states = _states(self.model(**inputs))[0].cpu().double()
        return Pooled(states, pool.weights(self.pooling, len(states)) @ states)

    def _along(
        self, encoded: Encoded, directions: Tensor, batch_size: int, *, strict: bool, progress: Progress | None
    ) -> list[Explained]:
        """LRP of a text along directions [K, D]: copies of it in a batch, each explained along another one."""
        size = min(batch_size, len(directions))
        chunks = torch.split(directions, size)
        weights = pool.weights(self.pooling, len(encoded.tokens))

        def read(outputs: Any) -> Tensor:
            states = wide(_states(outputs))
            return (states * weights.to(states.device, states.dtype)[:, None]).sum(1)

        def scalar(chunk: Tensor) -> Scalar:
            filled = functional.pad(chunk, (0, 0, 0, size - len(chunk)))

            def along(rows: Tensor, _book: Book) -> Tensor:
                return (rows * filled.to(rows.device, rows.dtype)).sum(-1)

            return along

        inputs = model_inputs([encoded] * size, self.model, self.tokenizer)
        return self.explained(inputs, read, [scalar(chunk) for chunk in chunks], strict=strict, progress=progress)


def _directions(form: str, projections: int | None, seed: int) -> Directions:
    if form not in FORMS:
        raise InputError(f"there is no form {form!r}: {one_of(form, FORMS)}")
    if projections is None:
        return products.dimensions if form == "bilrp" else products.tokens
    if form != "bilrp" or projections < 1:
        raise InputError("projections is a number, at least 1, and for form 'bilrp'")
    return products.projections(projections, seed)


def _counting_on(progress: Progress | None, texts: int) -> Progress | None:
    """What one of two texts tells, when so many were done before it."""
    return progress and (lambda done, total: progress(texts * total + done, 2 * total))


def _states(outputs: Any) -> Tensor:
    """The last hidden states [B, T, D]."""
    states = getattr(outputs, "last_hidden_state", None)
    if not isinstance(states, Tensor):
        raise InputError("the model gives no last hidden states, of which an embedding is made: pass its base model")
    return states


def _gathered(found: Sequence[Explained], count: int) -> Along:
    """The passes of all chunks together; what filled up the last one is left out."""
    ledgers = [ledger for explained in found for ledger in explained.ledgers][:count]
    amounts = [[ledger.accounts[name] for name in ACCOUNTS] for ledger in ledgers]
    return Along(
        torch.cat([explained.values.cpu().double() for explained in found])[:count],
        torch.cat([explained.relevance.cpu().double() for explained in found])[:count],
        torch.tensor(amounts, dtype=torch.float64),
    )


def _together(audits: Sequence[AuditSummary]) -> AuditSummary:
    """What the audits of both texts found."""
    deviations = [audit.forward_deviation for audit in audits if audit.forward_deviation is not None]
    found = dict.fromkeys(uncovered for audit in audits for uncovered in audit.uncovered)
    return AuditSummary(max(deviations, default=None), tuple(found))
