"""``lxtlike demo``: both bundled models explained, and the explanations checked where the true cause is known."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lxtlike.cli import options, output

if TYPE_CHECKING:
    from lxtlike.attribution import Attribution
    from lxtlike.loading import Loaded

NEXT_TOKEN = "the box holds a red ball and the bag holds a blue hat . the hat is"
SENTIMENT = "the jokes are stale , but the acting is superb and the ending is moving ."
COMPOSITES = ("attnlrp", "cp-lrp", "input-x-gradient")
SENTENCES = 20  # of each kind, where not all are asked for

Score = tuple[int, int]
"""How many explanations point at the true cause, of how many."""


def command(
    file: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page; its folder is made if need be.")
    ] = Path("build/demo.html"),
    every: Annotated[
        bool, typer.Option("--all", help=f"All held-out sentences, not {SENTENCES} of each kind.")
    ] = False,
    color: options.Color = "auto",
    debug: options.Debug = False,
) -> None:
    """Explain a next token and a classification with the bundled models, and check such explanations."""
    file = output.checked(file, make_folder=True)

    from lxtlike import render
    from lxtlike.loading import load, quiet

    bindings, sentiment = load("bindings"), load("sentiment")
    with quiet():
        shown = [_explained(bindings, NEXT_TOKEN), _explained(sentiment, SENTIMENT)]
        for attribution in shown:
            ink, width = output.colours(color, None), output.columns()
            output.write(render.terminal(attribution.to_dict(), color=ink, width=width) + "\n", None)
        rows = known_causes(None if every else SENTENCES)
        scores = {composite: scored(bindings, composite, rows) for composite in COMPOSITES}
    output.write(_text(scores, len(rows)), None)
    output.write(_page(shown, scores, len(rows)), file)
    sys.stderr.write(f"both explanations on one page: {file}\n")


def points_at(attribution: Attribution, cause: Iterable[Sequence[int]]) -> bool:
    """Whether the token that speaks most for the target, special ones left aside, lies in one of the spans `cause`.

    A text of which no token speaks for the target points nowhere.
    """
    tokens = zip(attribution.tokens, attribution.token_relevance.tolist(), strict=True)
    content = [(relevance, token) for token, relevance in tokens if not token.special]
    relevance, best = max(content, key=lambda pair: pair[0])
    return relevance > 0 and any(best.start < end and start < best.end for start, end in cause)


def known_causes(count: int | None) -> list[dict[str, Any]]:
    """Held-out sentences of the `bindings` model's language: task, text, answer, cause (character spans).

    The first `count` of each task, None for all.
    """
    lines = (resources.files("lxtlike") / "assets" / "known_cause.jsonl").read_text(encoding="utf-8").splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    seen: dict[str, int] = {}
    for row in rows:
        row["number"] = seen[row["task"]] = seen.get(row["task"], 0) + 1
    return [row for row in rows if count is None or row["number"] <= count]


def scored(loaded: Loaded, composite: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Score]:
    """The pointing game by task, over the sentences that the model answers rightly: no wrong answer has a known cause."""
    from lxtlike.explainer import Explainer

    explainer = Explainer(loaded.model, loaded.tokenizer, composite=composite, task=loaded.task, name=loaded.name)
    attributions = explainer.explain([row["text"] for row in rows])
    scores: dict[str, Score] = {row["task"]: (0, 0) for row in rows}
    for row, attribution in zip(rows, attributions, strict=True):
        if attribution.target.token.strip() == row["answer"]:
            hits, count = scores[row["task"]]
            scores[row["task"]] = hits + points_at(attribution, row["cause"]), count + 1
    return scores


def _explained(loaded: Loaded, text: str) -> Attribution:
    from lxtlike.explainer import Explainer

    return Explainer(loaded.model, loaded.tokenizer, task=loaded.task, name=loaded.name).explain(text)


def _table(scores: Mapping[str, Mapping[str, Score]]) -> list[tuple[str, ...]]:
    """The pointing game as rows of text: tasks down, composites across, all tasks together at the end."""
    tasks = list(next(iter(scores.values())))
    table = [("", *scores)]
    table += [(task, *(_share([found[task]]) for found in scores.values())) for task in tasks]
    return [*table, ("all", *(_share(found.values()) for found in scores.values()))]


def _share(scores: Iterable[Score]) -> str:
    hits, count = map(sum, zip(*scores, strict=True))
    return f"{hits / count:.0%}" if count else "-"


def _caption(scores: Mapping[str, Mapping[str, Score]], rows: int) -> str:
    right = sum(count for _, count in next(iter(scores.values())).values())
    return (
        f"Pointing game: how often the token of highest relevance is the true cause of the answer "
        f"({rows} held-out sentences, {right} of them answered rightly)"
    )


def _text(scores: Mapping[str, Mapping[str, Score]], rows: int) -> str:
    lines = [_caption(scores, rows)]
    for name, *shares in _table(scores):
        lines.append(f"  {name:12}" + "".join(f"{share:>18}" for share in shares))
    return "\n".join(lines)


def _page(shown: Sequence[Attribution], scores: Mapping[str, Mapping[str, Score]], rows: int) -> str:
    """Both explanations and the table on one page that needs nothing else and runs only the fragments' script."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    from lxtlike import render
    from lxtlike.render import page, scale

    environment = Environment(loader=PackageLoader("lxtlike.cli", ""), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("demo.html").render(
        fragments=[Markup(render.fragment(attribution.to_dict())) for attribution in shown],  # escaped there
        script=page.script_hash(),
        caption=_caption(scores, rows),
        table=_table(scores),
        light=scale.LIGHT,
        dark=scale.DARK,
    )
