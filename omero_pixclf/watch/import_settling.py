"""Whether an image's import has come to rest: what is known of it has stayed the same for a while.

Time is the process's own steady clock, so that a wall clock that jumps neither hurries nor delays an image.
"""

from __future__ import annotations

from collections.abc import Iterable

from omero_pixclf.watch.protocols import Candidate

__all__ = ["Settling"]


class Settling:
    """Remembers since when each image has looked as it does."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._since: dict[str, tuple[str, float]] = {}
        self._observed: set[str] = set()

    def observe(self, images: Iterable[Candidate], now: float) -> None:
        """Note how images look at a moment of the steady clock; those that stand already are forgotten."""
        for image in images:
            if image.standing:
                self._since.pop(image.key, None)
                continue
            self._observed.add(image.key)
            if self._since.get(image.key, ("", 0.0))[0] != image.version or not image.version:
                self._since[image.key] = (image.version, now)

    def forget_others(self) -> None:
        """Forget what was not observed since the last call: it is gone, or nobody looks after it any more."""
        self._since = {key: known for key, known in self._since.items() if key in self._observed}
        self._observed.clear()

    def settled(self, image: Candidate, now: float) -> bool:
        """Whether an image that was observed has pixels, and has looked the same for long enough."""
        if not image.version or image.key not in self._since:
            return False
        return now - self._since[image.key][1] >= self.seconds
