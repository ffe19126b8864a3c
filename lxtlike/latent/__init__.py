"""Latent relevance: what of a model's inside an explanation runs through, and what happens without it."""

from lxtlike.latent.ablation import ablated, means
from lxtlike.latent.components import Component, experts, heads, inputs, layers, neurons, outputs
from lxtlike.latent.maximising import Example, Examples, examples
from lxtlike.latent.patching import Effects, activation_patching, relevance_patching
from lxtlike.latent.reading import Reading, Unit, conditional, relevance

__all__ = [
    "Component",
    "Effects",
    "Example",
    "Examples",
    "Reading",
    "Unit",
    "ablated",
    "activation_patching",
    "conditional",
    "examples",
    "experts",
    "heads",
    "inputs",
    "layers",
    "means",
    "neurons",
    "outputs",
    "relevance",
    "relevance_patching",
]
