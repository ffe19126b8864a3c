"""Text to tokens that know where they stand in it, to words and sentences; a target string to token ids."""

from lxtlike.text.encoding import Encoded, Token, encode, token_ids
from lxtlike.text.entries import Tokenizer, surfaces
from lxtlike.text.grouping import group
from lxtlike.text.joining import extend, extend_ids
from lxtlike.text.segments import sentences, words

__all__ = [
    "Encoded",
    "Token",
    "Tokenizer",
    "encode",
    "extend",
    "extend_ids",
    "group",
    "sentences",
    "surfaces",
    "token_ids",
    "words",
]
