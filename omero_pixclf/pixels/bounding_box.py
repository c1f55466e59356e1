"""Bounding boxes in an image along z, y and x."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BoundingBox", "Shape3"]

Shape3 = tuple[int, int, int]


@dataclass(frozen=True)
class BoundingBox:
    """A box in ``(z, y, x)``, ``start`` inclusive and ``stop`` exclusive, in pixels."""

    start: Shape3
    stop: Shape3

    @property
    def shape(self) -> Shape3:
        """Extents along ``(z, y, x)``."""
        z, y, x = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return (z, y, x)

    def expand(self, margin: Shape3, image: Shape3) -> BoundingBox:
        """Return this box with a margin on both sides of each axis, cut at the borders of the image."""
        low = [max(0, a - m) for a, m in zip(self.start, margin, strict=True)]
        high = [min(n, b + m) for b, m, n in zip(self.stop, margin, image, strict=True)]
        return BoundingBox((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    def slices_in(self, outer: BoundingBox) -> tuple[slice, slice, slice]:
        """Return the slices that cut this box out of an array of the outer box."""
        z, y, x = (slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, outer.start, strict=True))
        return (z, y, x)
