"""Masks from a picture, one per colour, as IRoi.uploadMask takes it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import omero.model
from numpy.typing import NDArray
from omero.rtypes import rbool, rdouble, rint
from PIL import Image

__all__ = ["masks_by_colour"]

_BLACK = (0, 0, 0, 255)


def masks_by_colour(picture: bytes, z: int, t: int) -> Iterator[Any]:
    """Yield unsaved masks on a plane, one per colour of a PNG or GIF except black, in the order of colours.

    Raises
    ------
    OSError
        The bytes are not a picture.
    """
    with Image.open(io.BytesIO(picture)) as opened:
        pixels = np.asarray(opened.convert("RGBA"))
    colours, places = np.unique(pixels.reshape(-1, 4), axis=0, return_inverse=True)
    labels = places.reshape(pixels.shape[:2])
    for number, colour in enumerate(colours):
        if tuple(colour) != _BLACK:
            yield _mask(labels == number, z, t)


def _mask(inside: NDArray[np.bool_], z: int, t: int) -> Any:
    """Return a mask of the bounding box of a boolean (y, x) array."""
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    box = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    made = omero.model.MaskI()
    made.x, made.y = rdouble(float(columns[0])), rdouble(float(rows[0]))
    made.height, made.width = (rdouble(float(side)) for side in box.shape)
    made.theZ, made.theT, made.locked = rint(z), rint(t), rbool(True)
    made.bytes = np.packbits(box).tobytes()
    return made
