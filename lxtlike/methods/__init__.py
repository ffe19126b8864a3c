"""Attribution methods: model, inputs and target in, relevance per token out."""

from lxtlike.methods.leaves import embedding_leaves, input_embedding
from lxtlike.methods.lrp import Explained, Progress, lrp

__all__ = ["Explained", "Progress", "embedding_leaves", "input_embedding", "lrp"]
