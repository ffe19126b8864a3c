"""lxtlike: explain predictions of HuggingFace transformers by Layer-wise Relevance Propagation."""

from lxtlike.version import __version__

__all__ = ["__version__"]
