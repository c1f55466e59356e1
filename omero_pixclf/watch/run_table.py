"""The watcher's runs: which are under way, which must be gone on with, and what the status page shows of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, delete, insert, select, update

from omero_pixclf.provenance import is_run_id
from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.runs.run import ContainerOutcome, RunFinished, RunPlanned
from omero_pixclf.runs.state.manifest import is_run_state
from omero_pixclf.watch.protocols import Order, Part
from omero_pixclf.watch.state import Holder, paused, runs, transaction

__all__ = ["Pauses", "Run", "RunLog"]


@dataclass(frozen=True)
class Run:
    """A run on one container.

    Attributes
    ----------
    state
        ``running``; ``interrupted``: to be gone on with; ``finished``; ``dropped``: cannot be gone on with.
    place, folder
        The installation that keeps the run's folder, and the folder: only a watcher of that installation can resume it.
    started, ended
        Seconds since 1970.
    images, done, failed
        How many images were to be worked on, and how they ended; refused ones count as failed.
    sheet
        The path of its contact sheet; empty before there is one.
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


class RunLog:
    """The runs in the state database.

    Parameters
    ----------
    now
        Seconds since 1970.
    keep
        How many finished runs stay known, with their folders.
    """

    def __init__(self, engine: Engine, holder: Holder, now: Callable[[], float], *, keep: int = 500) -> None:
        self._engine, self._now, self._keep, self._site = engine, now, keep, holder.site

    def planned(self, order: Order, part: Part, plan: RunPlanned) -> None:
        """A run begins, or an earlier one goes on."""
        images = sum(i.decision not in ("done", "made") for i in plan.items)
        with transaction(self._engine) as db:
            same = runs.c.run_id == plan.run_id
            known = db.execute(select(runs.c.done).where(same)).scalar_one_or_none()
            if known is not None:
                values = {"state": "running", "images": known + images, "failed": 0, "message": "", "ended": None}
                db.execute(update(runs).where(same).values(**values))
                return
            row = {
                "run_id": plan.run_id, "container": part.container, "name": part.name, "recipe": order.recipe.title,
                "recipe_hash": part.recipe_hash, "origin": order.origin, "place": self._site,
                "folder": str(plan.folder), "state": "running", "started": self._now(), "ended": None,
                "images": images, "done": 0, "failed": 0, "message": "", "sheet": "",
            }  # fmt: skip
            db.execute(insert(runs).values(**row))

    def outcome(self, run_id: str, outcome: ImageOutcome) -> None:
        """An image ended."""
        column = {"done": runs.c.done, "failed": runs.c.failed, "refused": runs.c.failed}.get(outcome.state)
        if column is not None:
            with transaction(self._engine) as db:
                db.execute(update(runs).where(runs.c.run_id == run_id).values({column: column + 1}))

    def container(self, run_id: str, outcome: ContainerOutcome) -> None:
        """The container has its tables and pictures, or a reason why not."""
        sheet = next((str(p) for p in outcome.pictures if p.name == "contact_sheet.png"), "")
        with transaction(self._engine) as db:
            db.execute(update(runs).where(runs.c.run_id == run_id).values(sheet=sheet, message=outcome.reason))

    def ended(self, run_id: str, ended: RunFinished | str) -> None:
        """A run is over, or was interrupted (with the reason)."""
        unfinished = isinstance(ended, str) or any(c.reason for c in ended.containers)
        values: dict[str, object] = {"state": "interrupted" if unfinished else "finished", "ended": self._now()}
        if isinstance(ended, str):
            values["message"] = ended
        with transaction(self._engine) as db:
            db.execute(update(runs).where(runs.c.run_id == run_id).values(**values))
        self._prune()

    def unfinished(self, part: Part, recipe: str) -> str | None:
        """The run to go on with on a container, if there is one whose folder is here."""
        return next((r.run_id for r in self._unended(part, recipe) if _usable(r, part)), None)

    def drop_stale(self, part: Part, recipe: str) -> None:
        """Give up runs that cannot be gone on with; what they wrote is complete image by image."""
        values = {"state": "dropped", "message": "its recipe has changed, or its folder is gone", "ended": self._now()}
        for run in self._unended(part, recipe):
            if not _usable(run, part):
                with transaction(self._engine) as db:
                    db.execute(update(runs).where(runs.c.run_id == run.run_id).values(**values))

    def _unended(self, part: Part, recipe: str) -> list[Run]:
        query = select(runs).where(
            (runs.c.container == part.container)
            & (runs.c.recipe == recipe)
            & (runs.c.place == self._site)
            & runs.c.state.in_(("running", "interrupted"))
        )
        with transaction(self._engine) as db:
            return [Run(**dict(row)) for row in db.execute(query.order_by(runs.c.started.desc())).mappings()]

    def recent(self, count: int = 25) -> list[Run]:
        """The newest runs."""
        with transaction(self._engine) as db:
            query = select(runs).order_by(runs.c.started.desc()).limit(count)
            return [Run(**dict(row)) for row in db.execute(query).mappings()]

    def one(self, run_id: str) -> Run | None:
        """A run by its id."""
        with transaction(self._engine) as db:
            row = db.execute(select(runs).where(runs.c.run_id == run_id)).mappings().one_or_none()
        return Run(**dict(row)) if row else None

    def _prune(self) -> None:
        ended = runs.c.state.in_(("finished", "dropped")) & (runs.c.place == self._site)
        with transaction(self._engine) as db:
            query = select(runs.c.run_id, runs.c.folder).where(ended).order_by(runs.c.started.desc())
            for run_id, folder in db.execute(query.offset(self._keep)).all():
                _remove_folder(Path(folder), run_id)
                db.execute(delete(runs).where(runs.c.run_id == run_id))


def _remove_folder(folder: Path, run_id: str) -> None:
    """Remove a run's folder; what the database names and is none stays."""
    if is_run_id(run_id) and folder.name == run_id and is_run_state(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _usable(run: Run, part: Part) -> bool:
    """Whether a run can be resumed: the same recipe, its folder is there, and its id cannot lead out of a folder."""
    plain = Path(run.run_id).name == run.run_id and run.run_id not in ("", ".", "..")
    return plain and run.recipe_hash == part.recipe_hash and Path(run.folder).is_dir()


class Pauses:
    """Containers that are not to be worked on for now; ``*`` stands for all."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> frozenset[str]:
        """What is paused."""
        with transaction(self._engine) as db:
            return frozenset(db.execute(select(paused.c.container)).scalars())

    def set(self, container: str, wanted: bool) -> None:
        """Pause a container, or let it go on."""
        with transaction(self._engine) as db:
            db.execute(delete(paused).where(paused.c.container == container))
            if wanted:
                db.execute(insert(paused).values(container=container))
