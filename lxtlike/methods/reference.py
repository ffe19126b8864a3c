"""References: the same text with every token replaced by one, and the points on the straight way from it to the text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lxtlike.choices import Vocabulary
from lxtlike.errors import InputError
from lxtlike.methods.leaves import input_embedding
from lxtlike.propagation.parallel import whole
from lxtlike.rules.primitives import wide
from lxtlike.text import Tokenizer, token_ids

ROLES = ("mask", "pad", "unk")
VECTORS = ("mean", "zero")
"""References that are no token: the mean of the vocabulary's embeddings, and nothing."""

_AT_ONCE = 8192


@dataclass(frozen=True)
class Reference:
    """What stands in place of every token: the embedding of one, or one of `VECTORS`.

    Attributes:
        name: a token as results show it, or "mean" or "zero".
        id: the token's id; None of a vector.
    """

    name: str
    id: int | None = None

    @classmethod
    def of(cls, asked: str | int, tokenizer: Tokenizer, size: int) -> Reference:
        """The reference that a caller names: one of `ROLES` or `VECTORS`, a token's text, or an id below `size`.

        Raises:
            InputError: the tokenizer has no such token, the text is not one token, the id is out of range.
        """
        if isinstance(asked, bool) or not isinstance(asked, (str, int)):
            raise InputError(f"the reference must be a token's text, its id, {_choices()}, not {asked!r}")
        if asked in VECTORS:
            return cls(str(asked))
        if asked in ROLES:
            number = getattr(tokenizer, f"{asked}_token_id", None)
            if number is None:
                raise InputError(
                    f"this tokenizer has no {asked} token to compare with: choose a token, or mean or zero"
                )
        elif isinstance(asked, int):
            number = asked
        else:
            ids = token_ids(asked, tokenizer)
            if len(ids) != 1:
                raise InputError(
                    f"the reference {asked!r} is {len(ids)} tokens: give one token, its id, or {_choices()}"
                )
            (number,) = ids
        vocabulary = Vocabulary(tokenizer, size)
        return cls(vocabulary.name(number), vocabulary.id(number))

    def to_dict(self) -> dict[str, Any] | str:
        """As results state it: id and token, or the vector's name."""
        return self.name if self.id is None else {"id": self.id, "token": self.name}

    def embedding(self, model: nn.Module, device: torch.device) -> Tensor:
        """What the model looks up for it [D], in float32 or wider; the mean goes over all rows of the vocabulary."""
        source = input_embedding(model)

        def looked_up(first: int, last: int) -> Tensor:
            found = source(torch.arange(first, last, device=device)[None])
            return wide(whole(found[0] if isinstance(found, tuple) else found)[0])

        if self.id is not None:
            return looked_up(self.id, self.id + 1)[0]
        if self.name == "zero":
            return torch.zeros_like(looked_up(0, 1)[0])
        size: int = model.config.get_text_config().vocab_size  # type: ignore[union-attr,operator]
        parts = [looked_up(first, min(first + _AT_ONCE, size)).sum(0) for first in range(0, size, _AT_ONCE)]
        return torch.stack(parts).sum(0) / size


@dataclass(frozen=True)
class Point:
    """A place on the straight line from the embeddings of the reference to those of the text.

    Attributes:
        reference: [D].
        share: of the way, 0 to 1.
        steps: fills, as the model looks tokens up, with the whole way of each, [B, T, D], in float32 or wider.
    """

    reference: Tensor
    share: float
    steps: list[Tensor] = field(default_factory=list)

    def place(self, embedded: Tensor) -> Tensor:
        """The embeddings [B, T, D] of this point, for those of the text."""
        reference = self.reference.to(embedded.device)
        step = wide(embedded) - reference
        self.steps.append(step)
        return embedded if self.share == 1 else (reference + self.share * step).to(embedded.dtype)


@dataclass(frozen=True)
class Way:
    """How relevance against a reference is read.

    Attributes:
        reference: where the way begins.
        points: how many points the coefficient is averaged over, in the middles of as many parts of the way; None: it is
            that at the text itself.

    Raises:
        InputError: fewer points than one.
    """

    reference: Reference
    points: int | None = None

    def __post_init__(self) -> None:
        points = 1 if self.points is None else self.points
        if isinstance(points, bool) or not isinstance(points, int) or points < 1:
            raise InputError(f"the path must be a number of points, 1 or more, not {points!r}")

    @property
    def shares(self) -> list[float]:
        """Where on the way the points are: 0 is the reference, 1 the text."""
        return [(number + 0.5) / (self.points or 1) for number in range(self.points or 0)]


def _choices() -> str:
    return ", ".join((*ROLES, *VECTORS[:-1])) + f" or {VECTORS[-1]}"
