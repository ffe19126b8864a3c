"""Safetensors files as tensors that are read when they are used.

Each tensor is mapped into memory by itself, for the time of its use: reading into memory of one's own takes five times as long,
and a mapping of the whole file may be larger than what a machine grants.
"""

from __future__ import annotations

import errno
import json
import math
import mmap
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lxtlike.errors import InputError
from lxtlike.streaming.stored import Stored

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_LONGEST_HEADER = 100_000_000  # bytes; the limit of the format


def checkpoint_files(names: Collection[str], fetch: Callable[[str], Path]) -> list[Path]:
    """The safetensors files of a model, of which these are the names at its top; `fetch` says where one is.

    Raises:
        InputError: none that transformers would read, or an index that is damaged.
    """
    if (single := "model.safetensors") in names:
        return [fetch(single)]
    if (index := f"{single}.index.json") not in names:
        raise InputError(
            f"weights are streamed from {single} or its shards, and neither is there: save the model again"
        )
    try:
        shards = sorted({str(shard) for shard in json.loads(fetch(index).read_bytes())["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{index} is damaged: fetch or save it again") from error
    if absent := [shard for shard in shards if shard not in names]:
        raise InputError(f"{len(absent)} of {len(shards)} files of the weights are missing, such as {absent[0]!r}")
    return [fetch(shard) for shard in shards]


def stored_weights(files: Iterable[Path]) -> dict[str, Tensor]:
    """The tensors of safetensors files by name: matrices stay in the file, vectors and numbers are read now.

    Vectors (norms, biases) are a thousandth of a model, and are looked at by what recognises norms.

    Raises:
        InputError: a file that is damaged or of a dtype that is not for computing with.
    """
    return {name: tensor for file in files for name, tensor in _weights(file).items()}


def _weights(file: Path) -> dict[str, Tensor]:
    found = {}
    entries, begin = _header(file)
    for name, entry in entries.items():
        weight = _weight(file, entry, begin)
        found[name] = weight if weight.dim() > 1 else weight.read().clone()  # a mapping keeps the file open
    return found


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """What a file says of its tensors, and where their bytes begin."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            said = json.loads(opened.read(length if length <= _LONGEST_HEADER else 0))
        entries = {name: entry for name, entry in said.items() if name != "__metadata__"}
    except (ValueError, AttributeError) as error:
        raise InputError(f"{file.name} is damaged: it has no safetensors header; fetch or save it again") from error
    return entries, 8 + length


def _weight(file: Path, entry: Any, begin: int) -> Stored:
    """One tensor of a file, of whose header this is the entry."""
    try:
        stored, shape, (first, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        size = math.prod(shape)
        bits = 8 * (end - first) // size if size else 0
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file.name} is damaged: its header is not that of safetensors; fetch it again") from error
    if stored not in _DTYPES:
        raise InputError(f"{file.name} holds weights of dtype {stored}, which cannot be streamed: load the model whole")
    dtype = _DTYPES[stored]
    if (size and bits != 8 * dtype.itemsize) or begin + end > file.stat().st_size or first < 0:
        raise InputError(f"{file.name} is damaged: it is shorter than its header says; fetch or save it again")

    def read(rows: Tensor | None) -> Tensor:
        found = _mapped(file, begin + first, size, dtype, ahead=rows is None).view(shape)
        return found if rows is None else found[rows]

    return Stored(torch.empty(shape, dtype=dtype, device="meta"), torch.device("cpu"), read)


def _mapped(file: Path, begin: int, size: int, dtype: torch.dtype, *, ahead: bool) -> Tensor:
    """Numbers of a file [size], which live as long as the tensor does; `ahead`: all will be needed, so the disk may begin."""
    if not size:
        return torch.empty(0, dtype=dtype)
    before = begin % mmap.ALLOCATIONGRANULARITY
    length = before + size * dtype.itemsize
    try:
        with file.open("rb") as opened:
            mapped = mmap.mmap(opened.fileno(), length, access=mmap.ACCESS_COPY, offset=begin - before)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError(f"{length} bytes of {file.name} cannot be mapped into memory") from error
        raise InputError(f"{file.name} cannot be read any more ({error.strerror}): load the model again") from error
    except ValueError as error:
        raise InputError(f"{file.name} has become shorter since the model was loaded: load it again") from error
    if ahead and hasattr(mmap, "MADV_WILLNEED"):
        mapped.madvise(mmap.MADV_WILLNEED)
    return torch.frombuffer(mapped, dtype=dtype, count=size, offset=before)
