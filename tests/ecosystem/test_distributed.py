"""Wrappers of distributed training, in a group of one process: DDP, FSDP2, DataParallel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models
import torch
import torch.distributed as dist
from explaining import close, explained, fresh, untouched
from families import embeddings_of
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lxtlike import Explainer, InputError, propagate


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip("torch was built without gloo")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def step(model: nn.Module) -> list[torch.Tensor]:
    """Gradients of the weights after one step of training without the update."""
    model.zero_grad()
    model(input_ids=torch.tensor([[5, 6, 7]])).logits.sum().backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.usefixtures("group")
def test_ddp_is_refused_and_the_model_in_it_explained() -> None:
    plain = explained(fresh())
    model = DistributedDataParallel(fresh())
    before = step(model)
    with pytest.raises(InputError, match=r"DistributedDataParallel .*`model\.module`"), propagate(model):
        pass
    model.zero_grad()
    with untouched(model):
        assert close(explained(model.module), plain)
    after = step(model)
    assert len(after) == len(before)
    assert all(torch.equal(one, other) for one, other in zip(after, before, strict=True))


@pytest.mark.usefixtures("group")
def test_an_explainer_takes_the_model_out() -> None:
    model, tokenizer, text = tiny_models.model("causal-lm"), tiny_models.tokenizer(), "the red ball is . the"
    expected = Explainer(model, tokenizer).explain(text)
    for wrapped in (DistributedDataParallel(model), nn.DataParallel(model)):
        assert (Explainer(wrapped, tokenizer).explain(text).relevance == expected.relevance).all()


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_fsdp2(trained: bool, checkpointing: bool) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    plain, embeddings = explained(fresh()), embeddings_of(fresh())
    model, mesh = fresh(), init_device_mesh("cpu", (1,))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    if trained:
        step(model)
        model.zero_grad()
    assert close(explained(model, embeddings=embeddings, checkpointing=checkpointing), plain)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert len(step(model)) == len(list(model.parameters()))
