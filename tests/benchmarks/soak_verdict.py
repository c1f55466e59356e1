"""The soak's verdict: what stands in OMERO, in the runs' manifests and in the watcher's state, claim by claim."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing

from tests.benchmarks.soak_stage import Soak
from tests.benchmarks.stand import session

LONGEST_S = 10.0
"""A load of the status page may take so long, on two cores that also run OMERO, the watcher and a browser."""


def standing(soak: Soak) -> dict[int, list[tuple[str, int, int]]]:
    """For each image the state of its ledger entries, with the objects they tell of and the ROIs that are there."""
    with session(soak.at) as root:
        links = "select l.child.id, l.parent.id from ImageAnnotationLink l where l.child.ns = :n"
        ids = dict(root.query_rows(links, n="omero_pixclf/run"))
        said: dict[tuple[int, int], dict[str, str]] = {}
        pairs = root.query_rows(
            "select a.id, v.name, v.value from MapAnnotation a join a.mapValue v where a.ns = :n", n="omero_pixclf/run"
        )
        for ident, name, value in pairs:
            said.setdefault((ids[ident], ident), {})[name] = value
        rois = dict(root.query_rows("select r.image.id, count(r) from Roi r group by r.image.id"))
    found: dict[int, list[tuple[str, int, int]]] = {}
    for (image, _), entry in said.items():
        told = sum(int(v) for k, v in entry.items() if k.startswith("Objects: "))
        found.setdefault(image, []).append((entry["State"], told, int(rois.get(image, 0))))
    return found


def completions(soak: Soak) -> Counter[str]:
    """How often each image was brought to its end, over the manifests of all runs."""
    done: Counter[str] = Counter()
    for path in (soak.at.folder / "runs").glob("*/manifest.sqlite"):
        with closing(sqlite3.connect(path)) as db:
            done.update(key for (key,) in db.execute("select key from image where state = 'done'"))
    return done


def failures(soak: Soak) -> list[tuple[str, str, int, str]]:
    """What the watcher has not done, and why."""
    with closing(sqlite3.connect(soak.at.folder / "watch.sqlite")) as db:
        return list(db.execute("select image, kind, attempts, reason from failure"))


def table_rows(soak: Soak) -> dict[str, list[int]]:
    """The images of the rows of each dataset's summary tables; the name says how many tables there are."""
    from omero_pixclf.connector.results.tables import BULK_NS, read_table

    rows = {}
    with session(soak.at) as root:
        for dataset in soak.datasets:
            hql = "select l.child.id from DatasetAnnotationLink l where l.parent.id = :d and l.child.ns = :n"
            tables = root.query_ids(hql, d=dataset, n=BULK_NS)
            images = [int(i) for t in tables for i in read_table(root, t)["Image"]]
            rows[f"Dataset:{dataset} ({len(tables)} table)"] = images
    return rows


def verdict(soak: Soak) -> int:
    """Print what came of it; 1 where something is wrong."""
    claims = {**_work_claims(soak), **_trouble_claims(soak), **_page_claims(soak)}
    for claim, holds in claims.items():
        print(f"{'yes' if holds else 'NO':<4} {claim}")
    return 0 if all(claims.values()) else 1


def _work_claims(soak: Soak) -> dict[str, bool]:
    """Every good image exactly once, in the ledger, as ROIs, in the manifests and in the tables."""
    entries, done, rows = standing(soak), completions(soak), table_rows(soak)
    once = [i for i in soak.good if [s for s, *_ in entries.get(i, [])] == ["complete"]]
    equal = [i for i in once if entries[i][0][1] == entries[i][0][2]]
    twice = [key for key, count in done.items() if count > 1]
    ended = set(done) == {f"Image:{i}" for i in soak.good}
    listed = sorted(image for images in rows.values() for image in images)
    numbers = {name: len(images) for name, images in rows.items()}
    return {
        f"{len(once)} of {len(soak.good)} good images have one entry, complete": len(once) == len(soak.good),
        f"{len(equal)} of these have as many ROIs as their entry tells": len(equal) == len(soak.good),
        f"{len(done)} images were brought to their end, all of them good, twice: {twice}": ended and not twice,
        f"each has one row, in one table per dataset: {numbers}": listed == sorted(soak.good)
        and all("(1 table)" in name for name in rows),
    }


def _trouble_claims(soak: Soak) -> dict[str, bool]:
    """Each trouble hit what was at work, and what was not done has its reason."""
    entries, left = standing(soak), failures(soak)
    aside = [row for row in left if row[1] == "aside"]
    refused = (soak.at.folder / "watch.log").read_text().count("may not annotate")
    return {
        f"{len(soak.hit)} troubles came while an image was in work: {soak.hit}": len(soak.hit) == 3 and all(soak.hit),
        f"the poison image alone is left, set aside with its reason: {left}": len(left) == len(aside)
        and [row[0] for row in aside] == [f"Image:{i}" for i in soak.poison]
        and all(row[3] for row in aside),
        "nothing of the poison image stands": not any(entries.get(i) for i in soak.poison),
        f"{refused} refusals while the group was read-only, each with that reason": refused > 0,
    }


def _page_claims(soak: Soak) -> dict[str, bool]:
    """The status page under that load."""
    spent = sorted(soak.latencies) or [float("inf")]
    times = f"{len(soak.latencies)} loads, median {spent[len(spent) // 2]:.2f} s, longest {spent[-1]:.2f} s"
    lost = [round(moment) for moment in soak.unanswered]
    return {
        f"the status page answered: {times}": spent[-1] < LONGEST_S,
        f"but for the kill, every time (unanswered at the seconds {lost})": not lost or lost[-1] - lost[0] < 60,
        f"it fits its screen (width, of what is on it): {soak.widths}": all(w >= on_it for w, on_it in soak.widths),
    }
