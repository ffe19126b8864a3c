"""Scripts, emoji, marks and spaces: their words with every kind of tokenizer."""

import pytest
from tiny_tokenizers import KINDS, LOSSLESS, tokenizer

from lxtlike.text import cut, encode


def said(text: str, kind: str) -> list[tuple[str, str]]:
    return [(token.token, token.text) for token in encode(text, tokenizer(kind)).tokens]


# What people write in, and the words to be found in it.
SCRIPTS = {
    "I 🙃 you": ["I", "🙃", "you"],
    "a👩‍❤️‍👨👍🏽🇫🇷1️⃣": ["a", "👩‍❤️‍👨", "👍🏽", "🇫🇷", "1️⃣"],
    "مرحبا بالعالم، Paris!": ["مرحبا", "بالعالم", "،", "Paris", "!"],
    "שָׁלוֹם עולם.": ["שָׁלוֹם", "עולם", "."],
    "日本は cafe\u0301 नमस्ते": ["日", "本", "は", "cafe\u0301", "नमस्ते"],
    "  a \t\n b\r\n": ["a", "b"],
    "สวัสดี " + "x" * 300: ["สวัสดี", "x" * 300],
    "ﬁsh Straße İs ½": ["ﬁsh", "Straße", "İs", "½"],
}
WHOLE = [*LOSSLESS, "composed bytes", "decomposed bytes", "canine"]
WHOLE.remove("sentence-piece, merged")  # says 日本 with one token


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", SCRIPTS)
def test_every_script_has_its_words_with_every_tokenizer(kind: str, text: str) -> None:
    tokens = encode(text, tokenizer(kind)).tokens
    found = [text[start:end] for _, start, end in cut("word", text, tokens)]
    # Some tokenizers say several words with one token: then these are one.
    assert found == SCRIPTS[text] if kind in WHOLE else "".join("".join(found).split()) == "".join(SCRIPTS[text])
    covered = {place for token in tokens for place in range(token.start, token.end)}
    lost = {sign for place, sign in enumerate(text) if place not in covered and not sign.isspace()}
    assert lost <= {"\u200d"}  # which WordPiece's cleaning takes away


def test_words_that_one_token_says_are_one_unit() -> None:
    text = "日本 is Paris"
    tokens = encode(text, tokenizer("sentence-piece, merged")).tokens
    assert [token.token for token in tokens] == ["<s>", "日本", " is", " Paris"]
    assert [text[start:end] for _, start, end in cut("word", text, tokens)] == ["日本", "is", "Paris"]
    text = "日本 日"
    tokens = encode(text, tokenizer("sentence-piece, merged")).tokens
    assert [text[start:end] for _, start, end in cut("word", text, tokens)] == ["日本", "日"]


def test_marks_that_normalising_takes_belong_to_their_letter() -> None:
    assert said("cafe\u0301!", "composed bytes")[3:] == [("<0xC3>", "e\u0301"), ("<0xA9>", "e\u0301"), ("!", "!")]
    assert said("cafe\u0301 is", "word-piece")[1:3] == [("cafe", "cafe\u0301"), ("is", "is")]
    assert said("é", "decomposed bytes") == [("e", "é"), ("<0xCC>", "é"), ("<0x81>", "é")]


def test_unknown_words_of_python_tokenizers_are_told_apart_by_their_number() -> None:
    assert said("Nice Dublin , Rome Paris", "python")[1:6] == [
        *(("ni", "Ni"), ("##ce", "ce"), ("[UNK]", "Dublin"), ("[UNK]", ","), ("[UNK]", "Rome")),
    ]
