"""Merge the shards of a run (``--shard``): write the tables and pictures of their containers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from omero_pixclf.app.backends import RunContext, open_folder, open_omero, open_session
from omero_pixclf.app.execute import make_drawer, make_run_record
from omero_pixclf.app.request import RunRequest, results_state_folder
from omero_pixclf.config import Recipe
from omero_pixclf.errors import UsageError
from omero_pixclf.image import ImageInfo
from omero_pixclf.provenance import new_run_id, utc_now
from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.runs.run import ContainerOutcome, Event, RunFinished, RunOutput, RunPlanned, finish_container
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
    """Write the tables and pictures of the containers of runs that are the shards of one request.

    Raises
    ------
    UsageError
        The runs are not all the shards of one request, or are of another user or server.
    """
    shards = load_shard_runs(state_folder(), run_ids)
    header = shards[0][0]
    request = _original_request(header, state_folder())
    with open_session(login) as session:
        if (header.server, header.user) != (session.host, session.user_name):
            here = f"{session.user_name} on {session.host}"
            raise UsageError(
                f"run {header.run_id} belongs to {header.user} on {header.server}, not {here}: merge it there"
            )
        with open_omero(session, request) as context:
            yield from _merge(shards, context, request, now, salt)


def merge_in_folder(
    out: Path,
    run_ids: Sequence[str],
    *,
    axes: str | None = None,
    now: Callable[[], datetime] = utc_now,
    salt: Callable[[int], bytes] = os.urandom,
) -> Iterator[Event]:
    """Do what `merge_in_omero` does, for runs over files; ``axes``, if given, must be those of the runs."""
    shards = load_shard_runs(results_state_folder(out), run_ids)
    header = shards[0][0]
    if axes not in (None, header.axes):
        read = header.axes or "they say"
        raise UsageError(f"run {header.run_id} read its files as {read}, not as {axes}: omit --axes")
    request = _original_request(header, results_state_folder(out))
    with open_folder(out, request) as context:
        yield from _merge(shards, context, request, now, salt)


def _original_request(header: RunHeader, folder: Path) -> RunRequest:
    recipe = Recipe.model_validate(header.recipe)
    return RunRequest(header.targets, recipe, folder=folder, axes=header.axes)


def _merge(
    shards: Sequence[ShardRun],
    context: RunContext,
    request: RunRequest,
    now: Callable[[], datetime],
    salt: Callable[[int], bytes],
) -> Iterator[Event]:
    recipe, project, original = request.recipe, context.project, shards[0][0]
    if request.recipe_hash(project) != original.recipe_hash:
        raise UsageError(f"run {original.run_id}: its project has changed since; run the shards again")
    started = now()
    header = make_merged_header(new_run_id(started, salt(3)), started.isoformat(timespec="seconds"), shards)
    images = {image.key: image for image in context.source.images(header.targets)}
    with create_merged_manifest(request.state_folder, header, shards) as manifest:
        yield RunPlanned(header.run_id, manifest.folder, ())
        outcomes = tuple(read_outcomes(manifest, images))
        yield from outcomes
        record = make_run_record(manifest, recipe, project, started, axes=header.axes)
        drawer = make_drawer(recipe, project)
        output = RunOutput(manifest, context.sink, record, drawer, now, tables=recipe.output.table)
        containers: list[ContainerOutcome] = []
        for container, members in _group_by_container(images, outcomes).items():
            if manifest.is_container_pending(container):
                containers.append(finish_container(members, output))
                yield containers[-1]
        yield RunFinished(header.run_id, outcomes, tuple(containers))


def _group_by_container(images: dict[str, ImageInfo], outcomes: Sequence[ImageOutcome]) -> dict[str, list[ImageInfo]]:
    """The images that the shards have processed, by container."""
    processed = {outcome.image.key for outcome in outcomes}
    members: dict[str, list[ImageInfo]] = {}
    for image in images.values():
        if image.key in processed:
            members.setdefault(image.place.container, []).append(image)
    return members
