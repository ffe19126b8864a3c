"""How a text's embedding is made of the states of its tokens, and what a sentence-transformers folder says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lxtlike.errors import InputError, one_of
from lxtlike.loading import BUNDLED

POOLINGS = ("mean", "cls", "last")
"""The mean of all tokens' states (special ones too), the state of the first token, and that of the last one."""

_KNOWN: Mapping[str, str] = MappingProxyType(
    {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last"}
)
_PLAIN = ("Transformer", "Pooling", "Normalize")


def weights(pooling: str, length: int) -> Tensor:
    """The weights [T] by which the states of T tokens are summed to the embedding, float64."""
    if pooling == "mean":
        return torch.full((length,), 1.0 / length, dtype=torch.float64)
    return torch.nn.functional.one_hot(torch.tensor(0 if pooling == "cls" else length - 1), length).double()


def checked(pooling: str) -> str:
    """`pooling`, if there is such a one; InputError otherwise."""
    if pooling not in POOLINGS:
        raise InputError(f"pooling {pooling!r} is not explained here: {one_of(pooling, POOLINGS)}")
    return pooling


class Recipe(NamedTuple):
    """What a sentence-transformers folder says: where its transformer is, how states are pooled, whether to length 1."""

    model: str
    pooling: str
    normalised: bool


def recipe(model: str) -> Recipe | None:
    """What the folder or hub repository `model` says, or None if it was not made by sentence-transformers.

    Raises:
        InputError: it does more than sum states and normalise, or cannot be looked into.
    """
    modules = _json(model, "modules.json")
    if modules is None:
        return None
    try:
        kinds = [(str(module["type"]).rpartition(".")[2], str(module.get("path", ""))) for module in modules]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"modules.json of {model!r} is damaged: give the pooling, and a folder without it") from error
    other = next((kind for kind, _ in kinds if kind not in _PLAIN), None)
    if other is not None:
        raise InputError(
            f"{model!r} has a module {other} behind its pooling, which is not explained here: only a sum is"
        )
    paths = dict(kinds)
    config = _json(model, f"{paths.get('Pooling', '1_Pooling')}/config.json") or {}
    modes = [key for key, chosen in config.items() if key.startswith("pooling_mode_") and chosen is True]
    modes = modes or [str(config.get("pooling_mode", "mean"))]
    pooling = checked(_KNOWN.get(modes[0], modes[0]) if len(modes) == 1 else " + ".join(modes))
    inner = paths.get("Transformer", "")
    return Recipe(str(Path(model) / inner) if inner else model, pooling, "Normalize" in paths)


def _json(model: str, name: str) -> Any:
    """A file of a model as JSON, or None where there is none."""
    folder = Path(model).expanduser()
    path = None if model in BUNDLED else folder / name if folder.is_dir() else _from_hub(model, name)
    if path is None or not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{name} of {model!r} cannot be read ({error}): save the model again") from error


def _from_hub(model: str, name: str) -> Path | None:
    """The file, from the hub or the local cache; None if the repository has no such file, or there is no repository."""
    import huggingface_hub as hub
    from huggingface_hub import errors

    try:
        return Path(hub.hf_hub_download(model, name))
    except (errors.HFValidationError, errors.RepositoryNotFoundError, errors.RemoteEntryNotFoundError):
        return None  # what is wrong with a name, loading says
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise InputError(
            f"whether {model!r} was made by sentence-transformers cannot be asked for now: give the pooling"
        ) from error
