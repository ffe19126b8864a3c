"""``lxtlike verify``: does the account close on this model, and which rule does each of its modules get?

The scalar explained is the largest output for a short input. Which scalar and which input do not matter here: an account
that closes shows that every operation between them is handled, in float64 up to rounding, then in the model's own dtype.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lxtlike.cli import options, output
from lxtlike.cli.exits import AUDIT, one_line
from lxtlike.errors import NumericalError

if TYPE_CHECKING:
    from torch import Tensor

    from lxtlike.composites import Composite
    from lxtlike.loading import Loaded
    from lxtlike.propagation import Audit
    from lxtlike.propagation.report import Check

TEXT = "The film was not bad , but the book it is based on was better ."
TOKENS = 12  # random ids where there is no tokenizer, or where it knows none of the words


def command(
    model: options.ModelArgument,
    task: options.Task = "auto",
    composite: options.Composite = "default",
    by: Annotated[
        str, options.choice("--by", ("model", "layer"), "Ledger of the model, or of each layer too.")
    ] = "model",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 3 also when an operation has no rule and the ledger closes.")
    ] = False,
    format: Annotated[str, options.choice("--format", ("text", "json"), "Of the report.")] = "text",
    file: options.Output = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    trust_remote_code: options.TrustRemoteCode = False,
    debug: options.Debug = False,
) -> int:
    """Load MODEL, say which rule each module gets, and check that relevance is conserved; exit 3 when it is not."""
    file = file and output.checked(file)

    from lxtlike.composites import Composite
    from lxtlike.loading import load, quiet
    from lxtlike.propagation.report import report, verdict

    rules = Composite.parse(composite)
    loaded = load(
        model, task=task, dtype=dtype, device=device, trust_remote_code=trust_remote_code, need_tokenizer=False
    )
    with quiet():
        audit, checks = verified(loaded, rules, by_layer=by == "layer")
    closes = all(check.closes for check in checks)
    layers = audit.ledger(by="layer") if by == "layer" else None
    for uncovered in audit.uncovered:
        sys.stderr.write(f"warning: {one_line(str(uncovered))}\n")
    if format == "json":
        data = {
            "schema": "lxtlike/verification/1",
            "model": loaded.name,
            "task": loaded.task,
            "composite": rules.name,
            "modules": audit.rules(),
            "uncovered": [uncovered.to_dict() for uncovered in audit.uncovered],
            "checks": [check.to_dict() for check in checks],
            **({} if layers is None else layers.to_dict()),
            "closes": closes,
            "verdict": verdict(audit.uncovered, checks),
        }
        output.write(json.dumps(data, ensure_ascii=False), file)
    else:
        head = f"{one_line(loaded.name)} · {loaded.task} · {rules.name}"
        output.write(f"{head}\n\n{report(audit.rules(), audit.uncovered, checks, layers)}", file)
    return 0 if closes and not (strict and audit.uncovered) else AUDIT


def verified(loaded: Loaded, composite: Composite, *, by_layer: bool = False) -> tuple[Audit, tuple[Check, ...]]:
    """The check as loaded and, where that is another dtype, in float64, with the last audit; the model ends up in float64.

    Raises:
        NumericalError: the model's output is NaN or infinite.
    """
    inputs = inputs_of(loaded)
    audit, check = checked(loaded, inputs, composite, by_layer=by_layer)
    checks = [check]
    if check.dtype != "float64":
        if hasattr(loaded.model, "set_experts_implementation"):
            loaded.model.set_experts_implementation("eager")  # the faster ones know no float64
        loaded.model.double()
        audit, check = checked(loaded, inputs, composite, by_layer=by_layer)
        checks.append(check)
    return audit, tuple(checks)


def inputs_of(loaded: Loaded) -> dict[str, Tensor]:
    """A short text, random ids, or a random image: what the model's forward takes."""
    import torch

    model = loaded.model
    if model.main_input_name == "pixel_values":
        size = getattr(model.config, "image_size", None) or 32
        shape = (1, getattr(model.config, "num_channels", 3), *((size, size) if isinstance(size, int) else size))
        return {"pixel_values": torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(model.device)}
    inputs = {"input_ids": torch.tensor([_ids(loaded)], device=model.device)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = inputs["input_ids"][:, :2]
    return inputs


def _ids(loaded: Loaded) -> list[int]:
    if loaded.tokenizer is not None:
        ids: list[int] = loaded.tokenizer(TEXT)["input_ids"]
        if len(set(ids)) >= TOKENS // 2:
            return ids
    rows = loaded.model.get_input_embeddings().weight.shape[0]
    return [(7919 * place + 11) % rows for place in range(TOKENS)]  # spread over the vocabulary, the same every time


def checked(
    loaded: Loaded, inputs: dict[str, Tensor], composite: Composite, *, by_layer: bool = False
) -> tuple[Audit, Check]:
    import torch

    from lxtlike.propagation import propagate
    from lxtlike.propagation.precision import Float64Casts
    from lxtlike.propagation.report import Check

    model = loaded.model
    inputs = {name: t.to(model.dtype) if t.is_floating_point() else t for name, t in inputs.items()}
    if "pixel_values" in inputs:
        pixels = inputs["pixel_values"]
        composite = composite.bounded(float(pixels.min()), float(pixels.max()))
    with Float64Casts() if model.dtype is torch.float64 else nullcontext():
        with torch.no_grad():
            plain = model(**inputs)[0]
        if not torch.isfinite(plain).all():
            raise NumericalError("the model's output is NaN or infinite: try another --dtype")
        with (
            propagate(model, composite, trace=True, by_layer=by_layer) as audit,
            _leaves(model, inputs) as (leaves, given),
        ):
            patched = model(**given)[0]
            explained = patched[0].reshape(-1, patched[0].shape[-1])[-1].max()
            coefficients = torch.autograd.grad(explained, leaves)
    tokens = sum(float(audit.relevance(t, c).double().sum()) for t, c in zip(leaves, coefficients, strict=True))
    deviation = audit.compare(plain, patched)
    return audit, Check(audit.dtype, audit.ledger(explained, tokens), deviation)


@contextmanager
def _leaves(model: Any, inputs: dict[str, Tensor]) -> Iterator[tuple[list[Tensor], dict[str, Tensor]]]:
    """The inputs whose relevance counts: pixels, or the embeddings of all ids, a decoder's own included."""
    from lxtlike.methods.leaves import embedding_leaves

    if "pixel_values" in inputs:
        pixels = inputs["pixel_values"].detach().requires_grad_()
        yield [pixels], {**inputs, "pixel_values": pixels}
        return
    with embedding_leaves(model) as leaves:
        yield leaves, inputs
