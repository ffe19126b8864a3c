"""Text: offsets, readable entries, target ids, words and sentences, for every kind of tokenizer."""

import copy
import time

import pytest
from hypothesis import given, settings
from tiny_tokenizers import KINDS, LOSSLESS, TEXTS, tokenizer

from lxtlike.errors import InputError
from lxtlike.text import Token, encode, group, sentences, surfaces, token_ids, words
from lxtlike.text import cut as cut_text


def cut(text: str, kind: str) -> list[tuple[str, str]]:
    return [(token.token, token.text) for token in encode(text, tokenizer(kind)).tokens]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(text=TEXTS)
def test_every_token_knows_its_place(kind: str, text: str) -> None:
    model_ids = tokenizer(kind)(text)["input_ids"]
    try:
        encoded = encode(text, tokenizer(kind))
    except InputError:
        assert not tokenizer(kind)(text, add_special_tokens=False)["input_ids"]
        return
    assert encoded.ids == model_ids
    assert [token.index for token in encoded.tokens] == list(range(len(model_ids)))
    for token in encoded.tokens:
        assert 0 <= token.start <= token.end <= len(text)
        assert token.text == text[token.start : token.end]
        assert token.text.isspace() or token.text == token.text.lstrip()
        assert not token.special or token.start == token.end
    starts = [token.start for token in encoded.tokens]
    assert starts == sorted(starts)
    if kind in LOSSLESS:
        covered = {place for token in encoded.tokens for place in range(token.start, token.end)}
        assert {place for place, character in enumerate(text) if not character.isspace()} <= covered


@pytest.mark.parametrize("kind", [kind for kind in LOSSLESS if "prefix" not in kind and kind != "sentence-piece"])
@settings(max_examples=30, deadline=None)
@given(text=TEXTS.filter(lambda text: "</s>" not in text))  # added tokens may take the spaces around them
def test_targets_of_lossless_tokenizers_spell_themselves(kind: str, text: str) -> None:
    ids = token_ids(text, tokenizer(kind))
    assert tokenizer(kind).decode(ids, clean_up_tokenization_spaces=False) == text


def test_byte_level_tokens_read_as_text() -> None:
    for kind in ("byte-level", "byte-level, trimmed", "byte-level, trimmed, prefix"):
        tokens = cut("x Paris is", kind)
        assert tokens[-2:] == [(" Paris", "Paris"), (" is", "is")]
    parts = cut("🙃", "byte-level")
    assert len(parts) > 1
    assert {text for _, text in parts} == {"🙃"}
    assert "".join(token for token, _ in parts) == "<0xF0><0x9F><0x99><0x83>"


def test_trimmed_offsets_get_their_spaces_back() -> None:
    tokens = encode("a  z", tokenizer("byte-level, trimmed")).tokens
    assert [(token.token, token.start, token.end) for token in tokens] == [
        ("a", 0, 1),
        (" ", 1, 2),
        (" ", 2, 3),
        ("z", 3, 4),
    ]


def test_word_piece_keeps_its_entries_and_special_tokens() -> None:
    tokens = encode("Going [MASK] Café!", tokenizer("word-piece")).tokens
    assert [(t.token, t.text, t.special) for t in tokens] == [
        ("[CLS]", "", True),
        ("go", "Go", False),
        ("##ing", "ing", False),
        ("[MASK]", "[MASK]", False),
        ("cafe", "Café", False),
        ("[UNK]", "!", False),
        ("[SEP]", "", True),
    ]
    assert (tokens[-1].start, tokens[-1].end) == (18, 18)


def test_sentence_piece_dummy_space_stands_for_nothing() -> None:
    tokens = encode("日 Paris", tokenizer("sentence-piece")).tokens
    assert [(t.token, t.start, t.end) for t in tokens] == [
        ("<s>", 0, 0),
        (" ", 0, 0),
        ("<0xE6>", 0, 1),
        ("<0x97>", 0, 1),
        ("<0xA5>", 0, 1),
        (" Paris", 2, 7),
    ]


def test_python_tokenizers_are_aligned() -> None:
    tokens = encode("Nice Dublin is CAFÉ Paris ??", tokenizer("python")).tokens
    assert [(t.token, t.text) for t in tokens] == [
        ("[CLS]", ""),
        ("ni", "Ni"),
        ("##ce", "ce"),
        ("[UNK]", "Dublin"),
        ("is", "is"),
        ("cafe", "CAFÉ"),
        ("pa", "Pa"),
        ("##ris", "ris"),
        ("[UNK]", "??"),
        ("[SEP]", ""),
    ]
    assert [t.index for t in tokens if t.special] == [0, 9]
    assert cut("né🙂", "byt5") == [("n", "n"), ("<0xC3>", "é"), ("<0xA9>", "é")] + [
        (f"<0x{byte:02X}>", "🙂") for byte in "🙂".encode()
    ] + [("</s>", "")]


@pytest.mark.parametrize(
    ("kind", "string", "expected"),
    [
        ("byte-level", " Paris", [" Paris"]),
        ("byte-level", "Paris", ["Pa", "ris"]),
        ("byte-level, trimmed, prefix", "Paris", ["Pa", "ris"]),
        ("byte-level, trimmed, prefix", " Paris", [" Paris"]),
        ("byte-level", "\n", ["\n"]),
        ("sentence-piece", " Paris", [" Paris"]),
        ("sentence-piece", "Paris", ["Paris"]),
        ("sentence-piece", " New York", [" New", " York"]),
        ("sentence-piece", "New", ["N", "e", "w"]),
        ("sentence-piece", " 🙂", [" ", "<0xF0>", "<0x9F>", "<0x99>", "<0x82>"]),
        ("sentence-piece", "\n", ["\n"]),
        ("sentence-piece", "</s>", ["</s>"]),
        ("word-piece", " Paris", ["paris"]),
        ("word-piece", "going", ["go", "##ing"]),
        ("word-piece", "##ing", ["##ing"]),
        ("word-piece", "[MASK]", ["[MASK]"]),
        ("word-level", " blue", ["blue"]),
        ("word-level", "<unk>", ["<unk>"]),
        ("characters", "é", ["é"]),
        ("python", "Nice", ["ni", "##ce"]),
    ],
)
def test_target_ids(kind: str, string: str, expected: list[str]) -> None:
    ids = token_ids(string, tokenizer(kind))
    assert surfaces(ids, tokenizer(kind)) == expected


@pytest.mark.parametrize(("kind", "string"), [("word-level", " zzz"), ("word-piece", "zzz"), ("python", "zzz")])
def test_unknown_targets_are_refused(kind: str, string: str) -> None:
    with pytest.raises(InputError, match="not in the model's vocabulary"):
        token_ids(string, tokenizer(kind))


@pytest.mark.parametrize("text", ["", "   \n", "a \ud83d b"])
def test_texts_without_tokens_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        encode(text, tokenizer("word-piece"))
    with pytest.raises(InputError):
        token_ids(text, tokenizer("word-piece"))


def test_text_must_be_a_string() -> None:
    with pytest.raises(InputError, match="must be a string, not bytes"):
        encode(b"abc", tokenizer("word-piece"))  # type: ignore[arg-type]


def test_entries_beyond_the_vocabulary_have_a_name() -> None:
    assert surfaces([4, 5000], tokenizer("word-level")) == ["blue", "<5000>"]
    assert surfaces([9, 5000], tokenizer("python")) == [".", "<5000>"]


def test_tokenizer_is_left_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    ours = KINDS["sentence-piece"]()
    ours.backend_tokenizer.enable_truncation(3, stride=1, direction="left")
    ours.backend_tokenizer.enable_padding(pad_id=2, pad_token="</s>", length=9, direction="left")
    ours.backend_tokenizer.encode_special_tokens = True
    backend, attributes = ours.backend_tokenizer.to_str(), copy.deepcopy(ours.__dict__ | {"_tokenizer": None})
    encoded = encode("Paris is Paris is Paris", ours)
    assert token_ids(" New York", ours) == token_ids(" New York", tokenizer("sentence-piece"))
    assert encoded == encode("Paris is Paris is Paris", tokenizer("sentence-piece"))  # neither cut nor padded
    assert ours.backend_tokenizer.to_str() == backend
    assert ours.backend_tokenizer.encode_special_tokens
    assert ours.__dict__ | {"_tokenizer": None} == attributes
    assert "longer than" not in caplog.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop: it's 3.14!", ["Don't", "stop", ":", "it's", "3.14", "!"]),
        ("l’homme 'quoted' the dogs' tail", ["l’homme", "'", "quoted", "'", "the", "dogs", "'", "tail"]),
        ("snake_case a-b ...", ["snake_case", "a", "-", "b", ".", ".", "."]),
        ("日本のカメラ ok", ["日", "本", "の", "カ", "メ", "ラ", "ok"]),
        ("שלום, עולם", ["שלום", ",", "עולם"]),
        ("cafe\u0301 हिन्दी می‌خواهم", ["cafe\u0301", "हिन्दी", "می‌خواهم"]),
        ("hi👩‍❤️‍👨👍🏽🇫🇷🇩🇪 1️⃣🏴󠁧󠁢󠁥󠁮󠁧󠁿", ["hi", "👩‍❤️‍👨", "👍🏽", "🇫🇷", "🇩🇪", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]),
        (" \n\t", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in words(text)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It rains. Does it?  Yes!", ["It rains.", "Does it?", "Yes!"]),
        ("Dr. A. Smith paid $3.50. He left", ["Dr. A. Smith paid $3.50.", "He left"]),
        ("“What?” he asked. (Then he left.) Good...", ["“What?” he asked.", "(Then he left.)", "Good..."]),
        ("the hat is red . the bag is blue .", ["the hat is red .", "the bag is blue ."]),
        ("今日は。元気！はい", ["今日は。", "元気！", "はい"]),
        ("one\n\n two\r\nthree", ["one", "two", "three"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text)] == expected


@pytest.mark.parametrize("text", ["." * 20_000, "A. " * 7_000, "🏴\u200d\u0301" * 7_000, '."' * 10_000, "'" * 20_000])
def test_no_text_is_slow_to_cut(text: str) -> None:
    began = time.process_time()
    words(text)
    sentences(text)
    assert time.process_time() - began < 5.0  # quadratic time takes longer


@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
def test_words_and_sentences_cover_the_text_once(text: str) -> None:
    visible = [place for place, character in enumerate(text) if not character.isspace()]
    for spans in (words(text), sentences(text)):
        places = [place for start, end in spans for place in range(start, end)]
        assert len(places) == len(set(places))
        assert places == sorted(places)
        assert [place for place in places if not text[place].isspace()] == visible
        assert all(text[start:end] == text[start:end].strip() != "" for start, end in spans)


def _token(index: int, start: int, end: int, special: bool = False) -> Token:
    return Token(index, 0, "", "x" * (end - start), start, end, special)


def test_tokens_go_to_the_span_they_share_most_with() -> None:
    tokens = [
        _token(0, 0, 0, special=True),
        _token(1, 0, 0),
        _token(2, 0, 4),
        _token(3, 4, 6),
        _token(4, 6, 7),
        _token(5, 7, 8),
    ]
    assert group(tokens, [(0, 1), (1, 5), (5, 6), (7, 9), (9, 10)]) == [
        (None, (0,)),  # special
        (0, (1,)),  # without characters, at the start of the first span
        (1, (2, 3)),  # 3 of 4 characters; and as many in the next span: the first
        (2, ()),
        (None, (4,)),  # outside
        (3, (5,)),
        (4, ()),
    ]
    # Spans may overlap and come in any order; the numbers are theirs.
    assert group(tokens[2:3], [(3, 9), (0, 9)]) == [(1, (0,)), (0, ())]


def test_runs_of_bytes_are_told_apart() -> None:
    tokens = encode("Paris 🙃.", tokenizer("sentence-piece")).tokens
    assert [token.text for token in tokens[1:]] == ["Paris", " ", "🙃", "🙃", "🙃", "🙃", "."]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(text=TEXTS)
def test_words_and_sentences_hold_every_token_once(kind: str, text: str) -> None:
    try:
        tokens = encode(text, tokenizer(kind)).tokens
    except InputError:
        return
    said = {place for token in tokens for place in range(token.start, token.end)}
    for granularity in ("word", "sentence"):
        segments = cut_text(granularity, text, tokens)
        places = [place for _, start, end in segments for place in range(start, end)]
        assert places == sorted(set(places))
        assert {place for place, sign in enumerate(text) if not sign.isspace()} <= set(places)
        groups = group(tokens, [(start, end) for _, start, end in segments])
        assert sorted(index for _, indices in groups for index in indices) == list(range(len(tokens)))
        for number, indices in groups:
            assert indices or (
                number is not None and said.isdisjoint(range(segments[number].start, segments[number].end))
            )


@pytest.mark.parametrize("space", ["\u00a0", "\u0085", "\u2028", "\u3000"])
def test_spaces_of_several_bytes_are_characters_too(space: str) -> None:
    """A tokenizer without offsets tells only what bytes say together: a no-break space must not take the next letter's place."""
    for text in (space, f"a{space}b", f"a{space}{space}b {space}"):
        tokens = [token for token in encode(text, tokenizer("byt5")).tokens if not token.special]
        characters = dict.fromkeys((token.start, token.text) for token in tokens)
        assert "".join(said for _, said in characters) == text
