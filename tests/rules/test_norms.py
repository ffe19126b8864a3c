"""Norms against the oracle: as functions, as modules and written by hand, the deviation is a constant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import reference as ref
import torch
import torch.nn.functional as F
from pairing import Of, check, layer, normal
from reference import Array
from torch import Tensor, nn

X, C = normal(3, 4), normal(3, 4, seed=1)
BOTH = pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp"])

EPS = 1e-3
GAIN, BETA = normal(4, seed=8), normal(4, seed=9)
TG, TE = torch.tensor(GAIN), torch.tensor(BETA)


def rms_by_hand(x: Tensor) -> Tensor:
    return TG * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS))


def layer_norm_by_hand(x: Tensor) -> Tensor:
    middle = x - x.mean(-1, keepdim=True)
    return middle / torch.sqrt(middle.square().mean(-1, keepdim=True) + EPS) * TG + TE


LAYER_NORM: dict[str, Callable[[Tensor], Tensor]] = {
    "F": lambda x: F.layer_norm(x, (4,), TG, TE, EPS),
    "F, keywords": lambda x: F.layer_norm(x, normalized_shape=[4], eps=EPS, bias=TE, weight=TG),
    "torch": lambda x: torch.layer_norm(x, (4,), TG, TE, EPS),
    "by hand": layer_norm_by_hand,
    "by hand, var": lambda x: (x - x.mean(1, True)) / (x.var(1, unbiased=False, keepdim=True) + EPS).sqrt() * TG + TE,
    "by hand, rsqrt": lambda x: (
        (x - x.mean(1, True)) * torch.rsqrt(torch.var(x, 1, correction=0, keepdim=True) + EPS) * TG + TE
    ),
}
RMS_NORM: dict[str, Callable[[Tensor], Tensor]] = {
    "F": lambda x: F.rms_norm(x, (4,), TG, EPS),
    "F, keywords": lambda x: F.rms_norm(input=x, normalized_shape=(4,), weight=TG, eps=EPS),
    "by hand": rms_by_hand,
    "by hand, divided": lambda x: x / (x.square().mean(-1, keepdim=True) + EPS).sqrt() * TG,
    "by hand, power": lambda x: x * (x.pow(2).mean(-1, True) + EPS) ** -0.5 * TG,
}
L2_NORM: dict[str, Callable[[Tensor], Tensor]] = {
    "F": lambda x: F.normalize(x, dim=-1),
    "norm": lambda x: x / x.norm(dim=-1, keepdim=True),
    "vector_norm": lambda x: x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=1e-12),
    "rsqrt": lambda x: x * torch.rsqrt((x * x).sum(-1, keepdim=True)),
}


class TestNorms:
    @BOTH
    @pytest.mark.parametrize("spelling", LAYER_NORM.values(), ids=list(LAYER_NORM))
    def test_layer_norm(self, spelling: Callable[[Tensor], Tensor], composite: str) -> None:
        check(spelling, ref.layer_norm(X, GAIN, BETA, C, EPS), (X,), C, composite)

    @BOTH
    @pytest.mark.parametrize("spelling", RMS_NORM.values(), ids=list(RMS_NORM))
    def test_rms_norm(self, spelling: Callable[[Tensor], Tensor], composite: str) -> None:
        check(spelling, ref.rms_norm(X, GAIN, C, EPS), (X,), C, composite)

    @BOTH
    @pytest.mark.parametrize("spelling", L2_NORM.values(), ids=list(L2_NORM))
    def test_l2_norm(self, spelling: Callable[[Tensor], Tensor], composite: str) -> None:
        check(spelling, ref.l2_norm(X, C, 1e-12), (X,), C, composite)

    def test_modules(self) -> None:
        from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
        from transformers.models.llama.modeling_llama import LlamaRMSNorm
        from transformers.models.t5.modeling_t5 import T5LayerNorm

        for kind, offset in [(nn.RMSNorm, 0.0), (LlamaRMSNorm, 0.0), (T5LayerNorm, 0.0), (Gemma2RMSNorm, 1.0)]:
            norm = layer(kind, 4, eps=EPS)
            step = ref.rms_norm(X, numpy(norm.weight), C, EPS, offset)
            for fast in (True, False):
                # Those of transformers compute in float32 whatever they are given.
                check(Of(norm, norm=norm), step, (X,), C, fast=fast, tolerance=1e-10 if kind is nn.RMSNorm else 1e-6)
        norm = layer(nn.LayerNorm, 4, eps=EPS)
        check(norm, ref.layer_norm(X, numpy(norm.weight), numpy(norm.bias), C, EPS), (X,), C)

    @pytest.mark.parametrize("groups", [1, 2, 6])
    def test_group_norm(self, groups: int) -> None:
        x, c, module = normal(2, 6, 3), normal(2, 6, 3, seed=1), layer(nn.GroupNorm, groups, 6, eps=EPS)
        check(module, ref.group_norm(x, groups, numpy(module.weight), numpy(module.bias), c, EPS), (x,), c)

    def test_batch_norm_is_affine(self) -> None:
        module = layer(nn.BatchNorm1d, 4).eval()
        module.running_mean, module.running_var = torch.tensor(normal(4)), torch.tensor(normal(4) ** 2 + 0.1)
        gain = numpy(module.weight) / np.sqrt(numpy(module.running_var) + module.eps)
        shift = numpy(module.bias) - numpy(module.running_mean) * gain
        check(module, ref.linear(X, np.diag(gain), shift, C), (X,), C)


def numpy(parameter: Tensor) -> Array:
    return parameter.detach().double().numpy()
