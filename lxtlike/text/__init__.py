"""Text to tokens that know where they stand in it, to words and sentences; a target string to token ids."""

from lxtlike.text.chat import Message, chat, check_template, read_messages
from lxtlike.text.encoding import Encoded, Token, encode, encode_pair, token_ids, used
from lxtlike.text.entries import Tokenizer, surfaces
from lxtlike.text.grouping import cut, group
from lxtlike.text.joining import begun, extend, extend_ids
from lxtlike.text.parts import Given, Segment, named
from lxtlike.text.segments import sentences, words

__all__ = [
    "Encoded",
    "Given",
    "Message",
    "Segment",
    "Token",
    "Tokenizer",
    "begun",
    "chat",
    "check_template",
    "cut",
    "encode",
    "encode_pair",
    "extend",
    "extend_ids",
    "group",
    "named",
    "read_messages",
    "sentences",
    "surfaces",
    "token_ids",
    "used",
    "words",
]
