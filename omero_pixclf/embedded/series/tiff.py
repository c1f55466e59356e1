"""Images of TIFF and OME-TIFF files, with the resolution levels in their SubIFDs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omero_pixclf.embedded.series.content import Channel, FilesetContent, ResolutionLevel, Series
from omero_pixclf.embedded.series.ome_metadata import ImageMetadata, read_image_metadata
from omero_pixclf.embedded.series.planes import check_sample_type, make_level, plane_counts, rgb_channels
from omero_pixclf.errors import ImageError
from omero_pixclf.files.tiff.ome_plates import ome_plates
from omero_pixclf.files.tiff.ome_xml import images_with_pixels
from omero_pixclf.files.tiff.tiff_file import list_member_files, open_tiff_file, read_series
from omero_pixclf.files.tiff.tiff_reader import series_reader, tiff_errors

__all__ = ["find_tiff_companions", "open_tiff_series", "read_tiff_series"]

_CENTIMETRE = 3  # as ResolutionUnit
_UM_PER_CENTIMETRE = 1e4


@contextmanager
def open_tiff_series(path: Path, within: Path) -> Iterator[FilesetContent]:
    """Open all images of a TIFF file, and of the files ``within`` a folder that it names.

    Raises
    ------
    ImageError
        The file cannot be read, names files elsewhere, or an image has axes other than ``t z y x c``.
    """
    with open_tiff_file(path, within=within) as tiff:
        series = read_tiff_series(path, tiff, within)
        plates, remarks = ome_plates(tiff.ome_metadata, [one.ident for one in images_with_pixels(tiff.ome_metadata)])
        yield FilesetContent("OMETiff" if tiff.is_ome else "Tiff", series, plates, remarks)


def read_tiff_series(path: Path, tiff: Any, within: Path) -> tuple[Series, ...]:
    """Return the images of an open TIFF file."""
    try:
        found = read_series(path, tiff, within=within)
        facts = read_image_metadata(tiff.ome_metadata) if all(one.kind == "ome" for one in found) else ()
        if not found:
            raise ImageError(f"{path.name}: holds no images")
        return tuple(_series(path, tiff, one, facts[i] if i < len(facts) else None) for i, one in enumerate(found))
    except tiff_errors() as error:
        raise ImageError(f"{path.name}: not a readable TIFF file: {error}") from error


def _series(path: Path, tiff: Any, series: Any, facts: ImageMetadata | None) -> Series:
    levels = tuple(_level(path, tiff, level) for level in series.levels)
    keys, _ = series_reader(path, tiff, series)
    z, c, t = plane_counts(keys, tuple(series.shape))
    return Series(
        name=facts.name if facts else "",
        z=z,
        c=c,
        t=t,
        dtype=check_sample_type(path, series.dtype),
        levels=levels,
        channels=_channels(series, c, facts),
        pixel_size=facts.pixel_size if facts else _resolution(tiff, series, keys),
        description=facts.description if facts else "",
        acquired_ms=facts.acquired_ms if facts else None,
    )


def _level(path: Path, tiff: Any, level: Any) -> ResolutionLevel:
    keys, read = series_reader(path, tiff, level)
    return make_level(keys, tuple(level.shape), read)


def _channels(series: Any, count: int, facts: ImageMetadata | None) -> tuple[Channel, ...]:
    colour = rgb_channels(count) if series.keyframe.samplesperpixel in (3, 4) else (Channel(),) * count
    if facts is None or len(facts.channels) != count:
        return colour
    return tuple(
        known if known.color else Channel(known.name, plain.color, known.emission_nm, known.excitation_nm)
        for known, plain in zip(facts.channels, colour, strict=True)
    )


def _resolution(tiff: Any, series: Any, keys: str) -> dict[str, tuple[float, str]]:
    """Return the pixel sizes of a file without OME-XML: ImageJ's, else resolution tags in centimetres."""
    if tiff.imagej_metadata:
        from omero_pixclf.files.tiff.ome_xml import imagej_axes

        axes = imagej_axes(tiff.imagej_metadata, series.keyframe.tags, keys)
        return {a.key: (a.resolution, a.unit) for a in axes if a.key in "xyz" and a.resolution > 0 and a.unit}
    tags = series.keyframe.tags
    if tags.valueof("ResolutionUnit") != _CENTIMETRE:  # inches are resolutions of printers and screens
        return {}
    found = {}
    for axis in "xy":
        pixels, units = tags.valueof(f"{axis.upper()}Resolution") or (0, 1)
        if pixels > 0 and units > 0:
            found[axis] = (_UM_PER_CENTIMETRE * units / pixels, "µm")
    return found


def find_tiff_companions(path: Path) -> tuple[Path, ...]:
    """Return the other files of an OME-TIFF's images; ImageError if one is missing."""
    return list_member_files(path, within=path.parent)[1:]  # links that lead elsewhere are not sent to a server
