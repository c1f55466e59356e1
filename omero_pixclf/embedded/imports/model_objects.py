"""Model objects of an import: unsaved images, channels, plates, wells and links, made from files' content."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import omero.constants.namespaces as namespaces
import omero.model
from omero.model.enums import UnitsLength
from omero.rtypes import rdouble, rint, rstring, rtime

from omero_pixclf.embedded.database.object_model import unit_names
from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.imports.pixel_import import UnpackedPixels
from omero_pixclf.embedded.series.content import Channel, FilesetContent, Series
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.services.pixels import PENDING_SHA1
from omero_pixclf.files.plates import Plate

__all__ = [
    "ImportData",
    "RequestedSettings",
    "is_unattended",
    "link_and_annotate",
    "link_screens",
    "new_images",
    "new_plates",
    "omero_type",
]

_TYPES = {"float32": "float", "float64": "double"}
_UNIT_WORDS = {"micron": "µm", "microns": "µm", "um": "µm", "\u03bcm": "µm", "micrometre": "µm", "\\u00B5m": "µm"}
_INTERNAL = (namespaces.NSAUTOCLOSE, namespaces.NSTARGETTEMPLATE, namespaces.NSFILETRANSFER)


@dataclass(frozen=True)
class RequestedSettings:
    """The client's requests in its ImportSettings."""

    target: Any
    name: str | None
    description: str | None
    pixel_size: tuple[float | None, ...]
    annotations: tuple[Any, ...]
    thumbnails: bool
    statistics: bool

    @classmethod
    def of(cls, settings: Any) -> RequestedSettings:
        """Return the requests in omero.grid.ImportSettings; missing ones have OMERO's defaults."""
        given = settings.userSpecifiedAnnotationList or []
        name, description = settings.userSpecifiedName, settings.userSpecifiedDescription
        return cls(
            target=settings.userSpecifiedTarget,
            name=name.val if name is not None else None,
            description=description.val if description is not None else None,
            pixel_size=tuple(settings.userSpecifiedPixels or ()),
            annotations=tuple(a for a in given if a is not None and not _is_internal(a)),
            thumbnails=settings.doThumbnails is None or settings.doThumbnails.val,
            statistics=settings.noStatsInfo is None or not settings.noStatsInfo.val,
        )


def _is_internal(annotation: Any) -> bool:
    """Whether an annotation only tells the server how to import."""
    return annotation.isLoaded() and annotation.ns is not None and annotation.ns.val in _INTERNAL


def is_unattended(settings: Any) -> bool:
    """Whether the server continues alone after the upload, as ``omero import --async`` asks for."""
    given = settings.userSpecifiedAnnotationList or []
    return any(a is not None and _is_internal(a) and a.ns.val == namespaces.NSAUTOCLOSE for a in given)


@dataclass(frozen=True)
class ImportData:
    """The content that an import has read and will save; ``pixels`` has an element per image of ``content``."""

    content: FilesetContent
    pixels: Sequence[UnpackedPixels]
    settings: RequestedSettings
    file_name: str
    fileset: int

    @property
    def name(self) -> str:
        """Name of images and plates."""
        return self.settings.name or self.file_name


def omero_type(series: Series) -> str:
    """Return OMERO's name of the pixel type."""
    return _TYPES.get(series.dtype.name, series.dtype.name)


# ---- images ------------------------------------------------------------------------------------------------------
def new_images(call: RequestContext, data: ImportData, numbers: range) -> list[Any]:
    """Return an unsaved image per series in ``numbers``, in their order."""
    kind, found, settings = _format(call, data.content.format), data.content.series, data.settings
    made = []
    for number in numbers:
        series = found[number]
        image = omero.model.ImageI()
        image.name = rstring(_name(series, number, len(found), data.name))
        image.description = rstring(settings.description if settings.description is not None else series.description)
        image.acquisitionDate = rtime(series.acquired_ms) if series.acquired_ms is not None else None
        image.series, image.format = rint(number), kind
        image.fileset = omero.model.FilesetI(data.fileset, False)
        image.addPixels(_pixels(series, data.pixels[number], settings))
        made.append(image)
    return made


def _name(series: Series, number: int, count: int, base: str) -> str:
    """Return an image's name: several images of a file have their own name or number in brackets."""
    return base if count == 1 else f"{base} [{series.name or number}]"


def _format(call: RequestContext, value: str) -> Any:
    row = call.tx.one("SELECT id FROM format WHERE value = ?", (value,))
    if row is not None:
        return omero.model.FormatI(row[0], False)
    ident = call.tx.new_id(table("Format").name)
    call.tx.execute(
        "INSERT INTO format (id, creation_id, update_id, value) VALUES (?, ?, ?, ?)",
        (ident, call.event_id, call.event_id, value),
    )
    return omero.model.FormatI(ident, False)


def _pixels(series: Series, found: UnpackedPixels, settings: RequestedSettings) -> Any:
    full = series.levels[0]
    made = omero.model.PixelsI()
    made.sizeX, made.sizeY = rint(full.width), rint(full.height)
    made.sizeZ, made.sizeC, made.sizeT = rint(series.z), rint(series.c), rint(series.t)
    made.pixelsType, made.dimensionOrder = omero.model.PixelsTypeI(), omero.model.DimensionOrderI()
    made.pixelsType.value, made.dimensionOrder.value = rstring(omero_type(series)), rstring("XYZCT")
    made.significantBits = rint(series.dtype.itemsize * 8)
    made.sha1 = rstring(found.sha1 if settings.statistics else PENDING_SHA1)
    for place, axis in enumerate("xyz"):
        asked = settings.pixel_size[place] if place < len(settings.pixel_size) else None
        size = _length(asked, "µm") if asked else _length(*series.pixel_size.get(axis, (None, "")))
        setattr(made, f"physicalSize{axis.upper()}", size)
    for channel, extent in zip(series.channels, found.ranges, strict=True):
        made.addChannel(_channel(channel, extent if settings.statistics else None))
    return made


def _length(value: float | None, unit: str) -> Any:
    """Return a length in OMERO's units; None for sizes not above zero and for unknown units."""
    symbol = _UNIT_WORDS.get(unit, unit)
    names = {text: name for name, text in omero.model.LengthI.SYMBOLS.items()}
    name = names.get(symbol, symbol.upper())
    if value is None or not value > 0 or not math.isfinite(value) or name not in unit_names("Length"):
        return None
    return omero.model.LengthI(value, unit_names("Length")[name])


def _channel(channel: Channel, extent: tuple[float, float] | None) -> Any:
    made, logical = omero.model.ChannelI(), omero.model.LogicalChannelI()
    logical.name = rstring(channel.name) if channel.name else None
    for name, nm in (("emissionWave", channel.emission_nm), ("excitationWave", channel.excitation_nm)):
        setattr(logical, name, omero.model.LengthI(nm, UnitsLength.NANOMETER) if nm is not None else None)
    made.logicalChannel = logical
    if channel.color is not None:
        made.red, made.green, made.blue, made.alpha = (rint(part) for part in channel.color)
    if extent is not None and extent[0] <= extent[1]:
        made.statsInfo = omero.model.StatsInfoI()
        made.statsInfo.globalMin, made.statsInfo.globalMax = rdouble(extent[0]), rdouble(extent[1])
    return made


# ---- plates ------------------------------------------------------------------------------------------------------
def new_plates(data: ImportData, images: Sequence[Any]) -> list[Any]:
    """Return an unsaved plate per plate of the content, with wells whose samples are the images."""
    plates = data.content.plates
    names = _plate_names(plates, data)
    return [_plate(plate, name, images, data.settings) for plate, name in zip(plates, names, strict=True)]


def _plate_names(plates: Sequence[Plate], data: ImportData) -> Iterator[str]:
    for plate in plates:
        if len(plates) == 1:
            yield data.settings.name or plate.name or data.file_name
        else:
            yield f"{data.name} [{plate.name}]"


def _plate(plate: Plate, name: str, images: Sequence[Any], settings: RequestedSettings) -> Any:
    made = omero.model.PlateI()
    made.name, made.rows, made.columns = rstring(name), rint(plate.rows), rint(plate.columns)
    made.description = rstring(settings.description) if settings.description is not None else None
    made.rowNamingConvention, made.columnNamingConvention = (rstring(how) for how in plate.naming_conventions)
    runs = [_run(called) for called in plate.acquisitions]
    for run in runs:
        made.addPlateAcquisition(run)
    places = dict.fromkeys(
        (*((well_sample.row, well_sample.column) for well_sample in plate.well_samples), *plate.wells)
    )
    wells = {place: _well(*place) for place in places}
    for well in wells.values():
        made.addWell(well)
    for well_sample in plate.well_samples:
        sample = omero.model.WellSampleI()
        sample.image = images[well_sample.series]
        sample.plateAcquisition = (
            runs[well_sample.acquisition] if well_sample.acquisition is not None and runs else None
        )
        wells[well_sample.row, well_sample.column].addWellSample(sample)
    return made


def _run(name: str) -> Any:
    made = omero.model.PlateAcquisitionI()
    made.name = rstring(name)
    return made


def _well(row: int, column: int) -> Any:
    made = omero.model.WellI()
    made.row, made.column = rint(row), rint(column)
    return made


def link_screens(call: RequestContext, content: FilesetContent, plates: Sequence[Any]) -> None:
    """Create the screens that the files name, and link the saved plates to them."""
    saver = Saver(call)
    screens: dict[str, Any] = {}
    for described, plate in zip(content.plates, plates, strict=True):
        if described.screen is None:
            continue
        if described.screen not in screens:
            screens[described.screen] = omero.model.ScreenI()
            screens[described.screen].name = rstring(described.screen)
        link = omero.model.ScreenPlateLinkI()
        link.parent, link.child = screens[described.screen], plate
        saver.save(link)
    saver.flush()


def link_and_annotate(
    call: RequestContext, images: Sequence[Any], plates: Sequence[Any], settings: RequestedSettings
) -> None:
    """Link the saved objects to the container that the client asked for, and annotate them.

    Images are linked to a dataset, plates to a screen. ``images`` are those on no plate.
    """
    saver = Saver(call)
    for kind, held in [*(("Plate", p) for p in plates), *(("Image", i) for i in images)]:
        container = {"Image": "Dataset", "Plate": "Screen"}[kind]
        if isinstance(settings.target, getattr(omero.model, container)):
            link = getattr(omero.model, f"{container}{kind}LinkI")()
            link.parent, link.child = settings.target, held
            saver.save(link)
        for annotation in settings.annotations:
            link = getattr(omero.model, f"{kind}AnnotationLinkI")()
            link.parent, link.child = held, annotation
            saver.save(link)
    saver.flush()
