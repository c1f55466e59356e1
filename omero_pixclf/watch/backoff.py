"""When an image that failed is tried again, and when it is set aside.

What fails in the work is tried ``attempts`` times and then set aside, since each attempt costs its whole computation;
what the plan refuses (a missing right, channels that do not fit) costs a question and is asked again for good, ever
more seldom.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Engine, delete, insert, select, update

from omero_pixclf.watch.protocols import Candidate, Part
from omero_pixclf.watch.state import failures, transaction

__all__ = ["Backoff", "Failure", "Failures", "Kind", "version_of"]

Kind = Literal["working", "failed", "refused", "aside"]


@dataclass(frozen=True)
class Backoff:
    """How often and how long apart: ``first`` seconds, then twice as long each time, at most ``longest``."""

    attempts: int = 3
    first: float = 60.0
    longest: float = 3600.0

    def wait(self, attempts: int) -> float:
        """Seconds to wait after so many attempts.

        >>> [Backoff().wait(n) for n in (1, 2, 3, 20)]
        [60.0, 120.0, 240.0, 3600.0]
        """
        return min(self.longest, self.first * 2.0 ** min(attempts - 1, 30))


@dataclass(frozen=True)
class Failure:
    """What is known of an image that did not end well, or that is in work.

    ``version`` is the image's and the recipe's: where either changes, the image starts afresh.
    """

    container: str
    image: str
    recipe: str
    version: str
    name: str
    attempts: int
    kind: Kind
    reason: str
    retry_at: float

    def rests(self, now: float, longest: float) -> bool:
        """Whether the image is not to be tried now; a retry further off than can be means that the clock jumped."""
        return self.kind == "aside" or (self.kind != "working" and 0 < self.retry_at - now <= longest)


class Failures:
    """The failures in the state database.

    Parameters
    ----------
    now
        Seconds since 1970.
    """

    def __init__(self, engine: Engine, backoff: Backoff, now: Callable[[], float]) -> None:
        self._engine, self.backoff, self._now = engine, backoff, now

    def of(self, part: Part, recipe: str) -> dict[str, Failure]:
        """A part's failures by image, without those whose image or recipe has changed; these are forgotten."""
        versions = {i.key: version_of(part, i) for i in part.images}
        found = {f.image: f for f in self.all(part.container) if f.recipe == recipe}
        standing = {i.key for i in part.images if i.standing}
        stale = [k for k, f in found.items() if k in standing or versions.get(k, f.version) != f.version]
        for key in stale:
            self.forget(part.container, key, recipe)
        return {k: f for k, f in found.items() if k not in stale}

    def all(self, container: str | None = None) -> list[Failure]:
        """Everything that did not end well, everywhere or in a container, by container and image."""
        query = select(failures).order_by(failures.c.container, failures.c.image)
        with transaction(self._engine) as db:
            chosen = query if container is None else query.where(failures.c.container == container)
            rows = db.execute(chosen).mappings().all()
        return [Failure(**dict(row)) for row in rows]

    def begin(self, part: Part, image: Candidate, recipe: str) -> None:
        """Count an attempt before it is made: if it takes the process down with it, it has been counted."""
        known = self._one(part.container, image.key, recipe)
        # How often the plan refused it before says nothing of how often it may fail in the work.
        attempts = (known.attempts if known and known.kind != "refused" else 0) + 1
        reason = "the watcher ended while it worked on this image"
        self._put(part, image, recipe, attempts=attempts, kind="working", reason=reason, retry_at=0.0)

    def fail(self, part: Part, image: Candidate, recipe: str, kind: Kind, reason: str) -> Failure:
        """Record how an image ended that did not end well."""
        known = self._one(part.container, image.key, recipe)
        begun = known is not None and known.kind == "working"
        attempts = (known.attempts if known else 0) + (0 if begun else 1)
        ended: Kind = "aside" if kind == "failed" and attempts >= self.backoff.attempts else kind
        retry_at = self._now() + self.backoff.wait(attempts)
        self._put(part, image, recipe, attempts=attempts, kind=ended, reason=reason, retry_at=retry_at)
        return Failure(
            part.container, image.key, recipe, version_of(part, image), image.name, attempts, ended, reason, retry_at
        )

    def interrupted(self, container: str, recipe: str) -> None:
        """Take back the attempts under way: the server went, or the watcher was told to stop."""
        under_way = (failures.c.container == container) & (failures.c.recipe == recipe) & (failures.c.kind == "working")
        with transaction(self._engine) as db:
            db.execute(delete(failures).where(under_way & (failures.c.attempts <= 1)))
            values = {"attempts": failures.c.attempts - 1, "kind": "failed", "retry_at": 0.0}
            db.execute(update(failures).where(under_way).values(**values))

    def crashed(self, container: str, recipe: str) -> None:
        """Whoever worked here before is gone: what it was at has failed, and too many such images are set aside."""
        under_way = (failures.c.container == container) & (failures.c.recipe == recipe) & (failures.c.kind == "working")
        with transaction(self._engine) as db:
            often = failures.c.attempts >= self.backoff.attempts
            db.execute(update(failures).where(under_way & often).values(kind="aside"))
            db.execute(update(failures).where(under_way).values(kind="failed"))

    def forget(self, container: str, image: str, recipe: str) -> None:
        """The image is done, has changed, or is to be tried again at once."""
        with transaction(self._engine) as db:
            db.execute(delete(failures).where(_is(container, image, recipe)))

    def _one(self, container: str, image: str, recipe: str) -> Failure | None:
        with transaction(self._engine) as db:
            row = db.execute(select(failures).where(_is(container, image, recipe))).mappings().one_or_none()
        return Failure(**dict(row)) if row else None

    def _put(self, part: Part, image: Candidate, recipe: str, **values: Any) -> None:
        known: Mapping[str, Any] = {"version": version_of(part, image), "name": image.name, **values}
        with transaction(self._engine) as db:
            changed = db.execute(update(failures).where(_is(part.container, image.key, recipe)).values(**known))
            if changed.rowcount == 0:
                row = {"container": part.container, "image": image.key, "recipe": recipe, **known}
                db.execute(insert(failures).values(**row))


def version_of(part: Part, image: Candidate) -> str:
    """What an image's failures hold for: its state and the recipe's."""
    return f"{image.version} {part.recipe_hash}"


def _is(container: str, image: str, recipe: str) -> Any:
    return (failures.c.container == container) & (failures.c.image == image) & (failures.c.recipe == recipe)
