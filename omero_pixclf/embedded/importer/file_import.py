"""Import image files into OMERO: find them, then import them as files or upload their pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omero_pixclf.errors import ImageError, LoginError, NotAllowedError, PixclfError, UnreachableError

if TYPE_CHECKING:
    from omero_pixclf.connector.sessions.session import Session
    from omero_pixclf.embedded.series.reading import FileSet

__all__ = ["FileImport", "import_files"]


@dataclass(frozen=True)
class FileImport:
    """Result of the import of a file, or of files that belong together (the one that is opened comes first).

    Attributes
    ----------
    files
        The files; of an OME-Zarr its folder only.
    keys
        Created objects, such as ``"Plate:7"`` and ``"Image:51"``: plates, then images that are on no plate.
    remarks
        Parts that the files list and do not contain, such as wells without images.
    error
        The error, if the import failed.
    """

    files: tuple[Path, ...]
    keys: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    error: PixclfError | None = None


def import_files(
    session: Session, files: Sequence[Path], *, dataset: str, axes: str | None = None
) -> Iterator[FileImport]:
    """Import image files, also those in folders, into a dataset, and yield the result of each set of files.

    The server gets the files and reads them. Files in formats that OMERO cannot import (HDF5, NumPy), and all files
    if ``axes`` is given, are uploaded as pixels. Images on plates are not linked to the dataset. A file that cannot be
    imported does not stop the import of the others.

    Parameters
    ----------
    session
        An open session of the user.
    files
        Files, OME-Zarr folders, or folders to search.
    dataset
        Name of the dataset; it is created if there is none of that name.
    axes
        Axes of the files, such as ``zyxc``, for files that do not state them.

    Raises
    ------
    ServerError
        The server cannot be reached, or the user is not allowed to import.
    """
    from omero_pixclf.connector.upload import create_container, find_container

    for path, found in _find_imports(files, whole=axes is None):
        if isinstance(found, PixclfError):
            yield FileImport((path,), error=found)
            continue
        try:
            number = find_container(session, "Dataset", dataset) or create_container(session, "Dataset", dataset)
            yield _import(session, found, number, axes)
        except (UnreachableError, LoginError, NotAllowedError):
            raise
        except PixclfError as error:
            yield FileImport(_reported_files(found), error=error)


def _find_imports(files: Sequence[Path], *, whole: bool) -> Iterator[tuple[Path, FileSet | Path | PixclfError]]:
    """Yield each path with its file sets to import, an array to upload, or the error."""
    from omero_pixclf.embedded.series.reading import FORMATS, find_file_sets, is_importable

    taken: set[Path] = set()
    for path in files:
        if not path.is_dir() and not (whole and is_importable(path)):
            yield path, path
            continue
        known, count = len(taken), 0
        for found in find_file_sets([path], taken=taken):
            count += 1
            yield path, found
        if not count and len(taken) == known and not is_importable(path):
            yield path, ImageError(f"{path}: no image files in this folder, expected some of {' '.join(FORMATS)}")


def _reported_files(found: FileSet | Path) -> tuple[Path, ...]:
    if isinstance(found, Path):
        return (found,)
    return (found.main,) if found.main.is_dir() else found.files


def _import(session: Session, found: FileSet | Path, dataset: int, axes: str | None) -> FileImport:
    from omero_pixclf.connector.importing import ImportOptions, import_file_set
    from omero_pixclf.connector.upload import upload_image
    from omero_pixclf.embedded.series.reading import read_remarks
    from omero_pixclf.files.opening import open_image

    if isinstance(found, Path):
        with open_image(found, axes=axes) as reader:
            return FileImport((found,), (f"Image:{upload_image(session, reader, dataset=dataset)}",))
    made = import_file_set(session, found.files, ImportOptions(target=f"Dataset:{dataset}"))
    keys = (*(f"Plate:{plate}" for plate in made.plates), *(f"Image:{image}" for image in made.loose_images))
    return FileImport(_reported_files(found), keys, read_remarks(found.main))
