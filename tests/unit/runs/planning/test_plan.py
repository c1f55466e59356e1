"""The plan: what it decides for each image and why, over a backend in memory."""

from __future__ import annotations

from omero_pixclf.runs.planning.plan import plan_images
from tests.unit.runs.memory_backend import RECIPE, Folder, image, record


def test_the_plan_says_for_every_image_what_will_happen_and_why() -> None:
    images = [image(n) for n in range(5)]
    folder = Folder(images, [record(images[1], "new"), record(images[2], "other")], forbidden="Image:3")
    plan = list(plan_images(folder.all, folder, RECIPE, "new", lambda i: "too small" if i.key == "Image:4" else None))
    assert [p.decision for p in plan] == ["due", "done", "replace", "refused", "refused"]
    assert [p.reason for p in plan][3:] == ["may not", "too small"]


def test_what_stands_is_done_also_where_rights_are_gone_since() -> None:
    one = image(1)
    folder = Folder([one], [record(one, "new")], forbidden="Image:1")
    assert [p.decision for p in plan_images(folder.all, folder, RECIPE, "new", lambda _: None)] == ["done"]
    assert [p.decision for p in plan_images(folder.all, folder, RECIPE, "newer", lambda _: None)] == ["refused"]


def test_force_repeats_what_is_done() -> None:
    one = image(1)
    folder = Folder([one], [record(one, "new")])
    assert [p.decision for p in plan_images(folder.all, folder, RECIPE, "new", lambda _: None, force=True)] == [
        "replace"
    ]


def test_an_interrupted_replacement_is_done_again() -> None:
    one = image(1)
    folder = Folder([one], [record(one, "new"), record(one, "other", "older")])
    assert [p.decision for p in plan_images(folder.all, folder, RECIPE, "new", lambda _: None)] == ["replace"]
