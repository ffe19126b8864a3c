"""Chats: every message keeps its place whatever the template does and the message says; parts sum up."""

import json
import logging
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_tokenizers import KINDS, tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from lxtlike import Explainer
from lxtlike.errors import InputError
from lxtlike.text import Encoded, chat, encode, extend, extend_ids, read_messages

CHATML = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for d in documents or [] %}[{{ loop.index }}] {{ d.title }}: {{ d.text }}\n{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content | trim }}"
    "{% for call in m.tool_calls or [] %}\n<call>{{ call.function | tojson }}</call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INST = (  # the system message goes into the first user turn; roles must alternate
    "{{ bos_token }}{% set told = namespace(system='') %}"
    "{% for m in messages %}{% if m.role == 'system' %}{% set told.system = m.content + '\n\n' %}"
    "{% elif m.role == 'user' %}{% if messages[loop.index0 - 1].role == 'user' and not loop.first %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}[INST] {{ told.system + m.content }} [/INST]"
    "{% set told.system = '' %}{% else %} {{ m.content | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
SHOUTING = (
    "{% for m in messages %}{{ m.role | upper }}: {{ m.content | upper }} ({{ m.content | length }})\n{% endfor %}"
)
REPEATING = (
    "{% for m in messages %}{% if m.role == 'user' %}({{ messages[0].content | trim }}) U:{{ m.content | trim }}\n"
    "{% elif not loop.first %}A:{{ m.content }}\n{% endif %}{% endfor %}"
)
ESCAPING = "{{ messages | tojson }}"
FORGETFUL = "{% for m in messages if m.role != 'system' %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
THINKING = (  # thoughts of earlier turns are dropped, the last turn's are written anew
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% set answer = m.content.split('</think>')[-1].lstrip('\n') %}{% if loop.last %}"
    "<think>\n{% if '</think>' in m.content %}{{ m.content.split('</think>')[0].split('<think>')[-1].strip() }}"
    "{% endif %}{{ '\n</think>\n\n' }}{% endif %}{{ answer }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
)
TEMPLATES = {"chatml": CHATML, "inst": INST, "escaping": ESCAPING, "forgetful": FORGETFUL, "thinking": THINKING}


def chatting(template: str, kind: str = "byte-level") -> Any:
    ours = KINDS[kind]()
    ours.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    if ours.bos_token is None:
        ours.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    ours.chat_template = template
    return ours


def turn(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def parts_of(encoded: Encoded) -> list[tuple[str | None, str]]:
    return [(part.label, encoded.text[part.start : part.end]) for part in encoded.parts]


def said(encoded: Encoded) -> list[tuple[str | None, str]]:
    return [part for part in parts_of(encoded) if part[0] != "template"]


TURNS = [turn("system", "Be brief. "), turn("user", " Hello"), turn("assistant", "Hi."), turn("user", "Paris?")]


def test_every_message_has_its_part_and_marks_are_special() -> None:
    encoded = chat(TURNS, chatting(CHATML))
    assert parts_of(encoded) == [
        ("template", "<|im_start|>system\n"),
        ("system", "Be brief."),
        ("template", "<|im_end|>\n<|im_start|>user\n"),
        ("user 1", "Hello"),
        ("template", "<|im_end|>\n<|im_start|>assistant\n"),
        ("assistant 1", "Hi."),
        ("template", "<|im_end|>\n<|im_start|>user\n"),
        ("user 2", "Paris?"),
        ("template", "<|im_end|>\n<|im_start|>assistant\n"),
    ]
    marks = [token for token in encoded.tokens if token.special]
    assert [token.text for token in marks] == ["<|im_start|>", "<|im_end|>"] * 4 + ["<|im_start|>"]


@pytest.mark.parametrize("kind", ["byte-level", "sentence-piece", "metaspace", "word-piece", "python", "byt5"])
@pytest.mark.parametrize("template", [CHATML, INST])
def test_the_model_reads_what_its_template_makes(kind: str, template: str) -> None:
    ours = chatting(template, kind)
    expected = ours.apply_chat_template(TURNS, add_generation_prompt=True)["input_ids"]
    assert chat(TURNS, ours).ids == expected
    assert expected.count(ours.bos_token_id) == template.count("bos_token")  # written by the template alone


def test_a_string_is_one_user_turn_whatever_it_says() -> None:
    string = json.dumps(TURNS)
    assert said(chat(string, chatting(CHATML))) == [("user 1", string)]
    assert read_messages(string) == TURNS
    assert read_messages("[1] and [2]") == "[1] and [2]"
    with pytest.raises(InputError, match="begin as a JSON list"):
        read_messages('[{"role": "user", "content": "half')


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (INST, ["Be brief. ", " Hello", "Hi.", "Paris?"]),
        (FORGETFUL, [None, " Hello", "Hi.", "Paris?"]),
        (THINKING, ["Be brief. ", " Hello", "Hi.", "Paris?"]),
    ],
)
def test_templates_trim_move_and_drop(template: str, expected: list[str | None]) -> None:
    labels = ["system", "user 1", "assistant 1", "user 2"]
    assert said(chat(TURNS, chatting(template))) == [pair for pair in zip(labels, expected, strict=True) if pair[1]]


def test_a_repeated_message_has_several_parts() -> None:
    parts = said(chat(TURNS, chatting(REPEATING)))
    assert [label for label, _ in parts] == ["system", "user 1", "assistant 1", "system", "user 2"]
    assert [text for _, text in parts] == ["Be brief.", "Hello", "Hi.", "Be brief.", "Paris?"]


def test_a_dropped_message_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        chat(TURNS, chatting(FORGETFUL))
    assert "leaves 'system' out" in caplog.text


def test_what_the_template_makes_of_a_message_is_its_part() -> None:
    turns = [turn("user", 'a "quoted"\nline'), turn("assistant", "é")]
    assert said(chat(turns, chatting(ESCAPING), add_generation_prompt=True)) == [
        ("user 1", 'a \\"quoted\\"\\nline'),
        ("assistant 1", "é"),
    ]
    # Its length stands in the text too: changing it changes more than its place, and in capitals it is not found.
    assert said(chat([turn("user", "straße 1")], chatting(SHOUTING))) == [("user 1", "STRASSE 1 (8")]
    split = "{{ messages[0].content | length }} {{ messages[1].content }} {{ messages[0].content | upper }}"
    with pytest.raises(InputError, match=r"'user 1' stands .* cannot be told .* segments"):
        chat([turn("user", "yes"), turn("user", "no")], chatting(split))


def test_thoughts_are_part_of_what_was_said() -> None:
    turns = [turn("user", "1"), turn("assistant", "<think>\nHm.\n</think>\n\nOne.")]
    again = [*turns, turn("user", "2")]
    assert said(chat(again, chatting(THINKING))) == [("user 1", "1"), ("assistant 1", "One."), ("user 2", "2")]
    silent = [turns[0], turn("assistant", "<think>Hm.</think>"), turn("user", "2")]
    assert said(chat(silent, chatting(THINKING))) == [("user 1", "1"), ("user 2", "2")]
    closed = chat(turns, chatting(THINKING), add_generation_prompt=False)
    assert said(closed) == [("user 1", "1"), ("assistant 1", "<think>\nHm.\n</think>\n\nOne.")]


ADVERSARIES = st.lists(
    st.sampled_from(["<|im_end|>", "\n", "<|im_start|>assistant\n", "[/INST]", " [INST] ", "</s>", '"', "Be", "Hi.", "\\n"])
    | st.sampled_from(["84170293651940278365", "{{ 1 }}", "🙃", " ", "</think>", "<think>", "assistant: ", '"}, {"role"', "%}"]),
    min_size=1,
    max_size=8,
).map("".join)  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=60, deadline=None)
@given(contents=st.lists(ADVERSARIES.filter(str.strip), min_size=3, max_size=3))
def test_messages_cannot_move_the_parts(name: str, contents: list[str]) -> None:
    """Whatever they say: marks of the template, each other's words, digits used to find them."""
    ours = chatting(TEMPLATES[name])
    turns = [turn(role, content) for role, content in zip(("user", "assistant", "user"), contents, strict=True)]
    written = contents
    if name == "chatml":
        written = [content.strip() for content in contents]
    elif name == "inst":
        written = [contents[0], contents[1].strip(), contents[2]]
    elif name == "escaping":
        written = [json.dumps(content, ensure_ascii=False)[1:-1] for content in contents]
    elif name == "thinking":
        written = [contents[0], contents[1].split("</think>")[-1].lstrip("\n"), contents[2]]
    encoded = chat(turns, ours)
    labels = ["user 1", "assistant 1", "user 2"]
    assert said(encoded) == [pair for pair in zip(labels, written, strict=True) if pair[1]]
    assert "".join(text for _, text in parts_of(encoded)) == encoded.text
    inside = [part for part in encoded.parts if part.label != "template"]
    assert not any(
        token.special and part.start <= token.start < part.end for token in encoded.tokens for part in inside
    )


def test_tools_and_documents_have_their_parts() -> None:
    def weather(city: str) -> str:
        """Tells the weather.

        Args:
            city: where
        """
        return city

    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Paris", "days": 3}}}
    turns = [
        turn("user", "Rain?"),
        turn("assistant", "", tool_calls=[call], reasoning_content="Ask."),
        turn("tool", '{"rain": true}'),
    ]
    documents = [{"title": "France", "text": "Paris is wet."}, {"title": "Spain", "text": "Rain?"}]
    parts = said(chat(turns, chatting(CHATML), tools=[weather], documents=documents))
    assert [label for label, _ in parts] == [
        *("function 1", "document 1", "document 2", "user 1"),
        *("assistant 1 reasoning", "assistant 1 call 1", "assistant 1 call 1", "tool 1"),
    ]
    assert parts[0][1].startswith('weather", "description": "Tells the weather."')
    assert [text for _, text in parts[1:]] == [
        *("France: Paris is wet.", "Spain: Rain?", "Rain?", "Ask."),
        *("weather", 'city": "Paris", "days": 3', '{"rain": true}'),
    ]
    for unused in ({"tools": [weather]}, {"documents": documents}):
        with pytest.raises(InputError, match=r"does not use (tools|documents): write them into a message"):
            chat(turns, chatting(FORGETFUL), **unused)


def test_tools_that_say_too_little_are_refused() -> None:
    with pytest.raises(InputError, match="a tool is neither a JSON schema nor a function with types"):
        chat("Rain?", chatting(CHATML), tools=[lambda city: city])


def test_messages_and_stretches_of_them_can_be_named() -> None:
    turns = [
        turn("user", "2+2?", label="example 1"),
        turn("assistant", "4", label="example 1"),
        turn("user", "  Text: Paris is wet. Rain?", segments=[("document 1", 8, 21)]),
    ]
    assert said(chat(turns, chatting(CHATML))) == [
        *(("example 1", "2+2?"), ("example 1", "4")),
        *(("user 1", "Text: "), ("document 1", "Paris is wet."), ("user 1", " Rain?")),
    ]
    turns[2]["segments"] = [("a", 0, 9), ("b", 5, 12)]
    with pytest.raises(InputError, match="overlap"):
        chat(turns, chatting(CHATML))


def test_an_unfinished_answer_is_continued() -> None:
    turns = [turn("user", "Paris?"), turn("assistant", "It is")]
    ours = chatting(CHATML)
    encoded = chat(turns, ours)
    assert parts_of(encoded)[-1] == ("assistant 1", "It is")
    assert chat(turns, ours, add_generation_prompt=True).text.endswith("It is<|im_end|>\n<|im_start|>assistant\n")
    assert chat(turns, ours, add_generation_prompt=False).text.endswith("It is<|im_end|>\n")
    for joined in (extend(encoded, " 🙃", ours), extend_ids(encoded, encode(" 🙃", ours).ids, ours)):
        assert parts_of(joined)[-2:] == [("assistant 1", "It is"), ("completion", " 🙃")]
        assert joined.text == encoded.text + " 🙃"


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([], "at least one"),
        (["hello"], "message 0 is no mapping with a role"),
        ([{"content": "x"}], "message 0 is no mapping with a role"),
        ([turn("user", "a"), {"role": "user", "content": 3}], "message 1 has a content that is no string but int"),
        ([{"role": "user", "content": None, "segments": [(0, 1)]}], "segments, but no content"),
        ([turn("user", "abc", segments=[("x", 2, 9)])], "not within the text"),
        ([turn("user", "a"), turn("user", "b")], "the chat template refuses these messages: Roles must alternate"),
    ],
)
def test_impossible_chats_are_refused(turns: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        chat(turns, chatting(INST))


def test_a_tokenizer_without_a_template_says_what_to_do() -> None:
    with pytest.raises(InputError, match="no chat template: give the prompt as plain text"):
        chat("hello", tokenizer("byte-level"))


def test_nothing_that_was_given_is_changed() -> None:
    turns = [turn("user", "Paris?", label="question", segments=[("x", 0, 2)])]
    before = json.dumps(turns)
    ours = chatting(CHATML)
    backend = ours.backend_tokenizer.to_str()
    chat(turns, ours)
    assert json.dumps(turns) == before
    assert ours.backend_tokenizer.to_str() == backend


@pytest.mark.parametrize("kind", ["byte-level", "sentence-piece, merged", "metaspace", "word-piece", "python", "byt5"])
def test_an_explained_chat_sums_up_by_every_part(kind: str) -> None:
    ours = chatting(CHATML, kind)
    torch.manual_seed(0)
    size = max(ours.get_vocab().values()) + 1
    config = LlamaConfig(
        vocab_size=size, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    explainer = Explainer(LlamaForCausalLM(config).eval(), ours)
    turns = [turn("system", "Be brief."), turn("user", "Paris 🙃 is in <|im_end|> שלום 日本, cafe\u0301.")]
    result = explainer.explain(turns, 3, chat=True)
    total = math.fsum(result.relevance.tolist())
    assert total == pytest.approx(result.ledger.tokens, rel=1e-5)
    for granularity in ("word", "sentence", "message", "user", [("system", 0, 30), ("rest", 30, len(result.text))]):
        units = result.by(granularity).units or ()
        assert math.fsum(unit.relevance for unit in units) == pytest.approx(total, rel=1e-6)
        assert sorted(index for unit in units for index in unit.tokens) == list(range(len(result.tokens)))
    user = [unit for unit in result.by("message").units or () if unit.label == "user 1"]
    assert [unit.text for unit in user] == [turns[1]["content"]]
    emoji = [token.index for token in result.tokens if token.text == "🙃"]
    assert len(emoji) > 2 or kind in ("metaspace", "word-piece", "python")  # which have no bytes
    assert any(set(emoji) <= set(unit.tokens) for unit in result.by("word").units or ())
