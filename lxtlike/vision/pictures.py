"""Whatever shows an image, as a picture of 8 bits a channel that image processors take."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lxtlike.errors import InputError, LxtlikeError

if TYPE_CHECKING:
    from PIL.Image import Image

_GREY_OR_COLOUR = {1: "L", 3: "RGB"}


def picture(source: Any, channels: int) -> Image:
    """A picture in grey or in colour, as the model's number of channels asks; turned as its EXIF data say.

    Args:
        source: path of an image file, the bytes of one, a PIL image, or an array: uint8, or floats between 0 and 1, of
            shape [H, W] or [H, W, C] with 1, 3 or 4 channels.

    Raises:
        InputError: no such file, no image, one that is damaged, too large or of more than 8 bits a channel.
        LxtlikeError: Pillow is not installed.
    """
    image, name = pillow("Image"), "the image"
    if isinstance(source, np.ndarray):
        source = image.fromarray(_eight_bits(source))
    elif isinstance(source, (str, Path, bytes)):
        name = repr(str(source)) if not isinstance(source, bytes) else name
        with _readable(name):
            source = image.open(io.BytesIO(source) if isinstance(source, bytes) else Path(source).expanduser())
    elif not isinstance(source, image.Image):
        kinds = "a path, a PIL image, a numpy array or a tensor of pixel values"
        raise InputError(f"an image is {kinds}, not {type(source).__name__}")
    width, height = source.size
    most = image.MAX_IMAGE_PIXELS
    if most is not None and width * height > most:
        raise InputError(f"{name} has {width} x {height} pixels, more than the {most:,} that are read: make it smaller")
    if not width * height:
        raise InputError(f"{name} has no pixels")
    if source.mode[0] in "IF":
        raise InputError(f"{name} has more than 8 bits a channel (mode {source.mode}): convert it to 8 bits first")
    with _readable(name):
        turned = pillow("ImageOps").exif_transpose(source)
        made: Image = turned.convert(_GREY_OR_COLOUR.get(channels, turned.mode))
        return made


def pillow(module: str) -> Any:
    """A module of Pillow, imported when first needed.

    Raises:
        LxtlikeError: Pillow is not installed.
    """
    try:
        return importlib.import_module(f"PIL.{module}")
    except ImportError as error:
        raise LxtlikeError("images need Pillow, which is not here: pip install 'lxtlike[vision]'") from error


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Say what is wrong with a file; Pillow's plug-ins raise many kinds of errors on damaged ones."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"there is no image file {name}: give the path of one") from error
    except pillow("Image").DecompressionBombError as error:
        raise InputError(f"{name} has more pixels than are read: make it smaller") from error
    except pillow("Image").UnidentifiedImageError as error:
        raise InputError(f"{name} is no image in a format that Pillow reads: give a PNG or JPEG file") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"the image {name} cannot be read: {reason}") from error


def _eight_bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise InputError(
            f"an image as an array has shape [H, W] or [H, W, C] with 1, 3 or 4 channels, not {list(array.shape)}; "
            "pixel values as the model takes them go into a tensor [C, H, W]"
        )
    if array.dtype.kind == "f":
        if not (array.min(initial=0.0) >= 0.0 and array.max(initial=0.0) <= 1.0):
            raise InputError("an image as an array of floats holds numbers between 0 and 1; others go in as uint8")
        array = (array * 255).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise InputError(f"an image as an array is uint8, or floats between 0 and 1, not {array.dtype}")
    return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
