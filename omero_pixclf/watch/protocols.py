"""What the watcher needs from outside: what it is to look after, what stands there, and runs. OMERO is behind it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from omero_pixclf.config import Recipe
from omero_pixclf.runs.run import Event

__all__ = ["Candidate", "Facility", "Guard", "Order", "Part", "Refused"]


@dataclass(frozen=True)
class Order:
    """A target with the recipe that its images are to be done by.

    Attributes
    ----------
    target
        ``"Screen:3"``, ``"Dataset:7"``, ``"Image:51"``, …
    origin
        Where the order comes from, for people: ``watch 'plates'``, ``opt-in MapAnnotation:31``.
    request
        The number of a request, which is served once and answered; None for a standing order.
    """

    target: str
    recipe: Recipe
    origin: str
    request: int | None = None


@dataclass(frozen=True)
class Refused:
    """An order that cannot be understood, or whose target or project cannot be had."""

    target: str
    origin: str
    reason: str
    request: int | None = None


@dataclass(frozen=True)
class Candidate:
    """An image below an order's target.

    Attributes
    ----------
    version
        A text that changes as long as the image's import goes on; empty: it has no pixels yet.
    standing
        The ledger has a complete run of this very recipe on these very pixels.
    """

    key: str
    name: str
    version: str
    standing: bool


@dataclass(frozen=True)
class Part:
    """One container that gets tables, and the order's images in it."""

    container: str
    name: str
    recipe_hash: str
    images: tuple[Candidate, ...]


class Guard(Protocol):
    """Asked by a run whether it may go on."""

    def begin(self, image: str) -> None:
        """Work on an image begins."""

    def check(self) -> None:
        """Between steps of the work; raises to abandon the image, of which nothing then stays."""


class Facility(Protocol):
    """Where orders come from and runs are done."""

    def orders(self) -> Iterator[Order | Refused]:
        """All that is to be looked after now: requests first, then what was configured, then opt-ins."""

    def look(self, order: Order) -> Sequence[Part]:
        """What lies below an order's target."""

    def run(
        self, order: Order, part: Part, chosen: Collection[str], *, resume: str | None, guard: Guard
    ) -> Iterator[Event]:
        """Work on the chosen images of a part, or go on with an earlier run of it and finish its tables, too."""

    def answer(self, request: int, state: Literal["running", "done", "failed"], message: str) -> None:
        """Tell who asked how a request stands."""

    def drop(self) -> None:
        """Forget the connection; the next call makes a new one."""
