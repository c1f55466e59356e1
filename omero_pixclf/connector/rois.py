"""Outlines to OMERO's ROIs and back: one Roi per object, with all its shapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import omero.clients  # noqa: F401 - first: the other modules of omero are complete only after it
from numpy.typing import NDArray
from omero.model import ImageI, LengthI, MaskI, PolygonI, RoiI
from omero.model.enums import UnitsLength
from omero.rtypes import rdouble, rint, rstring

from omero_pixclf.connector.removal import remove
from omero_pixclf.connector.session import Session
from omero_pixclf.objects.outline import MaskShape, Outline, PolygonShape
from omero_pixclf.table import NO_NUMBER

__all__ = [
    "batches",
    "pack_bits",
    "parse_points",
    "points_text",
    "read_outlines",
    "roi_of",
    "rois_marked",
    "save_outlines",
    "signed_rgba",
    "unpack_bits",
]

BATCH = 500
BATCH_BYTES = 16 << 20
UNFILLED = 1  # of 255: OMERO.web's own viewer takes 0 for "not said" and paints polygons over the image
MASK_ALPHA = 100
Color = tuple[int, int, int]


def signed_rgba(color: Color, alpha: int = 255) -> int:
    """A colour as OMERO stores it: RGBA in a signed 32-bit integer.

    Examples
    --------
    >>> signed_rgba((255, 0, 0))
    -16776961
    """
    red, green, blue = color
    packed = red << 24 | green << 16 | blue << 8 | alpha
    return packed - (1 << 32) if packed >= 1 << 31 else packed


def pack_bits(bits: NDArray[Any]) -> bytes:
    """A (height, width) bitmap as a Mask's bytes: row-major, most significant bit first, rows not padded."""
    return bytes(np.packbits(np.ascontiguousarray(bits, dtype=bool)).tobytes())


def unpack_bits(data: bytes, width: int, height: int) -> NDArray[np.bool_]:
    """A Mask's bytes as a (height, width) bitmap."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=width * height)
    return bits.reshape(height, width).astype(bool)


def points_text(points: NDArray[Any]) -> str:
    """Vertices (n, 2) as a Polygon's text, without digits that say nothing.

    Examples
    --------
    >>> points_text(np.array([[0, 0], [10.5, 0], [10.5, 7]]))
    '0,0 10.5,0 10.5,7'
    """
    return " ".join(f"{x:.10g},{y:.10g}" for x, y in np.asarray(points, dtype=float).tolist())


def parse_points(text: str) -> NDArray[np.float64]:
    """A Polygon's text as vertices (n, 2)."""
    return np.array([[float(v) for v in pair.split(",")] for pair in text.split()], dtype=float).reshape(-1, 2)


def roi_of(outline: Outline, *, image: int, name: str, color: Color, mark: str) -> RoiI:
    """The Roi of one object, not saved; ``mark`` goes into its description and says which run it belongs to."""
    roi = RoiI()
    roi.image = ImageI(image, False)
    roi.name, roi.description = rstring(name), rstring(mark)
    for shape in outline.shapes:
        model = _polygon(shape, color) if isinstance(shape, PolygonShape) else _mask(shape, color)
        model.theT, model.theZ = rint(shape.t), rint(shape.z)
        model.textValue = rstring(name)
        roi.addShape(model)
    return roi


def _polygon(shape: PolygonShape, color: Color) -> PolygonI:
    model = PolygonI()
    model.points = rstring(points_text(shape.points))
    model.strokeColor, model.fillColor = rint(signed_rgba(color)), rint(signed_rgba(color, UNFILLED))
    model.strokeWidth = LengthI(1.0, UnitsLength.PIXEL)
    return model


def _mask(shape: MaskShape, color: Color) -> MaskI:
    height, width = shape.bits.shape
    model = MaskI()
    model.x, model.y = rdouble(shape.x), rdouble(shape.y)
    model.width, model.height = rdouble(width), rdouble(height)
    model.bytes = pack_bits(shape.bits)
    model.fillColor = rint(signed_rgba(color, MASK_ALPHA))
    return model


def _weight(outline: Outline) -> int:
    return sum(s.points.nbytes * 2 if isinstance(s, PolygonShape) else s.bits.size // 8 for s in outline.shapes)


def batches(outlines: Iterable[Outline]) -> Iterator[list[Outline]]:
    """Outlines in batches of at most `BATCH`, and of about `BATCH_BYTES` where they are heavy."""
    batch: list[Outline] = []
    weight = 0
    for outline in outlines:
        if batch and (len(batch) == BATCH or weight + _weight(outline) > BATCH_BYTES):
            yield batch
            batch, weight = [], 0
        batch.append(outline)
        weight += _weight(outline)
    if batch:
        yield batch


def save_outlines(
    session: Session,
    outlines: Iterable[Outline],
    *,
    image: int,
    group: int,
    name: str,
    color: Color,
    mark: str,
) -> NDArray[np.int64]:
    """Save outlines on an image; returns the Roi ids in the order of the outlines, -1 for one without shapes."""
    known = set(rois_marked(session, image, mark))
    found: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for batch in batches(outlines):
        rois = [roi_of(o, image=image, name=name, color=color, mark=mark) for o in batch if o.shapes]
        ids = _save(session, rois, image=image, group=group, mark=mark, known=known) if rois else []
        known.update(ids)
        numbers = np.full(len(batch), NO_NUMBER, np.int64)
        numbers[[bool(o.shapes) for o in batch]] = ids
        found.append(numbers)
    return np.concatenate(found)


def _save(session: Session, rois: Sequence[RoiI], *, image: int, group: int, mark: str, known: set[int]) -> list[int]:
    def clean() -> None:
        stray = [i for i in rois_marked(session, image, mark) if i not in known]
        remove(session, "Roi", stray, group=group)

    context = session.context(group)
    return [
        int(i)
        for i in session.write(
            f"Image:{image}: saving {len(rois)} ROIs",
            lambda sf: sf.getUpdateService().saveAndReturnIds(list(rois), context),
            clean=clean,
        )
    ]


def rois_marked(session: Session, image: int, mark: str) -> list[int]:
    """The ids of this user's ROIs on an image that carry a run's mark."""
    return session.ids(
        "select r.id from Roi r where r.image.id = :image and r.description = :mark and r.details.owner.id = :owner "
        "order by r.id",
        image=image,
        mark=mark,
        owner=session.user_id,
    )


def read_outlines(session: Session, image: int, *, mark: str | None = None) -> list[tuple[int, str, Outline]]:
    """The polygons and masks on an image, as (Roi id, its name, its outline), by Roi id.

    With a ``mark`` only the ROIs of that run, else all, whoever made them. An outline's label is its Roi's id.
    """
    only = "" if mark is None else " and r.description = :mark"
    named = {"image": image} if mark is None else {"image": image, "mark": mark}
    polygons = session.rows(
        "select r.id, r.name, p.theT, p.theZ, p.points from Polygon p join p.roi r "
        f"where r.image.id = :image{only} order by r.id, p.id",
        **named,
    )
    masks = session.objects(
        f"select m from Mask m join fetch m.roi r where r.image.id = :image{only} order by r.id, m.id", **named
    )
    shapes: dict[int, tuple[str, list[PolygonShape | MaskShape]]] = {}
    for roi, name, t, z, text in polygons:
        shapes.setdefault(roi, (name or "", []))[1].append(PolygonShape(t or 0, z or 0, parse_points(text)))
    for mask in masks:
        name = mask.roi.name.val if mask.roi.name else ""
        shapes.setdefault(int(mask.roi.id.val), (name, []))[1].append(_from_mask(mask))
    return [(roi, name, Outline(roi, s[0].t, tuple(s))) for roi, (name, s) in sorted(shapes.items())]


def _from_mask(mask: Any) -> MaskShape:
    width, height = round(mask.width.val), round(mask.height.val)
    t, z = (value.val if value is not None else 0 for value in (mask.theT, mask.theZ))
    return MaskShape(t, z, round(mask.x.val), round(mask.y.val), unpack_bits(mask.bytes, width, height))
