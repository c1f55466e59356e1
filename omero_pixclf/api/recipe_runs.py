"""Python API: run a recipe over images in OMERO or over image files, and undo a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omero_pixclf.api.arrays import check_resources
from omero_pixclf.config import Recipe, load_recipe
from omero_pixclf.errors import UsageError
from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.runs.run import ContainerOutcome, Event, RunFinished, RunPlanned

if TYPE_CHECKING:
    from omero_pixclf.connector.sessions.session import Session
    from omero_pixclf.provenance import UndoResult

__all__ = ["ContainerOutcome", "Event", "ImageOutcome", "RunFinished", "RunPlanned", "run", "undo"]


def run(
    recipe: Recipe | Path | str | Mapping[str, Any],
    targets: str | Path | Sequence[str | Path],
    *,
    session: Session | None = None,
    out: Path | str | None = None,
    axes: str | None = None,
    force: bool = False,
    threads: int | None = None,
    memory: int | None = None,
) -> Iterator[Event]:
    """Apply a recipe to images and store the results; yield an event for each step.

    The results, and what is skipped because it already has results, are those of ``omero-pixclf run``. The work is
    done in this process while the caller iterates; nothing happens before.

    Parameters
    ----------
    recipe
        A TOML file, or its keys: ``{"classifier.project": "nuclei.ilp", "objects.threshold": 0.6}``.
    targets
        With ``session``: ``"Image:51"``, ``"Dataset:7"``, ``"Plate:3"``, … With ``out``: image files and folders.
    session
        From `connect`: images and results are in OMERO.
    out
        A folder for the results of image files. Give either ``session`` or ``out``.
    axes
        The axes of image files, such as ``"zyx"``; None takes what each file says.
    force
        Reprocess images that already have results.
    threads, memory
        Number of threads, and memory limit in bytes; None uses all processors, and no limit.

    Returns
    -------
    Iterator of Event
        `RunPlanned`, an `ImageOutcome` for each image, a `ContainerOutcome` for each dataset, plate or folder, then
        `RunFinished`; import these classes from `omero_pixclf.api.recipe_runs`. An image that fails is an
        `ImageOutcome` with the state ``failed``; no exception is raised for it.

    Raises
    ------
    UsageError
        The recipe or another parameter has a bad value, or not exactly one of ``session`` and ``out`` is given.
    PixclfError
        The project, a target or the server cannot be used (`omero_pixclf.errors`).

    Examples
    --------
    >>> import tempfile
    >>> from importlib.resources import files
    >>> import numpy as np
    >>> import omero_pixclf
    >>> from omero_pixclf.demo.images import plate_field
    >>> recipe = {"classifier.project": str(files("omero_pixclf.demo") / "plate.ilp"), "objects.min_size": 50}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/field.npy", plate_field("B2", 1).pixels[0, 0, :128, :128])
    ...     *_, finished = omero_pixclf.run(recipe, f"{folder}/field.npy", out=f"{folder}/results", axes="yxc")
    >>> [dict(outcome.objects) for outcome in finished.outcomes]
    [{'Nucleus': 3}]
    """
    one = isinstance(targets, str | Path)
    named = tuple(str(target) for target in ([targets] if one else targets))  # type: ignore[union-attr]
    if (session is None) == (out is None):
        raise UsageError("give either session (images in OMERO) or out (a folder for the results of image files)")
    if session is not None and axes is not None:
        raise UsageError("axes are for image files; images in OMERO have their own")

    check_resources(threads, memory)
    from omero_pixclf.app.execute import run_in_folder, run_in_session
    from omero_pixclf.app.request import RunRequest

    request = RunRequest(named, _recipe(recipe), force=force, threads=threads, memory=memory, axes=axes)
    return run_in_folder(Path(out), request) if out is not None else run_in_session(session, request)  # type: ignore[arg-type]


def undo(run_id: str, *, session: Session | None = None, out: Path | str | None = None) -> UndoResult:
    """Remove exactly what a run wrote.

    Parameters
    ----------
    run_id
        The run's id, such as ``finished.run_id`` of the last event of `run`.
    session
        From `connect`: the run's results are in OMERO.
    out
        The folder with the run's results. Give either ``session`` or ``out``.

    Returns
    -------
    UndoResult
        ``removed``: number of removed objects by kind; ``kept``: what had to stay, each with the reason.

    Raises
    ------
    UsageError
        The id is no run's, or not exactly one of ``session`` and ``out`` is given.
    MissingError, InputError
        There is nothing of that run in OMERO, or in the folder.

    Examples
    --------
    >>> import tempfile
    >>> from importlib.resources import files
    >>> import numpy as np
    >>> import omero_pixclf
    >>> recipe = {"classifier.project": str(files("omero_pixclf.demo") / "plate.ilp")}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/dark.npy", np.zeros((64, 64, 2), np.uint16))
    ...     *_, finished = omero_pixclf.run(recipe, f"{folder}/dark.npy", out=f"{folder}/results", axes="yxc")
    ...     omero_pixclf.undo(finished.run_id, out=f"{folder}/results").removed["images"]
    1
    """
    if (session is None) == (out is None):
        raise UsageError("give either session (results in OMERO) or out (the folder with the results)")

    from omero_pixclf.app.history import undo_in_folder, undo_in_session

    return undo_in_folder(Path(out), run_id) if out is not None else undo_in_session(session, run_id)  # type: ignore[arg-type]


def _recipe(given: Recipe | Path | str | Mapping[str, Any]) -> Recipe:
    if isinstance(given, Recipe):
        return given
    if isinstance(given, Mapping):
        return load_recipe(None, given)
    return load_recipe(Path(given), {})
