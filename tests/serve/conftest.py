"""Models that are served."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import tiny_models
from serving import Client, served

from lxtlike import Explainer


@pytest.fixture(scope="session")
def explainer() -> Explainer:
    """The bundled language model; it has explained before, so the forward deviation is not measured any more."""
    explainer = Explainer.from_pretrained("bindings")
    explainer.explain("the box")
    return explainer


@pytest.fixture(scope="session")
def classifier() -> Explainer:
    """The same for the bundled classifier."""
    explainer = Explainer.from_pretrained("sentiment")
    explainer.explain("good")
    return explainer


@pytest.fixture
def chatting() -> Explainer:
    """A tiny language model whose tokenizer has a chat template."""
    tokenizer = tiny_models.tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} . {% endfor %}"
    return Explainer(tiny_models.model("causal-lm"), tokenizer)


@pytest.fixture
def serving() -> Iterator[Callable[..., Client]]:
    """Makes clients; their jobs end with the test."""
    with ExitStack() as stack:
        yield lambda explainer, **limits: stack.enter_context(Client(explainer, **limits))


@pytest.fixture
def client(serving: Callable[..., Client], explainer: Explainer) -> Client:
    """A client of the language model."""
    return serving(explainer)


@pytest.fixture
def live() -> Iterator[Callable[..., str]]:
    """Serves explainers on ports of their own until the test ends."""
    with ExitStack() as stack:
        yield lambda explainer, **limits: stack.enter_context(served(explainer, **limits))
