"""BiLRP: the relevance of pairs of tokens, from LRP of each text along directions of the embedding.

LRP is linear in what is explained. So along directions v_k with ``sum_k v_k v_k^T = 1`` the similarity ``F = sum_k
(v_k . phi(a)) (v_k . phi(b))`` falls into products of two ordinary LRPs, and these fall into pairs of tokens. With all D
dimensions for directions this is BiLRP as it was published; fewer directions cost fewer passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from lxtlike.attribution import PairLedger
from lxtlike.ledger import ACCOUNTS


@dataclass(frozen=True)
class Along:
    """LRP of one text along K directions of its embedding; all in float64.

    Attributes:
        values: [K], the embedding's coordinates.
        relevance: [K, T] of the tokens.
        accounts: [K, C], what went to each of `lxtlike.ledger.ACCOUNTS`, tokens among them.
    """

    values: Tensor
    relevance: Tensor
    accounts: Tensor


@dataclass(frozen=True)
class Pooled:
    """A text's last states [T, D] and its embedding [D], which is a sum of them, float64."""

    states: Tensor
    embedding: Tensor


Directions: TypeAlias = Callable[[Pooled, Pooled], Tensor]
"""From both texts to directions [K, D] in which both embeddings are contained."""


def dimensions(one: Pooled, _other: Pooled) -> Tensor:
    """Every dimension of the embedding: the full form (Eberle et al. 2022, 2003.05431)."""
    return torch.eye(len(one.embedding), dtype=torch.float64)


def tokens(one: Pooled, other: Pooled) -> Tensor:
    """The space of all tokens' last states, at most as many directions as tokens: the cheap form.

    Both embeddings lie in it, so the similarity is whole; what relevance runs outside of it, where both are 0, is left out.
    """
    return _spanning(torch.cat([one.states, other.states]))


def projections(count: int, seed: int) -> Directions:
    """The plane of the two embeddings and `count` random directions outside of it.

    In expectation ``sum_k v_k v_k^T = 1``, so every entry of the matrix is right in expectation. Outside the plane both
    embeddings are 0: the similarity is whole, whatever was drawn.
    """

    def directions(one: Pooled, other: Pooled) -> Tensor:
        plane = _spanning(torch.stack([one.embedding, other.embedding]))
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(count, len(one.embedding), dtype=torch.float64, generator=generator)
        outside = drawn - drawn @ plane.T @ plane
        return torch.cat([plane, outside / count**0.5])

    return directions


def _spanning(vectors: Tensor) -> Tensor:
    """Orthonormal directions [K, D], in whose space the vectors [N, D] lie; K is the smaller of N and D."""
    basis: Tensor = torch.linalg.qr(vectors.T).Q
    return basis.T


def matrix(one: Along, other: Along, factor: float) -> Tensor:
    """``R_ij = factor * sum_k R_i(v_k . phi(a)) R_j(v_k . phi(b))``, [Ta, Tb]."""
    return factor * one.relevance.T @ other.relevance


def held(one: Along, other: Along, factor: float) -> Tensor:
    """Relevance [Ta] of the first text's tokens for the similarity when the other's embedding is held fixed."""
    return factor * one.relevance.T @ other.values


def ledger(one: Along, other: Along, factor: float) -> PairLedger:
    """Both ledgers multiplied out: accounts of the first text x accounts of the second one."""
    table: list[list[float]] = (factor * one.accounts.T @ other.accounts).tolist()
    rows = {own: dict(zip(ACCOUNTS, row, strict=True)) for own, row in zip(ACCOUNTS, table, strict=True)}
    return PairLedger(factor * float(one.values @ other.values), rows)
