"""Image classifiers explained: pictures in, relevance of every pixel out."""

from lxtlike.vision.explainer import ImageExplainer

__all__ = ["ImageExplainer"]
