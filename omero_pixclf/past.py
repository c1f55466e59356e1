"""Earlier runs: list them, show one, compare two, take one back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from omero_pixclf.app import connected, runs_in
from omero_pixclf.errors import InputError, MissingError
from omero_pixclf.record import Undone, parse_run_id, run_folder
from omero_pixclf.runs.history import RunOverview, differences, overviews
from omero_pixclf.runs.kept import ImageFiles
from omero_pixclf.runs.manifest import Manifest, is_run_state, state_folder

if TYPE_CHECKING:
    from omero_pixclf.connector.login import Login

__all__ = ["diff_runs", "list_runs", "show_run", "undo_in_folder", "undo_run"]


def list_runs(login: Login) -> list[RunOverview]:
    """This user's runs, as the ledger in OMERO has them, newest first."""
    from omero_pixclf.connector.ledger import records

    with connected(login) as session:
        return overviews(records(session))


def show_run(login: Login, run_id: str) -> Iterator[dict[str, str]]:
    """What a run did to each image: the ledger's entries, and this machine's reasons for what failed.

    Raises
    ------
    UsageError
        Where neither the ledger nor this machine knows the run.
    """
    from omero_pixclf.connector.ledger import records

    folder = run_folder(state_folder(), run_id)
    with connected(login) as session:
        standing = records(session, run_id=run_id)
    for record in standing:
        found = ", ".join(f"{n} {name}" for name, n in record.objects.items())
        yield {"image": record.image, "state": record.state, "objects": found, "reason": ""}
    if not standing or is_run_state(folder):
        with Manifest.open(folder) as manifest:
            entries = manifest.entries()
        shown = {r.image for r in standing}
        for entry in entries:
            if entry.key not in shown:
                yield {"image": entry.key, "state": entry.state, "objects": "", "reason": entry.reason}


def diff_runs(login: Login, one: str, other: str) -> dict[str, tuple[str, str]]:
    """What differs between two of this user's runs, as the ledger has them.

    Raises
    ------
    MissingError
        Where the ledger does not know one of them.
    """
    from omero_pixclf.connector.ledger import records

    asked = [parse_run_id(run_id) for run_id in (one, other)]
    with connected(login) as session:
        both = [records(session, run_id=run_id) for run_id in asked]
    for run_id, found in zip((one, other), both, strict=True):
        if not found:
            raise MissingError(f"run {run_id}: the ledger has no such run of yours")
    return differences(*both)


def undo_in_folder(out: Path, run_id: str) -> Undone:
    """Take back exactly what a run over files wrote; of a merged run also what its parts wrote."""
    from omero_pixclf.files.folder import undo_folder

    return _undo_all(run_id, runs_in(out), lambda one: Undone(undo_folder(out, one)))


def undo_run(login: Login, run_id: str) -> Undone:
    """Take back exactly what a run wrote, and of a merged run its parts; what others have drawn on stays."""
    from omero_pixclf.connector.undo import undo

    parse_run_id(run_id)  # before a server is asked for
    with connected(login) as session:
        return _undo_all(run_id, state_folder(), lambda one: undo(session, one))


def _undo_all(run_id: str, folder: Path, undo: Callable[[str], Undone]) -> Undone:
    """Undo a run, then the runs that it put together, as far as this machine knows of them."""
    home = run_folder(folder, run_id)
    parts: tuple[str, ...] = ()
    if is_run_state(home):
        with Manifest.open(home) as manifest:
            parts = tuple(parse_run_id(part) for part in manifest.header.merged)
    for place in (run_folder(folder, one) for one in (run_id, *parts)):
        if is_run_state(place):
            ImageFiles(place).drop_all_pieces()
    if not parts:
        return undo(run_id)
    gone: Counter[str] = Counter()
    kept: list[str] = []
    for one in (run_id, *parts):
        with suppress(MissingError, InputError):  # nothing of it is left, or it never wrote anything
            undone = undo(one)
            gone.update(undone.removed)
            kept += undone.kept
    return Undone(gone, tuple(kept))
