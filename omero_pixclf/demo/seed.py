"""The demo's stage: a user, a plate, stacks and time-lapses in an OMERO, all with their truth kept aside."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.connector.upload import WellContent, create_container, create_plate, upload_image
from omero_pixclf.demo.images import DOSES_UM, Scene, plate_field, time_lapse, z_stack
from omero_pixclf.image import ArrayReader, ImageInfo

__all__ = ["Stage", "Truth", "build", "create_user", "reader", "simulate", "truth_of"]

ROWS, COLUMNS, FIELDS = "AB", len(DOSES_UM), 2
STACKS, LAPSES = (1, 2), (1,)
SMALLEST = 40  # pixels: smaller bits of nuclei, cut off by the image's border, do not count as true objects


@dataclass(frozen=True)
class Truth:
    """True numbers of nuclei: per plate field as ``{"A1": [31, 29]}``, per stack and per frame of a time-lapse."""

    wells: dict[str, list[int]]
    stacks: dict[str, int]
    lapses: dict[str, list[int]]


@dataclass(frozen=True)
class Stage:
    """What stands in OMERO."""

    plate: int
    stacks: int
    lapses: int
    images: int
    truth: Truth


def _scene(job: tuple[str, str, int]) -> Scene:
    kind, well, number = job
    if kind == "plate":
        return plate_field(well, number)
    return z_stack(number) if kind == "stack" else time_lapse(number)


def simulate() -> Iterator[Scene]:
    """All scenes of the demo, in the order plate, stacks, time-lapses; drawn on two cores."""
    wells = [f"{row}{column + 1}" for row in ROWS for column in range(COLUMNS)]
    jobs = [("plate", well, field + 1) for well in wells for field in range(FIELDS)]
    jobs += [("stack", "", n) for n in STACKS] + [("lapse", "", n) for n in LAPSES]
    # Spawned, not forked: an Ice communicator must not be carried into another process.
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_scene, jobs)


def truth_of(scenes: Iterable[Scene]) -> Truth:
    """The true numbers."""
    wells: dict[str, list[int]] = {}
    stacks: dict[str, int] = {}
    lapses: dict[str, list[int]] = {}
    for scene in scenes:
        counts = [int((np.bincount(frame.ravel())[1:] >= SMALLEST).sum()) for frame in scene.nuclei]
        kind = scene.name.partition("_")[0]
        if kind == "plate":
            wells.setdefault(scene.name.split("_")[1], []).append(counts[0])
        elif kind == "stack":
            stacks[scene.name] = counts[0]
        else:
            lapses[scene.name] = counts
    return Truth(wells, stacks, lapses)


def build(session: Session, scenes: list[Scene]) -> Stage:
    """Put the scenes into OMERO."""
    by_kind: dict[str, list[Scene]] = {}
    for scene in scenes:
        by_kind.setdefault(scene.name.partition("_")[0], []).append(scene)
    wells: dict[str, list[ArrayReader]] = {}
    for scene in by_kind["plate"]:
        wells.setdefault(scene.name.split("_")[1], []).append(reader(scene))
    laid = [WellContent(ord(well[0]) - ord("A"), int(well[1:]) - 1, fields) for well, fields in wells.items()]
    plate = create_plate(session, "Dose response", laid)
    project = create_container(session, "Project", "omero_pixclf demo")
    parent = f"Project:{project}"
    stacks = create_container(session, "Dataset", "z-stacks", parent=parent)
    lapses = create_container(session, "Dataset", "time-lapses", parent=parent)
    for scene in by_kind["stack"]:
        upload_image(session, reader(scene), dataset=stacks)
    for scene in by_kind["lapse"]:
        upload_image(session, reader(scene), dataset=lapses)
    return Stage(plate, stacks, lapses, len(scenes), truth_of(scenes))


def create_user(admin: Session, name: str, password: str, group: str) -> None:
    """A person with a read-annotate group of their own, as facilities set them up."""
    from omero.model import ExperimenterGroupI, ExperimenterI, PermissionsI
    from omero.rtypes import rbool, rstring

    service = admin.client.sf.getAdminService()
    lab = ExperimenterGroupI()
    lab.name, lab.ldap = rstring(group), rbool(False)
    lab.details.permissions = PermissionsI("rwra--")
    number = service.createGroup(lab)
    person = ExperimenterI()
    person.omeName, person.firstName, person.lastName = rstring(name), rstring("Demo"), rstring("User")
    person.ldap = rbool(False)
    groups = [ExperimenterGroupI(number, False), ExperimenterGroupI(service.getSecurityRoles().userGroupId, False)]
    service.createExperimenterWithPassword(person, rstring(password), groups[0], groups)


def reader(scene: Scene) -> ArrayReader:
    """A scene as an image that can be uploaded."""
    t, z, y, x, c = scene.pixels.shape
    info = ImageInfo(scene.name, scene.name, (t, z, y, x, c), "uint16", scene.channels, scene.voxel_um)
    return ArrayReader(info, scene.pixels)
