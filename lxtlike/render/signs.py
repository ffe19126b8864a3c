"""Characters that command instead of being read, and the signs shown in their place.

They are the controls (escape sequences begin with one), the separators that break lines, the marks that embed, override
or isolate the reading direction, and lone surrogates. Tab and newline are among them; every medium treats those two.
"""

from __future__ import annotations

import re

COMMAND = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def sign(character: str) -> str:
    """A visible sign for a command character: caret notation (``^[``) or the code point (``⟨U+202E⟩``)."""
    code = ord(character)
    return f"^{chr(code ^ 0x40)}" if code < 0x80 else f"⟨U+{code:04X}⟩"
