"""A run from its request to its report: plan, work on the images, finish the containers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from omero_pixclf.errors import ConflictError, PixclfError
from omero_pixclf.image import ImageInfo
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.containers import build_container_tables
from omero_pixclf.runs.drawing_errors import attempt
from omero_pixclf.runs.execution.serial import Executor, ImageOutcome
from omero_pixclf.runs.failures import write_failure_list
from omero_pixclf.runs.planning.plan import PlanItem, select_inputs
from omero_pixclf.runs.protocols import ResultSink
from omero_pixclf.runs.state.manifest import Manifest
from omero_pixclf.table import Table

__all__ = ["ContainerOutcome", "Event", "Pictures", "RunFinished", "RunPlanned", "execute_run", "finish_container"]


MAX_MERGES = 5  # times to merge a container's tables again when other runs store theirs meanwhile


@dataclass(frozen=True)
class RunPlanned:
    """The plan stands; work begins."""

    run_id: str
    folder: Path
    items: tuple[PlanItem, ...]


@dataclass(frozen=True)
class ContainerOutcome:
    """What was put on a container, as ``{"summary": "FileAnnotation:31", …}``, or why not."""

    container: str
    name: str
    written: tuple[tuple[str, str], ...] = ()
    pictures: tuple[Path, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class RunFinished:
    """The run is over."""

    run_id: str
    outcomes: tuple[ImageOutcome, ...]
    containers: tuple[ContainerOutcome, ...]

    @property
    def failed(self) -> bool:
        """Whether an image or a container is without its results."""
        return any(o.state in ("failed", "refused") for o in self.outcomes) or any(c.reason for c in self.containers)


Event = RunPlanned | ImageOutcome | ContainerOutcome | RunFinished


Pictures = Callable[[Sequence[ImageInfo], Mapping[str, Table]], Sequence[Path]]


def execute_run(
    items: Sequence[PlanItem],
    manifest: Manifest,
    sink: ResultSink,
    record: RunRecord,
    executor: Executor,
    pictures: Pictures,
    *,
    tables: bool = True,
    finish: bool = True,
) -> Iterator[Event]:
    """Carry out a plan and yield what happens.

    A container is finished as soon as its last image is, so that a run that stops early leaves finished containers.
    Its tables and pictures are left alone where none of its images was worked on, and where ``finish`` is off: a shard
    knows only some of the images.
    """
    yield RunPlanned(record.run_id, manifest.folder, tuple(items))
    items = select_inputs(items)
    outcomes: list[ImageOutcome] = []
    containers: list[ContainerOutcome] = []
    left = Counter(item.image.place.container for item in items)
    members: dict[str, list[ImageInfo]] = {}
    for item in items:
        members.setdefault(item.image.place.container, []).append(item.image)
    for outcome in executor(items, manifest):
        outcomes.append(outcome)
        yield outcome
        container = outcome.image.place.container
        left[container] -= 1
        if finish and not left[container] and manifest.unfinished(container):
            done = finish_container(members[container], manifest, sink, record, pictures, tables=tables)
            containers.append(done)
            yield done
    yield RunFinished(record.run_id, tuple(outcomes), tuple(containers))


def finish_container(
    images: Sequence[ImageInfo],
    manifest: Manifest,
    sink: ResultSink,
    record: RunRecord,
    pictures: Pictures,
    *,
    tables: bool = True,
) -> ContainerOutcome:
    """One container's tables and pictures, from what its images left; a refusal there does not end the run."""
    container, name = images[0].place.container, images[0].place.name
    for merge in range(MAX_MERGES):
        try:
            standing = sink.load_tables(container, record.recipe) if tables else {}
            rows = build_container_tables(images, manifest, standing)
            drawn = tuple(attempt(f"{container}: pictures and report", partial(pictures, images, rows)) or ())
            drawn += attempt(f"{container}: failures.csv", partial(write_failure_list, manifest, container)) or ()
            written = sink.finish(container, record, rows if tables else {}, drawn)
        except ConflictError as error:
            if merge + 1 == MAX_MERGES:
                return ContainerOutcome(container, name, reason=str(error))
        except PixclfError as error:
            return ContainerOutcome(container, name, reason=str(error))
        else:
            break
    manifest.finish(container)
    return ContainerOutcome(container, name, tuple(written.items()), drawn)
