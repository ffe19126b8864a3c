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


def generation(prompt: str = "", answer: str = "", seed: int = 5) -> Result:
    """A chat with one document and an answer of about thirty tokens, each output with a row, a ledger and its rivals."""
    system = "Answer from the document."
    document = (
        "The lighthouse of Kap Arkona was built in 1827. Its keeper, Anna Lind, painted it red and wrote three novels."
    )
    question = "Who lived there, and what did she write?"
    chat = [("system", system), ("document 1", document), ("user 1", question)]
    if prompt:
        chat = [("user 1", prompt)]
    answer = answer or "The keeper Anna Lind lived there.\nShe wrote three novels."
    draw = random.Random(seed)
    text, tokens, parts = "", [], []

    def add(piece: str, special: bool = False) -> None:
        nonlocal text
        tokens.append(token(len(tokens), "" if special else piece, len(text), 0.0, name=piece, special=special))
        text += "" if special else piece

    for label, content in [*chat, ("assistant 1", answer)]:
        add(f"<|{label.split()[0]}|>", special=True)
        parts.append({"label": label, "start": len(text), "end": len(text) + len(content)})
        if label.startswith("assistant"):
            first = len(tokens)
        for piece, _ in cut(content):
            add(piece)
    outputs = []
    for place in range(first, len(tokens)):
        word = tokens[place]["text"].strip().lower()
        row = [0.0] * len(tokens)
        for i in range(place):
            near = tokens[i]["text"].strip().lower()
            same = 4.0 if word and near == word and len(word) > 2 else 0.0
            row[i] = single(same + draw.gauss(0.02, 0.15) + (0.9 if i == place - 1 else 0.0))
        row[0] = 2.5
        carried, softmax = sum(row), draw.uniform(1.0, 2.0)
        ledger = {"positions": 0.0, "biases": 0.0, "softmax": softmax, "epsilon": 0.0, "router": 0.0}
        outputs.append(
            {
                "index": len(outputs),
                "id": tokens[place]["id"],
                "token": tokens[place]["token"],
                "position": place,
                "value": carried + softmax,
                "prediction": [
                    {"id": tokens[place]["id"], "token": tokens[place]["token"], "logit": carried, "prob": 0.8},
                    {"id": 7, "token": " else", "logit": 0.1, "prob": 0.1},
                ],
                "relevance": row,
                "ledger": {
                    "explained": carried + softmax,
                    "tokens": carried,
                    **ledger,
                    "special": sum(row[i] for i in range(place) if tokens[i]["special"]),
                    "rest": 0.0,
                    "relative_error": 0.0,
                },
            }
        )
    return {
        "schema": "lxtlike/generation/1",
        "model": "example/tiny-llama",
        "task": "causal-lm",
        "composite": "attnlrp",
        "text": text,
        "objective": "logit",
        "tokens": [{key: value for key, value in t.items() if key != "relevance"} for t in tokens],
        "outputs": outputs,
        "parts": parts,
        "audit": {"forward_deviation": 0.0, "uncovered": []},
        "versions": {"lxtlike": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
    }


def long_generation(inputs: int, outputs: int) -> Result:
    """A generation of that many tokens and outputs, with relevance on every token before each output."""
    draw = random.Random(2)
    words = ["the", "of", "and", "lighthouse", "in", "is", "you", "that", "it", "keeper", "was", "for", "novels"]

    def many(count: int) -> str:
        return " ".join(draw.choice(words) + ("." if i % 12 == 11 else "") for i in range(count))

    made = generation(many(round(inputs * 0.92)), many(round(outputs * 0.92)))
    for output in made["outputs"]:
        row = [single(draw.gauss(0.0, 1.0) ** 3 / 9) for _ in range(output["position"])]
        output["relevance"] = row + [0.0] * (len(made["tokens"]) - len(row))
    return made


def layered() -> Result:
    """`next_token` with relevance after each of six layers, and of their eight heads."""
    made = next_token()
    draw = random.Random(4)
    final = [t["relevance"] for t in made["tokens"]]
    made["layers"] = [
        [
            single(x * (1 - layer / 6) + (sum(final) * layer / 6 if i == len(final) - 1 else 0.0))
            for i, x in enumerate(final)
        ]
        for layer in range(7)
    ]
    made["heads"] = [[single(draw.gauss(0.1, 0.8)) for _ in range(8)] for _ in range(6)]
    return made
