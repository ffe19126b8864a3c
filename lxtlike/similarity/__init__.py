"""Why two texts are similar: the cosine or dot product of their embeddings, explained by pairs of their tokens."""

from lxtlike.similarity.explainer import SimilarityExplainer

__all__ = ["SimilarityExplainer"]
