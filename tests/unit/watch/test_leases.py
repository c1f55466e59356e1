"""Leases: one holder, taken over from a process that is gone or has stopped renewing."""

from __future__ import annotations

from omero_pixclf.watch.leases import EXPIRY_S, Leases
from omero_pixclf.watch.state import WatcherProcess, open_state


class Steady:
    """A clock that is turned by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_lease_is_held_by_one_and_free_again_when_released() -> None:
    engine, steady = open_state("sqlite://"), Steady()
    one = Leases(engine, WatcherProcess("a", "here", 1), steady, lambda pid: True)
    two = Leases(engine, WatcherProcess("b", "here", 2), steady, lambda pid: True)
    assert one.acquire("Dataset:1") and not two.acquire("Dataset:1") and two.acquire("Dataset:2")
    one.release("Dataset:1")
    assert two.acquire("Dataset:1") and not one.renew("Dataset:1")


def test_a_lease_of_a_process_that_is_gone_from_this_place_is_taken_at_once() -> None:
    engine, steady = open_state("sqlite://"), Steady()
    assert Leases(engine, WatcherProcess("a", "here", 1), steady).acquire("Dataset:1")
    assert not Leases(engine, WatcherProcess("b", "there", 2), steady, lambda pid: False).acquire("Dataset:1")
    assert Leases(engine, WatcherProcess("c", "here", 3), steady, lambda pid: False).acquire("Dataset:1")
    assert Leases(engine, WatcherProcess("d", "here", 3), steady, lambda pid: True).acquire(
        "Dataset:1"
    )  # its own number


def test_a_lease_from_elsewhere_is_taken_only_after_it_has_stood_still() -> None:
    engine, steady = open_state("sqlite://"), Steady()
    one, two = (
        Leases(engine, WatcherProcess("a", "here", 1), steady),
        Leases(engine, WatcherProcess("b", "there", 2), steady),
    )
    assert one.acquire("Dataset:1") and not two.acquire("Dataset:1")
    for _ in range(5):
        steady.now += EXPIRY_S - 1
        assert one.renew("Dataset:1") and not two.acquire("Dataset:1")
    steady.now += EXPIRY_S
    assert two.acquire("Dataset:1") and not one.renew("Dataset:1")
