"""omero.cmd requests as their clients send them; what a second client sees afterwards."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import omero.clients
import omero.cmd
import omero.model as model
import pytest
from Ice import ObjectNotExistException
from omero.cmd.graphs import ChildOption
from omero.rtypes import rdouble, rint, rlong, rstring, unwrap

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


@pytest.fixture
def client(user):
    return Client(user, user.client().getSession())


@pytest.fixture
def team(endpoint, new_lab):
    """Makes clients of members of one new group, and root."""

    def make(permissions: str, count: int = 2) -> list[Client]:
        lab = new_lab(endpoint, permissions)
        people = [lab.member() for _ in range(count)] + [lab.root()]
        return [Client(p, p.client().getSession()) for p in people]

    return make


# ---- what a deletion takes along -----------------------------------------------------------------------------
def test_a_tag_on_another_image_survives_and_goes_with_the_last(client):
    first, second = client.named("Image"), client.named("Image")
    note = client.annotate(("Image", first), tag())
    client.annotate(("Image", second), model.TagAnnotationI(note, False))
    assert of(client.delete(Image=[first])) == {"Image": 1, "ImageAnnotationLink": 1}
    assert client.there("TagAnnotation", note)
    assert of(client.delete(Image=[second])) == {"Image": 1, "ImageAnnotationLink": 1, "TagAnnotation": 1}


def test_a_file_goes_with_the_last_annotation_that_names_it(client):
    file = model.OriginalFileI()
    file.name, file.path = rstring("a"), rstring("b/")
    file = client.save(file)
    notes = []
    for _ in range(2):
        note = model.FileAnnotationI()
        note.file = model.OriginalFileI(file, False)
        notes.append(client.save(note))
    assert of(client.delete(FileAnnotation=[notes[0]])) == {"FileAnnotation": 1}
    assert of(client.delete(FileAnnotation=[notes[1]])) == {"FileAnnotation": 1, "OriginalFile": 1}


def test_deleting_a_file_deletes_its_annotations_and_their_links(client):
    file = model.OriginalFileI()
    file.name, file.path = rstring("a"), rstring("b/")
    file = client.save(file)
    note = model.FileAnnotationI()
    note.file = model.OriginalFileI(file, False)
    client.annotate(("Image", client.named("Image")), note)
    assert of(client.delete(OriginalFile=[file])) == {
        "OriginalFile": 1,
        "FileAnnotation": 1,
        "ImageAnnotationLink": 1,
    }


def plate_with_field(client: Client) -> tuple[int, int, int]:
    plate, image = client.named("Plate"), client.named("Image")
    well = model.WellI()
    well.plate, well.row, well.column = model.PlateI(plate, False), rint(0), rint(0)
    sample = model.WellSampleI()
    sample.image = model.ImageI(image, False)
    well.addWellSample(sample)
    return plate, client.save(well), image


def test_a_plate_takes_wells_and_fields_and_images_along(client):
    plate, well, image = plate_with_field(client)
    assert of(client.delete(Plate=[plate])) == {"Plate": 1, "Well": 1, "WellSample": 1, "Image": 1}
    assert not client.there("Well", well)
    assert not client.there("Image", image)


def test_an_image_in_a_well_cannot_be_deleted_by_itself(client):
    _, _, image = plate_with_field(client)
    answer = client.delete(Image=[image])
    assert isinstance(answer, omero.cmd.GraphException)
    assert client.there("Image", image)


def test_a_screen_leaves_a_plate_that_is_in_another_screen(client):
    screens = [client.named("Screen") for _ in range(2)]
    plate = client.named("Plate")
    for screen in screens:
        client.link("ScreenPlateLink", screen, plate)
    assert of(client.delete(Screen=[screens[0]])) == {"Screen": 1, "ScreenPlateLink": 1}
    assert of(client.delete(Screen=[screens[1]])) == {"Screen": 1, "ScreenPlateLink": 1, "Plate": 1}


def test_images_of_a_fileset_are_deleted_together_or_not_at_all(client):
    fileset = model.FilesetI()
    fileset.templatePrefix = rstring("x")
    ident = client.save(fileset)
    images = [client.named("Image", fileset=model.FilesetI(ident, False)) for _ in range(2)]
    assert isinstance(client.delete(Image=images[:1]), omero.cmd.GraphException)
    assert of(client.delete(Image=images)) == {"Image": 2, "Fileset": 1}


def test_a_dataset_with_all_images_of_a_fileset_takes_them_along(client):
    fileset = model.FilesetI()
    fileset.templatePrefix = rstring("x")
    ident = client.save(fileset)
    dataset = client.named("Dataset")
    for _ in range(2):
        client.link("DatasetImageLink", dataset, client.named("Image", fileset=model.FilesetI(ident, False)))
    assert of(client.delete(Dataset=[dataset])) == {"Dataset": 1, "DatasetImageLink": 2, "Image": 2, "Fileset": 1}


def test_a_dataset_of_a_split_fileset_leaves_its_images(client):
    fileset = model.FilesetI()
    fileset.templatePrefix = rstring("x")
    ident = client.save(fileset)
    images = [client.named("Image", fileset=model.FilesetI(ident, False)) for _ in range(2)]
    dataset = client.named("Dataset")
    client.link("DatasetImageLink", dataset, images[0])
    assert of(client.delete(Dataset=[dataset])) == {"Dataset": 1, "DatasetImageLink": 1}
    assert all(client.there("Image", image) for image in images)


def test_tags_of_regions_and_shapes_go_with_their_image(client):
    image = client.named("Image")
    roi = client.roi(image, shapes=2)
    client.annotate(("Roi", roi), tag())
    found = of(client.delete(Image=[image]))
    assert found == {"Image": 1, "Roi": 1, "Point": 2, "RoiAnnotationLink": 1, "TagAnnotation": 1}


def test_unlinking_a_comment_deletes_it_and_unlinking_a_tag_does_not(client):
    image = client.named("Image")
    comment = model.CommentAnnotationI()
    comment.textValue = rstring("c")
    client.annotate(("Image", image), comment)
    client.annotate(("Image", image), tag())
    links = client.query.projection(f"select l.id from ImageAnnotationLink l where l.parent.id = {image}", None)
    answer = client.delete(ImageAnnotationLink=[row[0].val for row in links])
    assert of(answer) == {"ImageAnnotationLink": 2, "CommentAnnotation": 1}


def test_a_target_that_may_not_be_named_is_refused(client):
    answer = client.delete(Experimenter=[client.person.ident])
    assert (type(answer), answer.name) == (omero.cmd.ERR, "bad-target")


def test_nothing_happens_when_one_of_many_is_missing(client):
    image = client.named("Image")
    roi = client.roi(image)
    assert isinstance(client.delete(Image=[image], Roi=[roi, 10**9]), omero.cmd.GraphException)
    assert client.there("Roi", roi)


def test_a_thousand_regions_are_deleted_at_once(client):
    image = client.named("Image")
    rois = []
    for _ in range(1000):
        roi = model.RoiI()
        roi.image = model.ImageI(image, False)
        roi.addShape(model.PointI())
        rois.append(roi)
    ids = client.sf.getUpdateService().saveAndReturnIds(rois)
    assert of(client.delete(Roi=list(ids))) == {"Roi": 1000, "Point": 1000}


# ---- colleagues ----------------------------------------------------------------------------------------------
def test_a_colleagues_comment_goes_with_the_image_and_the_colleagues_tag_stays(team):
    alice, bob, _root = team("rwra--")
    image = alice.named("Image")
    comment = model.CommentAnnotationI()
    comment.textValue = rstring("c")
    his_comment = bob.annotate(("Image", image), comment)
    his_tag = bob.annotate(("Image", image), tag())
    assert of(alice.delete(Image=[image])) == {"Image": 1, "ImageAnnotationLink": 2, "CommentAnnotation": 1}
    assert not bob.there("CommentAnnotation", his_comment)
    assert bob.there("TagAnnotation", his_tag)


def test_nobody_but_the_owner_deletes_in_a_read_only_group(team):
    alice, bob, root = team("rwr---")
    roi = alice.roi(alice.named("Image"))
    assert isinstance(bob.delete(Roi=[roi]), omero.cmd.GraphException)
    assert alice.there("Roi", roi)
    assert of(root.delete(Roi=[roi])) == {"Roi": 1, "Point": 1}


def test_data_of_another_group_cannot_be_named(team):
    alice = team("rwrw--", 1)[0]
    stranger = team("rwrw--", 1)[0]
    image = alice.named("Image")
    assert isinstance(stranger.delete(Image=[image]), omero.cmd.GraphException)
    assert alice.there("Image", image)


# ---- options -------------------------------------------------------------------------------------------------
def test_included_kinds_go_although_others_use_them(client):
    datasets = [client.named("Dataset") for _ in range(2)]
    image = client.named("Image")
    for dataset in datasets:
        client.link("DatasetImageLink", dataset, image)
    answer = client.delete(Dataset=datasets[:1], childOptions=[ChildOption(["Image"], None, None, None)])
    assert of(answer) == {"Dataset": 1, "Image": 1, "DatasetImageLink": 2}


def test_a_dry_run_says_what_a_deletion_does_and_changes_nothing(client):
    image = client.named("Image")
    client.roi(image)
    dry = client.delete(Image=[image], dryRun=True)
    assert client.there("Image", image)
    assert of(client.delete(Image=[image])) == of(dry)


# ---- moving --------------------------------------------------------------------------------------------------
@pytest.fixture
def mover(endpoint, new_lab):
    """A user in two groups, and the second group's id."""

    def make(first: str = "rwrw--", second: str = "rw----") -> tuple[Client, int, Client]:
        lab, other = new_lab(endpoint, first), new_lab(endpoint, second)
        person, colleague = lab.member(), lab.member()
        admin = lab._root.getSession().getAdminService()
        admin.addGroups(model.ExperimenterI(person.ident, False), [model.ExperimenterGroupI(other.group, False)])
        return (
            Client(person, person.client().getSession()),
            other.group,
            Client(colleague, colleague.client().getSession()),
        )

    return make


def test_a_dataset_moves_with_its_images_but_not_with_shared_ones(mover):
    alice, group, _bob = mover()
    here, moves = alice.named("Dataset"), alice.named("Dataset")
    own, shared = alice.named("Image"), alice.named("Image")
    alice.link("DatasetImageLink", moves, own)
    alice.link("DatasetImageLink", moves, shared)
    alice.link("DatasetImageLink", here, shared)
    answer = alice.run(omero.cmd.Chgrp2(targetObjects={"Dataset": [moves]}, groupId=group))
    assert of(answer, "includedObjects") == {"Dataset": 1, "Image": 1, "DatasetImageLink": 1}
    assert of(answer) == {"DatasetImageLink": 1}
    assert alice.group_of("Image", own) == group
    assert alice.group_of("Image", shared) != group


def test_a_tag_that_stays_in_use_is_left_behind(mover):
    alice, group, _bob = mover()
    moves, stays = alice.named("Image"), alice.named("Image")
    note = alice.annotate(("Image", moves), tag())
    alice.annotate(("Image", stays), model.TagAnnotationI(note, False))
    answer = alice.run(omero.cmd.Chgrp2(targetObjects={"Image": [moves]}, groupId=group))
    assert of(answer, "includedObjects") == {"Image": 1}
    assert of(answer) == {"ImageAnnotationLink": 1}


def test_others_regions_are_lost_on_the_way_into_a_private_group(mover):
    alice, group, bob = mover("rwra--")
    image = alice.named("Image")
    own, his = alice.roi(image), bob.roi(image)
    answer = alice.run(omero.cmd.Chgrp2(targetObjects={"Image": [image]}, groupId=group))
    assert of(answer, "includedObjects") == {"Image": 1, "Roi": 1, "Point": 1}
    assert alice.group_of("Roi", own) == group
    assert not bob.there("Roi", his)


def test_others_regions_come_along_into_a_shared_group(mover):
    alice, group, bob = mover("rwra--", "rwra--")
    image = alice.named("Image")
    his = bob.roi(image)
    alice.run(omero.cmd.Chgrp2(targetObjects={"Image": [image]}, groupId=group))
    assert alice.group_of("Roi", his) == group


def test_a_region_cannot_move_without_its_image(mover):
    alice, group, _bob = mover()
    roi = alice.roi(alice.named("Image"))
    answer = alice.run(omero.cmd.Chgrp2(targetObjects={"Roi": [roi]}, groupId=group))
    assert isinstance(answer, omero.cmd.GraphException)


def test_a_plate_moves_as_a_whole(mover):
    alice, group, _bob = mover()
    plate, well, image = plate_with_field(alice)
    answer = alice.run(omero.cmd.Chgrp2(targetObjects={"Plate": [plate]}, groupId=group))
    assert of(answer, "includedObjects") == {"Plate": 1, "Well": 1, "WellSample": 1, "Image": 1}
    assert {alice.group_of("Well", well), alice.group_of("Image", image)} == {group}


def test_images_that_share_an_instrument_move_together_or_not_at_all(mover):
    alice, group, _bob = mover()
    instrument = alice.save(model.InstrumentI())
    images = [alice.named("Image", instrument=model.InstrumentI(instrument, False)) for _ in range(2)]
    alone = omero.cmd.Chgrp2(targetObjects={"Image": images[:1]}, groupId=group)
    assert isinstance(alice.run(alone), omero.cmd.GraphException)
    together = omero.cmd.Chgrp2(targetObjects={"Image": images}, groupId=group)
    assert of(alice.run(together), "includedObjects") == {"Image": 2, "Instrument": 1}


def test_an_instrument_that_moves_alone_is_forgotten_by_its_images(mover):
    alice, group, _bob = mover()
    instrument = alice.save(model.InstrumentI())
    image = alice.named("Image", instrument=model.InstrumentI(instrument, False))
    answer = alice.run(omero.cmd.Chgrp2(targetObjects={"Instrument": [instrument]}, groupId=group))
    assert of(answer, "includedObjects") == {"Instrument": 1}
    assert alice.query.get("Image", image).instrument is None


def test_a_colleagues_image_cannot_be_moved(mover):
    alice, group, bob = mover()
    image = bob.named("Image")
    answer = alice.run(omero.cmd.Chgrp2(targetObjects={"Image": [image]}, groupId=group))
    assert isinstance(answer, omero.cmd.GraphException)


def test_the_gateway_moves_an_image_into_a_dataset_of_the_other_group(mover):
    alice, group, _bob = mover()
    image = alice.named("Image")
    dataset = model.DatasetI()
    dataset.name = rstring("d")
    there = {"omero.group": str(group)}
    dataset = alice.sf.getUpdateService().saveAndReturnObject(dataset, there).id.val
    gateway = alice.person.gateway()
    gateway.chgrpObjects("Image", [image], group, container_id=dataset)
    wait_for(lambda: alice.group_of("Image", image) == group)
    text = f"select l.child.id from DatasetImageLink l where l.parent.id = {dataset}"
    assert [row[0].val for row in alice.query.projection(text, None, ALL)] == [image]


# ---- giving --------------------------------------------------------------------------------------------------
def test_root_gives_a_project_with_everything_in_it(team):
    alice, bob, root = team("rw----")
    project, dataset, image = alice.named("Project"), alice.named("Dataset"), alice.named("Image")
    alice.link("ProjectDatasetLink", project, dataset)
    alice.link("DatasetImageLink", dataset, image)
    roi = alice.roi(image)
    answer = root.run(omero.cmd.Chown2(targetObjects={"Project": [project]}, userId=bob.person.ident))
    assert of(answer, "includedObjects") == {
        "Project": 1,
        "Dataset": 1,
        "Image": 1,
        "Roi": 1,
        "Point": 1,
        "ProjectDatasetLink": 1,
        "DatasetImageLink": 1,
    }
    assert bob.there("Roi", roi)
    with pytest.raises(omero.SecurityViolation):
        alice.query.get("Image", image)


def test_giving_an_image_cuts_it_out_of_the_former_owners_dataset(team):
    alice, bob, root = team("rwra--")
    dataset, image = alice.named("Dataset"), alice.named("Image")
    alice.link("DatasetImageLink", dataset, image)
    answer = root.run(omero.cmd.Chown2(targetObjects={"Image": [image]}, userId=bob.person.ident))
    assert of(answer) == {"DatasetImageLink": 1}


def test_a_group_owner_gives_within_the_group_only(team):
    alice, bob, root = team("rwr---")
    stranger = team("rwr---", 1)[0]
    group = model.ExperimenterGroupI(alice.person.group, False)
    root.sf.getAdminService().setGroupOwner(group, model.ExperimenterI(alice.person.ident, False))
    owner = Client(alice.person, alice.person.client().getSession())
    image = bob.named("Image")
    outside = omero.cmd.Chown2(targetObjects={"Image": [image]}, userId=stranger.person.ident)
    assert isinstance(owner.run(outside), omero.cmd.GraphException)
    inside = omero.cmd.Chown2(targetObjects={"Image": [image]}, userId=alice.person.ident)
    assert of(owner.run(inside), "includedObjects") == {"Image": 1}


def test_a_region_is_not_given_out_of_its_image_in_a_read_only_group(team):
    alice, bob, root = team("rwr---")
    roi = alice.roi(alice.named("Image"))
    answer = root.run(omero.cmd.Chown2(targetObjects={"Roi": [roi]}, userId=bob.person.ident))
    assert isinstance(answer, omero.cmd.GraphException)


# ---- levels --------------------------------------------------------------------------------------------------
def test_making_a_group_private_cuts_what_connects_its_members(team):
    alice, bob, root = team("rwrw--")
    image = alice.named("Image")
    his_roi = bob.roi(image)
    his_tag = bob.annotate(("Image", image), tag())
    targets = {"ExperimenterGroup": [alice.person.group]}
    answer = root.run(omero.cmd.Chmod2(targetObjects=targets, permissions="rw----"))
    assert of(answer) == {"Roi": 1, "Point": 1, "ImageAnnotationLink": 1}
    assert not bob.there("Roi", his_roi)
    assert bob.there("TagAnnotation", his_tag)
    with pytest.raises(omero.SecurityViolation):
        bob.query.get("Image", image)


# ---- copies --------------------------------------------------------------------------------------------------
def test_a_copy_refers_to_what_is_not_to_be_copied(client):
    image = client.named("Image")
    client.roi(image)
    note = client.annotate(("Image", image), tag())
    request = omero.cmd.Duplicate(targetObjects={"Image": [image]}, typesToReference=["Annotation"])
    answer = client.run(request)
    assert of(answer, "duplicates") == {"Image": 1, "Roi": 1, "Point": 1, "ImageAnnotationLink": 1}
    copy = answer.duplicates["ome.model.core.Image"][0]
    rows = client.query.projection(f"select l.child.id from ImageAnnotationLink l where l.parent.id = {copy}", None)
    assert [row[0].val for row in rows] == [note]


def test_a_copy_leaves_out_what_is_to_be_ignored(client):
    image = client.named("Image")
    client.roi(image)
    client.annotate(("Image", image), tag())
    request = omero.cmd.Duplicate(targetObjects={"Image": [image]}, typesToIgnore=["Annotation", "Roi"])
    assert of(client.run(request), "duplicates") == {"Image": 1}


def test_a_colleague_owns_the_copy_he_makes(team):
    alice, bob, _root = team("rwr---")
    image = alice.named("Image")
    answer = bob.run(omero.cmd.Duplicate(targetObjects={"Image": [image]}))
    copy = bob.query.get("Image", answer.duplicates["ome.model.core.Image"][0])
    assert copy.details.owner.id.val == bob.person.ident


# ---- questions -----------------------------------------------------------------------------------------------
def test_parents_and_children_are_found_over_several_levels(client):
    project, dataset, image = client.named("Project"), client.named("Dataset"), client.named("Image")
    client.link("ProjectDatasetLink", project, dataset)
    client.link("DatasetImageLink", dataset, image)
    roi = client.roi(image)
    up = client.run(omero.cmd.FindParents(targetObjects={"Roi": [roi]}, typesOfParents=["Project", "Image"]))
    assert of(up, "parents") == {"Project": 1, "Image": 1}
    down = client.run(omero.cmd.FindChildren(targetObjects={"Project": [project]}, typesOfChildren=["Shape"]))
    assert of(down, "children") == {"Point": 1}
    stopped = omero.cmd.FindChildren(
        targetObjects={"Project": [project]}, typesOfChildren=["Roi"], stopBefore=["Image"]
    )
    assert of(client.run(stopped), "children") == {}


def test_several_requests_are_undone_together(client):
    images = [client.named("Image") for _ in range(2)]
    parts = [omero.cmd.Delete2(targetObjects={"Image": [i]}) for i in (*images, 10**9)]
    answer = client.run(omero.cmd.DoAll(parts, None))
    assert isinstance(answer, omero.cmd.GraphException)
    assert all(client.there("Image", i) for i in images)


def test_a_skipped_head_stays_with_its_dataset(client):
    project, dataset, image = client.named("Project"), client.named("Dataset"), client.named("Image")
    client.link("ProjectDatasetLink", project, dataset)
    client.link("DatasetImageLink", dataset, image)
    request = omero.cmd.SkipHead(
        targetObjects={"Project": [project]}, startFrom=["Image"], request=omero.cmd.Delete2(dryRun=False)
    )
    assert of(client.run(request)) == {"Image": 1, "DatasetImageLink": 1}
    assert client.there("Dataset", dataset)


def test_a_copy_below_a_skipped_head_is_loose(client):
    project, dataset = client.named("Project"), client.named("Dataset")
    client.link("ProjectDatasetLink", project, dataset)
    request = omero.cmd.SkipHead(
        targetObjects={"Project": [project]}, startFrom=["Dataset"], request=omero.cmd.Duplicate()
    )
    answer = client.run(request)
    assert isinstance(answer, omero.cmd.DuplicateResponse)
    (copied,) = answer.duplicates["ome.model.containers.Dataset"]
    assert list(answer.duplicates) == ["ome.model.containers.Dataset"]
    links = client.query.findAllByQuery(f"from ProjectDatasetLink l where l.child.id = {copied}", None)
    assert links == [] and client.there("Project", project)


def test_a_request_of_an_unknown_kind_answers_an_err(client):
    answer = client.run(omero.cmd.SendEmailRequest(subject="a", body="b"))
    assert isinstance(answer, omero.cmd.Unknown)


# ---- handles -------------------------------------------------------------------------------------------------
def test_a_waiting_client_is_called_back(user):
    client = user.client()
    image = Client(user, client.getSession()).named("Image")
    began = time.monotonic()
    callback = client.submit(omero.cmd.Delete2(targetObjects={"Image": [image]}), loops=2, ms=60_000)
    assert isinstance(callback.getResponse(), omero.cmd.Delete2Response)
    assert time.monotonic() - began < 30  # the callback came before the first wait was over
    callback.close(True)


def test_a_long_request_does_not_hold_up_its_client(client):
    handle = client.sf.submit(omero.cmd.Timing(5, 200))
    assert handle.getResponse() is None
    assert client.named("Image") > 0
    deadline = time.monotonic() + 10
    while handle.getResponse() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert isinstance(handle.getResponse(), omero.cmd.OK)
    handle.close()
    with pytest.raises(ObjectNotExistException):
        handle.getResponse()


def test_a_running_request_can_be_cancelled(client):
    handle = client.sf.submit(omero.cmd.Timing(6000, 10))  # a minute
    began = time.monotonic()
    assert handle.cancel() is True
    assert time.monotonic() - began < 30
    assert handle.getResponse().name in ("not-ready", "cancel-called")
    assert omero.cmd.State.CANCELLED in handle.getStatus().flags
    assert handle.cancel() is False
    handle.close()


def test_requests_of_many_clients_at_once_are_all_carried_out(user):
    clients = [Client(user, user.client().getSession()) for _ in range(4)]
    left: list[int] = []

    def work(one: Client) -> None:
        for _ in range(5):
            image = one.named("Image")
            one.roi(image)
            assert of(one.delete(Image=[image])) == {"Image": 1, "Roi": 1, "Point": 1}
        left.append(unwrap(one.query.projection("select count(r.id) from Roi r", None)[0][0]))

    threads = [threading.Thread(target=work, args=(one,)) for one in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(left) == 4
    assert min(left) == 0


def test_session_timeouts_can_be_shortened_but_not_lengthened_by_their_user(client):
    uuid = client.sf.getAdminService().getEventContext().sessionUuid
    shorter = omero.cmd.UpdateSessionTimeoutRequest(session=uuid, timeToIdle=rlong(1000_000_000))
    assert client.run(shorter).name == "non-admin-increase"
    assert isinstance(
        client.run(omero.cmd.UpdateSessionTimeoutRequest(session=uuid, timeToIdle=rlong(500_000))), omero.cmd.OK
    )
    assert client.sf.getSessionService().getSession(uuid).timeToIdle.val == 500_000
