"""Source and sink of a run over files: images in one folder, results in another.

Results are stored in ``<root>/<recipe>/<image>-<key's hash>/<run>/``: the maps, ``objects.geojson`` and
``ledger.json``, whose state becomes ``complete`` last. The next run removes folders that are not complete. Tables and
pictures of a container are in ``<root>/<recipe>/tables of <folder>-<hash>/<run>/``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError, InputError, OutputError
from omero_pixclf.files.atomic import remove_path, write_bytes
from omero_pixclf.files.axes import Axis
from omero_pixclf.files.export.image_writer import save_image
from omero_pixclf.files.export.output_array import LabelValue
from omero_pixclf.files.opening import open_image
from omero_pixclf.files.path_text import path_from_text, printable_info
from omero_pixclf.files.paths import is_folder, split_path
from omero_pixclf.folder.file_images import FileImages, list_file_images, skip_set_members
from omero_pixclf.folder.geojson import geojson_features
from omero_pixclf.folder.image_listing import ListedFile, list_images, unique_files, unreadable_image
from omero_pixclf.folder.ledger import LEDGER, is_being_written, read_record, write_record
from omero_pixclf.folder.safe_names import NAME_BYTES, is_same_name, safe_name, short_hash
from omero_pixclf.folder.tables import read_parquet, write_csv, write_parquet
from omero_pixclf.image import AXES, ImageInfo, PixelReader
from omero_pixclf.objects.outline import Outline
from omero_pixclf.provenance import RunRecord, is_run_id
from omero_pixclf.runs.protocols import ResultImage
from omero_pixclf.table import NO_NUMBER, Table

__all__ = ["FolderSink", "FolderSource", "FolderWriter", "folder_runs", "undo_folder"]

_FORMS = {
    "attachment-h5": ("compressed hdf5", ".h5"),
    "attachment-tiff": ("multipage tiff", ".ome.tiff"),
    "image": ("multipage tiff", ".ome.tiff"),
    "zarr": ("single-scale OME-Zarr", ".zarr"),
}


class FolderSource:
    """Image files in folders and subfolders, of all formats that `omero_pixclf.files.opening.open_image` reads.

    Parameters
    ----------
    axes
        The axes of all images; None for those of each file.
    """

    def __init__(self, *, axes: str | None = None) -> None:
        self.axes = axes

    def images(self, targets: Sequence[str]) -> Iterator[ImageInfo]:
        """Yield every image of the targets (files or folders) once, sorted by name.

        A file that cannot be read is yielded with its `ImageInfo.problem`, so that it counts in the plan.

        Raises
        ------
        ImageError
            If a target does not exist, or the only target is a file that cannot be read.
        """
        alone = len(targets) == 1 and not is_folder(targets[0])
        listed = unique_files(one for target in targets for one in _list_files(target))
        seen: set[str] = set()
        for images in skip_set_members(listed, lambda one: self._list_images(one, alone)):
            yield from (printable_info(info) for info in images.infos if info.key not in seen)
            seen.update(info.key for info in images.infos)

    def _list_images(self, one: ListedFile, alone: bool) -> FileImages:
        """Return the images of a file, or a placeholder with the problem if it cannot be read."""
        key = os.path.abspath(one.path)  # noqa: PTH100 - resolve() would follow links and change names
        if one.problem:
            return FileImages(one.path, (unreadable_image(key, f"{one.path}: {one.problem}"),))
        try:
            return list_file_images(key, axes=self.axes)
        except ImageError as error:
            if alone or not os.path.lexists(split_path(key).file):
                raise
            return FileImages(one.path, (unreadable_image(key, str(error)),))

    @contextmanager
    def open(self, image: ImageInfo) -> Iterator[PixelReader]:
        """Open an image for reading until the context ends."""
        with open_image(path_from_text(image.key), axes=self.axes) as reader:
            reader.info = printable_info(reader.info)
            yield reader


def _list_files(target: str) -> list[ListedFile]:
    return list_images(Path(target)) if is_folder(target) else [ListedFile(Path(target))]


class FolderWriter:
    """Writes the results of one image into a separate folder."""

    def __init__(self, folder: Path, image: ImageInfo, replaced: Sequence[Path]) -> None:
        self.folder = folder
        self.image = image
        self.replaced = replaced
        self.features: list[dict[str, Any]] = []

    def save_rois(self, outlines: Iterable[Outline], *, name: str, color: tuple[int, int, int]) -> NDArray[Any]:
        """Add the outlines of one class to ``objects.geojson``; returns -1 for all, since a folder has no ROI ids."""
        taken = list(outlines)
        self.features.extend(geojson_features(taken, name=name, color=color))
        return np.full(len(taken), NO_NUMBER, np.int64)

    def save_image(self, result: ResultImage) -> None:
        """Save a result image ``(t, z, y, x, c)`` as ``<kind>.h5``, ``.ome.tiff`` or ``.zarr``.

        OME-Zarr has the names and colours of the classes; segmentations and labels are label images there.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        output_format, extension = _FORMS[result.form]
        sizes = dict(zip("zyx", self.image.pixel_size_um, strict=True))
        axes = tuple(Axis(k, sizes.get(k) or 0.0, "micrometer" if sizes.get(k) else "") for k in AXES)
        drange = (0.0, 1.0) if result.kind == "probabilities" else None
        named = tuple(LabelValue(n, c.name, c.color) for n, c in enumerate(result.classes, 1))
        is_colored = len(result.classes) == len(result.channels) and result.kind != "segmentation"
        save_image(
            self.folder / f"{result.kind}{extension}",
            result.pixels,
            axes=axes,
            output_format=output_format,
            channels=tuple(result.channels),
            drange=drange,
            colors=tuple(c.color for c in result.classes) if is_colored else (),
            labels={"segmentation": named, "labels": ()}.get(result.kind),
        )

    def complete(self, record: RunRecord) -> None:
        """Mark the results as complete in the ledger, then remove the results that they replace."""
        if self.features:
            collection = {"type": "FeatureCollection", "features": self.features}
            write_bytes(self.folder / "objects.geojson", json.dumps(collection).encode())
        write_record(self.folder, record)
        for folder in self.replaced:
            remove_path(folder)


class FolderSink:
    """A results folder: stores results of runs, finds, replaces and undoes them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prefetch(self, images: Sequence[ImageInfo], recipe: str) -> None:
        """Do nothing: the records of each image are in its own folder."""

    def explain_refusal(self, image: ImageInfo) -> str | None:
        """Return why results cannot be written for this image; None if they can."""
        del image
        place = next(p for p in (self.root, *self.root.absolute().parents) if p.exists())
        if not place.is_dir():
            return f"{place}: is not a folder"
        return None if os.access(place, os.W_OK | os.X_OK) else f"{place}: may not be written to"

    def find_records(self, image: ImageInfo, recipe: str) -> Sequence[RunRecord]:
        """Return the records of earlier runs of a recipe of this name for an image, newest first."""
        found = [read_record(folder) for folder in _run_folders(self._home(recipe, image.name, image.key))]
        own = [r for r in found if r is not None and (r.recipe, r.image) == (recipe, image.key)]
        return sorted(own, key=lambda r: r.run_id, reverse=True)

    @contextmanager
    def begin(self, image: ImageInfo, record: RunRecord) -> Iterator[FolderWriter]:
        """Remove incomplete results, write a ledger with ``running``, and open the writer.

        An exception removes the written files.

        Raises
        ------
        OutputError
            If another process is writing results of this image and recipe, or the folder cannot be written.
        """
        home = self._home(record.recipe, image.name, image.key)
        folder, replaced = _open_run(home, record)
        try:
            yield FolderWriter(folder, image, replaced)
        except BaseException:
            _remove_unless_complete(folder)
            raise

    def load_tables(self, container: str, recipe: str) -> Mapping[str, Table]:
        """Return the current tables of a container from earlier runs of the recipe."""
        found = [(folder, read_record(folder)) for folder in _run_folders(self._container(recipe, container))]
        own = [(folder, r) for folder, r in found if r is not None and r.recipe == recipe and _is_complete(folder, r)]
        if not own:
            return {}
        newest, _ = max(own, key=lambda pair: (pair[1].state == "complete", pair[1].run_id))
        return {path.stem: read_parquet(path) for path in sorted(newest.glob("*.parquet"))}

    def finish(
        self, container: str, record: RunRecord, tables: Mapping[str, Table], attachments: Sequence[Path]
    ) -> Mapping[str, str]:
        """Write a container's tables as CSV and Parquet, and copies of the attachments; then remove the old ones.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        record = replace(record, image="")  # which tells it from an image's
        folder, replaced = _open_run(self._container(record.recipe, container), record)
        written = {}
        try:
            for name, table in sorted(tables.items()):  # the summary last: see `_is_complete`
                write_csv(folder / f"{name}.csv", table)
                write_parquet(folder / f"{name}.parquet", table)
                written[name] = str(folder / f"{name}.csv")
            for path in attachments:
                written[path.name] = str(_copy_file(path, folder))
        except BaseException:
            _remove_unless_complete(folder)
            raise
        write_record(folder, replace(record, state="complete"))
        for old in replaced:
            remove_path(old)
        return written

    def _home(self, recipe: str, name: str, key: str) -> Path:
        return self.root / safe_name(recipe) / f"{safe_name(name, most=NAME_BYTES - 9)}-{short_hash(key)}"

    def _container(self, recipe: str, container: str) -> Path:
        name = safe_name(Path(container).name or "images", most=NAME_BYTES - 19)
        return self.root / safe_name(recipe) / f"tables of {name}-{short_hash(container)}"


def _open_run(home: Path, record: RunRecord) -> tuple[Path, list[Path]]:
    """Make a folder for a run with its ``running`` ledger; returns it and the complete runs that it will replace.

    Recipes with different names may share a folder; the ledger tells which results belong to which.
    """
    new, replaced = home / record.run_id, []
    for folder in _run_folders(home):
        earlier = read_record(folder)
        if earlier is not None and (earlier.recipe, earlier.image) != (record.recipe, record.image):
            continue
        if earlier is not None and _is_complete(folder, earlier) and (folder != new or not record.image):
            replaced.append(folder)
        elif is_being_written(folder, record.run_id):
            raise OutputError(
                f"{folder}: another process is writing it at this moment; start again when that has ended"
            )
        else:
            remove_path(folder)
    if new in replaced:  # tables of a run that was resumed: each file is replaced whole
        write_record(new, replace(record, state="complete"))
        return new, [folder for folder in replaced if folder != new]
    try:
        new.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{new}: could not be made: {error.strerror}; name another folder with --out") from error
    write_record(new, replace(record, state="running", finished=None))
    return new, replaced


def _is_complete(folder: Path, record: RunRecord) -> bool:
    """Whether all results of a run are present; earlier versions did not record this for tables."""
    return record.state == "complete" or (not record.image and (folder / "summary.parquet").is_file())


def _run_folders(home: Path) -> list[Path]:
    """Return the folders of runs of an image or container, sorted by run; also those without a ledger."""
    if not home.is_dir():
        return []
    named = [p for p in home.iterdir() if is_run_id(p.name) and p.is_dir()]
    return sorted(p for p in named if (p / LEDGER).exists() or _has_no_visible_files(p))


def _has_no_visible_files(folder: Path) -> bool:
    return all(path.name.startswith(".") for path in folder.iterdir())


def _remove_unless_complete(folder: Path) -> None:
    record = read_record(folder)
    if record is None or record.state != "complete":
        remove_path(folder)
        if folder.parent.is_dir() and not any(folder.parent.iterdir()):
            folder.parent.rmdir()


def _copy_file(path: Path, folder: Path) -> Path:
    try:
        return Path(shutil.copy2(path, folder))
    except OSError as error:
        raise OutputError(
            f"{folder / path.name}: could not be written: {error.strerror}; "
            "make room there, or name another folder with --out"
        ) from error


def folder_runs(root: Path) -> Iterator[tuple[Path, RunRecord]]:
    """Yield every run's folder in a results folder with its record, newest run first.

    Copies that somebody made of results, in folders of other names, are not among them.
    """
    found = [(path.parent, read_record(path.parent)) for path in root.glob(f"*/*/*/{LEDGER}")]
    known = [
        (folder, record)
        for folder, record in found
        if record is not None
        and folder.name == record.run_id
        and is_same_name(folder.parts[-3], safe_name(record.recipe))
    ]
    yield from sorted(known, key=lambda pair: (pair[1].run_id, str(pair[0])), reverse=True)


def undo_folder(root: Path, run_id: str) -> Mapping[str, int]:
    """Remove exactly the files that a run wrote to a results folder; returns the numbers of removed images and tables.

    Raises
    ------
    InputError
        If there are no results of this run.
    """
    gone = {"images": 0, "tables": 0}
    for folder, record in list(folder_runs(root)):
        if record.run_id != run_id:
            continue
        gone["images" if record.image else "tables"] += 1
        remove_path(folder)
        if not any(folder.parent.iterdir()):
            folder.parent.rmdir()
    if not any(gone.values()):
        raise InputError(f"run {run_id}: nothing of it is in {root}; see: omero-pixclf runs list --out {root}")
    return gone
