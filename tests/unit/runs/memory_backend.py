"""A source and a sink in memory, and runs over them, for the tests of runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import numpy as np

from omero_pixclf.config import load_recipe
from omero_pixclf.image import ImageInfo, ImageLocation, PixelReader
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.execution.serial import execute_in_process
from omero_pixclf.runs.planning.plan import PlanItem
from omero_pixclf.runs.protocols import ImageWriter
from omero_pixclf.runs.run import RunOutput, execute_run
from omero_pixclf.runs.state.manifest import Manifest, RunHeader
from omero_pixclf.table import Column, Table

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)


RECIPE = load_recipe(None, {"classifier.project": "nuclei.ilp"})


OLD = "20261120T000000-0000d0"


def image(number: int, container: str = "Dataset:1") -> ImageInfo:
    return ImageInfo(
        f"Image:{number}",
        f"i{number}",
        (1, 1, 8, 8, 1),
        "uint8",
        ("c",),
        place=ImageLocation(container),
        fingerprint=f"p{number}",
    )


def record(of: ImageInfo, digest: str, run: str = OLD) -> RunRecord:
    return RunRecord(run, of.key, "nuclei", digest, of.fingerprint, "n.ilp", "00", "1", NOW, NOW, "complete")


class Folder:
    """A source and a sink in memory."""

    def __init__(self, images: Sequence[ImageInfo], ledger: Sequence[RunRecord] = (), forbidden: str = "") -> None:
        self.all, self.ledger, self.forbidden = images, ledger, forbidden
        self.finished: list[tuple[str, Mapping[str, Table]]] = []
        self.standing: dict[str, Table] = {}

    def images(self, targets: Sequence[str]) -> Iterator[ImageInfo]:
        yield from self.all

    def open(self, image: ImageInfo) -> AbstractContextManager[PixelReader]:
        raise AssertionError("the plan reads no pixels")

    def prefetch(self, images: Sequence[ImageInfo], recipe: str) -> None:
        self.looked_up = [*getattr(self, "looked_up", []), len(images)]

    def explain_refusal(self, image: ImageInfo) -> str | None:
        return "may not" if image.key == self.forbidden else None

    def find_records(self, image: ImageInfo, recipe: str) -> list[RunRecord]:
        return [r for r in self.ledger if r.image == image.key and r.recipe == recipe]

    def begin(self, image: ImageInfo, record: RunRecord) -> AbstractContextManager[ImageWriter]:
        raise AssertionError("not asked for here")

    def load_tables(self, container: str, recipe: str) -> Mapping[str, Table]:
        return self.standing

    def finish(
        self, container: str, record: RunRecord, tables: Mapping[str, Table], attachments: Sequence[Path]
    ) -> Mapping[str, str]:
        self.finished.append((container, tables))
        return dict.fromkeys(tables, "FileAnnotation:1")


def start(folder: Path) -> AbstractContextManager[Manifest]:
    return Manifest.create(folder / "run", RunHeader("r1", RECIPE.model_dump(), "new", ("Dataset:1",), "", "", "now"))


def row(of: ImageInfo, count: int) -> Table:
    return Table((Column("Image", "image", np.array([int(of.key[6:])])), Column("Count", "long", np.array([count]))))


def run(folder: Folder, plan: list[PlanItem], manifest: Manifest, broken: str = "") -> list[object]:
    def work(one: ImageInfo) -> dict[str, int]:
        if one.key == broken:
            raise ValueError("bad plane")
        manifest.save_table(one.key, "summary", row(one, 7))
        return {"Nucleus": 7}

    manifest.add([])
    return list(
        execute_run(
            plan, partial(execute_in_process, function=work), RunOutput(manifest, folder, record(image(0), "new"))
        )
    )


def planned(manifest: Manifest, images: Sequence[ImageInfo]) -> list[PlanItem]:
    from omero_pixclf.runs.state.manifest import ManifestEntry

    manifest.add([ManifestEntry(i.key, i.place.container, i.name, "due") for i in images])
    return [PlanItem(i, "due") for i in images]


def cut_off(folder: Path, image: ImageInfo) -> None:
    """A run that has done an image and was killed before its container was finished."""
    header = RunHeader(OLD, RECIPE.model_dump(), "new", ("Dataset:1",), "", "", "now")
    with Manifest.create(folder / OLD, header) as manifest:
        planned(manifest, [image])
        manifest.save_table(image.key, "summary", row(image, 3))
        manifest.preview_path(image.key).write_bytes(b"picture")
        manifest.set_state(image.key, "running")


def _no_database(folder: Path) -> None:
    (folder / "manifest.sqlite").write_bytes(b"no database" * 1000)


def _empty_database(folder: Path) -> None:
    (folder / "manifest.sqlite").write_bytes(b"")


def _damaged_pages(folder: Path) -> None:
    """The first page, with the list of tables, is whole; every other one is not."""
    path = folder / "manifest.sqlite"
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


def _another_header(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "manifest.sqlite")) as db, db:
        db.execute("update header set content = '[1, 2]'")


def _damaged_table(folder: Path) -> None:
    path = folder / "images" / "Image_1.summary.npz"
    path.write_bytes(path.read_bytes()[:-40])


DAMAGES = [_no_database, _empty_database, _damaged_pages, _another_header]
