"""Convert outlines to OMERO's ROIs and back: one ROI per object, with all its shapes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import omero.clients  # noqa: F401 - must be imported before other modules of omero
from numpy.typing import NDArray
from omero.model import ImageI, LengthI, MapAnnotationI, MaskI, PolygonI, RoiI
from omero.model.enums import UnitsLength
from omero.rtypes import rdouble, rint, rstring

from omero_pixclf.connector.raw_planes import LARGEST_MESSAGE
from omero_pixclf.connector.results.delete import delete_objects
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.errors import OutputError
from omero_pixclf.objects.keyholes import bridge_holes
from omero_pixclf.objects.outline import MaskShape, Outline, PolygonShape
from omero_pixclf.table import NO_NUMBER

__all__ = [
    "BATCH",
    "BATCH_BYTES",
    "MASK_ALPHA",
    "POLYGON_BYTES",
    "UNFILLED_ALPHA",
    "Color",
    "Shape",
    "find_marked_rois",
    "format_points",
    "make_roi",
    "pack_bits",
    "parse_points",
    "read_outlines",
    "save_outlines",
    "split_for_messages",
    "split_into_batches",
    "to_signed_rgba",
    "unpack_bits",
]

BATCH = 500
BATCH_BYTES = LARGEST_MESSAGE
POLYGON_BYTES = 48 << 20  # a server closes connections at 64 MB
UNFILLED_ALPHA = 1  # of 255: OMERO.web's own viewer treats 0 as unset and fills polygons opaquely
MASK_ALPHA = 100
Color = tuple[int, int, int]
Shape = PolygonShape | MaskShape


def to_signed_rgba(color: Color, alpha: int = 255) -> int:
    """Return a colour in OMERO's form: RGBA in a signed 32-bit integer.

    Examples
    --------
    >>> to_signed_rgba((255, 0, 0))
    -16776961
    """
    red, green, blue = color
    packed = red << 24 | green << 16 | blue << 8 | alpha
    return packed - (1 << 32) if packed >= 1 << 31 else packed


def pack_bits(bits: NDArray[Any]) -> bytes:
    """Pack a (height, width) bitmap into a Mask's bytes: row-major, most significant bit first, rows not padded."""
    return bytes(np.packbits(np.ascontiguousarray(bits, dtype=bool)).tobytes())


def unpack_bits(data: bytes, width: int, height: int) -> NDArray[np.bool_]:
    """Unpack a Mask's bytes into a (height, width) bool bitmap."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=width * height)
    return bits.reshape(height, width).astype(bool)


def format_points(points: NDArray[Any]) -> str:
    """Format vertices (n, 2), x and y, as a Polygon's text, without trailing zeros.

    Examples
    --------
    >>> format_points(np.array([[0, 0], [10.5, 0], [10.5, 7]]))
    '0,0 10.5,0 10.5,7'
    """
    return " ".join(f"{x:.10g},{y:.10g}" for x, y in np.asarray(points, dtype=float).tolist())


def parse_points(text: str) -> NDArray[np.float64]:
    """Parse a Polygon's text into vertices (n, 2), x and y, float64."""
    return np.array([[float(v) for v in pair.split(",")] for pair in text.split()], dtype=float).reshape(-1, 2)


def make_roi(outline: Outline, *, image: int, name: str, color: Color, mark: str) -> RoiI:
    """Return the unsaved Roi of one object; ``mark`` is stored in its description and identifies its run."""
    roi = RoiI()
    roi.image = ImageI(image, False)
    roi.name, roi.description = rstring(name), rstring(mark)
    for shape in outline.shapes:
        roi.addShape(_make_shape(shape, name=name, color=color))
    return roi


def _make_shape(shape: Shape, *, name: str, color: Color) -> Any:
    model = _make_polygon(shape, color) if isinstance(shape, PolygonShape) else _make_mask(shape, color)
    model.theT, model.theZ = rint(shape.t), rint(shape.z)
    model.textValue = rstring(name)
    return model


def _make_polygon(shape: PolygonShape, color: Color) -> PolygonI:
    model = PolygonI()
    model.points = rstring(format_points(bridge_holes(shape.points, shape.holes)))
    model.strokeColor, model.fillColor = rint(to_signed_rgba(color)), rint(to_signed_rgba(color, UNFILLED_ALPHA))
    model.strokeWidth = LengthI(1.0, UnitsLength.PIXEL)
    return model


def _make_mask(shape: MaskShape, color: Color) -> MaskI:
    height, width = shape.bits.shape
    model = MaskI()
    model.x, model.y = rdouble(shape.x), rdouble(shape.y)
    model.width, model.height = rdouble(width), rdouble(height)
    model.bytes = pack_bits(shape.bits)
    model.fillColor = rint(to_signed_rgba(color, MASK_ALPHA))
    return model


def _outline_bytes(outline: Outline) -> int:
    return sum(map(_shape_bytes, outline.shapes))


def _shape_bytes(shape: Shape) -> int:
    """Estimate the bytes of a shape in a message; no shape is much larger."""
    if isinstance(shape, MaskShape):
        return 1024 + shape.bits.size // 8
    return 1024 + 2 * sum(ring.nbytes for ring in (shape.points, *shape.holes))


def split_into_batches(outlines: Iterable[Outline]) -> Iterator[list[Outline]]:
    """Yield outlines in batches of at most `BATCH` outlines and about `BATCH_BYTES` bytes."""
    batch: list[Outline] = []
    weight = 0
    for outline in outlines:
        if batch and (len(batch) == BATCH or weight + _outline_bytes(outline) > BATCH_BYTES):
            yield batch
            batch, weight = [], 0
        batch.append(outline)
        weight += _outline_bytes(outline)
    if batch:
        yield batch


def split_for_messages(outline: Outline) -> list[Outline]:
    """Split an outline into parts that fit into one message each: usually one; large masks become bands of rows.

    Raises
    ------
    OutputError
        A polygon does not fit into a message.
    """
    parts: list[list[Shape]] = [[]]
    weight = 0
    for shape in (piece for whole in outline.shapes for piece in _split_shape(whole)):
        if parts[-1] and weight + _shape_bytes(shape) > BATCH_BYTES:
            parts.append([])
            weight = 0
        parts[-1].append(shape)
        weight += _shape_bytes(shape)
    return [replace(outline, shapes=tuple(part)) for part in parts]


def _split_shape(shape: Shape) -> Iterator[Shape]:
    if isinstance(shape, PolygonShape):
        if _shape_bytes(shape) > POLYGON_BYTES:
            raise OutputError(
                f"an object's outline has {len(shape.points)} points, more than a server accepts in one polygon; "
                "set rois = mask or labels, or a larger simplify"
            )
        yield shape
        return
    height, width = shape.bits.shape
    rows = max(1, BATCH_BYTES // 2 * 8 // max(1, width))
    for row in range(0, height, rows):
        yield replace(shape, y=shape.y + row, bits=shape.bits[row : row + rows])


def save_outlines(
    session: Session,
    outlines: Iterable[Outline],
    *,
    image: int,
    group: int,
    name: str,
    color: Color,
    mark: str,
    entry: int | None = None,
    known: Collection[int] | None = None,
) -> NDArray[np.int64]:
    """Save outlines on an image; return the Roi ids in the order of the outlines, -1 for one without shapes.

    ``entry`` is the id of the ledger entry (a MapAnnotation). ROIs are only saved while it exists: the server executes
    the request of a dead client possibly after the next run has removed the entry; the request then fails as a whole.
    ``known`` are the ids of existing ROIs with this mark; None: look them up.

    Raises
    ------
    OutputError
        A polygon is too large for a server.
    """
    standing = set(find_marked_rois(session, image, mark) if known is None else known)
    found: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for batch in split_into_batches(outlines):
        parts = [split_for_messages(o) for o in batch if o.shapes]
        to_roi = partial(make_roi, image=image, name=name, color=color, mark=mark)
        rois = [(to_roi(first), [[_make_shape(s, name=name, color=color) for s in p.shapes] for p in rest])
                for first, *rest in parts]  # fmt: skip
        if rois and entry is not None:
            rois[0][0].linkAnnotation(MapAnnotationI(entry, False))
        ids = _save_batch(session, rois, image=image, group=group, mark=mark, known=standing) if rois else []
        standing.update(ids)
        numbers = np.full(len(batch), NO_NUMBER, np.int64)
        numbers[[bool(o.shapes) for o in batch]] = ids
        found.append(numbers)
    return np.concatenate(found)


def _save_batch(
    session: Session,
    rois: Sequence[tuple[RoiI, Sequence[Sequence[Any]]]],
    *,
    image: int,
    group: int,
    mark: str,
    known: set[int],
) -> list[int]:
    """Save ROIs, each with the shapes that did not fit into the first message; return their ids."""

    def clean() -> None:
        stray = [i for i in find_marked_rois(session, image, mark) if i not in known]
        delete_objects(session, "Roi", stray, group=group)

    def save(factory: Any) -> list[int]:
        update = factory.getUpdateService()
        ids = [int(i) for i in update.saveAndReturnIds([roi for roi, _ in rois])]
        for ident, (_, rest) in zip(ids, rois, strict=True):
            for shapes in rest:
                _add_shapes(session, factory, ident, shapes)
        return ids

    return session.write(f"Image:{image}: saving {len(rois)} ROIs", save, group=group, clean=clean)


def _add_shapes(session: Session, factory: Any, ident: int, shapes: Sequence[Any]) -> None:
    """Add shapes to a stored Roi; its shapes are sent as references, since shapes are saved only with their Roi."""
    hql = "select s.id from Roi r join r.shapes s where r.id = :id order by index(s)"
    polygons = set(session.query_ids("select p.id from Polygon p where p.roi.id = :id", id=ident))
    stored = [(PolygonI if i in polygons else MaskI)(i, False) for i in session.query_ids(hql, id=ident)]
    roi = factory.getQueryService().get("Roi", ident)
    roi._shapesSeq, roi._shapesLoaded = stored, True
    for shape in shapes:
        roi.addShape(shape)
    factory.getUpdateService().saveObject(roi)


def find_marked_rois(session: Session, image: int, mark: str) -> list[int]:
    """Return the ids of this user's ROIs on an image that carry a run's mark."""
    return session.query_ids(
        "select r.id from Roi r where r.image.id = :image and r.description = :mark and r.details.owner.id = :owner "
        "order by r.id",
        image=image,
        mark=mark,
        owner=session.user_id,
    )


def read_outlines(session: Session, image: int, *, mark: str | None = None) -> list[tuple[int, str, Outline]]:
    """Read the polygons and masks on an image as (Roi id, name, outline), ordered by Roi id.

    With a ``mark``, only the ROIs of that run; else those of all users. The label of an outline is its Roi's id.
    """
    only = "" if mark is None else " and r.description = :mark"
    named = {"image": image} if mark is None else {"image": image, "mark": mark}
    marked = session.query_ids(f"select r.id from Roi r where r.image.id = :image{only} order by r.id", **named)
    shapes: dict[int, tuple[str, list[Shape]]] = {}
    for page in (marked[at : at + BATCH] for at in range(0, len(marked), BATCH)):
        polygons = session.query_rows(
            "select r.id, r.name, p.theT, p.theZ, p.points from Polygon p join p.roi r where r.id in (:ids) "
            "order by r.id, p.id",
            ids=page,
        )
        for roi, name, t, z, text in polygons:
            shapes.setdefault(roi, (name or "", []))[1].append(PolygonShape(t or 0, z or 0, parse_points(text)))
        for mask in _read_masks(session, page):
            name = mask.roi.name.val if mask.roi.name else ""
            shapes.setdefault(int(mask.roi.id.val), (name, []))[1].append(_parse_mask(mask))
    return [(roi, name, Outline(roi, s[0].t, tuple(s))) for roi, (name, s) in sorted(shapes.items())]


def _read_masks(session: Session, rois: Sequence[int]) -> Iterator[Any]:
    """Yield the masks of some ROIs, reading as many per call as fit a message."""
    sizes = session.query_rows(
        "select m.id, m.width, m.height from Mask m where m.roi.id in (:ids) order by m.roi.id, m.id", ids=list(rois)
    )
    page: list[int] = []
    weight = 0.0
    for number, (ident, width, height) in enumerate(sizes, 1):
        page.append(ident)
        weight += 1024 + (width or 0) * (height or 0) / 8
        if weight > BATCH_BYTES or number == len(sizes):
            hql = "select m from Mask m join fetch m.roi r where m.id in (:ids) order by r.id, m.id"
            yield from session.query_objects(hql, ids=page)
            page, weight = [], 0.0


def _parse_mask(mask: Any) -> MaskShape:
    width, height = round(mask.width.val), round(mask.height.val)
    t, z = (value.val if value is not None else 0 for value in (mask.theT, mask.theZ))
    return MaskShape(t, z, round(mask.x.val), round(mask.y.val), unpack_bits(mask.bytes, width, height))
