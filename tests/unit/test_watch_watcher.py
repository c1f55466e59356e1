"""One pass after another over a facility made by hand, with a clock that the test turns."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from omero_pixclf.config import Classifier, Recipe
from omero_pixclf.errors import MissingError, NotAllowedError, UnreachableError
from omero_pixclf.image import ImageInfo, Place
from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.runs.planning.plan import PlanItem
from omero_pixclf.runs.run import ContainerOutcome, Event, RunFinished, RunPlanned
from omero_pixclf.watch.backoff import Backoff, Failures
from omero_pixclf.watch.container_runner import Memory
from omero_pixclf.watch.import_settling import Settling
from omero_pixclf.watch.lease_guard import Stop, Watchman
from omero_pixclf.watch.leases import Leases
from omero_pixclf.watch.metrics import Metrics
from omero_pixclf.watch.protocols import Candidate, Guard, Order, Part, Refused
from omero_pixclf.watch.run_table import Pauses, RunLog
from omero_pixclf.watch.state import Holder, open_state
from omero_pixclf.watch.status import Board
from omero_pixclf.watch.watcher import Watcher

RECIPE = Recipe(name="nuclei", classifier=Classifier(project="n.ilp"))
ORDER = Order("Dataset:1", RECIPE, "watch 'w'")
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
class FakeFacility:
    """Images by name with their versions; ``broken`` ones fail, ``fatal`` ones end the process."""

    images: dict[str, str]
    standing: set[str] = field(default_factory=set)
    broken: dict[str, str] = field(default_factory=dict)
    fatal: set[str] = field(default_factory=set)
    listed: list[Order | Refused] = field(default_factory=lambda: [ORDER])
    worked: list[str] = field(default_factory=list)
    resumed: list[str | None] = field(default_factory=list)
    answers: list[tuple[int, str, str]] = field(default_factory=list)
    digest: str = "hash"
    unreachable_after: int | None = None
    dropped: int = 0
    folder: Path = Path("/")
    during: object = None
    mute: bool = False

    def orders(self) -> Iterator[Order | Refused]:
        yield from self.listed

    def look(self, order: Order) -> list[Part]:
        if order.target == "Dataset:404":
            raise MissingError("Dataset:404: not there")
        found = tuple(Candidate(k, k, v, k in self.standing) for k, v in self.images.items())
        return [Part("Dataset:1", "d", self.digest + order.recipe.classifier.project, found)]

    def run(
        self, order: Order, part: Part, chosen: Collection[str], *, resume: str | None, guard: Guard
    ) -> Iterator[Event]:
        self.resumed.append(resume)
        run_id = resume or f"20261121T053000-{len(self.resumed):06d}"
        infos = [ImageInfo(k, k, (1, 1, 1, 1, 1), "uint8", (), place=Place("Dataset:1")) for k in chosen]
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

    def answer(self, request: int, state: str, message: str) -> None:
        if self.mute:
            raise NotAllowedError("may not annotate")
        self.answers.append((request, state, message))

    def drop(self) -> None:
        self.dropped += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine() -> object:
    return open_state("sqlite://")


def made(facility: FakeFacility, engine: object, clock: Clock, *, pid: int = 1, alive: bool = True) -> Watcher:
    holder = Holder(f"holder{pid}", "here", pid)
    backoff = Backoff(attempts=3, first=60, longest=3600)
    memory = Memory(
        Failures(engine, backoff, lambda: clock.wall),  # type: ignore[arg-type]
        RunLog(engine, holder, lambda: clock.wall),  # type: ignore[arg-type]
        Pauses(engine),  # type: ignore[arg-type]
    )
    leases = Leases(engine, holder, lambda: clock.steady, lambda pid: alive)  # type: ignore[arg-type]
    board = Board(lambda: clock.steady, 3600)
    watchman = Watchman(leases, Stop())
    return Watcher(
        facility, memory, watchman, Settling(SETTLE), board, Metrics(),
        steady=lambda: clock.steady, now=lambda: clock.wall,
    )  # fmt: skip


def passes(watcher: Watcher, clock: Clock, count: int = 2, every: float = SETTLE) -> None:
    for _ in range(count):
        watcher.look_after()
        clock.on(every)


def test_images_are_done_once_settled_and_never_again(engine: object, clock: Clock) -> None:
    facility = FakeFacility({"Image:1": "a", "Image:2": "a"})
    watcher = made(facility, engine, clock)
    assert watcher.look_after().settling == 2 and facility.worked == []
    clock.on(SETTLE)
    assert watcher.look_after().done == 2
    passes(watcher, clock, 5)
    assert facility.worked == ["Image:1", "Image:2"]


def test_an_image_that_still_changes_or_has_no_pixels_is_left_alone(engine: object, clock: Clock) -> None:
    facility = FakeFacility({"Image:1": "0", "Image:2": ""})
    watcher = made(facility, engine, clock)
    for n in range(5):
        facility.images["Image:1"] = str(n)
        passes(watcher, clock, 1)
    assert facility.worked == []
    passes(watcher, clock, 2)
    assert facility.worked == ["Image:1"]


def test_a_wall_clock_that_jumps_neither_hurries_nor_stops_anything(engine: object, clock: Clock) -> None:
    facility = FakeFacility({"Image:1": "a", "Image:2": "a"}, broken={"Image:2": "bad"})
    watcher = made(facility, engine, clock)
    watcher.look_after()
    clock.wall += 86_400
    watcher.look_after()
    assert facility.worked == []
    clock.on(SETTLE)
    watcher.look_after()
    assert facility.worked == ["Image:1", "Image:2"]
    clock.wall -= 10 * 86_400  # the retry now lies days ahead, further than any wait can be
    watcher.look_after()
    assert facility.worked == ["Image:1", "Image:2", "Image:2"]


def test_a_poison_image_is_tried_ever_more_seldom_and_then_set_aside(engine: object, clock: Clock) -> None:
    facility = FakeFacility({"Image:1": "a"}, broken={"Image:1": "no such plane"})
    watcher = made(facility, engine, clock)
    passes(watcher, clock, 60, every=10)
    assert facility.worked == ["Image:1"] * 3
    (failure,) = watcher.memory.failures.all()
    assert (failure.kind, failure.reason, failure.attempts) == ("aside", "no such plane", 3)
    facility.images["Image:1"] = "b"  # imported anew
    del facility.broken["Image:1"]
    passes(watcher, clock)
    assert facility.standing == {"Image:1"} and watcher.memory.failures.all() == []


def test_a_retry_is_made_at_the_next_pass(engine: object, clock: Clock) -> None:
    facility = FakeFacility({"Image:1": "a"}, broken={"Image:1": "bad"})
    watcher = made(facility, engine, clock)
    passes(watcher, clock, 2)
    watcher.memory.failures.forget("Dataset:1", "Image:1", "nuclei")
    passes(watcher, clock, 1)
    assert len(facility.worked) == 2


def test_an_image_that_ends_the_process_each_time_is_set_aside(engine: object, clock: Clock) -> None:
    facility = FakeFacility({"Image:1": "a", "Image:2": "a"}, fatal={"Image:1"}, folder=Path("/"))
    for pid in range(1, 6):  # each life finds the lease of one that is gone
        watcher = made(facility, engine, clock, pid=pid, alive=False)
        watcher.look_after()
        clock.on(SETTLE)
        # What a killed process leaves is what stood before; an exception would tidy up.
        life = watcher.memory.failures.interrupted
        watcher.memory.failures.interrupted = lambda *_: None  # type: ignore[method-assign]
        try:
            watcher.look_after()
        except SystemExit:
            continue
        finally:
            watcher.memory.failures.interrupted = life  # type: ignore[method-assign]
    assert facility.standing == {"Image:2"}
    assert [(f.image, f.kind) for f in watcher.memory.failures.all()] == [("Image:1", "aside")]


def test_a_server_that_goes_costs_no_image_an_attempt_and_the_run_goes_on(engine: object, clock: Clock) -> None:
    facility = FakeFacility({f"Image:{n}": "a" for n in range(3)}, unreachable_after=1)
    watcher = made(facility, engine, clock)
    passes(watcher, clock, 2)
    assert watcher.board.health == (False, "gone") and facility.dropped == 1
    assert watcher.memory.failures.all() == []
    assert watcher.memory.runs.recent()[0].state == "interrupted"
    facility.unreachable_after = None
    passes(watcher, clock, 1)
    assert facility.resumed == [None, "20261121T053000-000001"] and facility.worked == ["Image:0", "Image:1", "Image:2"]
    assert watcher.memory.runs.recent()[0].state == "finished" and watcher.board.health[0]


def test_a_changed_recipe_does_not_go_on_with_the_old_run(engine: object, clock: Clock) -> None:
    facility = FakeFacility({"Image:1": "a", "Image:2": "a"}, unreachable_after=1)
    watcher = made(facility, engine, clock)
    passes(watcher, clock, 2)
    facility.unreachable_after, facility.digest = None, "other"
    passes(watcher, clock, 1)
    assert facility.resumed == [None, None]
    assert {r.run_id: r.state for r in watcher.memory.runs.recent()} == {
        "20261121T053000-000001": "dropped",
        "20261121T053000-000002": "finished",
    }


def test_two_watchers_never_work_on_the_same_container(engine: object, clock: Clock) -> None:
    facility = FakeFacility({"Image:1": "a"})
    one, two = made(facility, engine, clock, pid=1), made(facility, engine, clock, pid=2)
    for watcher in (one, two):
        watcher.look_after()
    clock.on(SETTLE)
    notes: list[str] = []
    facility.during = lambda: notes.extend(o.note for o in two.look_after().outlooks)
    one.look_after()
    assert notes == ["another watcher is working on it"] and facility.worked == ["Image:1"]


def test_who_loses_its_lease_abandons_its_image(engine: object, clock: Clock) -> None:
    facility = FakeFacility({"Image:1": "a", "Image:2": "a"})
    one = made(facility, engine, clock, pid=1)
    one.look_after()
    clock.on(SETTLE)

    def suspended() -> None:
        other = Leases(engine, Holder("holder9", "elsewhere", 9), lambda: clock.steady)  # type: ignore[arg-type]
        assert not other.take("Dataset:1")
        clock.on(91)
        assert other.take("Dataset:1")
        one.watchman.beat()

    facility.during = suspended
    result = one.look_after()
    assert "taken over" in result.error and facility.worked == [] and one.memory.failures.all() == []


def test_a_stop_ends_after_the_image_in_work_and_finishes_the_tables(engine: object, clock: Clock) -> None:
    facility = FakeFacility({"Image:1": "a", "Image:2": "a"})
    watcher = made(facility, engine, clock)
    watcher.look_after()
    clock.on(SETTLE)
    facility.during = watcher.stop.wanted.set
    assert "told to stop" in watcher.look_after().error
    assert facility.worked == ["Image:1"] and facility.resumed == [None, "20261121T053000-000001"]
    assert watcher.memory.runs.recent()[0].state == "finished"


def test_a_stop_at_once_abandons_the_image_in_work(engine: object, clock: Clock) -> None:
    facility = FakeFacility({"Image:1": "a"})
    watcher = made(facility, engine, clock)
    watcher.look_after()
    clock.on(SETTLE)
    facility.during = lambda: (watcher.stop.wanted.set(), watcher.stop.at_once.set())
    watcher.look_after()
    assert facility.worked == [] and watcher.memory.failures.all() == []


def test_what_is_paused_waits(engine: object, clock: Clock) -> None:
    facility = FakeFacility({"Image:1": "a"})
    watcher = made(facility, engine, clock)
    watcher.memory.pauses.set("Dataset:1", True)
    passes(watcher, clock, 3)
    assert facility.worked == []
    watcher.memory.pauses.set("Dataset:1", False)
    passes(watcher, clock, 1)
    assert facility.worked == ["Image:1"]


def test_an_order_that_cannot_be_carried_out_keeps_no_other_waiting(engine: object, clock: Clock) -> None:
    gone = Order("Dataset:404", RECIPE, "watch 'gone'")
    unclear = Refused("Dataset:5", "opt-in 3", "no recipe")
    facility = FakeFacility({"Image:1": "a"}, listed=[gone, unclear, ORDER])
    watcher = made(facility, engine, clock)
    passes(watcher, clock, 2)
    assert facility.worked == ["Image:1"]
    assert {p.target for p in watcher.board.last.problems} == {"Dataset:404", "Dataset:5"}  # type: ignore[union-attr]


def test_two_recipes_of_one_name_do_not_replace_each_other_for_ever(engine: object, clock: Clock) -> None:
    other = Order("Dataset:1", RECIPE.model_copy(update={"classifier": Classifier(project="o.ilp")}), "opt-in 4")
    facility = FakeFacility({"Image:1": "a"}, listed=[ORDER, other])
    watcher = made(facility, engine, clock)
    passes(watcher, clock, 4)
    assert facility.worked == ["Image:1"]
    (problem,) = watcher.board.last.problems  # type: ignore[union-attr]
    assert problem.origin == "opt-in 4" and "another recipe called nuclei" in problem.reason
    facility.listed = [Order("Dataset:1", other.recipe, "request 7", 7), ORDER]
    passes(watcher, clock, 1)
    assert [a[:2] for a in facility.answers] == [(7, "failed")]


def test_a_request_is_answered_with_what_stands_and_what_failed(engine: object, clock: Clock) -> None:
    asked = Order("Dataset:1", RECIPE, "request 7 of ada", 7)
    facility = FakeFacility({"Image:1": "a", "Image:2": "a"}, broken={"Image:2": "too dark"}, listed=[asked])
    watcher = made(facility, engine, clock)
    watcher.look_after()
    assert facility.answers == []  # its import may be going on
    clock.on(SETTLE)
    watcher.look_after()
    assert [a[1] for a in facility.answers] == ["running", "done"]
    assert "1 of 2 images" in facility.answers[-1][2] and "Image:2: too dark" in facility.answers[-1][2]
    assert facility.worked == ["Image:1", "Image:2"] and watcher.memory.failures.all() == []


def test_the_queue_shows_how_each_request_stands_until_it_is_answered(engine: object, clock: Clock) -> None:
    first, second = (Order("Dataset:1", RECIPE.model_copy(update={"name": f"r{n}"}), f"request {n}", n) for n in (7, 8))
    facility = FakeFacility({"Image:1": "a", "Image:2": "a"}, listed=[first, second])
    watcher = made(facility, engine, clock)
    assert watcher.look_after().asked == 2
    waits = "waits until the import of 2 images has settled"
    assert [(a.order.request, a.note) for a in watcher.board.queue] == [(7, waits), (8, waits)]
    clock.on(SETTLE)
    watcher.memory.pauses.set("Dataset:1", True)
    watcher.look_after()
    assert [a.note for a in watcher.board.queue] == ["paused", "paused"]
    watcher.memory.pauses.set("Dataset:1", False)
    seen: list[list[str]] = []
    facility.during = lambda: seen.append([a.note for a in watcher.board.queue])
    assert watcher.look_after().asked == 0 and watcher.board.queue == ()
    assert seen == [["working on 2 images in Dataset:1", "waits for its turn"]] * 2
    assert facility.answers[-1] == (8, "done", "results on 2 of 2 images")


def test_without_progress_the_watcher_is_not_well(clock: Clock) -> None:
    board = Board(lambda: clock.steady, 100)
    board.moved("Image:1")
    clock.on(101)
    healthy, message = board.health
    assert not healthy and "Image:1" in message


def test_a_request_that_cannot_be_answered_keeps_nobody_waiting(engine: object, clock: Clock) -> None:
    asked = Order("Dataset:1", RECIPE.model_copy(update={"name": "asked"}), "request 7 of ada", 7)
    unclear = Refused("Dataset:1", "request 8", "no recipe", 8)
    facility = FakeFacility({"Image:1": "a"}, listed=[asked, unclear, ORDER], mute=True)
    watcher = made(facility, engine, clock)
    passes(watcher, clock, 2)
    assert facility.worked == ["Image:1"] and watcher.board.health[0]
    told = [p.reason for p in watcher.board.last.problems]  # type: ignore[union-attr]
    assert sum("cannot be answered" in reason for reason in told) == 2
