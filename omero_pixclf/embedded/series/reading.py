"""Finding files that belong together, and opening their images: the entry point of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from omero_pixclf.embedded.series.content import FilesetContent
from omero_pixclf.embedded.series.fake import open_fake
from omero_pixclf.embedded.series.pictures import PICTURES, open_picture, open_zarr_images
from omero_pixclf.embedded.series.tiff import find_tiff_companions, open_tiff_series
from omero_pixclf.embedded.series.vsi import find_vsi_companions, open_vsi
from omero_pixclf.errors import ImageError
from omero_pixclf.files.ome_zarr.zarr_store import STORE_SUFFIXES, is_store
from omero_pixclf.files.references import check_within

__all__ = [
    "FORMATS",
    "FileSet",
    "find_file_set",
    "find_file_sets",
    "find_main_file",
    "is_importable",
    "open_series",
    "read_remarks",
]

_Opener = Callable[[Path, Path], AbstractContextManager[FilesetContent]]  # (path, folder of all files)

_OPENERS: dict[str, _Opener] = {
    **dict.fromkeys((".tif", ".tiff", ".btf", ".tf2", ".tf8"), open_tiff_series),
    **dict.fromkeys(PICTURES, open_picture),
    ".fake": open_fake,
    ".vsi": open_vsi,
    ".zarr": open_zarr_images,
}
_COMPANIONS: dict[str, Callable[[Path], tuple[Path, ...]]] = {
    **dict.fromkeys((".tif", ".tiff", ".btf", ".tf2", ".tf8"), find_tiff_companions),
    ".vsi": find_vsi_companions,
}

FORMATS = (*sorted(_OPENERS), *STORE_SUFFIXES[1:])
"""Extensions of the files that can be read."""


@dataclass(frozen=True)
class FileSet:
    """Files that are imported together; ``main`` (a folder for OME-Zarr) is the one that is opened."""

    main: Path
    files: tuple[Path, ...]


def open_series(path: Path, *, within: Path | None = None) -> AbstractContextManager[FilesetContent]:
    """Open all images of a path until the context ends.

    Parameters
    ----------
    path
        A file, or the folder of an OME-Zarr.
    within
        All files must be in this folder, also those named in other files; by default the path's own folder.

    Raises
    ------
    ImageError
        The format is unknown, the file cannot be read, or it names files outside of the folder.
    """
    opener = _OPENERS.get(_kind(path))
    if opener is None:
        raise ImageError(f"{path.name}: unknown kind of file, expected one of {' '.join(FORMATS)}")
    return opener(path, within or path.parent)


def _kind(path: Path) -> str:
    """Return the extension in lower case that selects the reader; ``".zarr"`` also for zipped OME-Zarr."""
    return ".zarr" if path.name.lower().endswith(STORE_SUFFIXES) else path.suffix.lower()


def find_main_file(files: Sequence[Path], folder: Path | None = None) -> Path:
    """Return the path to open of files that belong together; ``folder`` contains them all."""
    if _kind(files[0]) in _OPENERS:
        return files[0]
    for parent in files[0].parents:
        if parent == folder:
            break
        if parent.suffix.lower() == ".zarr":
            return parent
    return files[0]


def find_file_set(path: Path) -> FileSet:
    """Return a file (or an OME-Zarr folder) with all files that belong to it.

    Raises
    ------
    ImageError
        The path does not exist, its format is unknown, or one of its files is missing.
    """
    kind = _kind(path)
    if kind not in _OPENERS:
        raise ImageError(f"{path}: unknown kind of file, expected one of {' '.join(FORMATS)}")
    if kind == ".zarr" and path.is_dir():
        files = tuple(sorted(_store_files(path, path), key=lambda f: (len(f.parts), f)))
        if not files:
            raise ImageError(f"{path}: no such store, or an empty one")
        return FileSet(path, files)
    if not path.is_file():
        raise ImageError(f"{path}: no such file")
    others = _COMPANIONS[kind](path) if kind in _COMPANIONS else ()
    return FileSet(path, (path, *(other for other in others if other != path)))


def _store_files(folder: Path, store: Path) -> Iterator[Path]:
    """Yield all files of a store; ImageError for links that lead out of it or to a parent folder."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_symlink():
            check_within(path, store)
            if folder.resolve().is_relative_to(path.resolve()):
                raise ImageError(f"{path}: a link to one of its parent folders; remove the link")
        if path.is_dir():
            yield from _store_files(path, store)
        elif path.is_file():
            yield path


def find_file_sets(
    paths: Sequence[Path], depth: int = 4, *, taken: set[Path] | None = None
) -> Iterator[FileSet | ImageError]:
    """Yield the file sets below some paths, or the error for a path; each file is in one set only.

    Folders are searched ``depth`` levels down; files of other formats in folders are ignored, but not those in
    ``paths``. ``taken`` contains the files of earlier sets; the files found are added.
    """
    taken = set() if taken is None else taken
    for path in paths:
        is_folder = path.is_dir() and not _is_store(path)
        try:
            candidates = list(_below(path, depth)) if is_folder else [path]
        except OSError as error:
            yield ImageError(f"{error.filename or path}: cannot be searched: {error.strerror}; check its permissions")
            continue
        for candidate in candidates:
            if candidate.absolute() in taken:
                continue
            try:
                found = find_file_set(candidate)
            except ImageError as error:
                yield error
                continue
            taken.update(file.absolute() for file in found.files)
            yield found


def is_importable(path: Path) -> bool:
    """Whether a path has the extension of an importable file."""
    return _kind(path) in _OPENERS


def read_remarks(path: Path) -> tuple[str, ...]:
    """Return remarks on missing parts of files, such as wells of a plate; () if they cannot be read here."""
    try:
        with open_series(path) as content:
            return content.remarks
    except ImageError:  # a server may read more formats
        return ()


def _below(folder: Path, depth: int) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not _is_store(path):
            if depth > 1:
                yield from _below(path, depth - 1)
        elif _kind(path) in _OPENERS:
            yield path


def _is_store(folder: Path) -> bool:
    """Whether a folder is an OME-Zarr, not just a folder with that extension."""
    return folder.suffix.lower() == ".zarr" and is_store(folder)
