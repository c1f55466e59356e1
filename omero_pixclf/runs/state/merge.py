"""Merge the manifests of a run's shards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from omero_pixclf.errors import UsageError
from omero_pixclf.image import ImageInfo
from omero_pixclf.provenance import run_folder
from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.runs.planning.shards import parse_shard
from omero_pixclf.runs.state.manifest import Manifest, ManifestEntry, RunHeader

__all__ = ["ShardRun", "create_merged_manifest", "load_shard_runs", "make_merged_header", "read_outcomes"]

ShardRun = tuple[RunHeader, Sequence[ManifestEntry], Path]


def load_shard_runs(folder: Path, run_ids: Sequence[str]) -> list[ShardRun]:
    """Return header, images and folder of each run, in the order of their shards.

    Raises
    ------
    UsageError
        The runs are not all the shards of one request, each once; the message says what is missing or different.
    """
    parts = []
    for run_id in dict.fromkeys(run_ids):
        with Manifest.open(run_folder(folder, run_id)) as manifest:
            parts.append((manifest.header, manifest.entries(), manifest.folder))
    _check_same_request([header for header, _, _ in parts])
    shares = [parse_shard(header.shard) for header, _, _ in parts]
    count = shares[0][1]
    missing = [f"{n}/{count}" for n in range(1, count + 1) if (n, count) not in shares]
    if missing or len(shares) != count:
        there = ", ".join(header.shard for header, _, _ in parts)
        raise UsageError(
            f"each share is needed once: given {there}, missing {', '.join(missing) or 'none'}; "
            "name all runs of one request"
        )
    return [part for _, part in sorted(zip(shares, parts, strict=True), key=lambda pair: pair[0])]


def _check_same_request(headers: Sequence[RunHeader]) -> None:
    first = headers[0]
    for header in headers:
        if not header.shard:
            raise UsageError(
                f"run {header.run_id} is no share of a run (--shard): it has finished its containers itself; "
                "leave it out"
            )
        for name in ("recipe_hash", "targets", "server", "user"):
            if getattr(header, name) != getattr(first, name):
                raise UsageError(
                    f"runs {first.run_id} and {header.run_id} have not the same {name.replace('_', ' ')}; "
                    "merge only the shares of one request"
                )


def make_merged_header(run_id: str, started: str, parts: Sequence[ShardRun]) -> RunHeader:
    """Return the header of the merged run."""
    merged = tuple(header.run_id for header, _, _ in parts)
    return replace(parts[0][0], run_id=run_id, started=started, shard="", merged=merged)


@contextmanager
def create_merged_manifest(folder: Path, header: RunHeader, parts: Sequence[ShardRun]) -> Iterator[Manifest]:
    """Create a run with the states and files of all shards; the shards' runs are not changed.

    An image that a shard has not processed is a failure, with a reason that says how to continue.
    """
    with Manifest.create(run_folder(folder, header.run_id), header) as manifest:
        for part, entries, place in parts:
            manifest.add(list(entries))
            for entry in entries:
                _copy_entry(manifest, entry, part.run_id)
            for path in sorted((place / "images").iterdir()):
                shutil.copy2(path, manifest.folder / "images")
        yield manifest


def _copy_entry(manifest: Manifest, entry: ManifestEntry, run_id: str) -> None:
    if entry.state in ("due", "running"):
        reason = f"run {run_id} has not done it yet; omero-pixclf run --resume {run_id}, then merge again"
        manifest.set_state(entry.key, "failed", reason=reason)
    else:
        trace = entry.traceback
        manifest.set_state(entry.key, entry.state, reason=entry.reason, traceback=trace, seconds=entry.seconds)


def read_outcomes(manifest: Manifest, images: Mapping[str, ImageInfo]) -> Iterator[ImageOutcome]:
    """Yield the outcome of each image that still exists."""
    for entry in manifest.entries():
        if entry.key in images and entry.state in ("done", "skipped", "refused", "failed"):
            yield ImageOutcome(images[entry.key], entry.state, entry.reason, entry.seconds or 0.0)
