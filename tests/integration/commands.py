"""Clients that send omero.cmd requests, and the few things that tests of them make."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import omero.clients
import omero.cmd
import omero.model as model
from omero.rtypes import rdouble, rint, rstring

ALL = {"omero.group": "-1"}


@dataclass
class Client:
    """One user's services, and the few things tests make."""

    person: Any
    sf: Any

    @property
    def query(self) -> Any:
        return self.sf.getQueryService()

    def save(self, obj: Any) -> int:
        return int(self.sf.getUpdateService().saveAndReturnObject(obj).id.val)

    def named(self, kind: str, **fields: Any) -> int:
        made = getattr(model, kind + "I")()
        made.name = rstring("n")
        for name, value in fields.items():
            setattr(made, name, value)
        return self.save(made)

    def link(self, kind: str, parent: int, child: int) -> int:
        made = getattr(model, kind + "I")()
        for side, (end, ident) in zip(("parent", "child"), zip(_ENDS[kind], (parent, child), strict=True), strict=True):
            setattr(made, side, getattr(model, end + "I")(ident, False))
        return self.save(made)

    def annotate(self, target: tuple[str, int], note: Any) -> int:
        made = getattr(model, target[0] + "AnnotationLinkI")()
        made.parent = getattr(model, target[0] + "I")(target[1], False)
        made.child = note
        return int(self.sf.getUpdateService().saveAndReturnObject(made).child.id.val)

    def roi(self, image: int, shapes: int = 1) -> int:
        made = model.RoiI()
        made.image = model.ImageI(image, False)
        for _ in range(shapes):
            point = model.PointI()
            point.x, point.y = rdouble(1), rdouble(2)
            made.addShape(point)
        return self.save(made)

    def run(self, request: Any, context: dict[str, str] | None = None) -> Any:
        handle = self.sf.submit(request, context)
        try:
            deadline = time.monotonic() + 30
            while (answer := handle.getResponse()) is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            return answer
        finally:
            handle.close()

    def delete(self, **targets: Any) -> Any:
        options = {k: targets.pop(k) for k in ("childOptions", "dryRun", "typesToIgnore") if k in targets}
        return self.run(omero.cmd.Delete2(targetObjects=targets, **options))

    def there(self, kind: str, ident: int) -> bool:
        return self.query.find(kind, ident, ALL) is not None

    def group_of(self, kind: str, ident: int) -> int:
        return int(self.query.get(kind, ident, ALL).details.group.id.val)


_ENDS = {
    "DatasetImageLink": ("Dataset", "Image"),
    "ProjectDatasetLink": ("Project", "Dataset"),
    "ScreenPlateLink": ("Screen", "Plate"),
}


def tag(text: str = "t", ns: str | None = None) -> Any:
    made = model.TagAnnotationI()
    made.textValue = rstring(text)
    made.ns = rstring(ns) if ns else None
    return made


def wait_for(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def of(answer: Any, field: str = "deletedObjects") -> dict[str, int]:
    """Numbers by class of what a request did."""
    assert not isinstance(answer, omero.cmd.ERR), answer
    return {name.rsplit(".", 1)[-1]: len(ids) for name, ids in getattr(answer, field).items()}


def plate_with_field(client: Client) -> tuple[int, int, int]:
    plate, image = client.named("Plate"), client.named("Image")
    well = model.WellI()
    well.plate, well.row, well.column = model.PlateI(plate, False), rint(0), rint(0)
    sample = model.WellSampleI()
    sample.image = model.ImageI(image, False)
    well.addWellSample(sample)
    return plate, client.save(well), image
