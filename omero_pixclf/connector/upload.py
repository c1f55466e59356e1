"""New images and containers in OMERO, from any reader, by planes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import omero
import omero.clients  # first: the other modules of omero are complete only after it
import omero.model
from omero.model import (
    ChannelI,
    DatasetImageLinkI,
    ImageI,
    LengthI,
    LogicalChannelI,
    PixelsI,
    PlateAcquisitionI,
    PlateI,
    WellI,
    WellSampleI,
)
from omero.model.enums import UnitsLength
from omero.rtypes import rint, rstring

from omero_pixclf.connector.hierarchy import DTYPES, parse_key
from omero_pixclf.connector.raw_planes import write_pixels
from omero_pixclf.connector.results.annotations import make_link, make_reference
from omero_pixclf.connector.results.delete import delete_objects
from omero_pixclf.connector.sessions.exceptions import REMOTE_ERRORS, make_missing_error
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.errors import ImageError, OutputError, UsageError
from omero_pixclf.image import ImageInfo, PixelReader
from omero_pixclf.text import path_text

__all__ = [
    "RESULTS_MARK",
    "WellContent",
    "create_container",
    "create_plate",
    "find_container",
    "find_containers",
    "find_or_create_results_dataset",
    "make_image",
    "store_image",
    "upload_image",
]

RESULTS_MARK = "omero_pixclf results of "
"""How the description of a dataset begins that was made to hold result images of a plate."""

_LINKS = {("Project", "Dataset"): "ProjectDatasetLinkI", ("Screen", "Plate"): "ScreenPlateLinkI"}
_COLORS = ((0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 0), (255, 0, 255), (0, 255, 255))
_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class WellContent:
    """A well with its fields: 0-based row and column, one reader per field, and where the stage stood in µm."""

    row: int
    column: int
    fields: Sequence[PixelReader]
    stage_um: Sequence[tuple[float, float]] = ()


def create_container(
    session: Session, kind: str, name: str, *, parent: str | None = None, description: str = ""
) -> int:
    """A new Dataset, Project, Screen or Plate, inside ``parent`` (``"Project:3"``) where one is named; returns its id.

    Raises
    ------
    UsageError
        For a kind that cannot lie in the parent.
    """
    made = getattr(omero.model, f"{kind}I")()
    made.name, made.description = rstring(name), rstring(description)
    saved: Any = made
    if parent is not None:
        above, ident = parse_key(parent)
        if (above, kind) not in _LINKS:
            raise UsageError(f"{kind} {name!r}: cannot lie in {parent}")
        saved = getattr(omero.model, _LINKS[above, kind])()
        saved.parent, saved.child = make_reference(above, ident), made
    stored = session.write_once(
        f"creating {kind} {name!r}",
        lambda sf: sf.getUpdateService().saveAndReturnObject(saved),
        group=session.group_id,
    )
    return int((stored if parent is None else stored.child).id.val)


def find_container(session: Session, kind: str, name: str) -> int | None:
    """The id of this user's first container of that name in the session's group, or None."""
    found = find_containers(session, kind, name)
    return found[0] if found else None


def find_containers(session: Session, kind: str, name: str) -> list[int]:
    """Ids of this user's containers of that name in the session's group, the oldest first."""
    hql = f"select o.id from {kind} o where o.name = :name and o.details.owner.id = :owner order by o.id"
    return session.query_ids(hql, group=session.group_id, name=name, owner=session.user_id)


def find_or_create_results_dataset(session: Session, container: str, name: str, *, group: int) -> int:
    """This user's dataset for the result images of a container that is no dataset, made where there is none."""
    description = f"{RESULTS_MARK}{container}"
    hql = "select d.id from Dataset d where d.description = :text and d.details.owner.id = :owner order by d.id"
    made = omero.model.DatasetI()
    made.name, made.description = rstring(f"{name or container} results"), rstring(description)

    def find_or_make(factory: Any) -> int:
        found = session.query_ids(hql, group=group, text=description, owner=session.user_id)
        if found:
            return found[0]
        own = int(factory.getUpdateService().saveAndReturnObject(made).id.val)
        # Another process may have made one at the same time: the older one counts, for both.
        first = session.query_ids(hql, group=group, text=description, owner=session.user_id)[0]
        if first != own:
            delete_objects(session, "Dataset", [own], group=group)
        return first

    return session.write(f"{container}: dataset for results", find_or_make, group=group)


def upload_image(
    session: Session,
    reader: PixelReader,
    *,
    dataset: int | None = None,
    description: str = "",
    group: int | None = None,
) -> int:
    """Store an image, plane by plane, with its name, channel names and pixel sizes; returns the Image's id.

    It goes into a Dataset's id where one is given, and into the group with the id given, by default the dataset's,
    else the session's.

    Raises
    ------
    ImageError
        For a dtype that OMERO does not have.
    MissingError
        Where the dataset is not there.
    """
    into = group if group is not None else _find_dataset_group(session, dataset)
    image = make_image(session, reader.info, dataset=dataset, description=description)
    made: list[int] = []
    unknown = False  # whether the server may have an image whose number was not told

    def clean() -> None:
        if unknown:
            raise OutputError(
                f"{reader.info.name}: the connection broke while the image was created; look for it in OMERO, remove "
                "it if it is there without pixels, and try again"
            )
        delete_objects(session, "Image", made, group=into)
        made.clear()

    def created(ident: int) -> None:
        nonlocal unknown
        made.append(ident)
        unknown = False

    def store(factory: Any) -> int:
        nonlocal unknown
        unknown = True
        try:
            return store_image(factory, image, reader, created=created)
        except omero.ServerError:
            unknown = False  # it said no, so there is none
            raise

    try:
        return session.write(f"storing image {reader.info.name!r}", store, group=into, clean=clean)
    except BaseException:
        delete_objects(session, "Image", made, group=into)
        raise


def _find_dataset_group(session: Session, dataset: int | None) -> int:
    if dataset is None:
        return session.group_id
    found = session.query_ids("select d.details.group.id from Dataset d where d.id = :id", id=dataset)
    if not found:
        raise make_missing_error("Dataset", dataset)
    return found[0]


def make_image(
    session: Session, info: ImageInfo, *, dataset: int | None = None, description: str = "", entry: int | None = None
) -> ImageI:
    """An image without pixel data, not saved, in a dataset and linked to a ledger's entry where they are named."""
    image = ImageI()
    image.name, image.description, image.series = rstring(path_text(info.name)), rstring(description), rint(0)
    image.addPixels(_make_pixels(session, info))
    if dataset is not None:
        held = DatasetImageLinkI()
        held.parent, held.child = make_reference("Dataset", dataset), image
        image.addDatasetImageLink(held)
    if entry is not None:
        noted = make_link("Image:0", make_reference("MapAnnotation", entry))
        noted.parent = image
        image.addImageAnnotationLink(noted)
    return image


def _make_pixels(session: Session, info: ImageInfo) -> PixelsI:
    kinds = {ours: theirs for theirs, ours in DTYPES.items()}
    if info.dtype not in kinds:
        raise ImageError(f"{info.name}: pixels of type {info.dtype}, OMERO has {', '.join(kinds)}")
    pixels = PixelsI()
    pixels.sizeT, pixels.sizeZ, pixels.sizeY, pixels.sizeX, pixels.sizeC = (rint(n) for n in info.shape)
    pixels.pixelsType = _find_enumeration(session, "PixelsType", kinds[info.dtype])
    pixels.dimensionOrder = _find_enumeration(session, "DimensionOrder", "XYZCT")
    pixels.sha1 = rstring("Pending...")
    pixels.significantBits = rint(np.dtype(info.dtype).itemsize * 8)
    z, y, x = (_make_length(um) for um in info.pixel_size_um)
    pixels.physicalSizeZ, pixels.physicalSizeY, pixels.physicalSizeX = z, y, x
    names = (*info.channels, *[""] * info.shape[4])[: info.shape[4]]
    for index, name in enumerate(names):
        pixels.addChannel(_make_channel(name, _COLORS[index % len(_COLORS)] if len(names) > 1 else _WHITE))
    return pixels


def _make_length(um: float | None) -> LengthI | None:
    """OMERO refuses sizes that are not above zero, as some files have them."""
    return LengthI(um, UnitsLength.MICROMETER) if um is not None and um > 0 else None


def _make_channel(name: str, color: tuple[int, int, int]) -> ChannelI:
    channel, logical = ChannelI(), LogicalChannelI()
    logical.name = rstring(name) if name else None
    channel.logicalChannel = logical
    channel.red, channel.green, channel.blue = (rint(v) for v in color)
    channel.alpha = rint(255)
    return channel


def _find_enumeration(session: Session, kind: str, value: str) -> Any:
    found = session.query_ids(f"select e.id from {kind} e where e.value = :value", value=value)
    if not found:
        raise ImageError(f"the server has no {kind} {value!r}")
    return make_reference(kind, found[0])


def store_image(factory: Any, image: ImageI, reader: PixelReader, *, created: Callable[[int], object]) -> int:
    """Save an image of `make_image` with all its planes, its checksum and each channel's range; returns its id.

    ``created`` is told the id as soon as there is one. Pixels cannot be written again once their checksum stands, so
    that an attempt that fails must be followed by one with another image.
    """
    update = factory.getUpdateService()
    saved = update.saveAndReturnObject(image)
    created(int(saved.id.val))
    pixels = int(saved.getPrimaryPixels().id.val)
    store = factory.createRawPixelsStore()
    try:
        store.setPixelsId(pixels, True)
        ranges = write_pixels(store, reader)
        written = store.save()
    finally:
        with suppress(*REMOTE_ERRORS):
            store.close()
    if written is not None:
        update.saveObject(written)  # only this makes the checksum stand
    for channel, (low, high) in enumerate(ranges.tolist()):
        factory.getPixelsService().setChannelGlobalMinMax(pixels, channel, low, high)
    return int(saved.id.val)


def create_plate(
    session: Session,
    name: str,
    wells: Iterable[WellContent],
    *,
    screen: int | None = None,
    acquisition: str = "",
    description: str = "",
) -> int:
    """A new plate with its wells and images; returns the Plate's id.

    Wells are read one after the other; the images of one are stored before the next is asked for. The plate goes
    into a Screen's id where one is given; ``acquisition`` names the run of the microscope that all fields belong to.
    """
    parent = None if screen is None else f"Screen:{screen}"
    plate = create_container(session, "Plate", name, parent=parent, description=description)
    run = _create_acquisition(session, plate, acquisition) if acquisition else None
    for content in wells:
        images = [upload_image(session, reader) for reader in content.fields]
        _save(session, _make_well(plate, content, images, run))
    return plate


def _create_acquisition(session: Session, plate: int, name: str) -> int:
    run = PlateAcquisitionI()
    run.name, run.plate = rstring(name), PlateI(plate, False)
    return int(_save(session, run).id.val)


def _make_well(plate: int, content: WellContent, images: Sequence[int], run: int | None) -> WellI:
    well = WellI()
    well.plate, well.row, well.column = PlateI(plate, False), rint(content.row), rint(content.column)
    for index, image in enumerate(images):
        sample = WellSampleI()
        sample.image = ImageI(image, False)
        if index < len(content.stage_um):
            x, y = content.stage_um[index]
            sample.posX, sample.posY = (LengthI(v, UnitsLength.MICROMETER) for v in (x, y))
        if run is not None:
            sample.plateAcquisition = PlateAcquisitionI(run, False)
        well.addWellSample(sample)
    return well


def _save(session: Session, obj: Any) -> Any:
    doing = f"creating a {type(obj).__name__.removesuffix('I')}"
    return session.write_once(doing, lambda sf: sf.getUpdateService().saveAndReturnObject(obj), group=session.group_id)
