"""``lxtlike similarity``: two texts, and which of their tokens make them alike."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lxtlike.cli import options, output, progress
from lxtlike.cli.exits import one_line
from lxtlike.errors import InputError

_FORM = "bilrp: along every dimension of the embedding; tokens: along the tokens' last states only, in less time."
_PROJECTIONS = "Instead of all dimensions so many random directions, from seed 0: right in expectation."


def command(
    first: Annotated[str, typer.Argument(metavar="TEXT_A", show_default=False)],
    second: Annotated[str, typer.Argument(metavar="TEXT_B", show_default=False)],
    model: options.ModelOption = "sentiment",
    pooling: Annotated[
        str | None,
        options.choice("--pooling", ("mean", "cls", "last"), "How states become an embedding; else as the model says:"),
    ] = None,
    similarity: Annotated[str, options.choice("--similarity", ("cosine", "dot"), "Of the embeddings:")] = "cosine",
    form: Annotated[str, options.choice("--form", ("bilrp", "tokens"), _FORM)] = "bilrp",
    projections: Annotated[int | None, typer.Option("--projections", min=1, metavar="N", help=_PROJECTIONS)] = None,
    composite: options.Composite = "default",
    by: Annotated[str, options.choice("--by", ("token", "word", "sentence"), "Relevance per:")] = "token",
    format: options.Format = None,
    file: options.Output = None,
    device: options.Device = None,
    device_map: options.DeviceMap = None,
    dtype: options.Dtype = None,
    checkpointing: options.Checkpointing = "auto",
    strict: options.Strict = False,
    top: options.Top = 5,
    color: options.Color = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    debug: options.Debug = False,
) -> None:
    """Explain how similar a model's embeddings of two texts are, by pairs of their tokens (BiLRP)."""
    file = file and output.checked(file)
    if "-" in (first, second):
        raise InputError("two texts do not fit into stdin: write lxtlike similarity 'one text' 'another text'")

    from lxtlike.loading import quiet
    from lxtlike.similarity import SimilarityExplainer

    explainer = SimilarityExplainer.from_pretrained(
        model or "sentiment",
        pooling=pooling,
        similarity=similarity,
        composite=composite,
        strict=strict,
        checkpointing=options.CHECKPOINTING[checkpointing],
        device=device,
        device_map=device_map,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
    )
    with quiet(), progress.told("pass") as tell:
        result = explainer.explain(first, second, form, projections=projections, progress=tell).by(by)
    for uncovered in result.audit.uncovered:
        sys.stderr.write(f"warning: {one_line(str(uncovered))}\n")
    output.write(output.rendered(result, format or output.format_of(file), file, top, color), file)
