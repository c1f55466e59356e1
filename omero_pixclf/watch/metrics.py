"""Metrics for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.watch.status import PassResult

__all__ = ["Metrics"]

_STATES = ("standing", "due", "settling", "resting", "aside")


class Metrics:
    """The watcher's counters and gauges, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = store = CollectorRegistry()
        self._images = Counter("omero_pixclf_images", "Processed images by final state.", ["state"], registry=store)
        self._seconds = Histogram(
            "omero_pixclf_image_seconds",
            "Seconds to process an image.",
            buckets=(1, 2, 5, 10, 30, 60, 300, 1800),
            registry=store,
        )
        self._passes = Counter("omero_pixclf_passes", "Passes by result.", ["end"], registry=store)
        self._pass_seconds = Gauge("omero_pixclf_last_pass_seconds", "Duration of the last pass.", registry=store)
        self._watched = Gauge("omero_pixclf_watched_images", "Watched images by state.", ["state"], registry=store)
        self._problems = Gauge("omero_pixclf_problems", "Targets that cannot be processed.", registry=store)
        self._requests = Gauge("omero_pixclf_requests", "Requests that have not been answered.", registry=store)
        self._healthy = Gauge("omero_pixclf_healthy", "1 if the last pass had no error.", registry=store)

    def count_image(self, outcome: ImageOutcome) -> None:
        """Count an image that has ended."""
        self._images.labels(outcome.state).inc()
        if outcome.state in ("done", "failed"):
            self._seconds.observe(outcome.seconds)

    def record_pass(self, result: PassResult, seconds: float) -> None:
        """Record the result and the duration of a pass."""
        self._passes.labels("error" if result.error else "ok").inc()
        self._pass_seconds.set(seconds)
        self._healthy.set(not result.error)
        self._requests.set(result.open_requests)
        if not result.error:
            self._problems.set(len(result.problems))
            for state in _STATES:
                self._watched.labels(state).set(sum(c.counts[state] for c in result.containers))

    def to_text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return bytes(generate_latest(self._registry))
