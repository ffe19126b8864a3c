"""Words and sentences of a text, as character spans, without a model or a dictionary."""

from __future__ import annotations

import re
import unicodedata


def words(text: str) -> list[tuple[int, int]]:
    """Spans of the words in reading order; every character that is not whitespace is in exactly one.

    Letters, digits and underscores run together, with combining marks, apostrophes between letters and points or commas
    between digits. Each other sign is a word of its own, and so is each Chinese character and kana, each flag and each
    emoji with its modifiers. Scripts written without spaces (Thai, Lao, Khmer) are not cut: that needs a dictionary.
    """
    return [match.span() for match in _WORD.finditer("".join(map(_kind, text)))]


def sentences(text: str) -> list[tuple[int, int]]:
    """Spans of the sentences in reading order; every character that is not whitespace is in exactly one.

    Rules, not an analysis of any language: a sentence ends at a line break, after ``. ! ? …`` and their like (with
    closing quotes and brackets) before whitespace, and after the Chinese and Japanese ones. A point ends none after a
    single capital letter or one of a few English abbreviations. So "approx. 5" is cut and "So did I. Then" is not.
    """
    spans: list[tuple[int, int]] = []
    for line in _LINE.finditer(text):
        start = line.start()
        for stop in _STOP.finditer(text, line.start(), line.end()):
            if not _ABBREVIATED.search(text, max(start, stop.end() - 6), stop.end()):
                spans.append((start, stop.end()))
                start = stop.end()
        spans.append((start, line.end()))
    trimmed = ((end - len(text[start:end].lstrip()), start + len(text[start:end].rstrip())) for start, end in spans)
    return [(start, end) for start, end in trimmed if start < end]


_LINE = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
# Not before a lower-case letter after a closing quote: "What?" he asked. The first look-behind keeps it linear.
_STOP = re.compile(r"(?<![.!?…؟۔।॥])[.!?…؟۔।॥]+[\"'”’»)\]]*(?=\s)(?!(?<=[\"'”’»])\s+[a-z])|[。！？｡]+[」』”’）]*")
_ABBREVIATED = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|cf|Fig|Eq)\.$")

_KANA_AND_HAN = re.compile(
    "[\u3005-\u3007\u3021-\u3029\u3040-\u30fa\u30fc-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U0001aff0-\U0001b16f\U00020000-\U0003ffff]"
)

# Over the string of kinds, one letter for each character, so that its spans are spans in the text.
_WORD = re.compile(
    r"[ld][mj]*(?:'?[ld][mj]*|(?<=d)n(?=d))*"  # don't, 3.14, क्षि
    r"|rm*rm*"  # a flag: two regional indicators
    r"|em*(?:j+[eo]m*)*j*"  # an emoji, its modifiers, and what is joined to it
    r"|[^s][mj]*"
)


def _kind(character: str) -> str:
    """l(etter), d(igit), c(jk), e(moji), r(egional), m(ark), j(oiner), n(umber's sign), ', s(pace) or o(ther)."""
    if character.isspace():
        return "s"
    if character in "'’":
        return "'"
    if character in ".,":
        return "n"
    if character in "\u200c\u200d":
        return "j"
    if "\U0001f1e6" <= character <= "\U0001f1ff":
        return "r"
    category = unicodedata.category(character)
    # Skin tones, tag characters (flags of regions), soft hyphens and directional marks belong to what they follow.
    if (
        category[0] == "M"
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\U000e0020" <= character <= "\U000e007f"
        or character in "\u00ad\u200e\u200f\u2060"
    ):
        return "m"
    if _KANA_AND_HAN.match(character):
        return "c"
    if category == "Nd":
        return "d"
    if character.isalnum() or character == "_":
        return "l"
    return "e" if category == "So" else "o"
