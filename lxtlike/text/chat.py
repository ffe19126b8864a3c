"""Messages to tokens through the tokenizer's own chat template, every character of the rendered text with its part."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from lxtlike.errors import InputError
from lxtlike.text.encoding import Encoded, encode
from lxtlike.text.entries import Entries, Tokenizer
from lxtlike.text.locating import Slot, locate
from lxtlike.text.offsets import Span
from lxtlike.text.parts import Segment, named

Message: TypeAlias = Mapping[str, Any]
Path: TypeAlias = tuple[str | int, ...]
"""Keys and indices that lead to a value in what a template is given."""

TEMPLATE = "template"
"""The part that the template writes: marks, names of roles, what stands between messages."""

_LOG = logging.getLogger(__name__)
_OURS = ("label", "segments")  # keys of a message that the template does not see
_REASONING = ("reasoning_content", "reasoning", "thinking")


def chat(
    messages: str | Sequence[Message],
    tokenizer: Tokenizer,
    *,
    tools: Sequence[Any] | None = None,
    documents: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool | None = None,
    **options: Any,
) -> Encoded:
    """Render messages with the tokenizer's chat template and tokenise that, as `apply_chat_template` does.

    The parts cover the text once: "system", "user 1", "assistant 1", ... for what messages say ("tool 1" for a tool's
    answer), "assistant 1 reasoning" and "assistant 1 call 1" for a message's reasoning and tool calls, "function 1" and
    "document 1" for `tools` and `documents`, "template" for all else. See `lxtlike.text.locating` for how they are
    found. Marks of the template that are special tokens are special here and have their place in the text; the same
    marks in a message are that message's text. A message that the template leaves out has no part.

    Args:
        messages: mappings with "role" and "content", or one user turn (str). Two more keys are ours: "label" names the
            message's part (``"example 1"``), "segments" names stretches of its content, ``[(label, start, end), ...]``.
        tools: functions the model may call, as JSON schemas or Python functions.
        documents: mappings of strings ("title", "text").
        add_generation_prompt: end with the mark that begins an answer. Default: unless the last message is the
            assistant's, which is then left open, to be continued.
        options: further variables of the template (``enable_thinking=False``).

    Raises:
        InputError: no chat template; messages that are not such or that the template refuses; tools or documents that
            it does not use; a message that cannot be located.
    """
    check_template(tokenizer)
    turns = [{"role": "user", "content": messages}] if isinstance(messages, str) else _checked(messages)
    inputs = {
        "conversation": [{key: value for key, value in turn.items() if key not in _OURS} for turn in turns],
        "tools": _schemas(tools, tokenizer),
        "documents": None if documents is None else list(documents),
    }
    unfinished = turns[-1]["role"] == "assistant" and bool(turns[-1].get("content"))
    options["continue_final_message"] = unfinished and add_generation_prompt is None
    options["add_generation_prompt"] = not unfinished if add_generation_prompt is None else add_generation_prompt

    def render(given: Mapping[str, Any]) -> str:
        return str(tokenizer.apply_chat_template(**given, **options, tokenize=False))

    try:
        text = render(inputs)
    except Exception as error:  # templates raise what they like
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"the chat template refuses these messages: {reason[0]}") from error
    encoded = encode(text, tokenizer, add_special_tokens=False)
    parts = _parts(text, inputs, turns, render)
    marks = Entries(tokenizer).special
    tokens = tuple(
        replace(token, special=token.id in marks and not any(part.start <= token.start < part.end for part in parts))
        for token in encoded.tokens
    )
    return replace(encoded, tokens=tokens, parts=_covering(parts, len(text)))


def check_template(tokenizer: Tokenizer) -> None:
    """Raise InputError if a tokenizer has no chat template."""
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            "this tokenizer has no chat template: give the prompt as plain text, with the marks that the model was "
            "trained on, or set tokenizer.chat_template"
        )


def read_messages(string: str) -> str | list[Any]:
    """What a person typed for a chat: a JSON list of messages, or one user turn.

    Raises:
        InputError: it begins as a list of objects but is no JSON.
    """
    if not re.match(r"\s*\[\s*\{", string):
        return string
    try:
        return list(json.loads(string))
    except (RecursionError, ValueError) as error:
        raise InputError(f"the messages begin as a JSON list but are none: {error}") from error


def _checked(messages: Sequence[Message]) -> list[dict[str, Any]]:
    if not isinstance(messages, Sequence) or not messages:
        raise InputError("a chat is a list of messages, at least one, or one user turn as a string")
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise InputError(f"message {number} is no mapping with a role: give {{'role': 'user', 'content': '...'}}")
        content = message.get("content")
        if not isinstance(content, (str, list, type(None))):
            raise InputError(f"message {number} has a content that is no string but {type(content).__name__}")
        if message.get("segments") and not isinstance(content, str):
            raise InputError(f"message {number} has segments, but no content that is one string")
    return [dict(message) for message in messages]


def _schemas(tools: Sequence[Any] | None, tokenizer: Tokenizer) -> list[Any] | None:
    """Tools as JSON schemas: the tokenizer writes those that are Python functions, in a template that shows them."""
    if tools is None:
        return None
    shown = {"chat_template": "{{ tools | tojson }}", "tokenize": False}
    try:
        return list(json.loads(tokenizer.apply_chat_template([{"role": "user"}], tools=list(tools), **shown)))
    except Exception as error:  # kinds of its own, for missing types or descriptions
        raise InputError(
            f"a tool is neither a JSON schema nor a function with types and a docstring: {error}"
        ) from error


def _labels(turns: Sequence[Message]) -> list[str]:
    """Every message's own label, or its role and number; a system message that is the only one has no number."""
    roles = [turn["role"] for turn in turns if not turn.get("label")]
    passed: Counter[str] = Counter()
    labels = []
    for turn in turns:
        role = turn["role"]
        passed[role] += not turn.get("label")
        alone = role in ("system", "developer") and roles.count(role) == 1
        labels.append(str(turn.get("label") or (role if alone else f"{role} {passed[role]}")))
    return labels


def _paths(inputs: Mapping[str, Any], labels: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """All that a template can write of what it is given, and what it is called."""
    for number, (message, label) in enumerate(zip(inputs["conversation"], labels, strict=True)):
        here: Path = ("conversation", number)
        yield label, (*here, "content")
        for key in [key for key in _REASONING if message.get(key)][:1]:
            yield f"{label} reasoning", (*here, key)
        for place, call in enumerate(message.get("tool_calls") or ()):
            there: Path = (*here, "tool_calls", place, *(["function"] if "function" in call else []))
            yield f"{label} call {place + 1}", (*there, "name")
            yield f"{label} call {place + 1}", (*there, "arguments")
    for kind, name in (("tools", "function"), ("documents", "document")):
        for place in range(len(inputs[kind] or ())):
            yield f"{name} {place + 1}", (kind, place)


def _parts(
    text: str, inputs: Mapping[str, Any], turns: Sequence[Message], render: Callable[[Mapping[str, Any]], str]
) -> list[Segment]:
    """The parts that were given, in the order of the text."""
    slots, paths = [], []
    for label, path in _paths(inputs, _labels(turns)):
        value = _at(inputs, path)
        if _marked(value, "0", path[-1]) == _marked(value, "1", path[-1]):
            continue  # it says nothing

        def marked(mark: str, path: Path = path, value: Any = value) -> str:
            return render(_with(inputs, path, _marked(value, mark, path[-1])))

        single = isinstance(value, str) and path[-1] != "arguments"
        slots.append(Slot(label, value if single else None, marked))
        paths.append(path)
    parts: list[Segment] = []
    for slot, path, spans in zip(slots, paths, locate(text, slots), strict=True):
        if not spans and path[0] != "conversation":
            raise InputError(f"the model's chat template does not use {path[0]}: write them into a message")
        if not spans:
            _LOG.warning("the chat template leaves %r out", slot.label)
        inner = turns[path[1]].get("segments") if path[-1] == "content" and isinstance(path[1], int) else None
        for start, end in spans:
            parts += _split(slot, (start, end), text, inner) if inner else [Segment(slot.label, start, end)]
    return sorted(parts, key=lambda part: part.start)


def _split(slot: Slot, place: Span, text: str, inner: Sequence[tuple[str, int, int]]) -> list[Segment]:
    """A message cut into the segments that were named in its content, and what is around them."""
    content, (start, end) = slot.content or "", place
    trimmed = content.strip()
    offset = start + text[start:end].find(trimmed) - content.find(trimmed)
    if trimmed not in text[start:end]:
        raise InputError(f"{slot.label} has segments, but the chat template does not write its content as it is")
    parts: list[Segment] = []
    for segment in sorted(named(inner, content), key=lambda segment: segment.start):
        first, last = max(segment.start + offset, start), min(segment.end + offset, end)
        before = parts[-1].end if parts else start
        if first < before:
            raise InputError(f"{slot.label} has segments that overlap: {segment.label!r} begins in the one before")
        parts += [Segment(slot.label, before, first)] * (before < first) + [Segment(segment.label, first, last)]
    return [*parts, *[Segment(slot.label, parts[-1].end, end)] * (parts[-1].end < end)]


def _covering(parts: Sequence[Segment], length: int) -> tuple[Segment, ...]:
    """The parts, and the template's own between them."""
    found: list[Segment] = []
    end = 0
    for part in [*parts, Segment(None, length, length)]:
        if end < part.start:
            found.append(Segment(TEMPLATE, end, part.start))
        found.append(part)
        end = part.end
    return tuple(found[:-1])


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else value[key]
    return value


def _with(value: Any, path: Path, new: Any) -> Any:
    """A copy that has another value at the end of the path."""
    if not path:
        return new
    copy: Any = dict(value) if isinstance(value, Mapping) else list(value)
    copy[path[0]] = _with(copy[path[0]], path[1:], new)
    return copy


def _marked(value: Any, mark: str, key: str | int = "") -> Any:
    """The value with the mark in place of all strings and numbers, but for types; of arguments and properties also keys.

    Mark: digits, which no template changes by its case, its trimming or its escapes.
    """
    if key == "arguments" and isinstance(value, str):
        try:
            return json.dumps(_marked(json.loads(value), mark, key))
        except ValueError:
            return mark
    if isinstance(value, str):
        return mark if value.strip() and key != "type" else value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(mark)
    if isinstance(value, list):
        return [_marked(entry, mark) for entry in value]
    if isinstance(value, Mapping):
        renamed = key in ("arguments", "properties")
        return {
            mark * (place + 1) if renamed else name: _marked(entry, mark, "" if renamed else name)
            for place, (name, entry) in enumerate(value.items())
        }
    return value
