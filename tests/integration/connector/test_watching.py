"""What a watcher asks of a server: containers by name, opt-ins, requests and their answers, how far images are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import omero
import omero.model
import pytest
from omero.rtypes import rstring

from omero_pixclf.config import ClassifierSettings, ObjectSettings, Recipe
from omero_pixclf.connector.files import attach_file
from omero_pixclf.connector.hierarchy import iterate_images
from omero_pixclf.connector.results.sink import OmeroSink
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.connector.upload import create_container, upload_image
from omero_pixclf.connector.watching import (
    REQUEST_NS,
    WATCH_NS,
    QueuedRequest,
    answer_request,
    find_attached_project,
    find_containers_by_name,
    find_up_to_date_images,
    list_open_requests,
    list_opt_ins,
    queue_request,
    read_image_versions,
)
from omero_pixclf.errors import MissingError, NotAllowedError, UsageError
from omero_pixclf.image import ArrayReader, ImageInfo
from omero_pixclf.provenance import RunRecord
from tests.integration.conftest import Endpoint, Lab, Person

RECIPE = Recipe(
    name="asked", classifier=ClassifierSettings(project="FileAnnotation:1"), objects=ObjectSettings(threshold=0.6)
)


def put(session: Session, dataset: int, name: str = "one") -> int:
    info = ImageInfo(name, name, (1, 1, 8, 8, 1), "uint8", ("",))
    return int(upload_image(session, ArrayReader(info, np.ones(info.shape, np.uint8)), dataset=dataset))


def note(session: Session, kind: str, ident: int, namespace: str, **pairs: str) -> int:
    """Key-values on an object, as a person writes them."""
    annotation = omero.model.MapAnnotationI()
    annotation.ns = rstring(namespace)
    annotation.setMapValue([omero.model.NamedValue(k, v) for k, v in pairs.items()])
    link = getattr(omero.model, f"{kind}AnnotationLinkI")()
    link.parent, link.child = getattr(omero.model, f"{kind}I")(ident, False), annotation
    saved = session.client.sf.getUpdateService().saveAndReturnObject(link, session.context(session.group_id))
    return int(saved.child.id.val)


def pairs_of_stored(client: Any, namespace: str, annotation: int | None = None) -> list[dict[str, str]]:
    """What a second client reads."""
    found = client.sf.getQueryService().findAllByQuery(
        f"select a from MapAnnotation a where a.ns = '{namespace}'", None, {"omero.group": "-1"}
    )
    wanted = [a for a in found if annotation is None or a.id.val == annotation]
    return [{v.name: v.value for v in a.getMapValue()} for a in wanted]


def test_containers_are_found_by_a_pattern_on_their_names(session: Session) -> None:
    names = ("run 1_DAPI", "run 12_DAPI", "run 2_dapi", "run [3]_DAPI", "100% DAPI")
    made = {name: create_container(session, "Dataset", name) for name in names}

    def fits(pattern: str) -> set[str]:
        found = set(find_containers_by_name(session, "Dataset", pattern))
        return {name for name, ident in made.items() if f"Dataset:{ident}" in found}

    assert fits("*_DAPI") == {"run 1_DAPI", "run 12_DAPI", "run [3]_DAPI"}
    assert fits("run ?_DAPI") == {"run 1_DAPI"}
    assert fits("run [12]_*") == {"run 1_DAPI", "run 2_dapi"}
    assert fits("100% D*") == {"100% DAPI"} and fits("nothing") == set()
    assert find_containers_by_name(session, "Plate", "*_DAPI") == []


def test_opt_ins_are_found_on_every_kind_of_container_and_everywhere_they_hang(session: Session) -> None:
    one, two = (create_container(session, "Dataset", n) for n in "ab")
    project = create_container(session, "Project", "p")
    first = note(session, "Dataset", one, WATCH_NS, Recipe="nuclei")
    link = omero.model.DatasetAnnotationLinkI()
    link.parent, link.child = omero.model.DatasetI(two, False), omero.model.MapAnnotationI(first, False)
    session.client.sf.getUpdateService().saveObject(link, session.context(session.group_id))
    second = note(session, "Project", project, WATCH_NS, Project="n.ilp")
    note(session, "Dataset", one, "somebody/else", Recipe="x")
    found = list_opt_ins(session)
    assert [(n.annotation, n.target) for n in found] == [
        (first, f"Dataset:{one}"), (first, f"Dataset:{two}"), (second, f"Project:{project}"),
    ]  # fmt: skip
    assert found[0].value("Recipe") == "nuclei" and found[0].owner == session.user_name


def test_a_request_is_open_until_it_is_answered(user: Person, session: Session) -> None:
    dataset = create_container(session, "Dataset", "asked for")
    asked = queue_request(session, f"Dataset:{dataset}", RECIPE).annotation
    (stored,) = pairs_of_stored(user.client(), REQUEST_NS, asked)
    assert "next to these" in stored.pop("Message")
    assert stored == {
        "Recipe": "asked", "Project": "FileAnnotation:1", "objects.threshold": "0.6", "Requested by": user.name,
        "State": "queued",
    }  # fmt: skip
    (open_one,) = list_open_requests(session)
    assert (open_one.annotation, open_one.target) == (asked, f"Dataset:{dataset}")
    answer_request(session, open_one, "running", "at it")
    assert [n.annotation for n in list_open_requests(session)] == [asked]
    answer_request(session, open_one, "done", "2 of 2")
    assert list_open_requests(session) == []
    (stored,) = pairs_of_stored(user.client(), REQUEST_NS, asked)
    assert (stored["State"], stored["Message"], stored["objects.threshold"]) == ("done", "2 of 2", "0.6")


def test_the_same_asked_for_twice_is_one_request_until_somebody_works_on_it(
    endpoint: Endpoint, new_lab: Callable[..., Lab]
) -> None:
    lab = new_lab(endpoint, "rwra--")
    ada, bob, watcher = lab.member("ada"), lab.member("bob"), lab.member("watcher")
    hers, his, service = ada.session(), bob.session(), watcher.session()
    one, two = (f"Dataset:{create_container(hers, 'Dataset', name)}" for name in "ab")
    first = queue_request(hers, one, RECIPE)
    assert first.new and queue_request(hers, one, RECIPE) == QueuedRequest(first.annotation, new=False)
    other = RECIPE.model_copy(update={"objects": ObjectSettings(threshold=0.7)})
    assert queue_request(hers, one, other).new and queue_request(hers, two, RECIPE).new
    assert queue_request(his, one, RECIPE).new  # hers is hers to take back
    (seen,) = [n for n in list_open_requests(service) if n.annotation == first.annotation]
    answer_request(service, seen, "running", "at it")  # beside it: the watcher may not edit it
    second = queue_request(hers, one, RECIPE)
    assert second.new
    assert len([n for n in list_open_requests(service) if n.target == one]) == 4
    (mine,) = [n for n in list_open_requests(hers) if n.annotation == second.annotation]
    answer_request(hers, mine, "done", "all")
    assert queue_request(hers, one, RECIPE).new


def test_a_request_that_may_not_be_edited_is_answered_beside_it(
    endpoint: Endpoint, new_lab: Callable[..., Lab]
) -> None:
    lab = new_lab(endpoint, "rwra--")
    ada, watcher = lab.member("ada"), lab.member("watcher")
    hers, his = ada.session(), watcher.session()
    dataset = create_container(hers, "Dataset", "asked for")
    asked = queue_request(hers, f"Dataset:{dataset}", RECIPE).annotation
    (seen,) = list_open_requests(his)
    for state, message in (("running", "at it"), ("done", "all")):
        answer_request(his, seen, state, message)  # type: ignore[arg-type]
    assert list_open_requests(his) == []
    assert pairs_of_stored(ada.client(), REQUEST_NS, asked)[0]["State"] == "queued"
    answers = [p for p in pairs_of_stored(ada.client(), f"{REQUEST_NS}/answer") if p["Request"] == str(asked)]
    assert answers == [{"Request": str(asked), "State": "done", "Message": "all", "Served by": watcher.name}]


def test_a_request_removed_meanwhile_and_one_without_rights_raise(
    endpoint: Endpoint, new_lab: Callable[..., Lab]
) -> None:
    lab = new_lab(endpoint, "rwr---")
    ada, other = lab.member("ada"), lab.member("other")
    hers = ada.session()
    dataset = create_container(hers, "Dataset", "asked for")
    with pytest.raises(NotAllowedError):
        queue_request(other.session(), f"Dataset:{dataset}", RECIPE)
    local = RECIPE.model_copy(update={"classifier": ClassifierSettings(project="/home/ada/n.ilp")})
    with pytest.raises(UsageError, match="FileAnnotation"):
        queue_request(hers, f"Dataset:{dataset}", local)
    queue_request(hers, f"Dataset:{dataset}", RECIPE)
    (seen,) = list_open_requests(hers)
    delete = omero.cmd.Delete2(targetObjects={"MapAnnotation": [seen.annotation]})
    hers.client.submit(delete, loops=50, ms=100).close(True)
    with pytest.raises(MissingError):
        answer_request(hers, seen, "done", "")


def test_the_only_attached_project_is_taken_and_several_must_be_told_apart(session: Session, tmp_path: Any) -> None:
    dataset = create_container(session, "Dataset", "with projects")
    target = f"Dataset:{dataset}"
    with pytest.raises(MissingError, match=r"no \.ilp"):
        find_attached_project(session, target)
    for name in ("a.ilp", "notes.txt", "b.ilp"):
        (tmp_path / name).write_bytes(b"x")
    first = attach_file(session, target, tmp_path / "a.ilp")
    attach_file(session, target, tmp_path / "notes.txt")
    assert find_attached_project(session, target) == (f"FileAnnotation:{first}", "a.ilp")
    attach_file(session, target, tmp_path / "b.ilp")
    with pytest.raises(UsageError, match=r"a\.ilp.*b\.ilp"):
        find_attached_project(session, target)
    assert find_attached_project(session, target, "b.ilp")[1] == "b.ilp"


def test_versions_change_while_pixels_are_written_and_not_when_an_image_is_annotated(session: Session) -> None:
    dataset = create_container(session, "Dataset", "d")
    image = put(session, dataset)
    before = read_image_versions(session, [f"Image:{image}"])
    note(session, "Image", image, "x", a="b")
    assert read_image_versions(session, [f"Image:{image}"]) == before != {}
    query = session.client.sf.getQueryService()
    pixels = query.findByQuery(f"select p from Pixels p where p.image.id = {image}", None)
    pixels.methodology = rstring("again")
    session.client.sf.getUpdateService().saveObject(pixels)
    assert read_image_versions(session, [f"Image:{image}"]) != before
    bare = omero.model.ImageI()
    bare.name = rstring("no pixels yet")
    ident = session.client.sf.getUpdateService().saveAndReturnObject(bare).id.val
    assert read_image_versions(session, [f"Image:{ident}"]) == {}


def test_an_image_stands_only_by_a_complete_run_of_this_recipe_on_these_pixels(session: Session) -> None:
    from datetime import datetime, timezone

    dataset = create_container(session, "Dataset", "d")
    done, other, begun, new = (put(session, dataset, n) for n in "abcd")
    infos = {i.key: i for i in iterate_images(session, [f"Dataset:{dataset}"])}
    sink, now = OmeroSink(session, encode={}), datetime(2026, 11, 21, tzinfo=timezone.utc)

    def run(image: int, recipe_hash: str) -> None:
        info = infos[f"Image:{image}"]
        record = RunRecord(
            "20261121T000000-ab12cd", info.key, "n", recipe_hash, info.fingerprint, "n.ilp", "", "1", now, now
        )
        with sink.begin(info, record) as writer:
            if image == begun:
                raise SystemError
            writer.complete(record)

    run(done, "hash")
    run(other, "older hash")
    with pytest.raises(SystemError):
        run(begun, "hash")
    assert find_up_to_date_images(session, list(infos.values()), "n", "hash") == {f"Image:{done}"}
    assert find_up_to_date_images(session, list(infos.values()), "n", "older hash") == {f"Image:{other}"}
    assert find_up_to_date_images(session, list(infos.values()), "m", "hash") == set()
    assert new
