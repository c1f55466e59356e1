"""Shares of a run (``--shard``) put together: their containers get tables and pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from omero_pixclf.app.backends import folder_edges, omero_edges, utc_now
from omero_pixclf.app.execute import make_run_record, pictures_of
from omero_pixclf.app.runs import load_project, open_session, run_state_folder
from omero_pixclf.config import Recipe
from omero_pixclf.errors import UsageError
from omero_pixclf.ilastik.project import Project, read_project
from omero_pixclf.image import ImageInfo
from omero_pixclf.provenance import new_run_id
from omero_pixclf.runs.protocols import ImageSource, ResultSink
from omero_pixclf.runs.run import Event, RunFinished, RunPlanned, finish_container
from omero_pixclf.runs.state.manifest import RunHeader, state_folder
from omero_pixclf.runs.state.merge import (
    ShardRun,
    create_merged_manifest,
    load_shard_runs,
    make_merged_header,
    read_outcomes,
)

if TYPE_CHECKING:
    from omero_pixclf.connector.sessions.login import Login

__all__ = ["merge_in_folder", "merge_in_omero"]


def merge_in_omero(
    login: Login,
    run_ids: Sequence[str],
    *,
    now: Callable[[], datetime] = utc_now,
    salt: Callable[[int], bytes] = os.urandom,
) -> Iterator[Event]:
    """Finish the containers of runs that are the shares of one request.

    Raises
    ------
    UsageError
        Where they are not, or were made by somebody else or elsewhere.
    """
    parts = load_shard_runs(state_folder(), run_ids)
    header = parts[0][0]
    with open_session(login) as session:
        if (header.server, header.user) != (session.host, session.user_name):
            here = f"{session.user_name}'s on {session.host}"
            raise UsageError(f"run {header.run_id} is {header.user}'s on {header.server}, not {here}: merge it there")
        recipe = Recipe.model_validate(header.recipe)
        project = _unchanged(load_project(session, recipe, header.targets), recipe, header)
        with omero_edges(session, recipe) as (source, sink):
            yield from _merge(state_folder(), parts, source, sink, recipe, project, now, salt)


def merge_in_folder(
    out: Path,
    run_ids: Sequence[str],
    *,
    axes: str | None = None,
    now: Callable[[], datetime] = utc_now,
    salt: Callable[[int], bytes] = os.urandom,
) -> Iterator[Event]:
    """`merge_in_omero` for runs over files; ``axes``, if given, must be what the runs were given."""
    parts = load_shard_runs(run_state_folder(out), run_ids)
    header = parts[0][0]
    if axes not in (None, header.axes):
        read = header.axes or "they say"
        raise UsageError(f"run {header.run_id} read its files as {read}, not as {axes}: leave --axes out")
    recipe = Recipe.model_validate(header.recipe)
    project = _unchanged(read_project(Path(recipe.classifier.project)), recipe, header)
    with folder_edges(out, header.axes) as (source, sink):
        yield from _merge(run_state_folder(out), parts, source, sink, recipe, project, now, salt)


def _unchanged(project: Project, recipe: Recipe, header: RunHeader) -> Project:
    if recipe.hash(project.sha256, header.axes) != header.recipe_hash:
        raise UsageError(f"run {header.run_id}: its project has changed since; the shares must be run again")
    return project


def _merge(
    folder: Path,
    parts: Sequence[ShardRun],
    source: ImageSource,
    sink: ResultSink,
    recipe: Recipe,
    project: Project,
    now: Callable[[], datetime],
    salt: Callable[[int], bytes],
) -> Iterator[Event]:
    started = now()
    header = make_merged_header(new_run_id(started, salt(3)), started.isoformat(timespec="seconds"), parts)
    images = {image.key: image for image in source.images(header.targets)}
    with create_merged_manifest(folder, header, parts) as manifest:
        yield RunPlanned(header.run_id, manifest.folder, ())
        record = make_run_record(manifest, recipe, project, started, axes=header.axes)
        drawn = pictures_of(manifest, record, project, recipe, now)
        outcomes = tuple(read_outcomes(manifest, images))
        yield from outcomes
        known = {o.image.key for o in outcomes}
        members: dict[str, list[ImageInfo]] = {}
        for image in images.values():
            if image.key in known:
                members.setdefault(image.place.container, []).append(image)
        finished = []
        for container, of_it in members.items():
            if manifest.unfinished(container):
                finished.append(finish_container(of_it, manifest, sink, record, drawn, tables=recipe.output.table))
                yield finished[-1]
        yield RunFinished(header.run_id, outcomes, tuple(finished))
