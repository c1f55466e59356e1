"""Numbers for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.watch.status import Passed

__all__ = ["Metrics"]

_STATES = ("standing", "due", "settling", "resting", "aside")


class Metrics:
    """The watcher's counters, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = store = CollectorRegistry()
        self._images = Counter("omero_pixclf_images", "Images that ended, by how.", ["state"], registry=store)
        self._seconds = Histogram(
            "omero_pixclf_image_seconds",
            "Seconds of work on an image.",
            buckets=(1, 2, 5, 10, 30, 60, 300, 1800),
            registry=store,
        )
        self._passes = Counter("omero_pixclf_passes", "Passes, by how they ended.", ["end"], registry=store)
        self._pass_seconds = Gauge("omero_pixclf_last_pass_seconds", "How long the last pass took.", registry=store)
        self._watched = Gauge("omero_pixclf_watched_images", "Watched images, by state.", ["state"], registry=store)
        self._problems = Gauge("omero_pixclf_problems", "Orders that cannot be carried out.", registry=store)
        self._asked = Gauge("omero_pixclf_requests", "Requests that are not answered yet.", registry=store)
        self._healthy = Gauge("omero_pixclf_healthy", "1 where the last pass had no error.", registry=store)

    def image(self, outcome: ImageOutcome) -> None:
        """An image ended."""
        self._images.labels(outcome.state).inc()
        if outcome.state in ("done", "failed"):
            self._seconds.observe(outcome.seconds)

    def passed(self, result: Passed, seconds: float) -> None:
        """A pass ended."""
        self._passes.labels("error" if result.error else "ok").inc()
        self._pass_seconds.set(seconds)
        self._healthy.set(not result.error)
        self._asked.set(result.asked)
        if not result.error:
            self._problems.set(len(result.problems))
            for state in _STATES:
                counts = (getattr(o, state) for o in result.outlooks)
                self._watched.labels(state).set(sum(len(c) if isinstance(c, tuple) else c for c in counts))

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return bytes(generate_latest(self._registry))
