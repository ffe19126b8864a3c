"""What a model puts behind a prompt: its own `generate`, with the caller's options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from lxtlike.errors import InputError
from lxtlike.feeding import model_inputs
from lxtlike.propagation.surroundings import frozen, owned
from lxtlike.text import Encoded

LIMIT = 20
"""How many tokens are generated where the caller sets no limit."""


def generated(model: Any, tokenizer: Any, prompt: Encoded, options: Mapping[str, Any]) -> list[int]:
    """The ids that the model's own `generate` puts behind a prompt.

    Greedy and at most `LIMIT` of them, unless the options say else: a `generation_config` among them brings its own way of
    choosing and its own limit, `max_length` its own limit. Sampling draws from torch's global generator, as the model's
    own `generate` does: the same seed gives the same text, and leaves the generator where `generate` leaves it.

    Raises:
        InputError: `generate` refuses an option, changes the prompt, or gives nothing or several sequences.
    """
    inputs = {k: v for k, v in model_inputs([prompt], model, tokenizer).items() if k != "use_cache"}
    if taken := sorted({*inputs, "inputs", "inputs_embeds"} & options.keys()):
        raise InputError(f"{', '.join(taken)} cannot be given to generate here: the text is what is continued")
    defaults: dict[str, Any] = {"tokenizer": tokenizer}  # for stop strings
    if options.get("generation_config") is None:
        defaults["do_sample"] = False
        if "max_length" not in options:
            defaults["max_new_tokens"] = LIMIT
    try:
        with owned(model), frozen(model), _same_attributes(model), torch.no_grad():
            found = model.generate(**inputs, **{**defaults, **options})
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the model's generate refuses this: {error}") from error
    sequences: list[list[int]] = getattr(found, "sequences", found).tolist()
    if len(sequences) != 1:
        raise InputError(f"generate gave {len(sequences)} sequences, one is explained: leave num_return_sequences out")
    before = [token.id for token in prompt.sequences[-1]]
    if sequences[0][: len(before)] != before:
        raise InputError("generate has changed the prompt (as token_healing does): what it gave cannot be explained")
    ids = sequences[0][len(before) :]
    if not ids:
        raise InputError("the model generated nothing; ask for at least one token (max_new_tokens)")
    return ids


@contextmanager
def _same_attributes(model: Any) -> Iterator[None]:
    """What is noted on the model within the block (the size of a static cache) is gone behind it."""
    before = set(vars(model))
    try:
        yield
    finally:
        for name in vars(model).keys() - before:
            delattr(model, name)
