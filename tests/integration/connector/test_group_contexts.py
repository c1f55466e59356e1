"""Results in a group that is not the session's own: every call says which group it is for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import omero
import omero.model
import pytest

from omero_pixclf.config import ClassifierSettings, Recipe
from omero_pixclf.connector.files import attach_file, download_file
from omero_pixclf.connector.results.sink import OmeroSink
from omero_pixclf.connector.results.undo import undo
from omero_pixclf.connector.sessions.session import ALL_GROUPS
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.connector.upload import WellContent, create_container, create_plate, upload_image
from omero_pixclf.connector.watching import answer_request, list_open_requests, queue_request
from omero_pixclf.image import Region
from omero_pixclf.runs.protocols import ResultImage
from tests.integration.conftest import Lab
from tests.integration.readers import reader
from tests.integration.recorded import Recorded, recording
from tests.integration.results import ENCODE, dots, record, summary

SYSTEM = 0  # whose members are administrators
RUN = "20261121T053001-0000c1"
_NOT_ABOUT_DATA = {"ServiceFactory", "Session", "Admin", "Config", "Types"}
"""Services by which a client logs in and asks for others; what they do belongs to no group."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    with recording(tmp_path_factory.mktemp("recorded") / "data") as made:
        yield made


@dataclass
class Place:
    """Who writes, with a session in another group than that of the image; and who sees what came of it."""

    recorded: Recorded
    session: object
    info: object
    group: int
    root: object

    def groups_of(self, kind, where="x.id > -1"):
        """The groups of the stored objects of a kind that this user has, as root sees them."""
        rows = self.root.query_rows(
            f"select distinct x.details.group.id from {kind} x where x.details.owner.id = :owner and {where}",
            owner=self.session.user_id,
        )
        return {int(row[0]) for row in rows}


@pytest.fixture(params=["a user of two groups", "an administrator", "a watcher's user on a plate"])
def place(request, recorded, new_lab):
    own, other = new_lab(recorded.endpoint, "rwra--"), new_lab(recorded.endpoint, "rwra--")
    owner = other.member("owner").session()
    person = own.member("visitor")
    join(other, person.ident, SYSTEM if request.param == "an administrator" else other.group)
    session = person.session()
    if "plate" in request.param:
        plate = create_plate(owner, "plate", [WellContent(0, 0, [reader((1, 1, 20, 30, 1), name="a.tif")])])
        target = f"Plate:{plate}"
    else:
        dataset = create_container(owner, "Dataset", "data")
        upload_image(owner, reader((1, 1, 20, 30, 1), name="a.tif"), dataset=dataset)
        target = f"Dataset:{dataset}"
    (info,) = OmeroSource(session).images([target])
    assert session.group_id != other.group
    recorded.calls.clear()
    return Place(recorded, session, info, other.group, other.root().session())


def join(lab: Lab, ident: int, group: int) -> None:
    groups = [omero.model.ExperimenterGroupI(group, False)]
    lab._root.getSession().getAdminService().addGroups(omero.model.ExperimenterI(ident, False), groups)


def maps(shape=(1, 1, 4, 5, 2)):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize("form", ["attachment-h5", "attachment-tiff", "image"])
def test_results_of_an_image_are_stored_in_its_group(place, form):
    if form == "image" and place.info.place.container.startswith("Dataset:") and not place.session.is_admin:
        place = replace(place, info=replace(place.info, place=replace(place.info.place, container=place.info.key)))
    sink, said = OmeroSink(place.session, encode=ENCODE), record(RUN)
    with sink.begin(place.info, said) as out:
        out.save_rois(dots(3), name="nuclei", color=(255, 0, 0))
        out.save_image(ResultImage("probabilities", maps(), channels=["a", "b"], form=form))
        out.complete(replace(said, finished=said.started))
    kinds = ["Roi", "MapAnnotation", *(["Image", "Pixels"] if form == "image" else ["FileAnnotation", "OriginalFile"])]
    for kind in kinds:
        assert place.groups_of(kind, "x.details.group.id > 1") == {place.group}, kind
    every_call_names_its_group(place)


def test_tables_and_pictures_of_a_container_are_stored_in_its_group(place, tmp_path):
    picture = tmp_path / "sheet.png"
    picture.write_bytes(b"picture" * 1000)
    said = record(RUN, finished=record(RUN).started)
    tables = {"summary": summary(place.info), "objects": summary(place.info)}
    written = OmeroSink(place.session, encode=ENCODE).finish(place.info.place.container, said, tables, [picture])
    assert place.groups_of("FileAnnotation") == {place.group}
    assert place.groups_of("OriginalFile", "x.mimetype in ('OMERO.tables', 'image/png')") == {place.group}
    annotation = int(written["sheet.png"].partition(":")[2])
    assert download_file(place.session, annotation) == ("sheet.png", picture.read_bytes())
    assert set(OmeroSink(place.session, encode=ENCODE).load_tables(place.info.place.container, "nuclei")) == set(tables)
    every_call_names_its_group(place)


def test_requests_are_answered_in_their_group(place, tmp_path):
    (tmp_path / "a.ilp").write_bytes(b"project")
    project = attach_file(place.session, place.info.key, tmp_path / "a.ilp")
    recipe = Recipe(name="nuclei", classifier=ClassifierSettings(project=f"FileAnnotation:{project}"))
    queued = queue_request(place.session, place.info.key, recipe)
    (note,) = [n for n in list_open_requests(place.session) if n.annotation == queued.annotation]
    answer_request(place.session, note, "done", "well")
    assert place.groups_of("MapAnnotation") == {place.group}
    every_call_names_its_group(place)


def test_pixels_are_read_and_runs_are_undone_across_groups(place):
    with OmeroSource(place.session).open(place.info) as opened:
        opened.read(Region.whole(place.info.shape))
    sink, said = OmeroSink(place.session, encode=ENCODE), record(RUN)
    with sink.begin(place.info, said) as out:
        out.save_rois(dots(3), name="nuclei", color=(255, 0, 0))
        out.complete(replace(said, finished=said.started))
    assert undo(place.session, RUN).removed["Roi"] == 3
    every_call_names_its_group(place)


def every_call_names_its_group(place):
    """No call leaves it to the server in which group it works, and those that change something name the right one."""
    calls = [c for c in place.recorded.calls if c.session == place.session.key]
    assert calls
    astray = {str(c) for c in calls if c.group is None and c.service not in _NOT_ABOUT_DATA}
    assert not astray
    changing = [c for c in calls if c.operation.startswith(("save", "set", "write", "add", "initialize", "newTable"))]
    wrong = {str(c) for c in changing if c.group not in (str(place.group), *READS.get(c.operation, ()))}
    assert not wrong


READS = {name: (str(ALL_GROUPS),) for name in ("setPixelsId", "setFileId")}
