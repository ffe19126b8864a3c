"""How a ratio looks on a terminal: a background in as many colours as there are, or a block character without any."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

from lxtlike.render.scale import DARK, GAMMA, LIGHT, SEEN

Colors = Literal["truecolor", "256", "16"]
Paper = Literal["dark", "light"]

_SYSTEMS = {"truecolor": ColorSystem.TRUECOLOR, "256": ColorSystem.EIGHT_BIT, "16": ColorSystem.STANDARD}
# Steps of the 256-colour cube, weak to strong, for and against, and the ink on them. Mixing in RGB and rounding to the
# cube would give wrong hues.
_CUBE = {
    "dark": ((52, 88, 124, 160), (17, 18, 25, 26), 255),
    "light": ((224, 217, 210, 209), (189, 153, 117, 75), 16),
}
_BLOCKED = 1 / 16  # ratios from here on have a block


def paper() -> Paper:
    """Whether the terminal is dark or light, as far as ``COLORFGBG`` tells; dark otherwise."""
    return "light" if os.environ.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15") else "dark"


@dataclass(frozen=True)
class Ink:
    """The looks of one kind of terminal; `system` None is no colour."""

    system: ColorSystem | None
    paper: Paper

    @classmethod
    def of(cls, color: bool | Colors, paper: Paper) -> Ink:
        """`color` True takes what the environment says that the terminal has, which may be none."""
        if color is True:
            name = Console(force_terminal=True, force_jupyter=False).color_system
            found = {"truecolor": ColorSystem.TRUECOLOR, "256": ColorSystem.EIGHT_BIT, "standard": ColorSystem.STANDARD}
            # The old Windows console has the sixteen.
            return cls(found.get(name, ColorSystem.STANDARD) if name else None, paper)
        return cls(_SYSTEMS[color] if color else None, paper)

    def render(self, text: str, style: Style) -> str:
        """`text` with the escape sequences of `style`, or as it is where there is no colour."""
        return style.render(text, color_system=self.system) if self.system is not None and style else text

    def style(self, ratio: float) -> Style:
        """The style of text with this ratio; against is underlined too, so that the sign does not hang on colour."""
        if self.system is None or abs(ratio) < SEEN:
            return Style()
        against = ratio < 0
        opacity = abs(ratio) ** GAMMA
        line = Style(underline=True) if against else Style()
        if self.system is ColorSystem.TRUECOLOR:
            theme = DARK if self.paper == "dark" else LIGHT
            return line + Style(color=theme.ink, bgcolor=theme.background(ratio))
        if self.system is ColorSystem.EIGHT_BIT:
            favoured, opposed, ink = _CUBE[self.paper]
            step = (opposed if against else favoured)[min(3, int(opacity * 4))]
            return line + (Style(color=f"color({ink})", bgcolor=f"color({step})") if opacity >= 0.125 else Style())
        hue = "blue" if against else "red"
        if opacity >= 0.5:
            return line + Style(color="bright_white", bgcolor=hue)
        # Plain red and blue letters can hardly be read on black.
        return line + (Style(color=f"bright_{hue}" if self.paper == "dark" else hue) if opacity >= 0.2 else Style())

    def block(self, ratio: float) -> str:
        """One character: a height for the target, hatching against it, a space where there is next to nothing."""
        if abs(ratio) < _BLOCKED:
            return " "
        return "▁▂▃▄▅▆▇█"[min(7, int(ratio * 8))] if ratio > 0 else "░▒▓"[min(2, int(-ratio * 3))]
