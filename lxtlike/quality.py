"""Qualities: which method measurement chose for a kind of model (docs/faithfulness.md), in one pass or in up to four."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lxtlike.composites import Composite
from lxtlike.errors import InputError, one_of
from lxtlike.method import Lrp, parse
from lxtlike.recognition import fills_masks
from lxtlike.setting import Setting

DEFAULT, HIGH = "default", "high"
QUALITIES = (DEFAULT, HIGH)

ENCODER, WRITER, OTHER = "encoder", "language model", "other"

CHOSEN: Mapping[str, str] = MappingProxyType(
    {
        ENCODER: "attnlrp:reference=mean,path=3",
        WRITER: "attnlrp:blend=attnlrp-warm",
        OTHER: "attnlrp",
    }
)
"""Kind of model -> the method of quality "high". That of "default" is LRP under the explainer's composite, for all of them.

A path of three points is four passes, for the text takes one; a blend is two.
"""


def kind(setting: Setting) -> str:
    """Of a model: encoders learned by filling masks, language models go on with a text, others are not told apart."""
    if setting.task == "causal-lm":
        return WRITER
    encodes = fills_masks(setting.model.config) and not setting.model.config.is_encoder_decoder
    return ENCODER if encodes else OTHER


def of_quality(quality: str, setting: Setting) -> Lrp:
    """The method of a quality for a setting's model.

    Raises:
        InputError: there is no such quality, or "high" under another composite than it was measured with.
    """
    if quality not in QUALITIES:
        raise InputError(f"there is no quality {quality!r}: {one_of(quality, QUALITIES)}")
    composite = setting.composite
    if quality == DEFAULT:
        return Lrp(composite.name, composite)
    if composite != Composite.parse(DEFAULT):
        raise InputError(
            f"the quality high chooses its composite itself, and this one is {composite.name}: leave one of them out"
        )
    chosen = parse(CHOSEN[kind(setting)])
    assert isinstance(chosen, Lrp)
    return chosen


def check_method(name: str) -> None:
    """Raise InputError unless it is a quality or the name of a method; for those who have no model yet."""
    if name not in QUALITIES:
        parse(name)
