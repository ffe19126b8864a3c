"""The reversible patching of one model, the audit of what it did, and the account book."""

from lxtlike.propagation.audit import Audit
from lxtlike.propagation.engine import propagate

__all__ = ["Audit", "propagate"]
