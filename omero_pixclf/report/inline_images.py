"""Pictures inside an HTML page: shrink them to JPEG, and write them as data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image

__all__ = ["MEDIA_TYPES", "InlineImage", "inline_image", "shrink_to_jpeg"]

MEDIA_TYPES = {b"\x89PN": "image/png", b"\xff\xd8\xff": "image/jpeg"}  # by a file's first three bytes


@dataclass(frozen=True)
class InlineImage:
    """The attributes of an HTML ``img`` element: its data URI, size in pixels, and text for screen readers."""

    src: str
    width: int
    height: int
    alt: str

    @property
    def is_wide(self) -> bool:
        """Whether it is more than twice as wide as high, as the frames of a time series are."""
        return self.width > 2 * self.height


def inline_image(picture: bytes, alt: str) -> InlineImage:
    """Describe a PNG or JPEG file for a page; ``alt`` says in words what it shows."""
    width, height = Image.open(io.BytesIO(picture)).size
    content = base64.b64encode(picture).decode("ascii")
    return InlineImage(f"data:{MEDIA_TYPES[picture[:3]]};base64,{content}", width, height, alt)


def shrink_to_jpeg(picture: bytes, *, height: int, quality: int = 80) -> bytes:
    """Convert a picture to a JPEG of at most that height in pixels; fine lines keep their colour."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    scale = min(1.0, height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    out = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(out, "JPEG", quality=quality, subsampling=0)
    return out.getvalue()
