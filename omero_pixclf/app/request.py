"""What a user asks of a run: targets, recipe, and which part of the machine to use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omero_pixclf.config import Recipe
from omero_pixclf.direct.mounts import NOTHING_MOUNTED, DirectSettings
from omero_pixclf.ilastik.project import Project
from omero_pixclf.provenance import run_folder
from omero_pixclf.runs.planning.shards import parse_shard
from omero_pixclf.runs.state.manifest import Manifest
from omero_pixclf.runs.state.state_folders import IN_RESULTS, state_folder

__all__ = ["RunRequest", "load_resumed_request", "results_state_folder"]


@dataclass(frozen=True)
class RunRequest:
    """The images, the recipe and the options of a run.

    Attributes
    ----------
    targets
        ``"Dataset:7"``, ``"Plate:3"``, …, or paths.
    force
        Reprocess images that already have results.
    resume
        The id of a run to resume.
    threads, memory
        Number of threads, and memory limit in bytes; None: all processors, no limit.
    folder
        Where run folders are; None: the user's state folder, or the one in the results folder.
    workers
        Number of processes; 1: only this process; None: as many as the processors and the images allow.
    dask
        Address of a scheduler whose workers process the images, or a TOML file with the jobs that become workers.
    shard
        ``(2, 8)``: the second of eight shards of the images; `omero_pixclf.app.merge` writes the tables of containers.
    direct
        The server's storage as it is mounted here and on all machines with workers; results do not depend on it.
    axes
        The axes of image files, such as ``"zyxc"``; None takes what each file says.
    """

    targets: tuple[str, ...]
    recipe: Recipe
    force: bool = False
    resume: str | None = None
    threads: int | None = None
    memory: int | None = None
    folder: Path | None = None
    workers: int | None = 1
    dask: str = ""
    shard: tuple[int, int] | None = None
    direct: DirectSettings = NOTHING_MOUNTED
    axes: str | None = None

    @property
    def shard_text(self) -> str:
        """``"2/8"``; "" for all images."""
        return "/".join(map(str, self.shard or ()))

    @property
    def state_folder(self) -> Path:
        """Where run folders are."""
        return self.folder or state_folder()

    def recipe_hash(self, project: Project) -> str:
        """Return what makes this run the same as another one on the same pixels (`omero_pixclf.config.Recipe.hash`)."""
        return self.recipe.hash(project.sha256, self.axes)

    def name_after(self, project: Project) -> RunRequest:
        """Return the request with its recipe named after the project, if it has no name.

        Earlier results are found by the recipe's name.
        """
        return replace(self, recipe=self.recipe.called_after(project.name))


def load_resumed_request(run_id: str, *, folder: Path | None = None, **machine: Any) -> RunRequest:
    """Return the request of an earlier run, to resume it.

    Parameters
    ----------
    run_id
        The run.
    folder
        Where run folders are, if not in the user's state folder.
    **machine
        ``threads``, ``memory``, ``workers``, ``dask`` and ``direct`` of the `RunRequest`.

    Raises
    ------
    UsageError
        This machine has no such run.
    """
    with Manifest.open(run_folder(folder or state_folder(), run_id)) as manifest:
        header = manifest.header
    recipe = Recipe.model_validate(header.recipe)
    shard = parse_shard(header.shard) if header.shard else None
    return RunRequest(header.targets, recipe, resume=run_id, folder=folder, shard=shard, axes=header.axes, **machine)


def results_state_folder(out: Path) -> Path:
    """Return where the state of runs over image files is, in their results folder."""
    return out / IN_RESULTS
