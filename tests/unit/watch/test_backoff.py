"""Failures of images: attempts, versions, setting aside."""

from __future__ import annotations

from omero_pixclf.watch.backoff import Backoff, FailureTable
from omero_pixclf.watch.protocols import CandidateImage, ContainerImages
from omero_pixclf.watch.state import open_state

CONTAINER = ContainerImages("Dataset:1", "d", "hash", (CandidateImage("Image:1", "one", "v1", False),))


def test_failures_hold_for_one_version_of_image_and_recipe() -> None:
    failures = FailureTable(open_state("sqlite://"), Backoff(), lambda: 0.0)
    failures.record_failure(CONTAINER, CONTAINER.images[0], "n", "failed", "bad")
    assert set(failures.find(CONTAINER, "n")) == {"Image:1"} and failures.find(CONTAINER, "other") == {}
    changed = ContainerImages("Dataset:1", "d", "other hash", CONTAINER.images)
    assert failures.find(changed, "n") == {} and failures.list_all() == []


def test_what_the_plan_refuses_is_never_set_aside() -> None:
    failures = FailureTable(open_state("sqlite://"), Backoff(attempts=2, longest=100), lambda: 0.0)
    for _ in range(10):
        failure = failures.record_failure(CONTAINER, CONTAINER.images[0], "n", "refused", "may not annotate")
    assert failure.kind == "refused" and failure.retry_at == 100


def test_refusals_are_not_counted_among_the_attempts_of_the_work() -> None:
    failures = FailureTable(open_state("sqlite://"), Backoff(attempts=2), lambda: 0.0)
    for _ in range(5):
        failures.record_failure(CONTAINER, CONTAINER.images[0], "n", "refused", "may not annotate")
    ends = []
    for _ in range(2):
        failures.record_attempt(CONTAINER, CONTAINER.images[0], "n")
        ends.append(failures.record_failure(CONTAINER, CONTAINER.images[0], "n", "failed", "bad"))
    assert [(f.kind, f.attempts) for f in ends] == [("failed", 1), ("aside", 2)]


def test_an_attempt_counts_before_it_is_made_and_not_where_the_server_went() -> None:
    failures = FailureTable(open_state("sqlite://"), Backoff(attempts=2), lambda: 0.0)
    for _ in range(3):
        failures.record_attempt(CONTAINER, CONTAINER.images[0], "n")
        failures.uncount_attempts("Dataset:1", "n")
    assert failures.list_all() == []
    for kind in ("failed", "aside"):
        failures.record_attempt(CONTAINER, CONTAINER.images[0], "n")
        failures.record_crash("Dataset:1", "n")
        assert [f.kind for f in failures.list_all()] == [kind]
