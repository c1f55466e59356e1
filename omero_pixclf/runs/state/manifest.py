"""A run's state on disk: a folder with a SQLite manifest of its images and their results' files.

Whenever the process dies, the folder shows which images are done, and `--resume` continues with the others.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from omero_pixclf.errors import InputError, OutputError, UsageError
from omero_pixclf.runs.state.image_files import ImageFiles
from omero_pixclf.runs.state.state_folders import (
    IN_RESULTS,
    create_private_folder,
    restrict_permissions,
    state_folder,
    suggest_other_folder,
)
from omero_pixclf.text import parse_json, printable

__all__ = ["MANIFEST", "EntryState", "Manifest", "ManifestEntry", "RunHeader", "is_run_folder", "state_folder"]

MANIFEST = "manifest.sqlite"
EntryState = Literal["due", "skipped", "refused", "running", "done", "failed"]

_SCHEMA = """
create table header (content text not null);
create table image (
    key text primary key, position integer not null, container text not null, name text not null,
    state text not null, reason text not null default '', traceback text not null default '',
    seconds real
);
create table finished (container text primary key);
"""


@dataclass(frozen=True)
class RunHeader:
    """What is needed to resume a run.

    Attributes
    ----------
    shard
        ``"2/8"``: only this shard of the images; "" for all.
    merged
        The ids of the runs that this one has merged.
    axes
        The axes of image files, if the request names them; None: what each file says.
    """

    run_id: str
    recipe: dict[str, Any]
    recipe_hash: str
    targets: tuple[str, ...]
    server: str
    user: str
    started: str
    shard: str = ""
    merged: tuple[str, ...] = ()
    axes: str | None = None


@dataclass(frozen=True)
class ManifestEntry:
    """One image of a run."""

    key: str
    container: str
    name: str
    state: EntryState
    reason: str = ""
    traceback: str = ""
    seconds: float | None = None


def is_run_folder(folder: Path) -> bool:
    """Return whether a folder holds the state of a run."""
    return os.path.isfile(folder / MANIFEST)  # noqa: PTH113 - Path's raises where the folder is somebody else's


class Manifest(ImageFiles):
    """An open run folder. Use as a context manager; one process writes at a time."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, header: RunHeader) -> None:
        super().__init__(folder)
        self.header = header
        self._db = connection

    @classmethod
    @contextmanager
    def create(cls, folder: Path, header: RunHeader) -> Iterator[Manifest]:
        """Create a run's folder, which must not exist, and open it."""
        part = folder.with_name(f".{folder.name}.part")
        try:
            create_private_folder(folder.parent)
            part.mkdir(mode=0o700)
            restrict_permissions(part)
            (part / "images").mkdir()
            with _translate_sqlite_errors(folder), closing(_connect(part)) as db, db:
                db.executescript(_SCHEMA)
                db.execute("insert into header values (?)", (json.dumps(asdict(header)),))
            part.rename(folder)  # whole or not at all
        except OSError as error:
            raise OutputError(
                f"{folder}: cannot be made for the run's state: {error.strerror}; make room and see that it can be "
                f"written, or {suggest_other_folder(folder.parent)}"
            ) from error
        with cls.open(folder) as made:
            yield made

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Manifest]:
        """Open the folder of an existing run.

        Raises
        ------
        UsageError
            There is no such run.
        InputError
            Its manifest is damaged; raised at once, or when a damaged part is read.
        OutputError
            It cannot be written: a full disk, no permission.
        """
        if not is_run_folder(folder):
            raise UsageError(f"{folder}: no such run of yours; list them with: {_list_command(folder)}")
        restrict_permissions(folder)
        with _translate_sqlite_errors(folder), closing(_connect(folder)) as db:
            yield cls(folder, db, _read_header(folder, db))

    def add(self, entries: list[ManifestEntry]) -> None:
        """Add the images of a plan; entries that exist are kept."""
        known = {row[0] for row in self._db.execute("select key from image")}
        start = len(known)
        rows = [
            (e.key, start + i, e.container, e.name, e.state, printable(e.reason))
            for i, e in enumerate(e for e in entries if e.key not in known)
        ]
        with self._db:
            self._db.executemany(
                "insert into image (key, position, container, name, state, reason) values (?, ?, ?, ?, ?, ?)", rows
            )

    def set_state(
        self, key: str, state: EntryState, *, reason: str = "", traceback: str = "", seconds: float | None = None
    ) -> None:
        """Record an image's new state; durable when this returns. An image that is done stays done.

        A container that gains an image by this is unfinished again.
        """
        gained = (
            "delete from finished where container = (select container from image where key = ? and state <> 'done')"
        )
        with self._db:
            if state == "done":
                self._db.execute(gained, (key,))
            self._db.execute(
                "update image set state = ?, reason = ?, traceback = ?, seconds = ? "
                "where key = ? and not (state = 'done' and ? in ('skipped', 'refused'))",
                (state, printable(reason), printable(traceback), seconds, key, state),
            )

    def entries(self) -> list[ManifestEntry]:
        """Return all images, in the order of the plan."""
        rows = self._db.execute(
            "select key, container, name, state, reason, traceback, seconds from image order by position"
        )
        return [ManifestEntry(*row) for row in rows]

    def mark_container_finished(self, container: str) -> None:
        """Record that a container has its tables and pictures."""
        with self._db:
            self._db.execute("insert or ignore into finished values (?)", (container,))

    def is_container_finished(self, container: str) -> bool:
        """Return whether the container has its tables and pictures."""
        return self._db.execute("select 1 from finished where container = ?", (container,)).fetchone() is not None

    def is_container_pending(self, container: str) -> bool:
        """Return whether images of the container are done and its tables and pictures are not stored yet."""
        done = self._db.execute("select 1 from image where container = ? and state = 'done'", (container,)).fetchone()
        return done is not None and not self.is_container_finished(container)


def _list_command(folder: Path) -> str:
    """Return the command that lists the runs of a place."""
    where = f" --out {folder.parent.parent}" if folder.parent.name == IN_RESULTS else ""
    return f"omero-pixclf runs list{where}"


@contextmanager
def _translate_sqlite_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OutputError(
            f"{folder}: the run's manifest cannot be used: {error}; "
            "see that the disk has room and can be written, then go on with --resume"
        ) from error
    except sqlite3.DatabaseError as error:
        raise InputError(
            f"{folder}: the run's manifest is damaged: {error}; start a new run, which skips what is done"
        ) from error


def _read_header(folder: Path, db: sqlite3.Connection) -> RunHeader:
    try:
        (text,) = db.execute("select content from header").fetchone()
        content = parse_json(text)
        listed = {key: tuple(content.get(key, ())) for key in ("targets", "merged")}
        return RunHeader(**{**content, **listed})
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder}: the run's manifest has no readable header: {error}; start a new run, which skips what is done"
        ) from error


def _connect(folder: Path) -> sqlite3.Connection:
    db = sqlite3.connect(folder / MANIFEST, timeout=30)
    db.execute("pragma journal_mode = wal")
    return db
