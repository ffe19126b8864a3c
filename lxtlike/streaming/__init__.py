"""Models larger than memory: their weights stay in the safetensors files and are read when an operation uses them."""

from lxtlike.streaming.checkpoint import checkpoint_files, stored_weights
from lxtlike.streaming.model import streamed_model
from lxtlike.streaming.stored import Stored

__all__ = ["Stored", "checkpoint_files", "stored_weights", "streamed_model"]
