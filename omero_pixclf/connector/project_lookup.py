"""Find the nearest classifier projects attached to an object, its parents or its children."""

from __future__ import annotations

from collections.abc import Callable

from omero_pixclf.connector.hierarchy import parse_key
from omero_pixclf.connector.sessions.session import Session

__all__ = ["SEARCHED_PLACES", "find_nearest_projects"]

SEARCHED_PLACES = "nor to the containers around it or the objects in it"
"""Places searched without success, for messages."""

_WELLS = "select s.well.id from WellSample s where s.image.id = :id"
_PLATES = "select s.well.plate.id from WellSample s where s.image.id = :id"
_DATASETS = "select d.parent.id from DatasetImageLink d where d.child.id = :id"
_PLATE_OF_WELL = "select w.plate.id from Well w where w.id = :id"
_DATASETS_IN = "select p.child.id from ProjectDatasetLink p where p.parent.id = :id"
_PLATES_IN = "select k.child.id from ScreenPlateLink k where k.parent.id = :id"
_SCREENS_OF = "select k.parent.id from ScreenPlateLink k where k.child.id"
_PROJECTS_OF = "select p.parent.id from ProjectDatasetLink p where p.child.id"
_IN_DATASET = "select d.child.id from DatasetImageLink d where d.parent.id"
_IN_WELL = "select s.image.id from WellSample s where s.well.id"
_IN_PLATE = "select s.image.id from WellSample s where s.well.plate.id"
_WELLS_IN = "select w.id from Well w where w.plate.id"

_LEVELS: dict[str, tuple[tuple[tuple[str, str], ...], ...]] = {
    "Image": (
        (("Well", _WELLS), ("Dataset", _DATASETS)),
        (("Plate", _PLATES), ("Project", f"{_PROJECTS_OF} in ({_DATASETS})")),
        (("Screen", f"{_SCREENS_OF} in ({_PLATES})"),),
    ),
    "Well": (
        (("Plate", _PLATE_OF_WELL),),
        (("Screen", f"{_SCREENS_OF} in ({_PLATE_OF_WELL})"),),
        (("Image", f"{_IN_WELL} = :id"),),
    ),
    "Plate": (
        (("Screen", f"{_SCREENS_OF} = :id"),),
        (("Well", f"{_WELLS_IN} = :id"),),
        (("Image", f"{_IN_PLATE} = :id"),),
    ),
    "Screen": (
        (("Plate", _PLATES_IN),),
        (("Well", f"{_WELLS_IN} in ({_PLATES_IN})"),),
        (("Image", f"{_IN_PLATE} in ({_PLATES_IN})"),),
    ),
    "Dataset": ((("Project", f"{_PROJECTS_OF} = :id"),), (("Image", f"{_IN_DATASET} = :id"),)),
    "Project": ((("Dataset", _DATASETS_IN),), (("Image", f"{_IN_DATASET} in ({_DATASETS_IN})"),)),
}
"""For each kind of object the queries of its containers, then of its contents, level by level."""


def find_nearest_projects(session: Session, target: str, wanted: Callable[[str], bool]) -> list[tuple[int, str]]:
    """Return ids and file names of the FileAnnotations with a wanted file name that are nearest to an object.

    Those on the object itself come first, then those on its containers, level by level, then those on its contents.

    Raises
    ------
    UsageError
        The target is not valid.
    """
    kind, ident = parse_key(target)
    for level in (((kind, ":id"),), *_LEVELS.get(kind, ())):
        found: dict[int, str] = {}
        for place, objects in level:
            rows = session.query_rows(
                "select a.id, f.name from FileAnnotation a join a.file f where a.id in "
                f"(select l.child.id from {place}AnnotationLink l where l.parent.id in ({objects})) order by a.id",
                id=ident,
            )
            found.update({int(number): str(name) for number, name in rows if wanted(str(name or ""))})
        if found:
            return sorted(found.items())
    return []
