"""Delete2: what goes along, what stays, and what a second client sees afterwards."""

from __future__ import annotations

import omero.clients
import omero.cmd
import omero.model as model
from omero.cmd.graphs import ChildOption
from omero.rtypes import rstring

from tests.integration.commands import of, plate_with_field, tag


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
