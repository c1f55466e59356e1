"""Find the images below targets such as ``Plate:3`` with few queries."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from omero_pixclf.connector.paging import PAGE
from omero_pixclf.connector.results.result_images import find_creating_runs
from omero_pixclf.connector.sessions.exceptions import make_missing_error
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.errors import UsageError
from omero_pixclf.image import ImageInfo, ImageLocation, parse_id, well_name

__all__ = [
    "DTYPES",
    "KINDS",
    "ImagePlaces",
    "find_empty_wells",
    "format_well",
    "iterate_images",
    "parse_key",
    "parse_targets",
    "to_micrometres",
]

KINDS = ("Image", "Dataset", "Project", "Plate", "Screen", "Well")
DTYPES = {
    "int8": "int8",
    "uint8": "uint8",
    "int16": "int16",
    "uint16": "uint16",
    "int32": "int32",
    "uint32": "uint32",
    "float": "float32",
    "double": "float64",
}
"""NumPy dtypes of OMERO's pixel types; ``bit`` and ``complex`` cannot be classified."""

_SHA1 = re.compile(r"[0-9a-f]{40}")
_PREFIXES = {
    "YOTTA": 30, "ZETTA": 27, "EXA": 24, "PETA": 21, "TERA": 18, "GIGA": 15, "MEGA": 12, "KILO": 9, "HECTO": 8,
    "DECA": 7, "": 6, "DECI": 5, "CENTI": 4, "MILLI": 3, "MICRO": 0, "NANO": -3, "PICO": -6, "FEMTO": -9,
    "ATTO": -12, "ZEPTO": -15, "YOCTO": -18,
}  # fmt: skip
_MICROMETRES = {f"{prefix}METER": 10.0**power for prefix, power in _PREFIXES.items()} | {
    "ANGSTROM": 1e-4,
    "THOU": 25.4,
    "LINE": 25400 / 12,
    "INCH": 25400.0,
    "FOOT": 304800.0,
    "YARD": 914400.0,
    "MILE": 1609344000.0,
    "POINT": 25400 / 72,
}

ImagePlaces = tuple[int, tuple[ImageLocation, ...]]
"""Image id and its places in one container; several if wells share the image."""


def to_micrometres(value: float | None, unit: str | None) -> float | None:
    """Return a length in µm; None if there is no value or the unit is no length (``PIXEL``, ``REFERENCEFRAME``).

    Examples
    --------
    >>> to_micrometres(250.0, "NANOMETER")
    0.25
    """
    if value is None or unit not in _MICROMETRES:
        return None
    factor = _MICROMETRES[unit]
    # Dividing by an integer makes 250 nm exactly 0.25 µm.
    return float(value) * factor if factor >= 1 else float(value) / round(1 / factor)


def format_well(row: int | None, column: int | None) -> str:
    """Return a well's name from its 0-based row and column; empty for a well without a position, which OMERO allows.

    Examples
    --------
    >>> format_well(1, 2), format_well(26, 0), format_well(None, 0)
    ('B3', 'AA1', '')
    """
    return "" if row is None or column is None else well_name(row, column)


def parse_key(key: str) -> tuple[str, int]:
    """Return kind and id of a key such as ``"Image:51"``.

    Raises
    ------
    UsageError
        The text is no such key.
    """
    kind, _, number = key.partition(":")
    ident = parse_id(number)
    if ident is None or not (kind.isascii() and kind.isalpha()):
        raise UsageError(f"{key[:60]!r}: expected an object such as Image:51")
    return kind, ident


def parse_targets(targets: Iterable[str]) -> list[tuple[str, int]]:
    """Return kinds and ids of targets such as ``Dataset:7`` or ``Image:1,2,3``.

    Raises
    ------
    UsageError
        A kind that cannot contain images, or a number that is no id.
    """
    found = []
    for target in targets:
        kind, _, idents = target.partition(":")
        numbers = [parse_id(i) for i in idents.split(",")]
        if kind not in KINDS or None in numbers:
            raise UsageError(f"target {target[:60]!r}: expected one of {', '.join(k + ':ID' for k in KINDS)}")
        found += [(kind, i) for i in numbers if i is not None]
    return found


def iterate_images(session: Session, targets: Sequence[str]) -> Iterator[ImageInfo]:
    """Yield every image below the targets once, in the order of targets, datasets, wells and fields.

    An image without pixels (an unfinished import) has a shape of zeros; one that is deleted during the listing has a
    ``problem``. Images created by runs have the run in ``made_by``, unless a target is the image itself.

    Raises
    ------
    UsageError
        A target is not valid.
    MissingError
        A target does not exist or is not visible.
    """
    wanted = parse_targets(targets)
    named = {ident for kind, ident in wanted if kind == "Image"}
    seen: set[int] = set()
    page: list[ImagePlaces] = []
    for kind, ident in wanted:
        for located in _LIST_IMAGES[kind](session, ident):
            if located[0] not in seen:
                seen.add(located[0])
                page.append(located)
            if len(page) == PAGE:
                yield from _read_image_infos(session, page, named)
                page = []
    yield from _read_image_infos(session, page, named)


def _list_image(session: Session, ident: int) -> Iterator[ImagePlaces]:
    _read_name(session, "Image", ident)
    samples = _list_well_images(session, "w.id in (select s.well.id from WellSample s where s.image.id = :id)", ident)
    for image, places in samples:
        if image == ident:
            yield image, places
            return
    held = session.query_rows(
        "select l.parent.id, l.parent.name from DatasetImageLink l where l.child.id = :id order by l.parent.id",
        id=ident,
    )
    yield (
        ident,
        (ImageLocation(f"Dataset:{held[0][0]}", held[0][1] or "") if held else ImageLocation(f"Image:{ident}"),),
    )


def _list_dataset(session: Session, ident: int) -> Iterator[ImagePlaces]:
    place = ImageLocation(f"Dataset:{ident}", _read_name(session, "Dataset", ident))
    hql = "select l.child.id from DatasetImageLink l where l.parent.id = :id order by l.child.id"
    yield from ((image, (place,)) for image in session.query_ids(hql, id=ident))


def _list_project(session: Session, ident: int) -> Iterator[ImagePlaces]:
    _read_name(session, "Project", ident)
    hql = "select l.child.id from ProjectDatasetLink l where l.parent.id = :id order by l.child.id"
    for dataset in session.query_ids(hql, id=ident):
        yield from _list_dataset(session, dataset)


def _list_plate(session: Session, ident: int) -> Iterator[ImagePlaces]:
    _read_name(session, "Plate", ident)
    yield from _list_well_images(session, "w.plate.id = :id", ident)


def _list_screen(session: Session, ident: int) -> Iterator[ImagePlaces]:
    _read_name(session, "Screen", ident)
    hql = "select l.child.id from ScreenPlateLink l where l.parent.id = :id order by l.child.id"
    for plate in session.query_ids(hql, id=ident):
        yield from _list_plate(session, plate)


def _list_well(session: Session, ident: int) -> Iterator[ImagePlaces]:
    """Yield the images of a well, with their places in other wells of its plate."""
    plates = session.query_ids("select w.plate.id from Well w where w.id = :id", id=ident)
    if not plates:
        raise make_missing_error("Well", ident)
    images = "select s.image.id from WellSample s where s.well.id = :id"
    for image, places in _list_well_images(
        session, f"w.id in (select o.well.id from WellSample o where o.image.id in ({images})) or w.id = :id", ident
    ):
        here = [p for p in places if p.well_id == ident]
        if here:
            yield image, (*here, *(p for p in places if p.well_id != ident))


def find_empty_wells(session: Session, targets: Sequence[str]) -> dict[str, list[str]]:
    """Return the wells without images on the targets' plates, as ``{"Plate:3": ["A2"]}``."""
    plates = [ident for kind, ident in parse_targets(targets) if kind == "Plate"]
    for kind, ident in parse_targets(targets):
        if kind == "Screen":
            hql = "select l.child.id from ScreenPlateLink l where l.parent.id = :id"
            plates += session.query_ids(hql, id=ident)
    found: dict[str, list[str]] = {}
    for plate in dict.fromkeys(plates):
        wells = session.query_rows("select w.id, w.row, w.column from Well w where w.plate.id = :id", id=plate)
        filled = set(session.query_ids("select s.well.id from WellSample s where s.well.plate.id = :id", id=plate))
        names = sorted((row, column) for well, row, column in wells if well not in filled and None not in (row, column))
        if names:
            found[f"Plate:{plate}"] = [format_well(row, column) for row, column in names]
    return found


_LIST_IMAGES: dict[str, Callable[[Session, int], Iterator[ImagePlaces]]] = {
    "Image": _list_image,
    "Dataset": _list_dataset,
    "Project": _list_project,
    "Plate": _list_plate,
    "Screen": _list_screen,
    "Well": _list_well,
}


def _read_name(session: Session, kind: str, ident: int) -> str:
    found = session.query_rows(f"select x.id, x.name from {kind} x where x.id = :id", id=ident)
    if not found:
        raise make_missing_error(kind, ident)
    return found[0][1] or ""


def _list_well_images(session: Session, where: str, ident: int) -> Iterator[ImagePlaces]:
    """Yield the images of wells, by row, column and index; fields count from 1 within well and acquisition.

    Wells without row and column come last. An image gets all its places on the first plate that contains it.
    """
    rows = session.query_rows(
        "select w.plate.id, w.plate.name, w.id, w.row, w.column, index(s), s.image.id, a.id, a.name, "
        "w.plate.rows, w.plate.columns "
        f"from Well w join w.wellSamples s left outer join s.plateAcquisition a where {where}",
        id=ident,
    )
    counts: dict[tuple[int, int | None], int] = {}
    found: dict[int, list[ImageLocation]] = {}
    for plate, name, well, row, column, _, image, acquisition, title, *extents in sorted(rows, key=_sort_key):
        counts[well, acquisition] = counts.get((well, acquisition), 0) + 1
        called = None if acquisition is None else (title or f"Run {acquisition}")
        shape = (extents[0], extents[1]) if all(extents) else None
        field = counts[well, acquisition]
        place = ImageLocation(f"Plate:{plate}", name or "", format_well(row, column), well, field, called, shape)
        found.setdefault(image, []).append(place)
    for image, places in found.items():
        yield image, tuple(p for p in places if p.container == places[0].container)


def _sort_key(row: Sequence[Any]) -> tuple[Any, ...]:
    plate, _, well, line, column, index, *_ = row
    placed = line is not None and column is not None
    return (plate, not placed, line if placed else 0, column if placed else 0, well, index or 0)


def _read_image_infos(session: Session, page: Sequence[ImagePlaces], named: Collection[int]) -> Iterator[ImageInfo]:
    if not page:
        return
    wanted = [image for image, _ in page]
    rows = session.query_rows("select i.id, i.name, i.description from Image i where i.id in (:ids)", ids=wanted)
    told = {image: (name or "", description or "") for image, name, description in rows}
    makers = find_creating_runs(session, {i: told[i][1] for i in wanted if i in told and i not in named})
    pixels = _read_pixels(session, wanted)
    channels = _read_channel_names(session, [row[1] for row in pixels.values()])
    for image, places in page:
        if image not in told:
            said = f"Image:{image}: was removed from {places[0].container} while its images were listed; run again"
            yield ImageInfo(f"Image:{image}", "", (0, 0, 0, 0, 0), "", (), place=places[0], problem=said)
            continue
        info = _make_image_info(image, told[image][0], pixels.get(image), channels, places[0])
        yield replace(info, other_places=places[1:], made_by=makers.get(image, ""))


def _read_pixels(session: Session, images: Sequence[int]) -> dict[int, list[Any]]:
    rows = session.query_rows(
        "select i.id, p.id, p.sizeT, p.sizeZ, p.sizeY, p.sizeX, p.sizeC, t.value, p.sha1, "
        "p.physicalSizeZ.value, p.physicalSizeZ.unit, p.physicalSizeY.value, p.physicalSizeY.unit, "
        "p.physicalSizeX.value, p.physicalSizeX.unit "
        "from Pixels p join p.image i join p.pixelsType t where i.id in (:ids) order by p.id desc",
        ids=list(images),
    )
    return {row[0]: row for row in rows}  # the oldest Pixels object of an image is its own


def _read_channel_names(session: Session, pixels: Sequence[int]) -> dict[int, dict[int, str]]:
    if not pixels:
        return {}
    rows = session.query_rows(
        "select p.id, index(c), l.name from Pixels p join p.channels c left outer join c.logicalChannel l "
        "where p.id in (:ids)",
        ids=list(pixels),
    )
    named: dict[int, dict[int, str]] = {}
    for ident, index, name in rows:
        named.setdefault(ident, {})[index] = name or ""
    return named


def _make_image_info(
    image: int, name: str, row: list[Any] | None, channels: dict[int, dict[int, str]], place: ImageLocation
) -> ImageInfo:
    if row is None:
        return ImageInfo(f"Image:{image}", name, (0, 0, 0, 0, 0), "", (), place=place)
    _, pixels, t, z, y, x, c, kind, sha1, z_size, z_unit, y_size, y_unit, x_size, x_unit = row
    named = channels.get(pixels, {})
    known = isinstance(sha1, str) and _SHA1.fullmatch(sha1)
    return ImageInfo(
        f"Image:{image}",
        name,
        (t, z, y, x, c),
        DTYPES.get(kind, kind),
        tuple(named.get(i, "") for i in range(c)),
        (to_micrometres(z_size, z_unit), to_micrometres(y_size, y_unit), to_micrometres(x_size, x_unit)),
        place,
        f"Pixels:{pixels} sha1:{sha1}" if known else f"Pixels:{pixels}",
    )
