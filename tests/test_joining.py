"""A prompt and what follows it: completions given as text, and ids that a model generated."""

import pytest
from hypothesis import given, settings
from tiny_tokenizers import LOSSLESS, TEXTS, tokenizer

from lxtlike.text import encode, extend, extend_ids, surfaces, token_ids


@pytest.mark.parametrize("kind", LOSSLESS)
@settings(max_examples=25, deadline=None)
@given(prompt=TEXTS, completion=TEXTS.filter(lambda text: "</s>" not in text))
def test_completions_and_generated_ids_say_the_same(kind: str, prompt: str, completion: str) -> None:
    ours = tokenizer(kind)
    encoded = encode(prompt, ours)
    joined = extend(encoded, completion, ours)
    own = [token for token in encoded.tokens if not (token.special and token.start == len(prompt))]
    new = joined.tokens[len(own) :]
    assert joined.text == prompt + completion
    assert joined.tokens[: len(own)] == tuple(own)
    assert [token.index for token in joined.tokens] == list(range(len(joined.tokens)))
    assert [token.text for token in new] == [joined.text[token.start : token.end] for token in new]
    assert all(token.start >= len(prompt) and not token.special for token in new)
    assert [token.id for token in new] == token_ids(completion, ours)
    generated = extend_ids(encoded, [token.id for token in new], ours)
    assert generated.text == joined.text
    assert [(t.token, t.start, t.end) for t in generated.tokens[len(encoded.tokens) :]] == [
        (t.token, t.start, t.end) for t in new
    ]


@pytest.mark.parametrize("kind", ["byte-level", "sentence-piece", "byt5"])
def test_generated_bytes_share_their_character_and_stray_ones_show(kind: str) -> None:
    ours = tokenizer(kind)
    prompt = encode("Paris is", ours)
    emoji = [n for n in token_ids("🙃🙂.", ours) if "<0x" in surfaces([n], ours)[0]]
    joined = extend_ids(prompt, emoji, ours)
    assert joined.text == "Paris is🙃🙂"
    texts = [token.text for token in joined.tokens[len(prompt.tokens) :]]
    assert len(texts) > 4
    assert texts == sorted(texts, reverse=True)
    assert set(texts) == {"🙃", "🙂"}
    cut = extend_ids(prompt, emoji[:-1], ours)
    assert cut.text.startswith("Paris is🙃\ufffd")
    assert cut.tokens[-1].text.strip("\ufffd") == ""


def test_generated_word_pieces_and_special_tokens() -> None:
    ours = tokenizer("word-piece")
    prompt = encode("Paris is", ours)
    ids = [ours.convert_tokens_to_ids(piece) for piece in ("go", "##ing", "[MASK]", "in", "france", "[UNK]", ".")]
    joined = extend_ids(prompt, ids, ours)
    assert joined.text == "Paris is going in france."
    assert [(t.token, t.text, t.start, t.special) for t in joined.tokens[4:]] == [
        ("go", "go", 9, False),
        ("##ing", "ing", 11, False),
        ("[MASK]", "", 14, True),
        ("in", "in", 15, False),
        ("france", "france", 18, False),
        ("[UNK]", "", 24, True),
        (".", ".", 24, False),
    ]
    # Behind the prompt, [SEP] would stand between it and its completion.
    assert [t.token for t in extend(prompt, " going", ours).tokens] == ["[CLS]", "paris", "is", "go", "##ing"]


def test_generated_ids_beyond_the_vocabulary_say_nothing() -> None:
    joined = extend_ids(encode("Paris", tokenizer("byte-level")), [5000], tokenizer("byte-level"))
    assert (joined.text, joined.tokens[-1].token) == ("Paris", "<5000>")
