"""Open TIFF files, list their images, and check that every image is complete.

tifffile returns a shorter image, or planes of zeros, if a file is truncated, or if planes or files that OME-XML
declares are missing. All of this is an error here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from omero_pixclf.errors import ImageError
from omero_pixclf.files.decoder_warnings import decoder_errors, raise_decoder_warnings
from omero_pixclf.files.references import check_opened_files, resolve_reference
from omero_pixclf.files.tiff.multi_file_ome_tiff import (
    check_member_uuids,
    companion_file,
    find_missing_files,
    set_folders,
    use_names_of_links,
    use_whole_metadata,
)
from omero_pixclf.files.tiff.ome_xml import has_entities, images_with_pixels, named_files
from omero_pixclf.files.tiff.tiff_unwritten import check_unwritten_data

__all__ = ["list_member_files", "member_files", "open_tiff_file", "read_series"]

_TOLD_PLANES = 3  # missing planes that a message lists


@contextmanager
def open_tiff_file(path: Path, *, within: Path | None = None, alone: bool = False) -> Iterator[Any]:
    """Open a file with tifffile until the context ends; `read_series` returns its images.

    Parameters
    ----------
    path
        The file.
    within
        The folder that must contain a companion file with the metadata, also after following symbolic links: for files
        that were sent to a server. By default it is the folder of the file, which may hold links.
    alone
        Do not look for metadata in another file.

    Raises
    ------
    ImageError
        If it cannot be read, is damaged, or its metadata is in a file that does not exist.
    """
    import tifffile

    with ExitStack() as opened:
        try:
            with raise_decoder_warnings(path):
                tiff = opened.enter_context(tifffile.TiffFile(path))
                if not alone:
                    use_whole_metadata(path, tiff, within)
                if within is None:
                    use_names_of_links(path, tiff)
        except decoder_errors() as error:
            raise ImageError(f"{path}: not a readable TIFF file: {error}") from error
        yield tiff


def read_series(path: Path, tiff: Any, *, within: Path | None = None) -> list[Any]:
    """Return the images of an open TIFF file and the files that it refers to, as tifffile's series, all complete.

    Parameters
    ----------
    path, tiff
        The file, and tifffile's object of it.
    within
        The folder that must contain the files, also after following symbolic links: for files that were sent to a
        server. By default it is the folder of the file, which may hold links.

    Raises
    ------
    ImageError
        If pixels or planes are missing, or the file refers to one outside the folder; no such file is read.
    """
    root = within or path.parent
    if has_entities(tiff.ome_metadata or ""):
        raise ImageError(f"{path}: its OME-XML declares entities, which are not expanded; export it again")
    # itself may be a link
    others = [name for name in named_files(tiff.ome_metadata) if name.lower() != path.name.lower()]
    for name in others:
        resolve_reference(path.parent, name, within=root, source=path, follow_links=within is None)
    links = [place / name for place in set_folders(path) for name in others] if within is None else ()
    try:
        with raise_decoder_warnings(path, lambda: _describe_counts(tiff)):
            check_unwritten_data(path, tiff)
            found = list(tiff.series)
            check_opened_files(tiff, found, root, links=links)
            check_member_uuids(path, tiff)
            for series in found:
                _check_planes(path, tiff, series)
        _check_images(path, tiff, found)
        for series in found:
            for level in series.levels:
                _check_complete(path, tiff, level)
    except decoder_errors() as error:
        raise ImageError(f"{path}: not a readable TIFF file: {error}") from error
    return found


def list_member_files(path: Path, *, within: Path | None = None) -> tuple[Path, ...]:
    """Return the files that hold the images of a TIFF file, and the companion file; the file itself comes first.

    Raises
    ------
    ImageError
        As for `read_series`.
    """
    with open_tiff_file(path, within=within, alone=True) as tiff:
        companion = companion_file(path, tiff.ome_metadata, within)
    with open_tiff_file(path, within=within) as tiff:
        found = member_files(tiff, read_series(path, tiff, within=within))
    return tuple(dict.fromkeys((*found, companion))) if companion else found


def member_files(tiff: Any, series: Sequence[Any]) -> tuple[Path, ...]:
    """Return the files that hold the pages of some of tifffile's series; the opened file comes first."""
    own = Path(tiff.filehandle.path)
    pages = (page for one in series for page in one.pages if page is not None)
    return tuple(dict.fromkeys((own, *(Path(page.parent.filehandle.path) for page in pages))))


def _describe_counts(tiff: Any) -> str:
    """Return how many images a file declares and how many are present; "" if they agree or it declares none."""
    said = _declared_planes(tiff)
    there = sum(_is_whole(page) for page in tiff.pages)
    return _format_counts(said, there) if said and there != said else ""


def _format_counts(said: int, there: int) -> str:
    return f"it declares {said} {'image' if said == 1 else 'images'}, {there} {'is' if there == 1 else 'are'} present"


def _declared_planes(tiff: Any) -> int:
    """Return the number of planes by ImageJ's, tifffile's or OME's metadata; 0 without metadata."""
    if tiff.imagej_metadata:
        facts = tiff.imagej_metadata
        counts = [int(facts.get(name, 1)) for name in ("frames", "slices", "channels")]
        return max(prod(counts), int(facts.get("images", 1)))
    if tiff.shaped_metadata:
        shapes = [part["shape"] for part in tiff.shaped_metadata if part.get("shape")]
        page = prod(tiff.pages.first.shape) or 1
        return sum(max(1, prod(shape) // page) for shape in shapes)
    return sum(image.planes for image in images_with_pixels(tiff.ome_metadata))


def _is_whole(page: Any) -> bool:
    """Whether all bytes of a page are in the file."""
    offsets = np.asarray(page.dataoffsets, dtype=np.uint64)
    counts = np.asarray(page.databytecounts, dtype=np.uint64)
    if len(offsets) != len(counts) or len(offsets) < prod(page.chunked):
        return False
    outside = (offsets == 0) | (offsets + counts > page.parent.filehandle.size)
    return not bool(np.any(outside & (counts > 0)))


def _check_planes(path: Path, tiff: Any, series: Any) -> None:
    """Refuse a series with planes that no page holds."""
    outer = series.shape[: len(series.shape) - len(series.keyframe.shape)]
    if series.kind == "ome" or len(series.pages) > 1:
        said, there = prod(outer), sum(page is not None for page in series.pages)
        missing = [i for i, page in enumerate(series.pages) if page is None] or list(range(there, said))
        if there != said:
            files = find_missing_files(path, tiff.ome_metadata)
            gone = f" ({', '.join(files)} {'is' if len(files) == 1 else 'are'} not there)" if files else ""
            lost = f": planes {_format_planes(missing, outer, series.axes)} are missing{gone}" if there < said else ""
            raise ImageError(f"{path} is incomplete: {_format_counts(said, there)}{lost}; copy or export it again")


def _format_planes(planes: Sequence[int], outer: Sequence[int], axes: str) -> str:
    """Format planes of an image for a message: ``t=1``, or ``z=2-4 t=0`` and so on.

    >>> _format_planes([1, 3], (2, 2), "TZYX"), _format_planes([2], (2, 2), "TZYX")
    ('z=1', 't=1 z=0')
    """
    places = np.array(np.unravel_index(np.asarray(planes), tuple(outer) or (1,))).T.tolist()
    keys = axes.lower()
    for axis, size in enumerate(outer):
        values = sorted({place[axis] for place in places})
        if len(values) < size and len(places) == len(values) * prod(outer) // size:
            return f"{keys[axis]}={_format_ranges(values)}"
    told = [" ".join(f"{keys[i]}={n}" for i, n in enumerate(place)) for place in places[:_TOLD_PLANES]]
    more = f" and {len(places) - _TOLD_PLANES} more" if len(places) > _TOLD_PLANES else ""
    return ", ".join(told) + more


def _format_ranges(values: Sequence[int]) -> str:
    """Format ascending numbers, with ranges for consecutive ones.

    >>> _format_ranges([0, 1, 2, 5])
    '0-2,5'
    """
    rows: list[list[int]] = []
    for value in values:
        if rows and value == rows[-1][-1] + 1:
            rows[-1].append(value)
        else:
            rows.append([value])
    return ",".join(f"{row[0]}-{row[-1]}" if len(row) > 1 else f"{row[0]}" for row in rows)


def _check_images(path: Path, tiff: Any, found: Sequence[Any]) -> None:
    """Refuse a file whose OME-XML declares images with pixels that tifffile does not find."""
    said = len(images_with_pixels(tiff.ome_metadata))
    there = sum(series.kind == "ome" for series in found)
    if said > there > 0:
        raise ImageError(
            f"{path} is incomplete: its OME-XML declares {said} images with pixels, {there} "
            f"{'is' if there == 1 else 'are'} present; copy or export it again"
        )


def _check_complete(path: Path, tiff: Any, series: Any) -> None:
    """Refuse a series with pixels beyond the end of their file, or with pages of different shapes or types."""
    if not series.keyframe.dataoffsets:
        raise ImageError(f"{path} is damaged: the offsets of its pixels are missing; export it again")
    if series.dataoffset is not None and _in_one_file(series):
        end = series.dataoffset + prod(series.shape) * series.dtype.itemsize
        if end > series.keyframe.parent.filehandle.size:
            size = series.keyframe.parent.filehandle.size
            raise ImageError(
                f"{path} is incomplete: the file ends before its image does, after {size} of {end} bytes; copy it again"
            )
        return
    for number, page in enumerate(series.pages):
        if page is not None and not _is_whole(page):
            said, there = len(series.pages), sum(p is not None and _is_whole(p) for p in series.pages)
            counts = f"{_format_counts(said, there)}; " if said > 1 else ""
            where = Path(page.parent.filehandle.path).name
            raise ImageError(
                f"{path} is incomplete: {counts}pixels of image {number} are beyond the end of {where}, or are not "
                "listed; copy it again"
            )
        if page is not None and not _is_same_layout(page.keyframe, series.keyframe):
            raise ImageError(
                f"{path}: its page {number} is {page.keyframe.dtype} of shape {page.keyframe.shape}, expected "
                f"{series.keyframe.dtype} of shape {series.keyframe.shape} as the first one; export it again"
            )


def _in_one_file(series: Any) -> bool:
    return all(page is None or page.parent is series.keyframe.parent for page in series.pages)


def _is_same_layout(page: Any, first: Any) -> bool:
    return bool(page is first or (page.shape == first.shape and page.dtype == first.dtype))
