"""Makes the oracle, ``tests/reference.py``, importable as ``reference`` whatever pytest was started from."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
