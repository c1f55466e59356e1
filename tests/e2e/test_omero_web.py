"""The script in the real OMERO.web, in a browser, over the embedded OMERO.

Needs an environment with omero-web and Playwright, which ``OMERO_WEB_PYTHON`` names (docs/omero-web.md says how to
make one), and Chromium. ``OMERO_WEB_PICTURES`` keeps the pictures in that folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omero_pixclf.connector.files import attach_file
from omero_pixclf.connector.login import Login
from omero_pixclf.connector.session import connect
from omero_pixclf.demo.readback import image_results
from omero_pixclf.demo.stage import build, create_user, simulate
from tests.e2e.conftest import PASSWORD, Omero

HERE = Path(__file__).parent
DEMO = HERE.parents[1] / "omero_pixclf" / "demo"
WEB = os.environ.get("OMERO_WEB_PYTHON")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(not WEB, reason="needs OMERO.web: OMERO_WEB_PYTHON names no Python that has it"),
    pytest.mark.skipif(not BROWSER, reason="needs Chromium, which is not installed here"),
]
USER = ("web-user", "web-password")


@pytest.fixture(scope="module")
def stage(omero: Omero) -> Iterator[dict[str, Any]]:
    """The demo's plate and stacks, with attached projects, of a user of their own; the script installed by command."""
    omero.command("script", "install")
    root = Login(omero.host, port=omero.port, user="root")
    with connect(root, environ={"OMERO_PASSWORD": PASSWORD}) as admin:
        create_user(admin, *USER, "Web lab")
    with connect(Login(omero.host, port=omero.port, user=USER[0]), environ={"OMERO_PASSWORD": USER[1]}) as session:
        made = build(session, list(simulate()))
        attach_file(session, f"Plate:{made.plate}", DEMO / "plate.ilp")
        attach_file(session, f"Dataset:{made.stacks}", DEMO / "stack.ilp")
        hql = "select s.image.id from WellSample s where s.well.plate.id = :id order by s.image.id"
        yield {"plate": made.plate, "image": session.ids(hql, id=made.plate)[0]}


@pytest.fixture(scope="module")
def web(omero: Omero, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an OMERO.web that serves this OMERO."""
    home = tmp_path_factory.mktemp("omero-web")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(WEB), str(HERE / "omero_web_server.py"), str(home), str(omero.port), str(port)]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HOME": str(home)})
    try:
        yield _answering(f"http://127.0.0.1:{port}", server, home / "server.log")
    finally:
        server.terminate()
        server.wait(20)


def _answering(url: str, server: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + 90
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/webclient/login/", timeout=10).close()
            return url
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"OMERO.web does not answer:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def seen(stage: dict[str, Any], web: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a user saw, from the login to the results."""
    pictures = Path(os.environ.get("OMERO_WEB_PICTURES") or tmp_path_factory.mktemp("pictures"))
    pictures.mkdir(exist_ok=True)
    told = {**stage, "url": web, "user": USER[0], "password": USER[1], "browser": BROWSER, "pictures": str(pictures)}
    done = subprocess.run(
        [str(WEB), str(HERE / "omero_web_browser.py"), json.dumps(told)],
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stderr}\nseen until then: {done.stdout}"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_data_is_browsed_with_thumbnails(seen: dict[str, Any]) -> None:
    assert any("Dose response" in name for name in seen["tree"])
    assert len(seen["thumbnails"]) == 6 and min(seen["thumbnails"]) > 0


def test_the_form_takes_the_selection_and_lists_the_attached_projects(seen: dict[str, Any], stage: Any) -> None:
    form = seen["run"]
    assert (form["Data_Type"], form["IDs"], form["Threshold"]) == ("Plate", str(stage["plate"]), "0.5")
    assert form["classifiers"][0] == "choose one"
    assert [c.partition(" (")[0] for c in form["classifiers"][1:]] == ["stack.ilp", "plate.ilp"]


def test_the_message_says_what_was_found_and_the_buttons_lead_there(seen: dict[str, Any]) -> None:
    assert re.match(r"12 of 12 images done: \d+ Nucleus\.", seen["run"]["message"])
    titles = " ".join(seen["run"]["buttons"])
    assert "Navigate to Plate" in titles and "Show file in new window" in titles and "Download" in titles


def test_the_image_shows_its_rois_key_values_and_row(seen: dict[str, Any], stage: Any, omero: Omero) -> None:
    login = Login(omero.host, port=omero.port, user=USER[0])
    with connect(login, environ={"OMERO_PASSWORD": USER[1]}) as session:
        from omero.gateway import BlitzGateway

        stored = image_results(BlitzGateway(client_obj=session.client), stage["image"])
    count = stored.rois["Nucleus"]
    assert re.search(rf"ROI Count:\s*{count}\b", seen["details"])
    assert stored.run["Run ID"] in seen["details"] and re.search(r"Recipe\s+plate\b", seen["details"])
    assert re.search(rf"Count_Nucleus:\s+{count}\b", seen["table"])


def test_the_viewer_draws_outlines_and_the_cells_stay_visible(seen: dict[str, Any]) -> None:
    outlines = [opacity for kind, opacity in seen["shapes"] if kind == "path"]
    assert len(outlines) > 50 and max(outlines) < 0.05


def test_a_request_for_the_service_returns_at_once(seen: dict[str, Any], stage: Any) -> None:
    assert f"Queued for the service: Plate:{stage['plate']}" in seen["queue"]["message"]


def test_nothing_went_wrong_on_any_page(seen: dict[str, Any]) -> None:
    assert seen["wrong"] == []
