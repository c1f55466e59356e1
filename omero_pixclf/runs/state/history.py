"""Group ledger records of single images to runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omero_pixclf.errors import InputError, OutputError
from omero_pixclf.provenance import RunRecord, is_run_id, run_folder
from omero_pixclf.runs.state.manifest import Manifest, is_run_folder

__all__ = ["RunOverview", "compare_runs", "summarize_runs"]

_SECONDS = len("20261121T053012")  # of a run id


@dataclass(frozen=True)
class RunOverview:
    """One run: recipe and project, number of images planned and complete, and of containers with tables."""

    run_id: str
    recipe: str
    recipe_hash: str
    project: str
    version: str
    started: str
    images: int
    complete: int
    objects: dict[str, int]
    tables: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def summarize_runs(
    records: Iterable[RunRecord], tables: Iterable[RunRecord] = (), folder: Path | None = None
) -> list[RunOverview]:
    """Return the runs of these records of images and of containers' tables, newest first.

    ``folder``: where this machine keeps its runs; it has the number of planned images of older runs.
    """
    runs: dict[str, tuple[list[RunRecord], list[RunRecord]]] = {}
    for record in records:
        runs.setdefault(record.run_id, ([], []))[0].append(record)
    for record in tables:
        runs.setdefault(record.run_id, ([], []))[1].append(record)
    # Run ids are by the second; of two runs in one second the time of their first record tells.
    begun = {run_id: min(r.started for some in both for r in some) for run_id, both in runs.items()}
    ordered = sorted(runs, key=lambda run_id: (run_id[:_SECONDS], begun[run_id], run_id), reverse=True)
    return [_summarize_run(*runs[run_id], folder) for run_id in ordered]


def _summarize_run(members: list[RunRecord], tables: list[RunRecord], folder: Path | None) -> RunOverview:
    first = min([*members, *tables], key=lambda r: r.started)
    planned = max(record.planned for record in [*members, *tables])
    objects: Counter[str] = Counter()
    for record in members:
        objects.update(record.objects)
    return RunOverview(
        first.run_id,
        first.recipe,
        first.recipe_hash,
        first.project,
        first.version,
        first.started.isoformat(timespec="seconds"),
        max(len(members), planned or _count_planned(folder, first.run_id)) if members else 0,
        sum(r.state == "complete" for r in members),
        dict(objects),
        sum(r.state == "complete" for r in tables),
    )


def _count_planned(folder: Path | None, run_id: str) -> int:
    """Return the number of planned images, by the run's folder on this machine; 0 if it is unknown."""
    if folder is None or not is_run_id(run_id) or not is_run_folder(run_folder(folder, run_id)):
        return 0
    try:
        with Manifest.open(run_folder(folder, run_id)) as manifest:
            return sum(entry.state != "skipped" for entry in manifest.entries())
    except (InputError, OutputError):
        return 0


def compare_runs(one: Iterable[RunRecord], other: Iterable[RunRecord]) -> dict[str, tuple[str, str]]:
    """Return the differences between two runs: settings, project and version, then the objects of each image.

    Keys are what differs, values what the one and the other run have; an image that only one of them has shows "-".
    """
    first, second = list(one), list(other)
    facts, others = _describe_run(first), _describe_run(second)
    keys = [*facts, *(k for k in others if k not in facts)]
    return {k: (facts.get(k, "-"), others.get(k, "-")) for k in keys if facts.get(k, "-") != others.get(k, "-")}


def _describe_run(records: list[RunRecord]) -> dict[str, str]:
    if not records:
        return {}
    first = records[0]
    facts = {"recipe": first.recipe, "project": first.project, "project sha256": first.project_sha256}
    facts |= {"version": first.version, **first.settings}
    for record in sorted(records, key=lambda r: r.image):
        facts[record.image] = ", ".join(f"{n} {name}" for name, n in record.objects.items()) or record.state
    return facts
