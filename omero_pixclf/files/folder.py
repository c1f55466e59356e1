"""Folders as both edges of a run: images in one, results in another.

Results lie in ``<root>/<recipe>/<image>-<key's hash>/<run>/``: the maps, ``objects.geojson`` and ``ledger.json``, which
says ``complete`` last of all. A folder without that word is debris, which the next run removes. Tables and pictures of
a container lie in ``<root>/<recipe>/tables of <folder>-<hash>/<run>/``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError, InputError, OutputError
from omero_pixclf.files.atomic import remove, write_bytes
from omero_pixclf.files.axes import Axis
from omero_pixclf.files.export import save_image
from omero_pixclf.files.geojson import features_of
from omero_pixclf.files.ledger import LEDGER, in_work, read_record, write_record
from omero_pixclf.files.opening import EXTENSIONS, open_image
from omero_pixclf.files.tables import read_parquet, write_csv, write_parquet
from omero_pixclf.image import AXES, ImageInfo, PixelArray, PixelReader
from omero_pixclf.objects.outline import Outline
from omero_pixclf.record import RunRecord
from omero_pixclf.table import NO_NUMBER, Table

__all__ = ["FolderSink", "FolderSource", "FolderWriter", "folder_runs", "undo_folder"]

log = logging.getLogger(__name__)

_FORMS = {
    "attachment-h5": ("compressed hdf5", ".h5"),
    "attachment-tiff": ("multipage tiff", ".ome.tiff"),
    "image": ("multipage tiff", ".ome.tiff"),
    "zarr": ("single-scale OME-Zarr", ".zarr"),
}


class FolderSource:
    """Image files below folders; everything `omero_pixclf.files.opening.open_image` opens.

    Parameters
    ----------
    axes
        The axes of all images; None takes what each file says.
    """

    def __init__(self, *, axes: str | None = None) -> None:
        self.axes = axes

    def images(self, targets: Sequence[str]) -> Iterator[ImageInfo]:
        """Every image that a target names or that lies below a target folder, once each, in the order of names.

        A file in a folder that cannot be read is left out with a warning; one that is itself a target is an error.

        Raises
        ------
        ImageError
            Where a target is not there or cannot be read.
        """
        seen: set[str] = set()
        for target in targets:
            folder = Path(target).is_dir() and Path(target).suffix.lower() != ".zarr"
            for path in _below(Path(target)) if folder else [target]:
                key = os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links and change names
                if key in seen:
                    continue
                seen.add(key)
                try:
                    with open_image(key, axes=self.axes) as reader:
                        info = reader.info
                except ImageError as error:
                    if not folder:
                        raise
                    log.warning("left out: %s", error)
                    continue
                yield info

    def open(self, image: ImageInfo) -> AbstractContextManager[PixelReader]:
        """An image, open for reading until the context ends."""
        return open_image(image.key, axes=self.axes)


def _below(folder: Path) -> Iterator[Path]:
    """Image files and Zarr stores in a folder and its folders; hidden ones and results of runs are left out."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or (path / LEDGER).exists():
            continue
        if path.is_dir() and path.suffix.lower() != ".zarr":
            yield from _below(path)
        elif path.suffix.lower() in EXTENSIONS and path.suffix.lower() != ".ilp":
            yield path


class FolderWriter:
    """The results of one image under way, in a folder of their own."""

    def __init__(self, folder: Path, image: ImageInfo, standing: Sequence[Path]) -> None:
        self.folder = folder
        self.image = image
        self.standing = standing
        self.features: list[dict[str, Any]] = []

    def rois(self, outlines: Iterable[Outline], *, name: str, color: tuple[int, int, int]) -> NDArray[Any]:
        """Keep the outlines of one class for ``objects.geojson``; there are no Roi ids in a folder, so all are -1."""
        taken = list(outlines)
        self.features.extend(features_of(taken, name=name, color=color))
        return np.full(len(taken), NO_NUMBER, np.int64)

    def map(self, kind: str, pixels: PixelArray, *, channels: Sequence[str], form: str) -> None:
        """Save a result image ``(t, z, y, x, c)`` as ``<kind>.h5``, ``.ome.tiff`` or ``.zarr``.

        Raises
        ------
        OutputError
            Where it cannot be written.
        """
        output_format, extension = _FORMS[form]
        sizes = dict(zip("zyx", self.image.pixel_size_um, strict=True))
        axes = tuple(Axis(k, sizes.get(k) or 0.0, "micrometer" if sizes.get(k) else "") for k in AXES)
        drange = (0.0, 1.0) if kind == "probabilities" else None
        save_image(
            self.folder / f"{kind}{extension}",
            pixels,
            axes=axes,
            output_format=output_format,
            channels=tuple(channels),
            drange=drange,
        )

    def complete(self, record: RunRecord) -> None:
        """All is written: say so in the ledger, then remove what this run replaces."""
        if self.features:
            collection = {"type": "FeatureCollection", "features": self.features}
            write_bytes(self.folder / "objects.geojson", json.dumps(collection).encode())
        write_record(self.folder, record)
        for folder in self.standing:
            remove(folder)


class FolderSink:
    """A folder that takes the results of runs, so that they are known again, replaced and undone."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prefetch(self, images: Sequence[ImageInfo], recipe: str) -> None:
        """Nothing to do: what is asked of each image lies in its own folder."""

    def refusal(self, image: ImageInfo) -> str | None:
        """Why results may not be written for this image, or None."""
        del image
        place = next(p for p in (self.root, *self.root.absolute().parents) if p.exists())
        if not place.is_dir():
            return f"{place}: is not a folder"
        return None if os.access(place, os.W_OK | os.X_OK) else f"{place}: may not be written to"

    def previous(self, image: ImageInfo, recipe: str) -> Sequence[RunRecord]:
        """What earlier runs of a recipe of that name left for an image, newest first."""
        found = [read_record(folder) for folder in _runs(self._home(recipe, image.name, image.key))]
        return sorted((r for r in found if r is not None), key=lambda r: r.run_id, reverse=True)

    @contextmanager
    def begin(self, image: ImageInfo, record: RunRecord) -> Iterator[FolderWriter]:
        """Clear debris, write ``running``, and open the results; an exception removes what was written.

        Raises
        ------
        OutputError
            Where another process is at this image and recipe, or the folder cannot be written.
        """
        home = self._home(record.recipe, image.name, image.key)
        folder, standing = _open_run(home, record)
        try:
            yield FolderWriter(folder, image, standing)
        except BaseException:
            _remove_unless_complete(folder)
            raise

    def tables(self, container: str, recipe: str) -> Mapping[str, Table]:
        """The tables that stand for a container from earlier runs of the recipe."""
        for folder in reversed(_runs(self._container(recipe, container))):
            record = read_record(folder)
            if record is not None and record.state == "complete":
                return {path.stem: read_parquet(path) for path in sorted(folder.glob("*.parquet"))}
        return {}

    def finish(
        self, container: str, record: RunRecord, tables: Mapping[str, Table], attachments: Sequence[Path]
    ) -> Mapping[str, str]:
        """Write a container's tables as CSV and Parquet, and copies of the attachments; then remove the old ones.

        Raises
        ------
        OutputError
            Where they cannot be written.
        """
        folder, standing = _open_run(self._container(record.recipe, container), record)
        written = {}
        try:
            for name, table in tables.items():
                write_csv(folder / f"{name}.csv", table)
                write_parquet(folder / f"{name}.parquet", table)
                written[name] = str(folder / f"{name}.csv")
            for path in attachments:
                written[path.name] = str(_copied(path, folder))
        except BaseException:
            _remove_unless_complete(folder)
            raise
        write_record(folder, record)
        for old in standing:
            remove(old)
        return written

    def _home(self, recipe: str, name: str, key: str) -> Path:
        return self.root / _file_name(recipe) / f"{_file_name(name)}-{_hash(key)}"

    def _container(self, recipe: str, container: str) -> Path:
        name = Path(container).name or "images"
        return self.root / _file_name(recipe) / f"tables of {_file_name(name)}-{_hash(container)}"


def _open_run(home: Path, record: RunRecord) -> tuple[Path, list[Path]]:
    """A new folder for a run with its ``running`` ledger, and the folders of complete runs that it will replace."""
    standing = []
    for folder in _runs(home):
        earlier = read_record(folder)
        if earlier is not None and earlier.state == "complete" and earlier.run_id != record.run_id:
            standing.append(folder)
        elif in_work(folder, record.run_id):
            raise OutputError(f"{folder}: another process is writing it")
        else:
            remove(folder)
    folder = home / _file_name(record.run_id)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{folder}: could not be made: {error.strerror}") from error
    write_record(folder, replace(record, state="running", finished=None))
    return folder, standing


def _runs(home: Path) -> list[Path]:
    """The folders of runs below an image's or container's folder, by run; also those that never got a ledger."""
    if not home.is_dir():
        return []
    return sorted(p for p in home.iterdir() if p.is_dir() and ((p / LEDGER).exists() or _is_bare(p)))


def _is_bare(folder: Path) -> bool:
    return all(path.name.startswith(".") for path in folder.iterdir())


def _remove_unless_complete(folder: Path) -> None:
    record = read_record(folder)
    if record is None or record.state != "complete":
        remove(folder)
        if folder.parent.is_dir() and not any(folder.parent.iterdir()):
            folder.parent.rmdir()


def _copied(path: Path, folder: Path) -> Path:
    try:
        return Path(shutil.copy2(path, folder))
    except OSError as error:
        raise OutputError(f"{folder / path.name}: could not be written: {error.strerror}") from error


def folder_runs(root: Path) -> Iterator[tuple[Path, RunRecord]]:
    """Every run's folder below a results folder, with its record, newest run first."""
    found = [(path.parent, read_record(path.parent)) for path in root.glob(f"*/*/*/{LEDGER}")]
    known = [(folder, record) for folder, record in found if record is not None]
    yield from sorted(known, key=lambda pair: (pair[1].run_id, str(pair[0])), reverse=True)


def undo_folder(root: Path, run_id: str) -> Mapping[str, int]:
    """Remove exactly what a run wrote below a results folder; returns how many images and tables went.

    Raises
    ------
    InputError
        Where nothing of that run is there.
    """
    gone = {"images": 0, "tables": 0}
    for folder, record in list(folder_runs(root)):
        if record.run_id != run_id:
            continue
        gone["tables" if folder.parent.name.startswith("tables of ") else "images"] += 1
        remove(folder)
        if not any(folder.parent.iterdir()):
            folder.parent.rmdir()
    if not any(gone.values()):
        raise InputError(f"run {run_id}: nothing of it is in {root}")
    return gone


def _file_name(text: str) -> str:
    """A name that every file system takes and that stays within a folder."""
    return re.sub(r"[^\w. -]", "_", text).strip(" .") or "_"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
