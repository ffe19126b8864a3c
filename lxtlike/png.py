"""PNG files, as few bytes of code as they take: what results keep their picture in, and pages their heat map."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence

_BEGINS = b"\x89PNG\r\n\x1a\n"
_GREY, _COLOUR, _PALETTE = 0, 2, 3
_SAMPLES = {_GREY: 1, _COLOUR: 3, _PALETTE: 1}
_MOST = 1 << 28
"""Bytes of a picture that is read."""


def encoded(
    rows: Iterable[bytes], width: int, height: int, palette: Sequence[tuple[int, int, int, int]] | None = None
) -> bytes:
    """A PNG file of 8 bits a sample.

    Args:
        rows: `height` rows of `width` grey values, of three times as many for red, green and blue, or of numbers of colours.
        palette: red, green, blue and opacity of each of these colours, at most 256.
    """
    lines = list(rows)
    kind = _PALETTE if palette is not None else _COLOUR if len(lines[0]) == 3 * width else _GREY
    if len(lines) != height or any(len(line) != width * _SAMPLES[kind] for line in lines):
        raise ValueError(f"these are no {height} rows of {width} pixels")
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))]
    if palette is not None:
        chunks.append((b"PLTE", bytes(value for colour in palette for value in colour[:3])))
        chunks.append((b"tRNS", bytes(colour[3] for colour in palette)))
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines), 9)), (b"IEND", b"")]
    return _BEGINS + b"".join(map(_chunk, chunks))


def decoded(data: bytes) -> tuple[list[bytes], int]:
    """The rows of a file that `encoded` wrote without a palette, and how many samples a pixel has (1 or 3).

    Raises:
        ValueError: it is something else, or damaged.
    """
    if not data.startswith(_BEGINS):
        raise ValueError("this is no PNG")
    chunks = dict(_chunks(data[len(_BEGINS) :]))
    try:
        width, height, bits, kind, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
        if bits != 8 or kind not in (_GREY, _COLOUR) or any(rest):
            raise ValueError("this PNG is of another kind than those in results")
        line = width * _SAMPLES[kind]
        size = height * (line + 1)
        if not 0 < size <= _MOST:
            raise ValueError(f"a picture of {width} x {height} pixels is not read")
        content = zlib.decompressobj().decompress(chunks[b"IDAT"], size)
    except (KeyError, struct.error, zlib.error) as error:
        raise ValueError(f"this PNG is damaged: {error}") from error
    if len(content) != size or any(content[:: line + 1]):
        raise ValueError("this PNG is cut off, or its rows are filtered")
    return [content[start : start + line] for start in range(1, size, line + 1)], _SAMPLES[kind]


def _chunk(chunk: tuple[bytes, bytes]) -> bytes:
    name, content = chunk
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    while len(data) >= 12:
        (length,) = struct.unpack(">I", data[:4])
        content, check = data[4 : 8 + length], data[8 + length : 12 + length]
        if struct.pack(">I", zlib.crc32(content)) != check:
            raise ValueError("this PNG is damaged: a checksum differs")
        yield content[:4], content[4:]
        data = data[12 + length :]
