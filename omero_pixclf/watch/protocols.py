"""Protocol of the watcher's backend: containers to watch, states of their images, and runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from omero_pixclf.config import Recipe
from omero_pixclf.runs.run import Event

__all__ = [
    "CandidateImage",
    "ContainerImages",
    "Guard",
    "RefusedTarget",
    "RequestState",
    "WatchBackend",
    "WatchTarget",
]

RequestState = Literal["running", "done", "failed"]


@dataclass(frozen=True)
class WatchTarget:
    """A target with the recipe to apply to its images.

    Attributes
    ----------
    key
        ``"Screen:3"``, ``"Dataset:7"``, ``"Image:51"``, …
    origin
        Who asked for it, for messages: ``watch 'plates'``, ``opt-in 31 of ada``.
    request
        The id of a request, which is served once and then answered; None for a target that is watched permanently.
    """

    key: str
    recipe: Recipe
    origin: str
    request: int | None = None


@dataclass(frozen=True)
class RefusedTarget:
    """A target that cannot be processed: its recipe is invalid, or it or its project does not exist."""

    key: str
    origin: str
    reason: str
    request: int | None = None


@dataclass(frozen=True)
class CandidateImage:
    """An image in a target.

    Attributes
    ----------
    version
        A text that changes as long as the import of the image goes on; empty while the image has no pixels.
    has_results
        The ledger has a complete run of the same recipe on the same pixels.
    """

    key: str
    name: str
    version: str
    has_results: bool


@dataclass(frozen=True)
class ContainerImages:
    """A container that gets tables (a dataset or plate), with those of its images that belong to a target."""

    key: str
    name: str
    recipe_hash: str
    images: tuple[CandidateImage, ...]


class Guard(Protocol):
    """Tells a run whether it may continue."""

    def begin(self, image: str) -> None:
        """Note that work on an image begins."""

    def check(self) -> None:
        """Raise an exception if the current image must be abandoned; called between the steps of the work."""


class WatchBackend(Protocol):
    """A server whose containers are watched."""

    def list_targets(self) -> Iterator[WatchTarget | RefusedTarget]:
        """List all current targets: requests, then targets in the settings, then containers opted in on the server."""

    def list_containers(self, target: WatchTarget) -> Sequence[ContainerImages]:
        """List the containers in a target, with their images."""

    def run(
        self,
        target: WatchTarget,
        container: ContainerImages,
        chosen: Collection[str],
        *,
        resume: str | None,
        guard: Guard,
    ) -> Iterator[Event]:
        """Process the chosen images of a container; with ``resume``, also finish the tables of that earlier run."""

    def answer_request(self, request: int, state: RequestState, message: str) -> None:
        """Write the state of a request where the user who made it can see it."""

    def disconnect(self) -> None:
        """Close the connection; the next call opens a new one."""
