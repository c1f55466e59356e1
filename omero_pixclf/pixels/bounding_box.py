"""Ranges of an image along z, y, x."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BoundingBox", "Shape3"]

Shape3 = tuple[int, int, int]


@dataclass(frozen=True)
class BoundingBox:
    """A range of ``(z, y, x)``, ``start`` inclusive and ``stop`` exclusive."""

    start: Shape3
    stop: Shape3

    @property
    def shape(self) -> Shape3:
        """Extents."""
        z, y, x = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return (z, y, x)

    def expand(self, margin: Shape3, image: Shape3) -> BoundingBox:
        """This range with a margin on both sides of each axis, as far as the image reaches."""
        low = [max(0, a - m) for a, m in zip(self.start, margin, strict=True)]
        high = [min(n, b + m) for b, m, n in zip(self.stop, margin, image, strict=True)]
        return BoundingBox((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    def slices_in(self, outer: BoundingBox) -> tuple[slice, slice, slice]:
        """Slices that cut this range out of an array of the outer one."""
        z, y, x = (slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, outer.start, strict=True))
        return (z, y, x)
