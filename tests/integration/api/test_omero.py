"""The Python API on a server: connect, open an image, run a recipe, undo it."""

from __future__ import annotations

from pathlib import Path

import dask.array
import numpy as np
import pytest

import omero_pixclf
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.connector.upload import upload_image
from omero_pixclf.demo.images import time_lapse
from omero_pixclf.demo.seed import scene_reader
from omero_pixclf.errors import LoginError, MissingError, UsageError
from tests.integration.conftest import Person

PROJECT = Path(omero_pixclf.__file__).with_name("demo") / "lapse.ilp"


@pytest.fixture
def image(session: Session, dataset: int) -> int:
    """A simulated time-lapse of two frames."""
    return upload_image(session, scene_reader(time_lapse(1, frames=2, size=96, mitoses=1)), dataset=dataset)


def test_an_explicit_password_and_address_count_more_than_the_environment(
    user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("HOST", "nowhere.example"), ("PORT", "1"), ("USER", "nobody"), ("PASSWORD", "wrong")):
        monkeypatch.setenv(f"OMERO_{name}", value)
    address = f"{user.name}@{user.endpoint.host}:{user.endpoint.port}"
    with omero_pixclf.connect(address, password=user.password) as session:
        assert session.user_name == user.name
    with pytest.raises(LoginError), omero_pixclf.connect(address):
        pass
    monkeypatch.setenv("OMERO_PORT", "none")
    with pytest.raises(UsageError, match="OMERO_PORT is 'none'"), omero_pixclf.connect():
        pass


def test_an_image_is_an_array_that_dask_and_predict_take(session: Session, image: int) -> None:
    truth = time_lapse(1, frames=2, size=96, mitoses=1).pixels
    project = omero_pixclf.read_project(PROJECT)
    with omero_pixclf.open_image(session, image) as opened:
        assert (np.asarray(opened) == truth).all()
        assert (opened[1, 0, 10:20, ::-3, 0] == truth[1, 0, 10:20, ::-3, 0]).all()
        lazy = dask.array.from_array(opened, chunks=opened.chunks)
        assert int(lazy.max().compute(scheduler="threads")) == truth.max()
        found = omero_pixclf.predict(project, opened)
    assert (found == omero_pixclf.predict(project, truth, "tzyxc")).all()


def test_what_is_no_image_is_named(session: Session) -> None:
    expected = pytest.raises(UsageError, match="expected an image, such as Image:51")
    with expected, omero_pixclf.open_image(session, "Dataset:1"):
        pass
    with pytest.raises(MissingError), omero_pixclf.open_image(session, 2**40):
        pass


def test_a_run_and_its_undo(session: Session, image: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMERO_PIXCLF_STATE", str(tmp_path))
    recipe = {"classifier.project": str(PROJECT), "output.contact_sheet": False}
    events = [type(event).__name__ for event in omero_pixclf.run(recipe, f"Image:{image}", session=session)]
    assert events == ["RunPlanned", "ImageOutcome", "ContainerOutcome", "RunFinished"]
    *_, again = omero_pixclf.run(recipe, [f"Image:{image}"], session=session)
    assert [outcome.state for outcome in again.outcomes] == ["skipped"]
    *_, finished = omero_pixclf.run(recipe, [f"Image:{image}"], session=session, force=True)
    assert dict(finished.outcomes[0].objects)["Nucleus"] > 0
    assert sum(omero_pixclf.undo(finished.run_id, session=session).removed.values()) > 0
    with pytest.raises(MissingError):
        omero_pixclf.undo(finished.run_id, session=session)


def test_either_a_session_or_a_folder(session: Session) -> None:
    for options in ({}, {"session": session, "out": "results"}):
        with pytest.raises(UsageError, match="give either session"):
            omero_pixclf.run({"classifier.project": str(PROJECT)}, "Image:1", **options)
        with pytest.raises(UsageError, match="give either session"):
            omero_pixclf.undo("20261121T053012-ab12cd", **options)
    with pytest.raises(UsageError, match="axes are for image files"):
        omero_pixclf.run({"classifier.project": str(PROJECT)}, "Image:1", session=session, axes="yx")
