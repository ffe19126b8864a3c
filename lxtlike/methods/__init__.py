"""Attribution methods: model, inputs and target in, relevance per token out."""

from lxtlike.methods.lrp import Explained, lrp

__all__ = ["Explained", "lrp"]
