"""Earlier runs, put together from the ledger's records of single images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from omero_pixclf.record import RunRecord

__all__ = ["RunOverview", "differences", "overviews"]


@dataclass(frozen=True)
class RunOverview:
    """One run: what it was, and how many of its images stand."""

    run_id: str
    recipe: str
    recipe_hash: str
    project: str
    version: str
    started: str
    images: int
    complete: int
    objects: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def overviews(records: Iterable[RunRecord]) -> list[RunOverview]:
    """The runs that these records belong to, newest first."""
    runs: dict[str, list[RunRecord]] = {}
    for record in records:
        runs.setdefault(record.run_id, []).append(record)
    return [_overview(members) for _, members in sorted(runs.items(), reverse=True)]


def _overview(members: list[RunRecord]) -> RunOverview:
    first = min(members, key=lambda r: r.started)
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
        len(members),
        sum(r.state == "complete" for r in members),
        dict(objects),
    )


def differences(one: Iterable[RunRecord], other: Iterable[RunRecord]) -> dict[str, tuple[str, str]]:
    """What differs between two runs: settings, project and version, then the objects of each image.

    Keys are what differs, values what the one and the other run have; an image that only one of them has shows "-".
    """
    first, second = list(one), list(other)
    facts, others = _facts(first), _facts(second)
    keys = [*facts, *(k for k in others if k not in facts)]
    return {k: (facts.get(k, "-"), others.get(k, "-")) for k in keys if facts.get(k, "-") != others.get(k, "-")}


def _facts(records: list[RunRecord]) -> dict[str, str]:
    if not records:
        return {}
    first = records[0]
    facts = {"recipe": first.recipe, "project": first.project, "project sha256": first.project_sha256}
    facts |= {"version": first.version, **first.settings}
    for record in sorted(records, key=lambda r: r.image):
        facts[record.image] = ", ".join(f"{n} {name}" for name, n in record.objects.items()) or record.state
    return facts
