"""Create images, plates and containers in OMERO and upload their pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import omero
import omero.clients  # must be imported before other modules of omero
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
"""Start of the description of a dataset that was created for the result images of a plate."""

_LINKS = {("Project", "Dataset"): "ProjectDatasetLinkI", ("Screen", "Plate"): "ScreenPlateLinkI"}
_COLORS = ((0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 0), (255, 0, 255), (0, 255, 255))
_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class WellContent:
    """A well: 0-based row and column, one reader per field, and the stage position (x, y) of each field in µm."""

    row: int
    column: int
    fields: Sequence[PixelReader]
    stage_um: Sequence[tuple[float, float]] = ()


def create_container(
    session: Session, kind: str, name: str, *, parent: str | None = None, description: str = ""
) -> int:
    """Create a Dataset, Project, Screen or Plate, inside ``parent`` (``"Project:3"``) if given; return its id.

    Raises
    ------
    UsageError
        An object of that kind cannot be in the parent.
    """
    made = getattr(omero.model, f"{kind}I")()
    made.name, made.description = rstring(name), rstring(description)
    saved: Any = made
    if parent is not None:
        above, ident = parse_key(parent)
        if (above, kind) not in _LINKS:
            raise UsageError(
                f"{kind} {name!r}: cannot be in {parent}; a Dataset can be in a Project, a Plate in a Screen"
            )
        saved = getattr(omero.model, _LINKS[above, kind])()
        saved.parent, saved.child = make_reference(above, ident), made
    stored = session.write_once(
        f"creating {kind} {name!r}",
        lambda sf: sf.getUpdateService().saveAndReturnObject(saved),
        group=session.group_id,
    )
    return int((stored if parent is None else stored.child).id.val)


def find_container(session: Session, kind: str, name: str) -> int | None:
    """Return the id of this user's first container of that name in the session's group, or None."""
    found = find_containers(session, kind, name)
    return found[0] if found else None


def find_containers(session: Session, kind: str, name: str) -> list[int]:
    """Return the ids of this user's containers of that name in the session's group, oldest first."""
    hql = f"select o.id from {kind} o where o.name = :name and o.details.owner.id = :owner order by o.id"
    return session.query_ids(hql, group=session.group_id, name=name, owner=session.user_id)


def find_or_create_results_dataset(session: Session, container: str, name: str, *, group: int) -> int:
    """Return this user's dataset for the result images of a container that is no dataset; create it if missing."""
    description = f"{RESULTS_MARK}{container}"
    hql = "select d.id from Dataset d where d.description = :text and d.details.owner.id = :owner order by d.id"
    made = omero.model.DatasetI()
    made.name, made.description = rstring(f"{name or container} results"), rstring(description)

    def find_or_make(factory: Any) -> int:
        found = session.query_ids(hql, group=group, text=description, owner=session.user_id)
        if found:
            return found[0]
        own = int(factory.getUpdateService().saveAndReturnObject(made).id.val)
        # Another process may have created one at the same time: both processes use the older one.
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
    """Store an image with its name, channel names and pixel sizes, plane by plane; return the Image's id.

    ``dataset`` and ``group`` are ids; the default group is that of the dataset, else that of the session.

    Raises
    ------
    ImageError
        OMERO has no pixel type for the dtype.
    MissingError
        The dataset does not exist or is not visible.
    """
    into = group if group is not None else _find_dataset_group(session, dataset)
    image = make_image(session, reader.info, dataset=dataset, description=description)
    upload = _ImageUpload(session, image, reader, into)
    try:
        return session.write(f"storing image {reader.info.name!r}", upload.store, group=into, clean=upload.clean)
    except BaseException:
        upload.delete_created()
        raise


@dataclass
class _ImageUpload:
    """The attempts to store an image, with the ids of the images that they have created so far."""

    session: Session
    image: ImageI
    reader: PixelReader
    group: int
    created: list[int] = field(default_factory=list)
    may_have_lost_one: bool = False
    """Whether the server may have created an image whose id was lost."""

    def store(self, factory: Any) -> int:
        """Create the image and write its pixels; return its id."""
        self.may_have_lost_one = True
        try:
            return store_image(factory, self.image, self.reader, created=self._note)
        except omero.ServerError:
            self.may_have_lost_one = False  # the server refused, so it created none
            raise

    def _note(self, ident: int) -> None:
        self.created.append(ident)
        self.may_have_lost_one = False

    def clean(self) -> None:
        """Delete what an interrupted attempt created, so that the next one can begin.

        Raises
        ------
        OutputError
            An image may have been created whose id is not known.
        """
        if self.may_have_lost_one:
            raise OutputError(
                f"{self.reader.info.name}: the connection broke while the image was being created; look for it in "
                "OMERO, delete it if it has no pixels, and try again"
            )
        self.delete_created()
        self.created.clear()

    def delete_created(self) -> None:
        """Delete the images created so far."""
        delete_objects(self.session, "Image", self.created, group=self.group)


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
    """Return an unsaved image without pixel data, linked to a dataset and a ledger entry if their ids are given."""
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
        raise ImageError(f"{info.name}: pixels of type {info.dtype}; OMERO supports {', '.join(kinds)}")
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
    """Return a size in µm; None for sizes that are not positive, which some files have and OMERO refuses."""
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
    """Save an image of `make_image` with its planes, checksum and the range of each channel; return its id.

    ``created`` is called with the id as soon as the image exists. Pixels cannot be written again after their checksum
    is stored; so a failed attempt must be repeated with a new image.
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
        update.saveObject(written)  # only this stores the checksum
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
    """Create a plate with its wells and images; return the Plate's id.

    The images of each well are stored before the next well is requested. ``screen`` is the id of the Screen to put
    the plate into; ``acquisition`` is the name of the PlateAcquisition of all fields.
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
    activity = f"creating a {type(obj).__name__.removesuffix('I')}"
    return session.write_once(
        activity, lambda sf: sf.getUpdateService().saveAndReturnObject(obj), group=session.group_id
    )
