"""Attribution methods: model, inputs and target in, relevance per token out."""

from lxtlike.methods.leaves import embedding_leaves, input_embedding
from lxtlike.methods.lrp import Explained, Progress, lrp
from lxtlike.methods.views import Views

__all__ = ["Explained", "Progress", "Views", "embedding_leaves", "input_embedding", "lrp"]
