"""Passes over the images of a fake backend, with a clock that the test sets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from omero_pixclf.config import ClassifierSettings, Recipe
from omero_pixclf.errors import MissingError, NotAllowedError, UnreachableError
from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.runs.planning.plan import PlanItem
from omero_pixclf.runs.run import ContainerOutcome, Event, RunFinished, RunPlanned
from omero_pixclf.watch.backoff import Backoff, FailureTable
from omero_pixclf.watch.container_runner import WatcherState
from omero_pixclf.watch.import_settling import ImportSettling
from omero_pixclf.watch.lease_guard import LeaseGuard, StopRequest
from omero_pixclf.watch.leases import Leases
from omero_pixclf.watch.metrics import Metrics
from omero_pixclf.watch.protocols import CandidateImage, ContainerImages, Guard, RefusedTarget, WatchTarget
from omero_pixclf.watch.run_table import PauseTable, RunTable
from omero_pixclf.watch.state import WatcherProcess, open_state
from omero_pixclf.watch.status import WatcherStatus
from omero_pixclf.watch.watcher import Watcher

RECIPE = Recipe(name="nuclei", classifier=ClassifierSettings(project="n.ilp"))
ORDER = WatchTarget("Dataset:1", RECIPE, "watch 'w'")
SETTLE = 10.0


@dataclass
class Clock:
    """Both clocks; the steady one never goes back."""

    steady: float = 0.0
    wall: float = 1_000_000.0

    def on(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds


@dataclass
class FakeBackend:
    """Images by name with their read_image_versions; ``broken`` ones fail, ``fatal`` ones end the process."""

    images: dict[str, str]
    standing: set[str] = field(default_factory=set)
    broken: dict[str, str] = field(default_factory=dict)
    fatal: set[str] = field(default_factory=set)
    listed: list[WatchTarget | RefusedTarget] = field(default_factory=lambda: [ORDER])
    worked: list[str] = field(default_factory=list)
    resumed: list[str | None] = field(default_factory=list)
    answers: list[tuple[int, str, str]] = field(default_factory=list)
    digest: str = "hash"
    unreachable_after: int | None = None
    dropped: int = 0
    folder: Path = Path("/")
    during: object = None
    mute: bool = False

    def list_targets(self) -> Iterator[WatchTarget | RefusedTarget]:
        yield from self.listed

    def list_containers(self, target: WatchTarget) -> list[ContainerImages]:
        if target.key == "Dataset:404":
            raise MissingError("Dataset:404: not there")
        found = tuple(CandidateImage(k, k, v, k in self.standing) for k, v in self.images.items())
        return [ContainerImages("Dataset:1", "d", self.digest + target.recipe.classifier.project, found)]

    def run(
        self,
        target: WatchTarget,
        container: ContainerImages,
        chosen: Collection[str],
        *,
        resume: str | None,
        guard: Guard,
    ) -> Iterator[Event]:
        self.resumed.append(resume)
        run_id = resume or f"20261121T053000-{len(self.resumed):06d}"
        infos = [ImageInfo(k, k, (1, 1, 1, 1, 1), "uint8", (), place=ImageLocation("Dataset:1")) for k in chosen]
        yield RunPlanned(run_id, self.folder, tuple(PlanItem(i, "due") for i in infos))
        outcomes = []
        for n, info in enumerate(infos):
            if self.unreachable_after == n:
                raise UnreachableError("gone")
            guard.begin(info.key)
            if info.key in self.fatal:
                raise SystemExit("killed")
            if callable(self.during):
                self.during()
            guard.check()
            outcomes.append(self._work(info))
            yield outcomes[-1]
        yield ContainerOutcome("Dataset:1", "d")
        yield RunFinished(run_id, tuple(outcomes), ())

    def _work(self, info: ImageInfo) -> ImageOutcome:
        self.worked.append(info.key)
        if info.key in self.broken:
            return ImageOutcome(info, "failed", self.broken[info.key])
        self.standing.add(info.key)
        return ImageOutcome(info, "done")

    def answer_request(self, request: int, state: str, message: str) -> None:
        if self.mute:
            raise NotAllowedError("may not annotate")
        self.answers.append((request, state, message))

    def disconnect(self) -> None:
        self.dropped += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine() -> object:
    return open_state("sqlite://")


def made(backend: FakeBackend, engine: object, clock: Clock, *, pid: int = 1, alive: bool = True) -> Watcher:
    holder = WatcherProcess(f"holder{pid}", "here", pid)
    backoff = Backoff(attempts=3, first=60, longest=3600)
    state = WatcherState(
        FailureTable(engine, backoff, lambda: clock.wall),  # type: ignore[arg-type]
        RunTable(engine, holder, lambda: clock.wall),  # type: ignore[arg-type]
        PauseTable(engine),  # type: ignore[arg-type]
    )
    leases = Leases(engine, holder, lambda: clock.steady, lambda pid: alive)  # type: ignore[arg-type]
    status = WatcherStatus(lambda: clock.steady, 3600)
    lease_guard = LeaseGuard(leases, StopRequest())
    return Watcher(
        backend, state, lease_guard, ImportSettling(SETTLE), status, Metrics(),
        steady=lambda: clock.steady, now=lambda: clock.wall,
    )  # fmt: skip


def passes(watcher: Watcher, clock: Clock, count: int = 2, every: float = SETTLE) -> None:
    for _ in range(count):
        watcher.run_pass()
        clock.on(every)


def test_images_are_done_once_settled_and_never_again(engine: object, clock: Clock) -> None:
    backend = FakeBackend({"Image:1": "a", "Image:2": "a"})
    watcher = made(backend, engine, clock)
    assert watcher.run_pass().settling == 2 and backend.worked == []
    clock.on(SETTLE)
    assert watcher.run_pass().done == 2
    passes(watcher, clock, 5)
    assert backend.worked == ["Image:1", "Image:2"]


def test_an_image_that_still_changes_or_has_no_pixels_is_left_alone(engine: object, clock: Clock) -> None:
    backend = FakeBackend({"Image:1": "0", "Image:2": ""})
    watcher = made(backend, engine, clock)
    for n in range(5):
        backend.images["Image:1"] = str(n)
        passes(watcher, clock, 1)
    assert backend.worked == []
    passes(watcher, clock, 2)
    assert backend.worked == ["Image:1"]


def test_a_wall_clock_that_jumps_neither_hurries_nor_stops_anything(engine: object, clock: Clock) -> None:
    backend = FakeBackend({"Image:1": "a", "Image:2": "a"}, broken={"Image:2": "bad"})
    watcher = made(backend, engine, clock)
    watcher.run_pass()
    clock.wall += 86_400
    watcher.run_pass()
    assert backend.worked == []
    clock.on(SETTLE)
    watcher.run_pass()
    assert backend.worked == ["Image:1", "Image:2"]
    clock.wall -= 10 * 86_400  # the retry now lies days ahead, further than any wait can be
    watcher.run_pass()
    assert backend.worked == ["Image:1", "Image:2", "Image:2"]


def test_a_poison_image_is_tried_ever_more_seldom_and_then_set_aside(engine: object, clock: Clock) -> None:
    backend = FakeBackend({"Image:1": "a"}, broken={"Image:1": "no such plane"})
    watcher = made(backend, engine, clock)
    passes(watcher, clock, 60, every=10)
    assert backend.worked == ["Image:1"] * 3
    (failure,) = watcher.state.failures.list_all()
    assert (failure.kind, failure.reason, failure.attempts) == ("aside", "no such plane", 3)
    backend.images["Image:1"] = "b"  # imported anew
    del backend.broken["Image:1"]
    passes(watcher, clock)
    assert backend.standing == {"Image:1"} and watcher.state.failures.list_all() == []


def test_a_retry_is_made_at_the_next_pass(engine: object, clock: Clock) -> None:
    backend = FakeBackend({"Image:1": "a"}, broken={"Image:1": "bad"})
    watcher = made(backend, engine, clock)
    passes(watcher, clock, 2)
    watcher.state.failures.forget("Dataset:1", "Image:1", "nuclei")
    passes(watcher, clock, 1)
    assert len(backend.worked) == 2


def test_an_image_that_ends_the_process_each_time_is_set_aside(engine: object, clock: Clock) -> None:
    backend = FakeBackend({"Image:1": "a", "Image:2": "a"}, fatal={"Image:1"}, folder=Path("/"))
    for pid in range(1, 6):  # each life finds the lease of one that is gone
        watcher = made(backend, engine, clock, pid=pid, alive=False)
        watcher.run_pass()
        clock.on(SETTLE)
        # What a killed process leaves is what stood before; an exception would tidy up.
        life = watcher.state.failures.uncount_attempts
        watcher.state.failures.uncount_attempts = lambda *_: None  # type: ignore[method-assign]
        try:
            watcher.run_pass()
        except SystemExit:
            continue
        finally:
            watcher.state.failures.uncount_attempts = life  # type: ignore[method-assign]
    assert backend.standing == {"Image:2"}
    assert [(f.image, f.kind) for f in watcher.state.failures.list_all()] == [("Image:1", "aside")]


def test_a_server_that_goes_costs_no_image_an_attempt_and_the_run_goes_on(engine: object, clock: Clock) -> None:
    backend = FakeBackend({f"Image:{n}": "a" for n in range(3)}, unreachable_after=1)
    watcher = made(backend, engine, clock)
    passes(watcher, clock, 2)
    assert watcher.status.health == (False, "gone") and backend.dropped == 1
    assert watcher.state.failures.list_all() == []
    assert watcher.state.runs.list_recent()[0].state == "interrupted"
    backend.unreachable_after = None
    passes(watcher, clock, 1)
    assert backend.resumed == [None, "20261121T053000-000001"] and backend.worked == ["Image:0", "Image:1", "Image:2"]
    assert watcher.state.runs.list_recent()[0].state == "finished" and watcher.status.health[0]


def test_a_changed_recipe_does_not_go_on_with_the_old_run(engine: object, clock: Clock) -> None:
    backend = FakeBackend({"Image:1": "a", "Image:2": "a"}, unreachable_after=1)
    watcher = made(backend, engine, clock)
    passes(watcher, clock, 2)
    backend.unreachable_after, backend.digest = None, "other"
    passes(watcher, clock, 1)
    assert backend.resumed == [None, None]
    assert {r.run_id: r.state for r in watcher.state.runs.list_recent()} == {
        "20261121T053000-000001": "dropped",
        "20261121T053000-000002": "finished",
    }


def test_two_watchers_never_work_on_the_same_container(engine: object, clock: Clock) -> None:
    backend = FakeBackend({"Image:1": "a"})
    one, two = made(backend, engine, clock, pid=1), made(backend, engine, clock, pid=2)
    for watcher in (one, two):
        watcher.run_pass()
    clock.on(SETTLE)
    notes: list[str] = []
    backend.during = lambda: notes.extend(o.note for o in two.run_pass().containers)
    one.run_pass()
    assert notes == ["another watcher is processing it"] and backend.worked == ["Image:1"]


def test_who_loses_its_lease_abandons_its_image(engine: object, clock: Clock) -> None:
    backend = FakeBackend({"Image:1": "a", "Image:2": "a"})
    one = made(backend, engine, clock, pid=1)
    one.run_pass()
    clock.on(SETTLE)

    def suspended() -> None:
        other = Leases(engine, WatcherProcess("holder9", "elsewhere", 9), lambda: clock.steady)  # type: ignore[arg-type]
        assert not other.acquire("Dataset:1")
        clock.on(91)
        assert other.acquire("Dataset:1")
        one.lease_guard.renew()

    backend.during = suspended
    result = one.run_pass()
    assert "taken over" in result.error and backend.worked == [] and one.state.failures.list_all() == []


def test_a_stop_ends_after_the_image_in_work_and_finishes_the_tables(engine: object, clock: Clock) -> None:
    backend = FakeBackend({"Image:1": "a", "Image:2": "a"})
    watcher = made(backend, engine, clock)
    watcher.run_pass()
    clock.on(SETTLE)
    backend.during = watcher.stop.requested.set
    assert "told to stop" in watcher.run_pass().error
    assert backend.worked == ["Image:1"] and backend.resumed == [None, "20261121T053000-000001"]
    assert watcher.state.runs.list_recent()[0].state == "finished"


def test_a_stop_at_once_abandons_the_image_in_work(engine: object, clock: Clock) -> None:
    backend = FakeBackend({"Image:1": "a"})
    watcher = made(backend, engine, clock)
    watcher.run_pass()
    clock.on(SETTLE)
    backend.during = lambda: (watcher.stop.requested.set(), watcher.stop.immediate.set())
    watcher.run_pass()
    assert backend.worked == [] and watcher.state.failures.list_all() == []


def test_what_is_paused_waits(engine: object, clock: Clock) -> None:
    backend = FakeBackend({"Image:1": "a"})
    watcher = made(backend, engine, clock)
    watcher.state.pauses.set_paused("Dataset:1", True)
    passes(watcher, clock, 3)
    assert backend.worked == []
    watcher.state.pauses.set_paused("Dataset:1", False)
    passes(watcher, clock, 1)
    assert backend.worked == ["Image:1"]


def test_an_order_that_cannot_be_carried_out_keeps_no_other_waiting(engine: object, clock: Clock) -> None:
    gone = WatchTarget("Dataset:404", RECIPE, "watch 'gone'")
    unclear = RefusedTarget("Dataset:5", "opt-in 3", "no recipe")
    backend = FakeBackend({"Image:1": "a"}, listed=[gone, unclear, ORDER])
    watcher = made(backend, engine, clock)
    passes(watcher, clock, 2)
    assert backend.worked == ["Image:1"]
    assert {p.key for p in watcher.status.last_pass.problems} == {"Dataset:404", "Dataset:5"}  # type: ignore[union-attr]


def test_two_recipes_of_one_name_do_not_replace_each_other_for_ever(engine: object, clock: Clock) -> None:
    other = WatchTarget(
        "Dataset:1", RECIPE.model_copy(update={"classifier": ClassifierSettings(project="o.ilp")}), "opt-in 4"
    )
    backend = FakeBackend({"Image:1": "a"}, listed=[ORDER, other])
    watcher = made(backend, engine, clock)
    passes(watcher, clock, 4)
    assert backend.worked == ["Image:1"]
    (problem,) = watcher.status.last_pass.problems  # type: ignore[union-attr]
    assert problem.origin == "opt-in 4" and "another recipe called nuclei" in problem.reason
    backend.listed = [WatchTarget("Dataset:1", other.recipe, "request 7", 7), ORDER]
    passes(watcher, clock, 1)
    assert [a[:2] for a in backend.answers] == [(7, "failed")]


def test_a_request_is_answered_with_what_stands_and_what_failed(engine: object, clock: Clock) -> None:
    asked = WatchTarget("Dataset:1", RECIPE, "request 7 of ada", 7)
    backend = FakeBackend({"Image:1": "a", "Image:2": "a"}, broken={"Image:2": "too dark"}, listed=[asked])
    watcher = made(backend, engine, clock)
    watcher.run_pass()
    assert backend.answers == []  # its import may be going on
    clock.on(SETTLE)
    watcher.run_pass()
    assert [a[1] for a in backend.answers] == ["running", "done"]
    assert "1 of 2 images" in backend.answers[-1][2] and "Image:2: too dark" in backend.answers[-1][2]
    assert backend.worked == ["Image:1", "Image:2"] and watcher.state.failures.list_all() == []


def test_the_queue_shows_how_each_request_stands_until_it_is_answered(engine: object, clock: Clock) -> None:
    first, second = (
        WatchTarget("Dataset:1", RECIPE.model_copy(update={"name": f"r{n}"}), f"request {n}", n) for n in (7, 8)
    )
    backend = FakeBackend({"Image:1": "a", "Image:2": "a"}, listed=[first, second])
    watcher = made(backend, engine, clock)
    assert watcher.run_pass().open_requests == 2
    waits = "waiting for the import of 2 images"
    assert [(a.target.request, a.note) for a in watcher.status.requests] == [(7, waits), (8, waits)]
    clock.on(SETTLE)
    watcher.state.pauses.set_paused("Dataset:1", True)
    watcher.run_pass()
    assert [a.note for a in watcher.status.requests] == ["paused", "paused"]
    watcher.state.pauses.set_paused("Dataset:1", False)
    seen: list[list[str]] = []
    backend.during = lambda: seen.append([a.note for a in watcher.status.requests])
    assert watcher.run_pass().open_requests == 0 and watcher.status.requests == ()
    assert seen == [["processing 2 images in Dataset:1", "queued"]] * 2
    assert backend.answers[-1] == (8, "done", "results on 2 of 2 images")


def test_a_request_that_cannot_be_answered_keeps_nobody_waiting(engine: object, clock: Clock) -> None:
    asked = WatchTarget("Dataset:1", RECIPE.model_copy(update={"name": "asked"}), "request 7 of ada", 7)
    unclear = RefusedTarget("Dataset:1", "request 8", "no recipe", 8)
    backend = FakeBackend({"Image:1": "a"}, listed=[asked, unclear, ORDER], mute=True)
    watcher = made(backend, engine, clock)
    passes(watcher, clock, 2)
    assert backend.worked == ["Image:1"] and watcher.status.health[0]
    told = [p.reason for p in watcher.status.last_pass.problems]  # type: ignore[union-attr]
    assert sum("cannot be answered" in reason for reason in told) == 2
