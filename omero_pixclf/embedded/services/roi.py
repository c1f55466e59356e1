"""IRoi: find regions of interest of an image, measure shapes, store masks."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import omero
import omero.api
import omero.model
from omero.rtypes import unwrap

from omero_pixclf.embedded.database.fetching import load_path
from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.hql.queries import query_objects, query_rows
from omero_pixclf.embedded.images.coloured_masks import masks_by_colour
from omero_pixclf.embedded.images.shape_statistics import measure_shapes, shape_points
from omero_pixclf.embedded.server.exceptions import api_usage_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, without_transaction, writes_database
from omero_pixclf.embedded.services.resources import SharedResources

__all__ = ["RoiService"]

_UNSET = -1  # key of shapes on all planes
_MEASUREMENTS = (
    "select distinct fa from Image i join i.wellSamples ws join ws.well well join well.plate plate "
    "join plate.annotationLinks links join links.child fa where fa.ns = :ns and i.id = :i and exists "
    "(select l.id from RoiAnnotationLink l where l.child.id = fa.id and l.parent.image.id = i.id)"
)
_NS_MEASUREMENT = "openmicroscopy.org/omero/measurement"
_MEASURED = (
    "select distinct r.id from Roi r join r.image i join i.wellSamples ws join ws.well well join well.plate plate "
    "join plate.annotationLinks links join links.child a where a.id = :a and i.id = :i order by r.id"
)


class RoiService(OmeroService):
    """omero.api.IRoi."""

    interface = omero.api.IRoi

    # ---- finding ---------------------------------------------------------------------------------------------
    def findByImage(self, call: RequestContext, image: int, options: Any) -> Any:
        """Return ROIs with at least one shape; the namespace option has no effect, as in OMERO."""
        return _find_rois(call, "r.image = ?", (image,), options)

    def findByRoi(self, call: RequestContext, roi: int, options: Any) -> Any:
        return _find_rois(call, "r.id = ?", (roi,), options)

    def findByPlane(self, call: RequestContext, image: int, z: int, t: int, options: Any) -> Any:
        on_plane = "(s.theZ IS NULL OR s.theZ = ?) AND (s.theT IS NULL OR s.theT = ?)"
        result = _find_rois(call, "r.image = ?", (z, t, image), options, shapes=on_plane)
        for roi in result.rois:
            roi._shapesSeq = [s for s in roi._shapesSeq if _lies_on(s, z, t)]
        _index(result)
        return result

    # ---- measuring -------------------------------------------------------------------------------------------
    def getPoints(self, call: RequestContext, shape: int) -> Any:
        found = call.graph.get("Shape", shape)
        call.graph.finish_loading()
        x, y = shape_points(found)
        return omero.api.ShapePoints(x.tolist(), y.tolist())

    def getShapeStats(self, call: RequestContext, shape: int) -> Any:
        return measure_shapes(call, [shape]).perShape[0]

    def getShapeStatsList(self, call: RequestContext, shapes: list[int]) -> list[Any]:
        return list(measure_shapes(call, shapes).perShape)

    def getShapeStatsRestricted(
        self, call: RequestContext, shapes: list[int], z: int, t: int, channels: Sequence[int]
    ) -> list[Any]:
        return list(measure_shapes(call, shapes, plane=(z, t), channels=list(channels)).perShape)

    def getRoiStats(self, call: RequestContext, roi: int) -> Any:
        rows = call.tx.all("SELECT id FROM shape WHERE roi = ? ORDER BY roi_index, id", (roi,))
        return measure_shapes(call, [row[0] for row in rows])

    def getRoiMeasurements(self, call: RequestContext, image: int, options: Any) -> list[Any]:
        return query_objects(call, _MEASUREMENTS, ns=_NS_MEASUREMENT, i=image)

    def getMeasuredRois(self, call: RequestContext, image: int, annotation: int, options: Any) -> Any:
        return _find_measured(call, image, annotation, options)

    def getMeasuredRoisMap(
        self, call: RequestContext, image: int, annotations: list[int], options: Any
    ) -> dict[int, Any]:
        return {ident: _find_measured(call, image, ident, options) for ident in annotations or []}

    @without_transaction
    def getTable(self, context: Any, annotation: int) -> Any:
        """Return the open table in the file of an annotation."""
        with self.transaction(context) as call:
            files = query_rows(call, "select fa.file.id from FileAnnotation fa where fa.id = :i", i=annotation)
        if not files:
            raise api_usage_error(f"No such file annotation: {annotation}")
        resources = SharedResources(self.server, self.session)
        resources.category = self.category
        return resources.openTable(context, omero.model.OriginalFileI(files[0][0], False))

    # ---- storing ---------------------------------------------------------------------------------------------
    @writes_database
    def uploadMask(self, call: RequestContext, image: int, z: int, t: int, picture: bytes) -> None:
        """Store a ROI with a locked mask per colour of a picture, except black."""
        call.graph.get("Image", image)
        saver = Saver(call)
        for mask in masks_by_colour(bytes(picture), z, t):
            roi = omero.model.RoiI()
            roi.image = omero.model.ImageI(image, False)
            roi.addShape(mask)
            saver.save(roi)
        saver.flush()


def _find_measured(call: RequestContext, image: int, annotation: int, options: Any) -> Any:
    ids = [row[0] for row in query_rows(call, _MEASURED, a=annotation, i=image)]
    return _result(call, ids, options)


def _lies_on(shape: Any, z: int, t: int) -> bool:
    if shape is None:
        return False
    return unwrap(shape.theZ) in (None, z) and unwrap(shape.theT) in (None, t)


def _find_rois(call: RequestContext, condition: str, values: tuple[int, ...], options: Any, shapes: str = "") -> Any:
    """Return one page of the ROIs with shapes that meet a condition."""
    conditions = [condition, *filter(None, [call.caller.filter_sql("r")])]
    for name, column in (("userId", "owner_id"), ("groupId", "group_id")):
        wanted = _option(options, name)
        if wanted is not None:
            conditions.append(f"r.{column} = {int(wanted)}")
    limit, offset = _option(options, "limit"), max(0, _option(options, "offset") or 0)
    where = f"{' AND '.join(conditions)}"
    if limit is None and offset:
        return _find_rois_after(call, f"({shapes or 1}) AND {where}", values, options, offset)
    with_shapes = f"EXISTS (SELECT 1 FROM shape s WHERE s.roi = r.id{' AND ' + shapes if shapes else ''})"
    size = -1 if limit is None else max(1, limit)  # a limit of 0 returns one, as in OMERO
    sql = f"SELECT r.id FROM roi r WHERE {with_shapes} AND {where} ORDER BY r.id LIMIT {size} OFFSET {offset}"
    return _result(call, [row[0] for row in call.tx.all(sql, values)], options)


def _find_rois_after(call: RequestContext, where: str, values: tuple[int, ...], options: Any, offset: int) -> Any:
    """Return ROIs from an offset without a limit; OMERO counts joined rows: one per shape and folder."""
    sql = (
        "SELECT r.id, s.id FROM roi r JOIN shape s ON s.roi = r.id LEFT JOIN folderroilink l ON l.child = r.id "
        f"WHERE {where} ORDER BY r.id, s.roi_index, s.id LIMIT -1 OFFSET {offset}"
    )
    rows = call.tx.all(sql, values)
    result = _result(call, list(dict.fromkeys(roi for roi, _ in rows)), options)
    seen = {shape for _, shape in rows}
    for roi in result.rois[:1]:  # the ROI at the offset has gaps
        roi._shapesSeq = [s if s is not None and s._id._val in seen else None for s in roi._shapesSeq]
    _index(result)
    return result


def _option(options: Any, name: str) -> Any:
    return unwrap(getattr(options, name, None)) if options is not None else None


def _result(call: RequestContext, ids: list[int], options: Any) -> Any:
    rois = call.graph.load("Roi", ids)
    call.graph.load_children("Roi", ids, "shapes")
    load_path(call, "Roi", ids, "folderLinks.parent")
    call.graph.finish_loading()
    result = omero.api.RoiResult(options, [rois[ident] for ident in ids if ident in rois], {}, {})
    _index(result)
    return result


def _index(result: Any) -> None:
    """Group the shapes of a result by plane and time."""
    by_z: dict[int, list[Any]] = defaultdict(list)
    by_t: dict[int, list[Any]] = defaultdict(list)
    for roi in result.rois:
        for shape in roi._shapesSeq:
            if shape is not None:
                by_z[_plane(shape.theZ)].append(shape)
                by_t[_plane(shape.theT)].append(shape)
    result.byZ, result.byT = dict(by_z), dict(by_t)


def _plane(value: Any) -> int:
    found = unwrap(value)
    return _UNSET if found is None else int(found)
