"""Earlier runs in OMERO or in a folder: list, show, compare, undo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from omero_pixclf.app.backends import open_session
from omero_pixclf.app.request import results_state_folder
from omero_pixclf.errors import InputError, MissingError
from omero_pixclf.provenance import RunRecord, UndoResult, parse_run_id, run_folder
from omero_pixclf.runs.state.history import RunOverview, compare_runs, summarize_runs
from omero_pixclf.runs.state.image_files import ImageFiles
from omero_pixclf.runs.state.manifest import Manifest, is_run_folder, state_folder

if TYPE_CHECKING:
    from omero_pixclf.connector.sessions.login import Login
    from omero_pixclf.connector.sessions.session import Session

__all__ = [
    "diff_runs",
    "diff_runs_in_folder",
    "list_runs",
    "list_runs_in_folder",
    "show_run",
    "show_run_in_folder",
    "undo_in_folder",
    "undo_in_session",
    "undo_run",
]


def list_runs(login: Login) -> list[RunOverview]:
    """Return the user's runs, as the ledger in OMERO has them, newest first."""
    from omero_pixclf.connector.results.ledger import list_run_records, list_table_records

    with open_session(login) as session:
        return summarize_runs(list_run_records(session), list_table_records(session), state_folder())


def list_runs_in_folder(out: Path) -> list[RunOverview]:
    """Return the runs over files whose results are in a folder, newest first."""
    found = _records_in(out)
    images, tables = [r for r in found if r.image], [r for r in found if not r.image]
    return summarize_runs(images, tables, results_state_folder(out))


def _records_in(out: Path) -> list[RunRecord]:
    from omero_pixclf.folder.backend import folder_runs

    return [record for _, record in folder_runs(out)]


def show_run_in_folder(out: Path, run_id: str) -> Iterator[dict[str, str]]:
    """Do what `show_run` does, for a run over files."""
    folder = run_folder(results_state_folder(out), run_id)
    yield from _shown([r for r in _records_in(out) if r.run_id == run_id and r.image], folder)


def diff_runs_in_folder(out: Path, one: str, other: str) -> dict[str, tuple[str, str]]:
    """Do what `diff_runs` does, for runs over files."""
    asked = [parse_run_id(run_id) for run_id in (one, other)]
    known = [r for r in _records_in(out) if r.image]
    both = [[r for r in known if r.run_id == run_id] for run_id in asked]
    for run_id, found in zip(asked, both, strict=True):
        if not found:
            raise InputError(f"run {run_id}: nothing of it is in {out}; see: omero-pixclf runs list --out {out}")
    return compare_runs(*both)


def show_run(login: Login, run_id: str) -> Iterator[dict[str, str]]:
    """Yield what a run did to each image: the ledger's entries, and the reasons of failures that this machine knows.

    Raises
    ------
    UsageError
        Neither the ledger nor this machine knows the run.
    """
    from omero_pixclf.connector.results.ledger import list_run_records

    folder = run_folder(state_folder(), run_id)
    with open_session(login) as session:
        standing = list_run_records(session, run_id=run_id)
    yield from _shown(standing, folder)


def _shown(standing: Sequence[RunRecord], folder: Path) -> Iterator[dict[str, str]]:
    """Yield the ledger's entries of each image, then what the run's folder on this machine has of the others."""
    for record in standing:
        found = ", ".join(f"{n} {name}" for name, n in record.objects.items())
        yield {"image": record.image, "state": record.state, "objects": found, "reason": ""}
    if not standing or is_run_folder(folder):
        with Manifest.open(folder) as manifest:
            entries = manifest.entries()
        shown = {r.image for r in standing}
        for entry in entries:
            if entry.key not in shown:
                yield {"image": entry.key, "state": entry.state, "objects": "", "reason": entry.reason}


def diff_runs(login: Login, one: str, other: str) -> dict[str, tuple[str, str]]:
    """Return the differences between two of the user's runs, as the ledger has them.

    Raises
    ------
    MissingError
        The ledger does not have one of them.
    """
    from omero_pixclf.connector.results.ledger import list_run_records

    asked = [parse_run_id(run_id) for run_id in (one, other)]
    with open_session(login) as session:
        both = [list_run_records(session, run_id=run_id) for run_id in asked]
    for run_id, found in zip((one, other), both, strict=True):
        if not found:
            raise MissingError(f"run {run_id}: the ledger has no such run of yours")
    return compare_runs(*both)


def undo_in_folder(out: Path, run_id: str) -> UndoResult:
    """Remove exactly what a run over files wrote; for a merged run also what its shards wrote."""
    from omero_pixclf.folder.backend import undo_folder

    return _undo_all(run_id, results_state_folder(out), lambda one: UndoResult(undo_folder(out, one)))


def undo_run(login: Login, run_id: str) -> UndoResult:
    """Remove exactly what a run wrote, for a merged run also its shards; objects that others use are kept."""
    parse_run_id(run_id)  # before a server is asked for
    with open_session(login) as session:
        return undo_in_session(session, run_id)


def undo_in_session(session: Session, run_id: str) -> UndoResult:
    """Do what `undo_run` does, on a session that is open."""
    from omero_pixclf.connector.results.undo import undo

    parse_run_id(run_id)
    return _undo_all(run_id, state_folder(), lambda one: undo(session, one))


def _undo_all(run_id: str, folder: Path, undo: Callable[[str], UndoResult]) -> UndoResult:
    """Undo a run, then the shards that it merged, if this machine knows them."""
    home = run_folder(folder, run_id)
    parts: tuple[str, ...] = ()
    if is_run_folder(home):
        with Manifest.open(home) as manifest:
            parts = tuple(parse_run_id(part) for part in manifest.header.merged)
    for place in (run_folder(folder, one) for one in (run_id, *parts)):
        if is_run_folder(place):
            ImageFiles(place).remove_all_blocks()
    if not parts:
        return undo(run_id)
    gone: Counter[str] = Counter()
    kept: list[str] = []
    for one in (run_id, *parts):
        with suppress(MissingError, InputError):  # nothing of it is left, or it never wrote anything
            undone = undo(one)
            gone.update(undone.removed)
            kept += undone.kept
    return UndoResult(gone, tuple(kept))
