"""A whole run: process the images of a plan, and write the tables and pictures of each container."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from omero_pixclf.errors import ConflictError, PixclfError
from omero_pixclf.image import ImageInfo
from omero_pixclf.provenance import RunRecord, utc_now
from omero_pixclf.runs.containers import build_container_tables
from omero_pixclf.runs.drawing_errors import try_drawing
from omero_pixclf.runs.execution.serial import Executor, ImageOutcome
from omero_pixclf.runs.planning.plan import PlanItem, select_inputs
from omero_pixclf.runs.protocols import PictureDrawer, ResultSink
from omero_pixclf.runs.state.failure_list import write_failure_list
from omero_pixclf.runs.state.manifest import Manifest
from omero_pixclf.table import Table

__all__ = [
    "MAX_MERGES",
    "ContainerOutcome",
    "Event",
    "RunFinished",
    "RunOutput",
    "RunPlanned",
    "execute_run",
    "finish_container",
]


MAX_MERGES = 5  # times to merge a container's tables again when other runs store theirs meanwhile


@dataclass(frozen=True)
class RunPlanned:
    """The plan is made; processing starts."""

    run_id: str
    folder: Path
    items: tuple[PlanItem, ...]


@dataclass(frozen=True)
class ContainerOutcome:
    """What was stored on a container, as ``{"summary": "FileAnnotation:31", …}``, or why nothing was."""

    container: str
    name: str
    written: tuple[tuple[str, str], ...] = ()
    pictures: tuple[Path, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class RunFinished:
    """The run has ended."""

    run_id: str
    outcomes: tuple[ImageOutcome, ...]
    containers: tuple[ContainerOutcome, ...]

    @property
    def failed(self) -> bool:
        """Whether an image or a container has no results."""
        return any(o.state in ("failed", "refused") for o in self.outcomes) or any(c.reason for c in self.containers)


Event = RunPlanned | ImageOutcome | ContainerOutcome | RunFinished


@dataclass(frozen=True)
class RunOutput:
    """Where the results of a run's containers go, and what they are made from.

    Attributes
    ----------
    record
        The ledger's entry for the run's tables.
    drawer
        Draws pictures and reports; None: there are none.
    now
        The clock.
    tables
        Whether containers get tables.
    """

    manifest: Manifest
    sink: ResultSink
    record: RunRecord
    drawer: PictureDrawer | None = None
    now: Callable[[], datetime] = utc_now
    tables: bool = True


def execute_run(
    items: Sequence[PlanItem], executor: Executor, output: RunOutput, *, finish: bool = True
) -> Iterator[Event]:
    """Process the images of a plan, write the tables of their containers, and yield an event for each step.

    A container is finished as soon as its last image is, so that a run that stops early leaves finished containers.
    Its tables and pictures are not changed where none of its images was processed.

    Parameters
    ----------
    items
        The plan.
    executor
        Processes the images.
    output
        Where the results go.
    finish
        Whether containers get tables and pictures; a shard, which has only some of the images, writes none.
    """
    manifest = output.manifest
    yield RunPlanned(output.record.run_id, manifest.folder, tuple(items))
    items = select_inputs(items)
    outcomes: list[ImageOutcome] = []
    containers: list[ContainerOutcome] = []
    remaining = Counter(item.image.place.container for item in items)
    members: dict[str, list[ImageInfo]] = {}
    for item in items:
        members.setdefault(item.image.place.container, []).append(item.image)
    for outcome in executor(items, manifest):
        outcomes.append(outcome)
        yield outcome
        container = outcome.image.place.container
        remaining[container] -= 1
        if finish and not remaining[container] and manifest.is_container_pending(container):
            containers.append(finish_container(members[container], output))
            yield containers[-1]
    yield RunFinished(output.record.run_id, tuple(outcomes), tuple(containers))


def finish_container(images: Sequence[ImageInfo], output: RunOutput) -> ContainerOutcome:
    """Write the tables and pictures of one container, from what its images left; a refusal does not end the run.

    Where another run has stored tables meanwhile, they are merged again, at most `MAX_MERGES` times.
    """
    container, name = images[0].place.container, images[0].place.name
    for merge in range(MAX_MERGES):
        try:
            standing = output.sink.load_tables(container, output.record.recipe) if output.tables else {}
            rows = build_container_tables(images, output.manifest, standing)
            attachments = _draw_attachments(images, rows, output)
            written = output.sink.finish(container, output.record, rows if output.tables else {}, attachments)
        except ConflictError as error:
            if merge + 1 == MAX_MERGES:
                return ContainerOutcome(container, name, reason=str(error))
        except PixclfError as error:
            return ContainerOutcome(container, name, reason=str(error))
        else:
            break
    output.manifest.mark_container_finished(container)
    return ContainerOutcome(container, name, tuple(written.items()), attachments)


def _draw_attachments(images: Sequence[ImageInfo], tables: Mapping[str, Table], output: RunOutput) -> tuple[Path, ...]:
    """Pictures, report and list of failures of a container; what cannot be made is left out."""
    container, manifest = images[0].place.container, output.manifest
    attachments: tuple[Path, ...] = ()
    if output.drawer is not None:
        record = replace(output.record, finished=output.now())
        draw = partial(output.drawer.draw_report, manifest, record, images, tables)
        attachments = tuple(try_drawing(f"{container}: pictures and report", draw) or ())
    failures = partial(write_failure_list, manifest, container)
    return attachments + (try_drawing(f"{container}: failures.csv", failures) or ())
