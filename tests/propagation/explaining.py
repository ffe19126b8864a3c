"""Explaining a model in one line, and the proof that it left nothing behind."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from families import build, embeddings_of, run
from torch import nn

from lxtlike import propagate
from lxtlike.composites import Composite
from lxtlike.ledger import Ledger
from lxtlike.methods import Views, lrp
from lxtlike.streaming import Stored


def fresh(name: str = "llama", attention: str = "eager") -> nn.Module:
    """A model of one's own to change."""
    return copy.deepcopy(build(name, attention))


def explained(
    model: nn.Module,
    composite: str = "attnlrp",
    *,
    embeddings: torch.Tensor | None = None,
    inside: Callable[[], Any] = lambda: None,
    **options: Any,
) -> torch.Tensor:
    """Relevance [B, T] of the input tokens for the first logit; `inside` runs in the block, before the forward."""
    return ledgered(model, composite, embeddings=embeddings, inside=inside, **options)[0]


def ledgered(
    model: nn.Module,
    composite: str = "attnlrp",
    *,
    embeddings: torch.Tensor | None = None,
    inside: Callable[[], Any] = lambda: None,
    **options: Any,
) -> tuple[torch.Tensor, Ledger]:
    """The same with its ledger; every operation must have had a rule."""
    embeddings = embeddings_of(model) if embeddings is None else embeddings.detach().requires_grad_()
    with propagate(model, composite, **options) as audit:
        inside()
        row, leaves = run(model, embeddings)
        coefficients = torch.autograd.grad(row[0], leaves)
    parts = [(leaf * c).detach() for leaf, c in zip(leaves, coefficients, strict=True)]
    assert audit.uncovered == []
    return parts[0].sum(-1), audit.ledger(row[0], sum(part.sum() for part in parts))


def state(model: nn.Module) -> dict[str, Any]:
    """Everything an explanation might leave behind, by module and by value."""
    kept: dict[str, Any] = {"config": model.config.to_dict() if hasattr(model, "config") else None}
    for name, module in model.named_modules():
        attributes = {k: v for k, v in vars(module).items() if k not in ("_parameters", "_buffers", "_modules")}
        kept[name] = (list(vars(module)), {k: repr(v) for k, v in attributes.items()})
        kept[f"config of {name}"] = id(vars(module).get("config"))
        kept[f"class of {name}"] = (type(module), dict(vars(type(module))).keys())
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        # What is offloaded comes back as another object with every forward.
        numbers = tensor.read() if isinstance(tensor, Stored) else tensor.detach().clone()
        value = None if tensor.is_meta else (id(tensor), numbers.tolist())
        kept[f"tensor {name}"] = (value, tensor.device, tensor.requires_grad, tensor.grad)
    return kept


@contextmanager
def untouched(*models: nn.Module) -> Iterator[None]:
    """The block leaves models, random numbers and the switches of autograd as they were."""
    before, rng = [state(model) for model in models], torch.get_rng_state()
    switches = _switches()
    yield
    for model, kept in zip(models, before, strict=True):
        now = state(model)
        changed = [(key, kept.get(key), now.get(key)) for key in {**kept, **now} if kept.get(key) != now.get(key)]
        assert not changed, changed
    assert torch.equal(torch.get_rng_state(), rng)
    assert _switches() == switches


def _switches() -> tuple[Any, ...]:
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.is_autocast_cache_enabled(),
        torch._dynamo.eval_frame._stance,
        len(torch.overrides._get_current_function_mode_stack()),  # type: ignore[no-untyped-call]
    )


def close(one: torch.Tensor, other: torch.Tensor, tolerance: float = 1e-5) -> bool:
    """Whether two maps differ by less than a share of the largest relevance."""
    return bool((one - other).abs().max() <= tolerance * other.abs().max())


IDS = torch.tensor([[5, 17, 33, 8, 60, 7], [12, 9, 40, 0, 0, 0]])
MASK = (IDS != 0).long()


def heads_of(
    model: Any,
    composite: str = "attnlrp",
    ids: torch.Tensor = IDS,
    mask: torch.Tensor = MASK,
    targets: Any = None,
    **options: Any,
) -> list[torch.Tensor]:
    """Relevance [B, L, H] of the heads, for each target; by default the one target is the second logit."""

    def read(outputs: Any) -> torch.Tensor:
        last = outputs.logits.dim() == 3
        return outputs.logits[range(len(ids)), mask.sum(1) - 1] if last else outputs.logits

    inputs = {"input_ids": ids, "attention_mask": mask}
    targets = targets or [lambda rows, _: rows[:, 1]]
    found = lrp(model, inputs, read, targets, Composite.parse(composite), views=Views(heads=True), **options)
    return [explained.heads for explained in found]  # type: ignore[misc]
