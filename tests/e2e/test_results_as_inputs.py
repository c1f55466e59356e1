"""Runs whose results are images in the same dataset: their number does not grow, whichever door is used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import Session, connect
from omero_pixclf.connector.upload import create_container
from tests.e2e.conftest import PASSWORD, Omero
from tests.e2e.test_watch_service import FIELD, PROJECT, put

RECIPE = f"""
name = "maps"
[classifier]
project = "{PROJECT}"
[objects]
min_size = 40
[output]
segmentation = "image"
labels = "image"
rois = "none"
contact_sheet = false
"""


@pytest.fixture
def session(omero: Omero) -> Iterator[Session]:
    with connect(Login(omero.host, omero.port, "root"), environ={"OMERO_PASSWORD": PASSWORD}) as opened:
        yield opened


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "maps.toml"
    path.write_text(RECIPE)
    return str(path)


def held(session: Session, dataset: int) -> list[int]:
    return session.query_ids("select l.child.id from DatasetImageLink l where l.parent.id = :d", d=dataset)


def test_images_that_a_run_made_are_not_worked_on_by_the_next(
    omero: Omero, session: Session, recipe: str, tmp_path: Path
) -> None:
    dataset = create_container(session, "Dataset", "results as inputs")
    image = put(session, dataset, "field", np.ascontiguousarray(FIELD))
    target = f"Dataset:{dataset}"
    first = omero.command("run", target, "--recipe", recipe, "--json")
    run = json.loads(first.stdout.splitlines()[0])["run"]
    assert len(held(session, dataset)) == 3

    checked = [
        json.loads(line) for line in omero.command("check", target, "--recipe", recipe, "--json").stdout.splitlines()
    ]
    plan = {line["image"]: (line["decision"], line["reason"]) for line in checked if "decision" in line}
    assert plan.pop(f"Image:{image}")[0] == "done"
    assert all(what == "made" and f"made by run {run}" in why for what, why in plan.values()) and len(plan) == 2
    said = omero.command("check", target, "--recipe", recipe, "--name", "other").stdout
    assert "3 images: 1 due, 2 made by runs" in said

    omero.command("run", target, "--recipe", recipe)
    omero.command("run", target, "--recipe", recipe, "--force")
    assert len(held(session, dataset)) == 3
    omero.command("run", target, "--recipe", recipe, "--name", "other")
    assert len(held(session, dataset)) == 5

    (tmp_path / "watch.toml").write_text(
        f'[service]\nevery = 1\nsettle = 0\nopt_in = false\nrequests = false\nstate = "sqlite:///{tmp_path}/w.sqlite"\n'
        f'runs = "{tmp_path}/runs"\n[status]\nenabled = false\n[recipes]\nmaps = "maps.toml"\n'
        f'[[watches]]\nname = "loop"\ntargets = ["{target}"]\nrecipe = "maps"\n'
    )
    for _ in range(2):
        assert "0 images done, 0 failed" in omero.command("watch", str(tmp_path / "watch.toml"), "--once").stdout
    assert len(held(session, dataset)) == 5


def test_a_made_image_that_is_named_is_worked_on(omero: Omero, session: Session, recipe: str) -> None:
    dataset = create_container(session, "Dataset", "named result")
    image = put(session, dataset, "field", np.ascontiguousarray(FIELD))
    omero.command("run", f"Dataset:{dataset}", "--recipe", recipe)
    made = next(i for i in held(session, dataset) if i != image)
    said = omero.command("check", f"Image:{made}", "--recipe", recipe, code=1).stdout  # two channels are expected
    assert "1 image: 1 refused" in said
