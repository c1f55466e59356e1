"""The embedded OMERO's smaller services, asked by omero-py's own clients."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import omero.clients
import omero.cmd
import omero.grid
import omero.model as model
import omero.sys
import pytest
from omero.rtypes import rdouble, rint, rlong, rstring, rtime, unwrap
from omero.sys import ParametersI
from omero.util import long_to_path
from PIL import Image

from omero_pixclf.embedded.services.config import VERSION
from tests.integration.commands import Client, tag


@pytest.fixture
def root(endpoint, new_lab):
    person = new_lab(endpoint).root()
    return Client(person, person.client().getSession())


def ids(found):
    return sorted(unwrap(o.id) for o in found)


# ---- sessions ------------------------------------------------------------------------------------------------
def test_a_session_of_ones_own_outlives_its_client_until_it_is_closed(client, endpoint):
    sessions = client.sf.getSessionService()
    made = sessions.createUserSession(0, 60_000, None)
    other = omero.client(host=endpoint.host, port=endpoint.port)
    other.joinSession(made.uuid.val)
    assert sessions.getReferenceCount(made.uuid.val) == 2
    other.closeSession()
    assert sessions.getSession(made.uuid.val).timeToIdle.val == 60_000
    assert sessions.closeSession(made) == 0
    with pytest.raises(omero.RemovedSessionException):
        sessions.getSession(made.uuid.val)


def test_root_makes_sessions_for_others_and_is_named_in_them(root, client, endpoint):
    principal = omero.sys.Principal(client.person.name, "", "User", None)
    made = root.sf.getSessionService().createSessionWithTimeout(principal, 60_000)
    other = omero.client(host=endpoint.host, port=endpoint.port)
    context = other.joinSession(made.uuid.val).getAdminService().getEventContext()
    assert (context.userName, unwrap(context.sudoerName)) == (client.person.name, "root")
    other.closeSession()


def test_a_wrong_password_opens_no_session(client):
    principal = omero.sys.Principal(client.person.name, "", "User", None)
    with pytest.raises(Exception, match="AuthenticationException"):
        client.sf.getSessionService().createSession(principal, "wrong")


def test_others_sessions_show_no_uuid_to_plain_users(client, root):
    mine = client.run(omero.cmd.CurrentSessionsRequest())
    uuids = {context.sessionUuid for context in mine.contexts if context.userName != client.person.name}
    assert uuids == {""}
    assert all(s.uuid.val for s in root.run(omero.cmd.CurrentSessionsRequest()).sessions)


def test_a_killed_session_is_gone(user, client):
    doomed = user.client()
    uuid = doomed.getSessionId()
    doomed.killSession()
    with pytest.raises(omero.RemovedSessionException):
        client.sf.getSessionService().getSession(uuid)


# ---- configuration -------------------------------------------------------------------------------------------
def test_only_administrators_change_settings_and_clients_read_them(client, root):
    config, name = root.sf.getConfigService(), "omero.client.test.setting"
    config.setConfigValue(name, "1")
    assert client.sf.getConfigService().getConfigValue(name) == "1"
    assert config.setConfigValueIfEquals(name, "3", "2") is False
    assert config.setConfigValueIfEquals(name, "", "1") is True
    with pytest.raises(omero.SecurityViolation):
        client.sf.getConfigService().getConfigValue(name)
    with pytest.raises(omero.SecurityViolation):
        client.sf.getConfigService().setConfigValue(name, "4")


@pytest.mark.skipif("OMERO_HOST" in os.environ, reason="looks into the embedded server's own folder")
def test_administrators_are_told_where_the_data_lie(user, client, root):
    held = user.client().upload(__file__)
    folder = Path(root.sf.getConfigService().getConfigValue("omero.data.dir"))
    assert (folder / "Files" / long_to_path(held.id.val)).is_file()
    with pytest.raises(omero.SecurityViolation):
        client.sf.getConfigService().getConfigValue("omero.data.dir")


def test_settings_of_others_stay_hidden(client, root):
    root.sf.getConfigService().setConfigValue("omero.test.private", "x")
    assert "omero.test.private" not in client.sf.getConfigService().getConfigValues(".*")
    assert root.sf.getConfigService().getConfigValues("^omero[.]test") == {"omero.test.private": "x"}
    assert not any("uuid" in key for key in root.sf.getConfigService().getConfigValues(".*"))


def test_the_version_begins_with_three_numbers(client):
    assert client.sf.getConfigService().getVersion() == VERSION
    assert all(part.isdigit() for part in VERSION.split("-")[0].split("."))


# ---- enumerations --------------------------------------------------------------------------------------------
def test_a_new_enumeration_value_is_listed_and_can_be_used(client, root):
    value = model.ImmersionI()
    value.value = rstring(f"Honey{client.person.ident}")
    made = client.sf.getTypesService().createEnumeration(value)
    listed = {e.value.val for e in root.sf.getTypesService().allEnumerations("Immersion")}
    assert made.value.val in listed
    root.sf.getTypesService().deleteEnumeration(made)
    with pytest.raises(omero.ApiUsageException):
        root.sf.getTypesService().getEnumeration("Immersion", made.value.val)


def test_only_administrators_delete_enumerations(client):
    value = client.sf.getTypesService().getEnumeration("Immersion", "Oil")
    with pytest.raises(omero.SecurityViolation):
        client.sf.getTypesService().deleteEnumeration(value)


# ---- hierarchies ---------------------------------------------------------------------------------------------
def test_images_are_paged_within_a_dataset(client):
    dataset = client.named("Dataset")
    images = [client.named("Image") for _ in range(3)]
    for image in images:
        client.link("DatasetImageLink", dataset, image)
    service = client.sf.getContainerService()
    page = ParametersI().page(1, 1)
    assert ids(service.getImages("Dataset", [dataset], page)) == [images[1]]
    with pytest.raises(omero.ApiUsageException):
        service.getImages("Image", images, page)


def test_the_way_up_begins_with_projects(client):
    project, dataset, image, alone = (client.named(k) for k in ("Project", "Dataset", "Image", "Image"))
    client.link("ProjectDatasetLink", project, dataset)
    client.link("DatasetImageLink", dataset, image)
    found = client.sf.getContainerService().findContainerHierarchies("Project", [image, alone], None)
    assert sorted(type(o).__name__ for o in found) == ["ImageI", "ProjectI"]
    top = next(o for o in found if isinstance(o, model.Project))
    assert top.linkedDatasetList()[0].linkedImageList()[0].id.val == image


def test_a_screen_is_loaded_with_its_plates(client):
    screen, plate = client.named("Screen"), client.named("Plate")
    client.link("ScreenPlateLink", screen, plate)
    found = client.sf.getContainerService().loadContainerHierarchy("Screen", [screen], None)
    assert ids(found[0].linkedPlateList()) == [plate]


def test_filesets_of_which_some_images_are_missing_are_told(client):
    fileset = model.FilesetI()
    fileset.templatePrefix = rstring("x")
    ident = client.save(fileset)
    images = [client.named("Image", fileset=model.FilesetI(ident, False)) for _ in range(2)]
    service = client.sf.getContainerService()
    assert service.getImagesBySplitFilesets({"Image": images[:1]}, None) == {
        ident: {True: images[:1], False: images[1:]}
    }
    assert service.getImagesBySplitFilesets({"Image": images}, None) == {}


def test_images_are_found_by_time(client):
    image = client.named("Image")
    service = client.sf.getContainerService()
    since, until = (ParametersI().exp(rlong(client.person.ident)) for _ in range(2))
    since.theFilter.startTime, until.theFilter.endTime = rtime(1000), rtime(1000)
    assert ids(service.getImagesByOptions(since)) == [image]
    assert service.getImagesByOptions(until) == []


def test_what_is_deleted_by_iupdate_leaves_contents_and_annotations(client):
    dataset, image = client.named("Dataset"), client.named("Image")
    client.link("DatasetImageLink", dataset, image)
    comment = model.CommentAnnotationI()
    comment.textValue = rstring("c")
    note = client.annotate(("Dataset", dataset), comment)
    client.sf.getUpdateService().deleteObject(model.DatasetI(dataset, False))
    assert not client.there("Dataset", dataset)
    assert client.there("Image", image)
    assert client.there("CommentAnnotation", note)


def test_unlinking_leaves_both_ends(client):
    dataset, image = client.named("Dataset"), client.named("Image")
    link = client.link("DatasetImageLink", dataset, image)
    client.sf.getContainerService().unlink([model.DatasetImageLinkI(link, False)], None)
    assert not client.there("DatasetImageLink", link)
    assert client.there("Dataset", dataset)
    assert client.there("Image", image)


# ---- annotations ---------------------------------------------------------------------------------------------
def test_annotations_are_loaded_by_annotator(team):
    alice, bob, _root = team("rwra--")
    image = alice.named("Image")
    alice.annotate(("Image", image), tag("hers"))
    his = bob.annotate(("Image", image), tag("his"))
    service = alice.sf.getMetadataService()
    assert len(service.loadAnnotations("Image", [image], [], [], None)[image]) == 2
    found = service.loadAnnotations("Image", [image], [], [bob.person.ident], None)
    assert ids(found[image]) == [his]


def test_a_file_annotation_comes_with_its_file(client):
    file = model.OriginalFileI()
    file.name, file.path = rstring("a"), rstring("b/")
    note = model.FileAnnotationI()
    note.file, note.ns = file, rstring("ns")
    image = client.named("Image")
    client.annotate(("Image", image), note)
    found = client.sf.getMetadataService().loadAnnotations("Image", [image], [], [], None)[image]
    assert found[0].file.name.val == "a"


def test_tag_sets_come_with_their_tags_and_loose_tags_on_demand(client):
    whole = client.save(tag("set", "openmicroscopy.org/omero/insight/tagset"))
    link = model.AnnotationAnnotationLinkI()
    link.parent, link.child = model.TagAnnotationI(whole, False), tag("in")
    client.sf.getUpdateService().saveObject(link)
    loose = client.save(tag("loose"))
    service = client.sf.getMetadataService()
    mine = lambda: ParametersI().exp(rlong(client.person.ident))  # noqa: E731
    found = service.loadTagSets(mine())
    assert ids(found) == [whole]
    assert [t.textValue.val for t in found[0].linkedAnnotationList()] == ["in"]
    assert loose in ids(service.loadTagSets(mine().orphan()))


def test_what_carries_a_tag_is_counted_and_loaded(client):
    image, project = client.named("Image"), client.named("Project")
    note = client.annotate(("Image", image), tag())
    client.annotate(("Project", project), model.TagAnnotationI(note, False))
    service = client.sf.getMetadataService()
    assert service.getTaggedObjectsCount([note], None) == {note: 2}
    assert ids(service.loadTagContent([note], None)[note]) == sorted([image, project])


def test_an_instrument_is_loaded_with_what_belongs_to_it(client):
    instrument = model.InstrumentI()
    objective = model.ObjectiveI()
    objective.model = rstring("lens")
    types = client.sf.getTypesService()
    objective.immersion = types.getEnumeration("Immersion", "Oil")
    objective.correction = types.getEnumeration("Correction", "Other")
    instrument.addObjective(objective)
    found = client.sf.getMetadataService().loadInstrument(client.save(instrument))
    assert found.copyObjective()[0].model.val == "lens"
    assert found.copyObjective()[0].immersion.value.val == "Oil"


# ---- regions -------------------------------------------------------------------------------------------------
def test_regions_of_a_plane_are_those_that_lie_on_it_or_everywhere(client):
    image = client.named("Image")
    roi = model.RoiI()
    roi.image = model.ImageI(image, False)
    for z in (None, 0, 1):
        point = model.PointI()
        point.x, point.y = rdouble(1), rdouble(1)
        point.theZ = None if z is None else rint(z)
        roi.addShape(point)
    client.save(roi)
    found = client.sf.getRoiService().findByPlane(image, 1, 0, None)
    assert [unwrap(s.theZ) for s in found.rois[0].copyShapes()] == [None, 1]
    assert sorted(found.byZ) == [-1, 1]


def test_a_page_of_many_regions_is_found(client):
    image = client.named("Image")
    rois = []
    for _ in range(2000):
        roi = model.RoiI()
        roi.image = model.ImageI(image, False)
        roi.addShape(model.PointI())
        rois.append(roi)
    expected = client.sf.getUpdateService().saveAndReturnIds(rois)
    options = omero.api.RoiOptions()
    options.limit, options.offset = rint(50), rint(1000)
    found = client.sf.getRoiService().findByImage(image, options)
    assert [r.id.val for r in found.rois] == list(expected)[1000:1050]


def test_an_uploaded_picture_becomes_a_mask_per_colour(client):
    image = client.named("Image")
    picture = np.zeros((6, 8, 3), np.uint8)
    picture[1:3, 2:5] = 255, 0, 0
    picture[4, 7] = picture[5, 6] = 0, 0, 255
    stored = io.BytesIO()
    Image.fromarray(picture).save(stored, "PNG")
    client.sf.getRoiService().uploadMask(image, 2, 1, stored.getvalue())
    masks = client.query.findAllByQuery("select m from Mask m where m.roi.image.id = :id", ParametersI().addId(image))
    found = {tuple(map(unwrap, (m.x, m.y, m.width, m.height))): m for m in masks}
    assert set(found) == {(2, 1, 3, 2), (6, 4, 2, 2)}
    assert all((m.theZ.val, m.theT.val, m.locked.val) == (2, 1, True) for m in masks)
    assert found[6, 4, 2, 2].bytes == bytes([0b01100000])
    with pytest.raises(omero.ServerError):
        client.sf.getRoiService().uploadMask(image, 0, 0, b"no picture")


def test_the_table_of_an_annotation_is_opened_by_the_annotation(client):
    table = client.sf.sharedResources().newTable(1, "t")
    table.initialize([omero.grid.LongColumn("n", "", [])])
    table.addData([omero.grid.LongColumn("n", "", [7])])
    note = model.FileAnnotationI()
    note.file = model.OriginalFileI(table.getOriginalFile().id.val, False)
    table.close()
    ident = client.annotate(("Image", client.named("Image")), note)
    opened = client.sf.getRoiService().getTable(ident)
    assert opened.read([0], 0, 1).columns[0].values == [7]
    opened.close()
    with pytest.raises(omero.ApiUsageException):
        client.sf.getRoiService().getTable(10**9)


def test_annotations_are_counted_by_owner(team):
    alice, bob, _root = team("rwra--")
    image = alice.named("Image")
    for one in (alice, alice, bob):
        one.annotate(("Image", image), tag())
    text = "select i from Image i left join fetch i.annotationLinksCountPerOwner where i.id = :id"
    found = alice.query.findByQuery(text, ParametersI().addId(image))
    assert found.getAnnotationLinksCountPerOwner() == {alice.person.ident: 2, bob.person.ident: 1}


def test_what_is_searched_for_comes_in_the_order_asked_for(client):
    for name in ("needle b", "needle a", "needle c"):
        project = model.ProjectI()
        project.name = rstring(name)
        client.save(project)
    search = client.sf.createSearchService()
    search.onlyType("Project")
    search.addOrderByDesc("name")
    search.byFullText("needle")
    assert [p.name.val for p in search.results()] == ["needle c", "needle b", "needle a"]
    search.unordered()
    search.addOrderByAsc("name")
    search.onlyModifiedBetween(rtime(0), None)
    search.byFullText("needle")
    assert [p.name.val for p in search.results()] == ["needle a", "needle b", "needle c"]
    search.close()


# ---- lately --------------------------------------------------------------------------------------------------
def test_the_newest_of_all_kinds_come_first(client):
    projects = [client.named("Project") for _ in range(2)]
    dataset = client.named("Dataset")
    service = client.sf.getTimelineService()
    found = service.getMostRecentObjects(["Project", "Dataset"], ParametersI().page(0, 2), True)
    assert ids(found["Dataset"]) == [dataset]
    assert ids(found["Project"]) == [projects[1]]
    assert service.countByPeriod(["Project", "Nonsense"], rtime(0), None, None) == {"Project": 2, "Nonsense": -1}


def test_the_newest_annotation_links_are_found_by_namespace(client):
    image = client.named("Image")
    client.annotate(("Image", image), tag("a", "ns/a"))
    client.annotate(("Image", image), tag("b", "ns/b"))
    service = client.sf.getTimelineService()
    found = service.getMostRecentAnnotationLinks(["Image"], ["TagAnnotation"], ["ns/a"], None)
    assert [link.child.textValue.val for link in found] == ["a"]


def test_statistics_of_a_region_are_those_of_its_pixels(user, client):
    plane = np.arange(100, dtype=np.uint8).reshape(10, 10)
    gateway = user.gateway()
    gateway.SERVICE_OPTS.setOmeroGroup(str(user.group))
    image = gateway.createImageFromNumpySeq(iter([plane]), "n")
    roi = model.RoiI()
    roi.image = model.ImageI(image.getId(), False)
    box = model.RectangleI()
    box.x, box.y, box.width, box.height = rdouble(2), rdouble(3), rdouble(4), rdouble(5)
    roi.addShape(box)
    stats = client.sf.getRoiService().getRoiStats(client.save(roi)).perShape[0]
    inside = plane[3:8, 2:6].astype(float)
    assert (stats.pointsCount, stats.min, stats.max) == ([20], [inside.min()], [inside.max()])
    assert stats.mean == [inside.mean()]
    assert stats.stdDev == [pytest.approx(inside.std(ddof=1))]
