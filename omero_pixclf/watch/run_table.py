"""The watcher's runs in the state database: running, interrupted and finished ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, delete, insert, select, update

from omero_pixclf.provenance import is_run_id
from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.runs.run import ContainerOutcome, RunFinished, RunPlanned
from omero_pixclf.runs.state.manifest import is_run_folder
from omero_pixclf.watch.protocols import ContainerImages, WatchTarget
from omero_pixclf.watch.state import WatcherProcess, paused, runs, transaction

__all__ = ["ContainerRun", "PauseTable", "RunTable"]


@dataclass(frozen=True)
class ContainerRun:
    """A run on one container.

    Attributes
    ----------
    state
        ``running``; ``interrupted``: to be resumed; ``finished``; ``dropped``: cannot be resumed.
    place
        Id of the installation that keeps the run's folder; only a watcher of that installation can resume the run.
    folder
        Path of the run's folder.
    started, ended
        Seconds since 1970.
    images
        Number of images to process.
    done, failed
        Numbers of images by result; images refused by the plan count as failed.
    message
        Why the run was interrupted or is not finished.
    sheet
        Path of the contact sheet; empty while there is none.
    """

    run_id: str
    container: str
    name: str
    recipe: str
    recipe_hash: str
    origin: str
    place: str
    folder: str
    state: str
    started: float
    ended: float | None
    images: int
    done: int
    failed: int
    message: str
    sheet: str


class RunTable:
    """The runs in the state database.

    Parameters
    ----------
    process
        The calling process; its installation decides which runs can be resumed.
    now
        Seconds since 1970.
    keep
        Number of finished runs to keep, with their folders.
    """

    def __init__(self, engine: Engine, process: WatcherProcess, now: Callable[[], float], *, keep: int = 500) -> None:
        self._engine, self._now, self._keep, self._installation = engine, now, keep, process.installation

    def record_plan(self, target: WatchTarget, container: ContainerImages, plan: RunPlanned) -> None:
        """Record that a run begins, or that an earlier one is resumed."""
        images = sum(i.decision not in ("done", "made") for i in plan.items)
        with transaction(self._engine) as db:
            same = runs.c.run_id == plan.run_id
            known = db.execute(select(runs.c.done).where(same)).scalar_one_or_none()
            if known is not None:
                values = {"state": "running", "images": known + images, "failed": 0, "message": "", "ended": None}
                db.execute(update(runs).where(same).values(**values))
                return
            row = {
                "run_id": plan.run_id, "container": container.key, "name": container.name,
                "recipe": target.recipe.title, "recipe_hash": container.recipe_hash, "origin": target.origin,
                "place": self._installation, "folder": str(plan.folder), "state": "running", "started": self._now(),
                "ended": None, "images": images, "done": 0, "failed": 0, "message": "", "sheet": "",
            }  # fmt: skip
            db.execute(insert(runs).values(**row))

    def record_image(self, run_id: str, outcome: ImageOutcome) -> None:
        """Count an image that has ended."""
        column = {"done": runs.c.done, "failed": runs.c.failed, "refused": runs.c.failed}.get(outcome.state)
        if column is not None:
            with transaction(self._engine) as db:
                db.execute(update(runs).where(runs.c.run_id == run_id).values({column: column + 1}))

    def record_container(self, run_id: str, outcome: ContainerOutcome) -> None:
        """Record that the container got its tables and its contact sheet, or the reason why not."""
        sheet = next((str(p) for p in outcome.pictures if p.name == "contact_sheet.png"), "")
        with transaction(self._engine) as db:
            db.execute(update(runs).where(runs.c.run_id == run_id).values(sheet=sheet, message=outcome.reason))

    def record_end(self, run_id: str, ended: RunFinished | str) -> None:
        """Record that a run has ended, or was interrupted (with the reason); delete old runs."""
        unfinished = isinstance(ended, str) or any(c.reason for c in ended.containers)
        values: dict[str, object] = {"state": "interrupted" if unfinished else "finished", "ended": self._now()}
        if isinstance(ended, str):
            values["message"] = ended
        with transaction(self._engine) as db:
            db.execute(update(runs).where(runs.c.run_id == run_id).values(**values))
        self._delete_old()

    def find_unfinished(self, container: ContainerImages, recipe: str) -> str | None:
        """Return the id of the newest run to resume on a container; None if there is none with a folder here."""
        return next((r.run_id for r in self._list_unfinished(container, recipe) if _can_resume(r, container)), None)

    def drop_stale(self, container: ContainerImages, recipe: str) -> None:
        """Mark runs that cannot be resumed as dropped; the results of their completed images remain."""
        values = {"state": "dropped", "message": "the recipe has changed, or the run folder is gone"}
        for run in self._list_unfinished(container, recipe):
            if not _can_resume(run, container):
                with transaction(self._engine) as db:
                    db.execute(update(runs).where(runs.c.run_id == run.run_id).values(**values, ended=self._now()))

    def _list_unfinished(self, container: ContainerImages, recipe: str) -> list[ContainerRun]:
        query = select(runs).where(
            (runs.c.container == container.key)
            & (runs.c.recipe == recipe)
            & (runs.c.place == self._installation)
            & runs.c.state.in_(("running", "interrupted"))
        )
        with transaction(self._engine) as db:
            return [ContainerRun(**dict(row)) for row in db.execute(query.order_by(runs.c.started.desc())).mappings()]

    def list_recent(self, count: int = 25) -> list[ContainerRun]:
        """Return the newest runs, newest first."""
        with transaction(self._engine) as db:
            query = select(runs).order_by(runs.c.started.desc()).limit(count)
            return [ContainerRun(**dict(row)) for row in db.execute(query).mappings()]

    def get(self, run_id: str) -> ContainerRun | None:
        """Return a run by its id; None if it is not known."""
        with transaction(self._engine) as db:
            row = db.execute(select(runs).where(runs.c.run_id == run_id)).mappings().one_or_none()
        return ContainerRun(**dict(row)) if row else None

    def _delete_old(self) -> None:
        ended = runs.c.state.in_(("finished", "dropped")) & (runs.c.place == self._installation)
        with transaction(self._engine) as db:
            query = select(runs.c.run_id, runs.c.folder).where(ended).order_by(runs.c.started.desc())
            for run_id, folder in db.execute(query.offset(self._keep)).all():
                _remove_folder(Path(folder), run_id)
                db.execute(delete(runs).where(runs.c.run_id == run_id))


def _remove_folder(folder: Path, run_id: str) -> None:
    """Remove a run's folder; a folder that is not one, although the database names it, is left alone."""
    if is_run_id(run_id) and folder.name == run_id and is_run_folder(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _can_resume(run: ContainerRun, container: ContainerImages) -> bool:
    """Whether a run can be resumed: the same recipe, its folder exists, and its id is a plain file name."""
    is_plain = Path(run.run_id).name == run.run_id and run.run_id not in ("", ".", "..")
    return is_plain and run.recipe_hash == container.recipe_hash and Path(run.folder).is_dir()


class PauseTable:
    """The paused containers in the state database; ``*`` means all."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list_all(self) -> frozenset[str]:
        """Return the keys of the paused containers."""
        with transaction(self._engine) as db:
            return frozenset(db.execute(select(paused.c.container)).scalars())

    def set_paused(self, container: str, wanted: bool) -> None:
        """Pause a container, or end its pause."""
        with transaction(self._engine) as db:
            db.execute(delete(paused).where(paused.c.container == container))
            if wanted:
                db.execute(insert(paused).values(container=container))
