"""The watcher's status: health, and the texts for pending images."""

from __future__ import annotations

from omero_pixclf.config import ClassifierSettings, Recipe
from omero_pixclf.watch.protocols import ContainerImages, WatchTarget
from omero_pixclf.watch.status import ContainerStatus, PassResult, WatcherStatus


def test_without_progress_the_watcher_is_not_well() -> None:
    now = [0.0]
    status = WatcherStatus(lambda: now[0], 100)
    status.report_progress("Image:1")
    assert status.health == (True, "the first pass is running")
    now[0] = 101
    healthy, message = status.health
    assert not healthy and "Image:1" in message
    status.record_pass(PassResult(error="no connection"))
    assert status.health == (False, "no connection")
    status.record_pass(PassResult())
    assert status.health == (True, "passes completed: 2; the last one had no error")


def test_numbers_of_images_have_published_names_and_plain_texts() -> None:
    target = WatchTarget("Dataset:1", Recipe(classifier=ClassifierSettings(project="n.ilp")), "watch 'w'")
    container = ContainerImages("Dataset:1", "d", "hash", ())
    status = ContainerStatus(
        target, container, complete=9, due=("Image:1", "Image:2"), settling=0, waiting=1, set_aside=3
    )
    assert status.counts == {"standing": 9, "due": 2, "settling": 0, "resting": 1, "aside": 3}
    assert status.pending == "2 due, 1 waiting for a retry, 3 set aside"
    assert ContainerStatus(target, container, 9, (), 0, 0, 0).pending == ""
