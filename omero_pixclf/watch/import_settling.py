"""Detect that an image's import has finished: its metadata has not changed for a while.

Time is that of a monotonic clock, so setting the system clock neither shortens nor lengthens the wait.
"""

from __future__ import annotations

from collections.abc import Iterable

from omero_pixclf.watch.protocols import CandidateImage

__all__ = ["ImportSettling"]


class ImportSettling:
    """Remembers for each image since when its metadata has not changed.

    Parameters
    ----------
    seconds
        How long the metadata must not have changed.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._since: dict[str, tuple[str, float]] = {}
        self._observed: set[str] = set()

    def observe(self, images: Iterable[CandidateImage], now: float) -> None:
        """Note the versions of images at a time of the monotonic clock; images with results are forgotten."""
        for image in images:
            if image.has_results:
                self._since.pop(image.key, None)
                continue
            self._observed.add(image.key)
            if self._since.get(image.key, ("", 0.0))[0] != image.version or not image.version:
                self._since[image.key] = (image.version, now)

    def forget_unobserved(self) -> None:
        """Forget the images that were not observed since the last call: removed, or no longer watched."""
        self._since = {key: known for key, known in self._since.items() if key in self._observed}
        self._observed.clear()

    def is_settled(self, image: CandidateImage, now: float) -> bool:
        """Whether an observed image has pixels, and its version has not changed for long enough."""
        if not image.version or image.key not in self._since:
            return False
        return now - self._since[image.key][1] >= self.seconds
