"""Models that torch.compile has compiled, whole or in part, run as they were written inside a block and compiled after it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator

import pytest
import tiny_models
import torch
from explaining import close, explained, fresh, untouched
from families import embeddings_of, run
from torch import nn

from lxtlike import Explainer, propagate


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    torch._dynamo.reset()


class Compiler:
    """A backend that runs graphs as they are, and counts them."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, _inputs: object) -> Callable[..., object]:
        self.graphs += 1
        return graph.forward


def layers(model: nn.Module) -> nn.ModuleList:
    found: nn.ModuleList = next(module for module in model.modules() if isinstance(module, nn.ModuleList))
    return found


def whole(model: nn.Module, backend: object) -> nn.Module:
    return torch.compile(model, backend=backend)  # type: ignore[call-overload, no-any-return]


def forward(model: nn.Module, backend: object) -> nn.Module:
    model.forward = torch.compile(model.forward, backend=backend)  # type: ignore[call-overload]
    return model


def in_place(model: nn.Module, backend: object) -> nn.Module:
    model.compile(backend=backend)
    return model


def one_layer(model: nn.Module, backend: object) -> nn.Module:
    layers(model)[0] = torch.compile(layers(model)[0], backend=backend)  # type: ignore[call-overload]
    return model


def every_layer(model: nn.Module, backend: object) -> nn.Module:
    for layer in layers(model):
        layer.compile(backend=backend)
    return model


WAYS = [whole, forward, in_place, one_layer, every_layer]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_relevance_is_that_of_the_model_as_written(way: Callable[[nn.Module, object], nn.Module], name: str) -> None:
    plain, compiler = explained(fresh(name)), Compiler()
    model = way(fresh(name), compiler)
    with untouched(model):
        for checkpointing in (False, True):
            assert close(explained(model, checkpointing=checkpointing), plain)
    assert compiler.graphs == 0


class Layer(nn.Linear):
    """Not torch's own, which it would not compile alone."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return torch.tanh(super().forward(input))


class Gated(nn.Module):
    """A model that compiles in no time."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(4, 4), Layer(4, 4)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers[0](x) * torch.sigmoid(self.layers[1](x))


@pytest.mark.parametrize("way", WAYS)
def test_it_is_compiled_before_and_after(way: Callable[[nn.Module, object], nn.Module]) -> None:
    compiler, x = Compiler(), torch.randn(3, 4, requires_grad=True)
    written = Gated()
    model = way(copy.deepcopy(written), compiler)
    assert torch.allclose(model(x), written(x))
    graphs = compiler.graphs
    assert graphs > 0
    found = []
    for each in (model, written):
        with propagate(each):
            found += torch.autograd.grad(each(x).sum(), x)
    assert torch.equal(*found)
    assert compiler.graphs == graphs
    torch._dynamo.reset()
    assert torch.allclose(model(x), written(x))
    assert compiler.graphs > graphs


def test_a_compiled_transformer() -> None:
    plain, model = explained(fresh()), fresh()
    model.compile(backend="eager")
    embeddings = embeddings_of(model)
    before = run(model, embeddings)[0]
    before.max().backward()  # type: ignore[no-untyped-call]
    model.zero_grad()
    with untouched(model):
        assert close(explained(model), plain)
    assert torch.equal(run(model, embeddings)[0], before)


def test_the_model_inside_a_compiled_one() -> None:
    model, compiler = fresh(), Compiler()
    compiled, embeddings = whole(model, compiler), embeddings_of(model)
    with propagate(model):
        (coefficients,) = torch.autograd.grad(run(compiled, embeddings)[0][0], embeddings)
    assert close((embeddings * coefficients).detach().sum(-1), explained(fresh()))
    assert compiler.graphs == 0


def test_the_compiler_is_back_when_the_last_of_several_blocks_ends() -> None:
    one, two = whole(fresh(), "eager"), whole(fresh("gpt2"), "eager")
    stance = torch._dynamo.eval_frame._stance
    with propagate(one):
        with propagate(two):
            pass
        assert torch._dynamo.eval_frame._stance.stance == "force_eager"
    assert torch._dynamo.eval_frame._stance == stance
    started, ended = threading.Event(), threading.Event()

    def beside() -> None:
        with propagate(two):
            started.set()
            ended.wait(10)

    thread = threading.Thread(target=beside)
    with propagate(one):
        thread.start()
        started.wait(10)
    assert torch._dynamo.eval_frame._stance.stance == "force_eager"
    ended.set()
    thread.join()
    assert torch._dynamo.eval_frame._stance == stance


def test_an_explainer_takes_a_compiled_model() -> None:
    model, tokenizer = tiny_models.model("causal-lm"), tiny_models.tokenizer()
    text = "the red ball is . the"
    expected = Explainer(model, tokenizer).explain(text)
    compiled = torch.compile(model, backend="eager")
    found = Explainer(compiled, tokenizer).explain(text)
    assert (found.task, found.model) == (expected.task, expected.model)
    assert found.relevance == pytest.approx(expected.relevance)
