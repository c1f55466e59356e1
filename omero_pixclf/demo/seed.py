"""Put the demo's data into an OMERO server: a user, and simulated images with their true numbers of nuclei."""

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

__all__ = [
    "COLUMNS",
    "FIELDS",
    "LAPSES",
    "MIN_SIZE",
    "ROWS",
    "STACKS",
    "DemoData",
    "TrueCounts",
    "count_true_nuclei",
    "create_user",
    "scene_reader",
    "simulate_scenes",
    "upload_scenes",
]

ROWS, COLUMNS, FIELDS = "AB", len(DOSES_UM), 2
STACKS, LAPSES = (1, 2), (1,)
MIN_SIZE = 40  # pixels: smaller parts of nuclei at the image's border do not count as true objects


@dataclass(frozen=True)
class TrueCounts:
    """True numbers of nuclei: of each field of a well as ``{"A1": [31, 29]}``, each stack, each time-lapse frame."""

    wells: dict[str, list[int]]
    stacks: dict[str, int]
    lapses: dict[str, list[int]]


@dataclass(frozen=True)
class DemoData:
    """The demo's data in OMERO: ids of the plate and the two datasets, number of images, and true numbers of nuclei."""

    plate: int
    stacks: int
    lapses: int
    images: int
    truth: TrueCounts


def _simulate_scene(job: tuple[str, str, int]) -> Scene:
    kind, well, number = job
    if kind == "plate":
        return plate_field(well, number)
    return z_stack(number) if kind == "stack" else time_lapse(number)


def simulate_scenes() -> Iterator[Scene]:
    """Simulate all scenes of the demo with two processes, in the order plate, stacks, time-lapses."""
    wells = [f"{row}{column + 1}" for row in ROWS for column in range(COLUMNS)]
    jobs = [("plate", well, field + 1) for well in wells for field in range(FIELDS)]
    jobs += [("stack", "", n) for n in STACKS] + [("lapse", "", n) for n in LAPSES]
    # Spawned, not forked: an Ice communicator must not be copied into another process.
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_simulate_scene, jobs)


def count_true_nuclei(scenes: Iterable[Scene]) -> TrueCounts:
    """Count the nuclei of at least `MIN_SIZE` pixels in the ground truth."""
    wells: dict[str, list[int]] = {}
    stacks: dict[str, int] = {}
    lapses: dict[str, list[int]] = {}
    for scene in scenes:
        counts = [int((np.bincount(frame.ravel())[1:] >= MIN_SIZE).sum()) for frame in scene.nuclei]
        kind = scene.name.partition("_")[0]
        if kind == "plate":
            wells.setdefault(scene.name.split("_")[1], []).append(counts[0])
        elif kind == "stack":
            stacks[scene.name] = counts[0]
        else:
            lapses[scene.name] = counts
    return TrueCounts(wells, stacks, lapses)


def upload_scenes(session: Session, scenes: list[Scene]) -> DemoData:
    """Upload the scenes into a new plate and two new datasets."""
    by_kind: dict[str, list[Scene]] = {}
    for scene in scenes:
        by_kind.setdefault(scene.name.partition("_")[0], []).append(scene)
    wells: dict[str, list[ArrayReader]] = {}
    for scene in by_kind["plate"]:
        wells.setdefault(scene.name.split("_")[1], []).append(scene_reader(scene))
    contents = [WellContent(ord(well[0]) - ord("A"), int(well[1:]) - 1, fields) for well, fields in wells.items()]
    plate = create_plate(session, "Dose response", contents)
    project = create_container(session, "Project", "omero_pixclf demo")
    parent = f"Project:{project}"
    stacks = create_container(session, "Dataset", "z-stacks", parent=parent)
    lapses = create_container(session, "Dataset", "time-lapses", parent=parent)
    for scene in by_kind["stack"]:
        upload_image(session, scene_reader(scene), dataset=stacks)
    for scene in by_kind["lapse"]:
        upload_image(session, scene_reader(scene), dataset=lapses)
    return DemoData(plate, stacks, lapses, len(scenes), count_true_nuclei(scenes))


def create_user(admin: Session, name: str, password: str, group: str) -> None:
    """Create a user with a read-annotate group of their own."""
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


def scene_reader(scene: Scene) -> ArrayReader:
    """Wrap a scene as an image that can be uploaded."""
    t, z, y, x, c = scene.pixels.shape
    info = ImageInfo(scene.name, scene.name, (t, z, y, x, c), "uint16", scene.channels, scene.voxel_um)
    return ArrayReader(info, scene.pixels)
