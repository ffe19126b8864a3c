"""Image classifiers explained: pictures in, relevance of every pixel out."""

from lxtlike.vision.explainer import ImageExplainer
from lxtlike.vision.searching import Search, Trial, grid

__all__ = ["ImageExplainer", "Search", "Trial", "grid"]
