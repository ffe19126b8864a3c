"""How relevance in float32, bfloat16 and float16 agrees with float64: inputs that are hard on purpose, and the measures.

Used by `precision_table.py`, which writes docs/precision.md, and by tests/test_dtypes.py.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "propagation"))

from families import VOCABULARY  # noqa: E402 - the tiny models exist once, there

from lxtlike import Composite, Explainer  # noqa: E402
from lxtlike.methods import Explained, lrp  # noqa: E402
from lxtlike.propagation.precision import Float64Casts  # noqa: E402
from lxtlike.rules.call import transform  # noqa: E402

BARS = {torch.float32: 0.99, torch.bfloat16: 0.98, torch.float16: 0.9}
"""Lowest rank correlation with float64."""
COMPOSITES = ("attnlrp", "cp-lrp", "epsilon")
TEXTS = {
    "bindings": "the box holds a red ball and the bag holds a blue hat . the hat is",
    "sentiment": "the jokes are stale , but the acting is superb and the ending is moving .",
}
SHORT = {"bindings": "the jar holds a pink kite . the kite is", "sentiment": "a fine film"}
REPEATED = {
    "bindings": "the box holds a red ball and the bag holds a blue hat . ",
    "sentiment": "the jokes are stale , but the acting is superb . ",
}


@dataclass(frozen=True)
class Input:
    """What a model is fed: ids and mask [B, T], a change of the looked-up embeddings, and the token that is read [B]."""

    kind: str
    ids: Tensor
    mask: Tensor
    read: tuple[int, ...]
    change: Callable[[Tensor], Tensor] = Tensor.clone


@dataclass(frozen=True)
class Agreement:
    """How relevance in one dtype agrees with float64 of the same, rounded weights.

    Attributes:
        rank: Spearman's correlation over the tokens of a text, ties sharing their mean rank; the lowest in the batch. Tokens
            whose relevance is exactly 0 in float64 (padding, outside a window, zero embeddings) are not ranked. NaN for
            fewer than 3 tokens.
        pearson, cosine: over the same tokens.
        difference: the largest, over the largest relevance of the text.
        finite: no NaN or inf, and exactly 0 where float64 has exactly 0.
        original: `rank` against float64 with the weights and embeddings as they were before rounding.
        ledger: the relative error of the ledger of the batch. NaN for an encoder-decoder, whose decoder's inputs hold a part.
    """

    rank: float
    pearson: float
    cosine: float
    difference: float
    finite: bool
    original: float
    ledger: float


def text_inputs(explainer: Explainer, text: str, short: str, repeated: str) -> Iterator[Input]:
    """The inputs of a trained model: a text, a long one, and the hard ones."""
    tokenizer: Any = explainer.tokenizer
    reads_last = explainer.task == "causal-lm"
    ids, few = (torch.tensor(tokenizer(words).input_ids) for words in (text, short))
    limit = explainer.model.config.max_position_embeddings
    longer = torch.tensor(tokenizer(repeated * 8).input_ids[: min(limit, 120) - len(ids)])
    yield from _inputs(ids, few, torch.cat([longer, ids]) if reads_last else longer, reads_last)


def random_inputs(model: nn.Module) -> Iterator[Input]:
    """The inputs of a random model: random tokens."""
    ids = torch.randint(3, VOCABULARY, (60,), generator=torch.Generator().manual_seed(7))
    yield from _inputs(ids[:32], ids[40:60], ids, not getattr(model.config, "is_encoder_decoder", False))


def _inputs(ids: Tensor, few: Tensor, long: Tensor, reads_last: bool) -> Iterator[Input]:
    def alone(kind: str, ids: Tensor, change: Callable[[Tensor], Tensor] = Tensor.clone) -> Input:
        return Input(kind, ids[None], torch.ones_like(ids)[None], (len(ids) - 1 if reads_last else 0,), change)

    yield alone("text", ids)
    yield alone("long", long)
    yield alone("one token", ids[:1])
    yield alone("zeros", ids, _zeros)
    yield alone("huge token", ids, _huge_token)
    yield alone("huge channel", ids, _huge_channel)
    width, missing = len(ids), len(ids) - len(few)
    zeros, ones = torch.zeros(missing, dtype=torch.long), torch.ones_like(few)
    for side, parts, last in (("right", (few, zeros), len(few) - 1), ("left", (zeros, few), width - 1)):
        mask = torch.stack([torch.ones_like(ids), torch.cat([ones if part is few else zeros for part in parts])])
        read = (width - 1, last) if reads_last else (0, 0)
        yield Input(f"padded {side}", torch.stack([ids, torch.cat(parts)]), mask, read)


def _zeros(embeddings: Tensor) -> Tensor:
    """Every third token, the first among them, is exactly zero."""
    return embeddings * (torch.arange(embeddings.shape[1]) % 3 != 0)[:, None]


def _huge_token(embeddings: Tensor) -> Tensor:
    """One channel of the first token is huge, as large language models have it ("massive activations")."""
    changed = embeddings.clone()
    changed[:, 0, 3] = 2e4
    return changed


def _huge_channel(embeddings: Tensor) -> Tensor:
    """One channel of all tokens lies 60 standard deviations away, as large language models have it ("outliers")."""
    changed = embeddings.clone()
    changed[:, :, 3] += 60 * embeddings.float().std().item()
    return changed


def loud(model: Any, factor: float = 2.0**11) -> Any:
    """A Llama whose hidden states are `factor` times as large and whose logits are the same: close to float16's limit."""
    model = copy.deepcopy(model)
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    with torch.no_grad():
        model.model.embed_tokens.weight = nn.Parameter(model.model.embed_tokens.weight * factor)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.mul_(factor)
            layer.mlp.down_proj.weight.mul_(factor)
    return model


def explain(
    model: Any, given: Input, composite: str, target: Tensor | None = None, embeddings: Tensor | None = None
) -> Explained:
    """Relevance of the tokens for the logits [B] of the target ids (default: the largest), at embeddings (default: its own)."""
    inputs = {"input_ids": given.ids, "attention_mask": given.mask}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.tensor([[0]] * len(given.ids))
    looked_up: list[Tensor] = []

    def replaced(module: nn.Module, args: Any, found: Tensor) -> Tensor:
        if looked_up:  # a decoder's own inputs
            return found
        looked_up.append(given.change(found) if embeddings is None else embeddings.to(found.dtype))
        return looked_up[0]

    def read(outputs: Any) -> Tensor:
        logits: Tensor = outputs.logits
        return logits if logits.dim() == 2 else logits[torch.arange(len(given.ids)), list(given.read)]

    def scalar(rows: Tensor, _: Any) -> Tensor:
        ids = rows.argmax(-1) if target is None else target
        chosen = rows[torch.arange(len(rows)), ids]
        return chosen if rows.dtype == torch.float64 else chosen.float()

    handle = model.get_input_embeddings().register_forward_hook(replaced)
    try:
        with Float64Casts() if model.dtype == torch.float64 else contextlib.nullcontext():
            return lrp(model, inputs, read, [scalar], Composite.parse(composite))[0]
    finally:
        handle.remove()


def compare(model: Any, given: Input, composite: str, dtype: torch.dtype) -> Agreement:
    """Agreement of a float32 model's relevance in `dtype` with float64; both start from the same rounded embeddings.

    Raises:
        NumericalError: where the model itself overflows.
    """
    low, embeddings = _rounded(model, given, dtype)
    double, rounded = copy.deepcopy(model).double(), copy.deepcopy(low).double()
    exact = explain(rounded, given, composite, embeddings=embeddings)
    target = exact.rows.argmax(-1)
    found = explain(low, given, composite, target, embeddings)
    original = explain(double, given, composite, target)
    lowest = _over_items(exact)
    kept = [relevance.numpy() != 0 for relevance in exact.relevance]

    return Agreement(
        rank=lowest(spearman, found, exact),
        pearson=lowest(pearson, found, exact),
        cosine=lowest(cosine, found, exact),
        difference=max(difference(_numbers(found, item), _numbers(exact, item)) for item in range(len(kept))),
        finite=all(bool((_numbers(found, item)[~k] == 0).all()) for item, k in enumerate(kept)),
        original=lowest(spearman, found, original),
        ledger=ledger_error(model, found),
    )


def forward_alone(model: Any, given: Input, composite: str, dtype: torch.dtype) -> float:
    """The rank correlation of float64's backward pass through the values of `dtype` with float64: what the forward has lost."""
    low, embeddings = _rounded(model, given, dtype)
    rounded = low.double()
    exact = explain(rounded, given, composite, embeddings=embeddings)
    with LowValues(dtype):
        values = explain(rounded, given, composite, exact.rows.argmax(-1), embeddings)
    return _over_items(exact)(spearman, values, exact)


def _rounded(model: Any, given: Input, dtype: torch.dtype) -> tuple[Any, Tensor]:
    low = copy.deepcopy(model).to(dtype)
    with torch.no_grad():
        return low, given.change(low.get_input_embeddings()(given.ids))


def _over_items(exact: Explained) -> Callable[[Callable[[Any, Any], float], Explained, Explained], float]:
    """The lowest of a measure over the items of a batch, each over its tokens that have relevance in float64."""
    kept = [relevance.numpy() != 0 for relevance in exact.relevance]

    def lowest(measure: Callable[[Any, Any], float], one: Explained, other: Explained) -> float:
        return min(measure(_numbers(one, item)[k], _numbers(other, item)[k]) for item, k in enumerate(kept))

    return lowest


class LowValues(TorchFunctionMode):
    """Around a float64 model: operations have the values that they have in `dtype`, and the derivatives of float64."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if not torch.is_grad_enabled() or not isinstance(result, Tensor) or not result.requires_grad:
            return result
        if name not in _COMPUTES or result.dtype != torch.float64:
            return result
        with torch._C.DisableTorchFunction(), torch.no_grad():
            low = func(*transform(args, self._low), **{key: self._low_option(value) for key, value in kwargs.items()})
            error = low.double() - result
        with torch._C.DisableTorchFunction():
            return result + error

    def _low(self, value: Tensor) -> Tensor:
        return value.to(self.dtype) if value.dtype == torch.float64 else value

    def _low_option(self, value: Any) -> Any:
        return self.dtype if value is torch.float64 else transform(value, self._low)


_COMPUTES = """linear matmul __matmul__ bmm baddbmm addmm conv1d scaled_dot_product_attention softmax layer_norm
    add __add__ __radd__ sub __sub__ mul __mul__ __rmul__ div __truediv__ mean pow rsqrt silu gelu relu tanh cat""".split()


def ledger_error(model: Any, found: Explained) -> float:
    """The relative error of the ledger of a whole batch."""
    if model.config.is_encoder_decoder:
        return float("nan")
    return found.audit.ledger(found.values.double().sum(), found.relevance.double()).relative_error


def _numbers(explained: Explained, item: int) -> np.ndarray:
    return explained.relevance[item].double().numpy()


def difference(found: np.ndarray, exact: np.ndarray) -> float:
    """The largest difference over the largest exact number."""
    return float(abs(found - exact).max() / abs(exact).max())


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The cosine of the angle between two vectors."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))) if len(a) else float("nan")


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation; NaN for fewer than 3 numbers."""
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 2 else float("nan")


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation; equal numbers share their mean rank; NaN for fewer than 3 numbers."""
    return pearson(_ranks(a), _ranks(b))


def _ranks(x: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]
