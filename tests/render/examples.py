"""Made-up results in the shape of ``lxtlike/attribution/1``, as plain and as nasty as they come."""

from __future__ import annotations

import random
import re
import struct
from typing import Any

Result = dict[str, Any]


def single(value: float) -> float:
    """`value` rounded to float32, as relevance is."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def token(index: int, text: str, start: int, relevance: float, *, name: str = "", special: bool = False) -> Result:
    return {
        "index": index,
        "id": 100 + index,
        "token": name or text,
        "text": text,
        "start": start,
        "end": start + len(text),
        "special": special,
        "relevance": single(relevance),
    }


def cut(text: str, pattern: str = r"\s?\w+|\s?[^\w\s]|\s") -> list[tuple[str, int]]:
    return [(m.group(), m.start()) for m in re.finditer(pattern, text)]


def result(text: str, tokens: list[Result], **changes: Any) -> Result:
    """A next-token result around these tokens; its ledger closes."""
    carried = sum(t["relevance"] for t in tokens)
    rest = {"positions": 0.0, "biases": 1.114, "softmax": 2.207, "epsilon": 1.3e-6, "router": 0.0}
    explained = carried + sum(rest.values())
    special = sum(t["relevance"] for t in tokens if t["special"])
    return {
        "schema": "lxtlike/attribution/1",
        "model": "example/tiny-llama",
        "task": "causal-lm",
        "composite": "attnlrp",
        "text": text,
        "prediction": [
            {"id": 1, "token": " Paris", "logit": explained, "prob": 0.731},
            {"id": 2, "token": " Lyon", "logit": explained - 2.1, "prob": 0.09},
            {"id": 3, "token": " the", "logit": explained - 2.9, "prob": 0.041},
        ],
        "target": {
            "id": 1,
            "token": " Paris",
            "position": len(tokens) - 1,
            "objective": "logit",
            "contrast": None,
            "value": explained,
        },
        "tokens": tokens,
        "ledger": {
            "explained": explained,
            "tokens": carried,
            **rest,
            "special": special,
            "rest": 2.4e-9,
            "relative_error": 1.9e-10,
        },
        "audit": {"forward_deviation": 0.0, "uncovered": []},
        "versions": {"lxtlike": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
    } | changes


def next_token() -> Result:
    """About forty tokens, a newline, one special token in front."""
    text = (
        "The river Seine runs through the middle of the old city, past the towers of Notre-Dame.\n"
        "Every guide book about France says the same thing: the capital of the country is"
    )
    known = {" Seine": 2.9, "Dame": 1.1, "Notre": 0.7, " France": 4.2, " capital": 3.4, " country": 1.3, " city": 0.9}
    known |= {" is": 1.2, " of": -0.42, " Every": -0.61, " guide": -0.3, " book": -0.88, " old": -0.2, " same": -0.35}
    draw = random.Random(7)
    tokens = [token(0, "", 0, 1.8, name="<s>", special=True)]
    for piece, start in cut(text):
        tokens.append(token(len(tokens), piece, start, known.get(piece.replace("\n", " "), draw.gauss(0.03, 0.12))))
    return result(text, tokens)


def classifier() -> Result:
    """A BERT-like classifier: special tokens on both sides, text between tokens, a contrast."""
    text = "A gorgeous, witty film that never quite finds its ending, yet I would gladly watch it again tomorrow."
    known = {"gorgeous": 1.9, "witty": 1.6, "never": -1.4, "quite": -0.3, "yet": 0.8, "gladly": 1.5, "again": 0.7}
    draw = random.Random(3)
    tokens = [token(0, "", 0, 0.6, name="[CLS]", special=True)]
    for piece, start in cut(text, r"\w+|[^\w\s]"):
        tokens.append(token(len(tokens), piece, start, known.get(piece, draw.gauss(0.0, 0.1)), name=piece.lower()))
    tokens.append(token(len(tokens), "", len(text), -0.4, name="[SEP]", special=True))
    made = result(text, tokens, task="sequence-classification", model="lxtlike/sentiment")
    made["target"] |= {"token": "positive", "position": None, "contrast": {"id": 0, "token": "negative"}}
    made["prediction"] = [
        {"id": 1, "token": "positive", "logit": 3.1, "prob": 0.957},
        {"id": 0, "token": "negative", "logit": -0.01, "prob": 0.043},
    ]
    made["audit"]["uncovered"] = [
        {
            "operation": "torch.special.erfinv",
            "module": "bert.encoder.layer.1.output",
            "remedy": "name a rule for it in the composite, for example `erfinv: identity`",
        }
    ]
    return made


def words() -> Result:
    """`classifier` grouped by word: the comma belongs to the word before it."""
    made = classifier()
    units = [{"text": "", "start": 0, "end": 0, "tokens": [0], "relevance": made["tokens"][0]["relevance"]}]
    for word, start in cut(made["text"], r"\S+"):
        members = [t for t in made["tokens"] if start <= t["start"] < t["end"] <= start + len(word)]
        total = single(sum(t["relevance"] for t in members))
        places = [t["index"] for t in members]
        units.append({"text": word, "start": start, "end": start + len(word), "tokens": places, "relevance": total})
    last = made["tokens"][-1]
    units.append({"text": "", "start": last["start"], "end": last["end"], "tokens": [last["index"]]})
    units[-1]["relevance"] = last["relevance"]
    return made | {"units": units}


HOSTILE = (
    "</script><img src=x onerror=console.error(1)>",
    " \x1b[31mred\x1b[0m\x1b]0;title\x07",
    " שלום עולם",
    " \u202eevil\u202c",
    " <!--",
    " ]]>",
    " {{ 7*7 }}",
    ' "><script>console.error(2)</script>',
    " a\tb\r\nc",
    " &amp;&#13;",
)


def hostile() -> Result:
    """Every token wants out; an emoji in three byte tokens; a zero-width token that is not special."""
    tokens, text = [], ""
    for piece in HOSTILE:
        tokens.append(token(len(tokens), piece, len(text), 1.0 - 0.35 * len(tokens)))
        text += piece
    for part in range(3):
        tokens.append(token(len(tokens), "🎉", len(text), 0.5 + part, name=f"<0x{part}'\"&>"))
    text += "🎉"
    tokens.append(token(len(tokens), "", len(text), -0.7, name="</span>"))
    text += " end"
    made = result(text, tokens, model="<b>org</b>/model")
    made["target"]["token"] = "</title><script>console.error(3)</script>\x1b[5m"
    return made


def zero() -> Result:
    """Nothing matters."""
    return result("all zero", [token(0, "all", 0, 0.0), token(1, " zero", 3, 0.0)])


def thousand() -> Result:
    """A thousand tokens."""
    draw = random.Random(1)
    vocabulary = ["the", "of", "and", "a", "in", "is", "you", "that", "it", "he", "was", "for", "government"]
    text = " ".join(draw.choice(vocabulary) + ("." if draw.random() < 0.08 else "") for _ in range(930))
    tokens = [token(i, piece, start, draw.gauss(0.01, 0.05) ** 3 * 400) for i, (piece, start) in enumerate(cut(text))]
    return result(text, tokens[:1000])
