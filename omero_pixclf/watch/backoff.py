"""When a failed image is retried, and when it is set aside.

An image that fails during processing is tried ``attempts`` times and then set aside, since each attempt costs its whole
computation. An image that the plan refuses (missing permission, wrong channels) is checked again without limit, since a
check costs little; the interval between two checks doubles up to a maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Engine, delete, insert, select, update

from omero_pixclf.watch.protocols import CandidateImage, ContainerImages
from omero_pixclf.watch.state import failures, transaction

__all__ = ["Backoff", "FailureKind", "FailureRecord", "FailureTable"]

FailureKind = Literal["working", "failed", "refused", "aside"]


@dataclass(frozen=True)
class Backoff:
    """Number of attempts and the delays between them, in seconds: ``first``, then doubled up to ``longest``."""

    attempts: int = 3
    first: float = 60.0
    longest: float = 3600.0

    def delay(self, attempts: int) -> float:
        """Return the seconds to wait after a number of attempts.

        >>> [Backoff().delay(n) for n in (1, 2, 3, 20)]
        [60.0, 120.0, 240.0, 3600.0]
        """
        return min(self.longest, self.first * 2.0 ** min(attempts - 1, 30))


@dataclass(frozen=True)
class FailureRecord:
    """State of an image that failed or is being processed.

    Attributes
    ----------
    version
        Version of the image and hash of the recipe; the record is dropped if either changes.
    kind
        ``working``: an attempt has begun; ``failed``: it is tried again; ``refused``: by the plan; ``aside``: it failed
        too often.
    retry_at
        Seconds since 1970.
    """

    container: str
    image: str
    recipe: str
    version: str
    name: str
    attempts: int
    kind: FailureKind
    reason: str
    retry_at: float

    def must_wait(self, now: float, longest: float) -> bool:
        """Whether the image is not tried now. A retry more than ``longest`` seconds ahead means a changed clock."""
        return self.kind == "aside" or (self.kind != "working" and 0 < self.retry_at - now <= longest)


class FailureTable:
    """The failures in the state database.

    Parameters
    ----------
    now
        Seconds since 1970.
    """

    def __init__(self, engine: Engine, backoff: Backoff, now: Callable[[], float]) -> None:
        self._engine, self.backoff, self._now = engine, backoff, now

    def find(self, container: ContainerImages, recipe: str) -> dict[str, FailureRecord]:
        """Return a container's records by image; those with another version or with results are deleted."""
        versions = {i.key: _version(container, i) for i in container.images}
        found = {f.image: f for f in self.list_all(container.key) if f.recipe == recipe}
        complete = {i.key for i in container.images if i.has_results}
        stale = [k for k, f in found.items() if k in complete or versions.get(k, f.version) != f.version]
        for key in stale:
            self.forget(container.key, key, recipe)
        return {k: f for k, f in found.items() if k not in stale}

    def list_all(self, container: str | None = None) -> list[FailureRecord]:
        """Return all records, or those of a container, sorted by container and image."""
        query = select(failures).order_by(failures.c.container, failures.c.image)
        with transaction(self._engine) as db:
            chosen = query if container is None else query.where(failures.c.container == container)
            rows = db.execute(chosen).mappings().all()
        return [FailureRecord(**dict(row)) for row in rows]

    def record_attempt(self, container: ContainerImages, image: CandidateImage, recipe: str) -> None:
        """Count an attempt before it begins, so that it is counted even if it ends the process."""
        known = self._get(container.key, image.key, recipe)
        # Refusals by the plan before do not count towards the attempts.
        attempts = (known.attempts if known and known.kind != "refused" else 0) + 1
        reason = "the watcher process ended while it processed this image"
        self._put(container, image, recipe, attempts=attempts, kind="working", reason=reason, retry_at=0.0)

    def record_failure(
        self, container: ContainerImages, image: CandidateImage, recipe: str, kind: FailureKind, reason: str
    ) -> FailureRecord:
        """Record that an image failed or was refused, and return its record."""
        known = self._get(container.key, image.key, recipe)
        counted = known is not None and known.kind == "working"
        attempts = (known.attempts if known else 0) + (0 if counted else 1)
        ended: FailureKind = "aside" if kind == "failed" and attempts >= self.backoff.attempts else kind
        retry_at = self._now() + self.backoff.delay(attempts)
        self._put(container, image, recipe, attempts=attempts, kind=ended, reason=reason, retry_at=retry_at)
        version = _version(container, image)
        return FailureRecord(container.key, image.key, recipe, version, image.name, attempts, ended, reason, retry_at)

    def uncount_attempts(self, container: str, recipe: str) -> None:
        """Do not count the current attempts: the connection was lost, or the watcher was told to stop."""
        current = _current_attempts(container, recipe)
        with transaction(self._engine) as db:
            db.execute(delete(failures).where(current & (failures.c.attempts <= 1)))
            values = {"attempts": failures.c.attempts - 1, "kind": "failed", "retry_at": 0.0}
            db.execute(update(failures).where(current).values(**values))

    def record_crash(self, container: str, recipe: str) -> None:
        """Record that the process that made the current attempts is gone: they failed."""
        current = _current_attempts(container, recipe)
        with transaction(self._engine) as db:
            too_many = failures.c.attempts >= self.backoff.attempts
            db.execute(update(failures).where(current & too_many).values(kind="aside"))
            db.execute(update(failures).where(current).values(kind="failed"))

    def forget(self, container: str, image: str, recipe: str) -> None:
        """Delete a record: the image is complete, has changed, or is to be tried again at once."""
        with transaction(self._engine) as db:
            db.execute(delete(failures).where(_has_key(container, image, recipe)))

    def _get(self, container: str, image: str, recipe: str) -> FailureRecord | None:
        with transaction(self._engine) as db:
            row = db.execute(select(failures).where(_has_key(container, image, recipe))).mappings().one_or_none()
        return FailureRecord(**dict(row)) if row else None

    def _put(self, container: ContainerImages, image: CandidateImage, recipe: str, **values: Any) -> None:
        known: Mapping[str, Any] = {"version": _version(container, image), "name": image.name, **values}
        with transaction(self._engine) as db:
            same = _has_key(container.key, image.key, recipe)
            if db.execute(update(failures).where(same).values(**known)).rowcount == 0:
                row = {"container": container.key, "image": image.key, "recipe": recipe, **known}
                db.execute(insert(failures).values(**row))


def _version(container: ContainerImages, image: CandidateImage) -> str:
    return f"{image.version} {container.recipe_hash}"


def _has_key(container: str, image: str, recipe: str) -> Any:
    return (failures.c.container == container) & (failures.c.image == image) & (failures.c.recipe == recipe)


def _current_attempts(container: str, recipe: str) -> Any:
    return (failures.c.container == container) & (failures.c.recipe == recipe) & (failures.c.kind == "working")
