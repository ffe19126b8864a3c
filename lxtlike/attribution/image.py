"""The result of one explanation of an image classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lxtlike import png
from lxtlike.attribution import parts
from lxtlike.attribution.parts import AuditSummary, Candidate, ResolvedTarget
from lxtlike.attribution.saved import Saved
from lxtlike.errors import InputError, NumericalError
from lxtlike.ledger import Ledger
from lxtlike.version import IMAGE_SCHEMA


@dataclass(frozen=True)
class Region:
    """A rectangle of the picture in pixels, rows [top, bottom) and columns [left, right)."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True, eq=False, repr=False)
class ImageAttribution(Saved):
    """The relevance of every pixel of one image for one target. Immutable, picklable, equal if `to_dict` is.

    All of it is in the frame of the processed image: what the model saw, after resizing and cropping.

    Attributes:
        picture: what the model saw, read-only uint8 [H, W, 3], or [H, W] in grey.
        channels: raw relevance (never normalised) of every pixel value, read-only float32 [C, H, W].
        patch: height and width of the patches into which the model cuts the image; None where it does not.
        cell: height and width of what `relevance` is summed over; (1, 1) is pixels.
        relevance: read-only float32 [H, W], summed over channels; of a result by cells [rows, columns], their sums.

    Raises:
        NumericalError: a relevance, logit, value or account is NaN or infinite.
        InputError: relevance and picture do not fit together, or a cell has no size.
    """

    schema: ClassVar[str] = IMAGE_SCHEMA
    kind: ClassVar[str] = "image attribution"
    arrays: ClassVar[tuple[str, ...]] = ("channels", "relevance")
    renderer: ClassVar[str] = "lxtlike.render.image"

    model: str
    task: str
    composite: str
    picture: NDArray[np.uint8]
    channels: NDArray[np.float32]
    prediction: tuple[Candidate, ...]
    target: ResolvedTarget
    ledger: Ledger
    audit: AuditSummary
    versions: Mapping[str, str]
    patch: tuple[int, int] | None = None
    cell: tuple[int, int] = (1, 1)
    relevance: NDArray[np.float32] = None  # type: ignore[assignment]  # filled in below

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):
            channels = np.array(self.channels, dtype=np.float32)
        picture = np.array(self.picture, dtype=np.uint8)
        if (
            channels.ndim != 3
            or not channels.size
            or picture.shape not in (channels.shape[1:], (*channels.shape[1:], 3))
        ):
            raise InputError(
                f"relevance of shape {list(channels.shape)} does not fit a picture of shape {list(picture.shape)}: "
                "[C, H, W] goes with [H, W, 3] or [H, W]"
            )
        if not np.isfinite(channels).all():
            raise NumericalError("the relevance of a pixel is NaN or infinite: it overflows here; try dtype float32")
        for name, size in (("patch", self.patch), ("cell", self.cell)):
            if size is not None and not (len(size) == 2 and min(size) >= 1):
                raise InputError(f"the size of a {name} is two numbers from 1 on, height and width, not {size!r}")
        relevance = _summed(channels, self.cell)
        for name, array in (("channels", channels), ("picture", picture), ("relevance", relevance)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        parts.check_finite(self.target, self.prediction, self.ledger, self.audit)

    def by(self, granularity: str | int | tuple[int, int]) -> ImageAttribution:
        """The same result summed over cells of the picture: ``"patch"``, the model's own; a size; ``"pixel"``: undone.

        Args:
            granularity: a size is height and width in pixels, or one number for both. Cells begin at the top left; those
                at the other edges may be smaller. The sum is preserved.

        Raises:
            InputError: the model has no patches, or no such size.
        """
        if granularity == "pixel":
            return replace(self, cell=(1, 1))
        if granularity == "patch":
            if self.patch is None:
                raise InputError(
                    "this model cuts the image into no patches: give the height and width of cells instead"
                )
            return replace(self, cell=self.patch)
        size = (granularity, granularity) if isinstance(granularity, int) else granularity
        if not isinstance(size, tuple) or not all(isinstance(edge, int) for edge in size):
            raise InputError(f"relevance of an image is by pixel, patch or (height, width), not by {granularity!r}")
        return replace(self, cell=size)

    def top(self, n: int = 10) -> list[tuple[Region, float]]:
        """The `n` cells (pixels, unless the result is by cells) of largest absolute relevance, with it."""
        columns = self.relevance.shape[1]
        high, wide = self.cell
        order = np.argsort(-np.abs(self.relevance), axis=None, kind="stable")[: max(n, 0)]
        found = []
        for place in order.tolist():
            row, column = divmod(place, columns)
            top, left = row * high, column * wide
            bottom, right = min(top + high, self.channels.shape[1]), min(left + wide, self.channels.shape[2])
            found.append((Region(top, left, bottom, right), float(self.relevance[row, column])))
        return found

    def to_dict(self) -> dict[str, Any]:
        """The JSON object ``lxtlike/image/1``: `relevance` as rows of numbers, `channels` and the picture as base64."""
        height, width = self.channels.shape[1:]
        return {
            "schema": IMAGE_SCHEMA,
            "model": self.model,
            "task": self.task,
            "composite": self.composite,
            "prediction": [vars(candidate).copy() for candidate in self.prediction],
            "target": self.target.to_dict(),
            "image": {"height": height, "width": width, "png": _png(self.picture)},
            "patch": None if self.patch is None else list(self.patch),
            "cell": list(self.cell),
            "relevance": self.relevance.tolist(),
            "channels": parts.compact(self.channels),
            "ledger": self.ledger.to_dict(),
            "audit": self.audit.to_dict(),
            "versions": dict(self.versions),
        }

    @classmethod
    def _read(cls, data: Mapping[str, Any]) -> ImageAttribution:
        cell = parts.pair(data["cell"])
        if "channels" in data:
            channels = parts.numbers(data["channels"])
        elif cell == (1, 1):  # what others have written may be of pixels alone
            channels = parts.numbers(data["relevance"])[None]
        else:
            raise KeyError("channels")
        return cls(
            model=parts.string(data["model"]),
            task=parts.string(data["task"]),
            composite=parts.string(data["composite"]),
            picture=_picture(parts.string(data["image"]["png"])),
            channels=channels,
            prediction=tuple(map(parts.candidate, data["prediction"])),
            target=parts.target(data["target"]),
            ledger=parts.ledger(data["ledger"]),
            audit=parts.audit(data["audit"]),
            versions=parts.versions(data["versions"]),
            patch=None if data["patch"] is None else parts.pair(data["patch"]),
            cell=cell,
        )


def _summed(channels: NDArray[np.float32], cell: tuple[int, int]) -> NDArray[np.float32]:
    """Sums [rows, columns] over channels and cells of [C, H, W]."""
    pixels = channels.sum(0, dtype=np.float64)
    for axis, size in enumerate(cell):
        pixels = np.add.reduceat(pixels, range(0, pixels.shape[axis], size), axis)
    summed: NDArray[np.float32] = pixels.astype(np.float32)
    return summed


def _png(picture: NDArray[np.uint8]) -> str:
    height, width = picture.shape[:2]
    return parts.base64_of(png.encoded((row.tobytes() for row in picture), width, height))


def _picture(text: str) -> NDArray[np.uint8]:
    rows, samples = png.decoded(parts.base64_bytes(text))
    picture = np.array([np.frombuffer(row, dtype=np.uint8) for row in rows])
    return picture.reshape(len(rows), -1, samples) if samples > 1 else picture
