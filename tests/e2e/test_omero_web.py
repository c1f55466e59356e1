"""The script in the real OMERO.web, in a browser, over the embedded OMERO, with a watcher that serves what is queued.

Needs an environment with omero-web and Playwright, which ``OMERO_WEB_PYTHON`` names (``make setup-web`` makes one), and
Chromium. ``OMERO_WEB_PICTURES`` keeps the pictures in that folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omero_pixclf.connector.files import attach_file
from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import Session, connect
from omero_pixclf.demo.readback import StoredResults, image_results
from omero_pixclf.demo.seed import create_user, simulate_scenes, upload_scenes
from tests.e2e.conftest import PASSWORD, PROGRAM, Omero

HERE = Path(__file__).parent
DEMO = HERE.parents[1] / "omero_pixclf" / "demo"
BESIDE = Path(f"{sys.prefix}-web", "bin", "python")  # where `make setup-web` puts it
WEB = os.environ.get("OMERO_WEB_PYTHON") or (str(BESIDE) if BESIDE.exists() else None)
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(not WEB, reason="needs OMERO.web: make setup-web, or name its Python in OMERO_WEB_PYTHON"),
    pytest.mark.skipif(not BROWSER, reason="needs Chromium, which is not installed here"),
]
USER, SERVICE = ("web-user", "web-password"), ("pixclf", "service-password")
SETTINGS = """
[server]
user = "pixclf"
password_file = "password"
[service]
every = 2
settle = 2
state = "sqlite:///{folder}/watch.sqlite"
runs = "{folder}/runs"
[status]
port = {port}
"""


@pytest.fixture(scope="module")
def stage(omero: Omero) -> Iterator[dict[str, Any]]:
    """The demo's plate and stacks, with attached projects, of a user of their own; the script installed by command."""
    omero.command("script", "install")
    root = Login(omero.host, port=omero.port, user="root")
    with connect(root, environ={"OMERO_PASSWORD": PASSWORD}) as admin:
        create_user(admin, *USER, "Web lab")
        add_member(admin, *SERVICE, "Web lab")
    with connect(Login(omero.host, port=omero.port, user=USER[0]), environ={"OMERO_PASSWORD": USER[1]}) as session:
        made = upload_scenes(session, list(simulate_scenes()))
        attach_file(session, f"Plate:{made.plate}", DEMO / "plate.ilp")
        attach_file(session, f"Dataset:{made.stacks}", DEMO / "stack.ilp")
        hql = "select s.image.id from WellSample s where s.well.plate.id = :id order by s.image.id"
        stacks = session.query_ids("select l.child.id from DatasetImageLink l where l.parent.id = :id", id=made.stacks)
        images = {"image": session.query_ids(hql, id=made.plate)[0], "queued": sorted(stacks)}
        yield {"plate": made.plate, "stacks": made.stacks, **images}


def add_member(admin: Session, name: str, password: str, group: str) -> None:
    """The watcher's user, a plain member of a lab's group."""
    from omero.model import ExperimenterI
    from omero.rtypes import rbool, rstring

    service = admin.client.sf.getAdminService()
    person = ExperimenterI()
    person.omeName, person.firstName, person.lastName = rstring(name), rstring("Pixel"), rstring("Classifier")
    person.ldap = rbool(False)
    lab, everybody = service.lookupGroup(group), service.lookupGroup("user")
    service.createExperimenterWithPassword(person, rstring(password), lab, [lab, everybody])


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def watcher(omero: Omero, stage: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page of a watcher that serves requests, in a process of its own."""
    folder, port = tmp_path_factory.mktemp("watcher"), free_port()
    password = folder / "password"
    password.write_text(SERVICE[1])
    password.chmod(0o600)
    (folder / "watch.toml").write_text(SETTINGS.format(folder=folder, port=port))
    kept = {k: v for k, v in omero.environment.items() if k not in ("OMERO_USER", "OMERO_PASSWORD")}
    environment = {**kept, "OMERO_USERDIR": str(folder / "omero")}
    with (folder / "watch.log").open("w") as log:
        process = subprocess.Popen([str(PROGRAM), "watch", str(folder / "watch.toml")], env=environment, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        assert process.wait(30) == 0, (folder / "watch.log").read_text()


@pytest.fixture(scope="module")
def web(omero: Omero, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an OMERO.web that serves this OMERO."""
    home, port = tmp_path_factory.mktemp("omero-web"), free_port()
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
def seen(stage: dict[str, Any], web: str, watcher: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a user saw, from the login to the results."""
    pictures = Path(os.environ.get("OMERO_WEB_PICTURES") or tmp_path_factory.mktemp("pictures"))
    pictures.mkdir(exist_ok=True)
    person = {"user": USER[0], "password": USER[1], "browser": BROWSER, "pictures": str(pictures)}
    told = {**stage, **person, "url": web, "status": watcher}
    done = subprocess.run(
        [str(WEB), str(HERE / "omero_web_browser.py"), json.dumps(told)],
        capture_output=True, text=True, timeout=800, check=False,
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


def in_omero(omero: Omero, image: int) -> StoredResults:
    """What a second client reads of an image's results."""
    from omero.gateway import BlitzGateway

    login = Login(omero.host, port=omero.port, user=USER[0])
    with connect(login, environ={"OMERO_PASSWORD": USER[1]}) as session:
        return image_results(BlitzGateway(client_obj=session.client), image)


@pytest.mark.parametrize(("way", "recipe"), [("run", "plate"), ("queue", "stack")])
def test_the_image_shows_its_rois_key_values_and_row(
    seen: dict[str, Any], stage: Any, omero: Omero, way: str, recipe: str
) -> None:
    stored = in_omero(omero, stage["image"] if way == "run" else stage["queued"][0])
    shown = seen[way]
    count = stored.rois["Nucleus"]
    assert re.search(rf"ROI Count:\s*{count}\b", shown["details"])
    assert stored.run["Run ID"] in shown["details"] and re.search(rf"Recipe\s+{recipe}\b", shown["details"])
    assert re.search(rf"Count_Nucleus:\s+{count}\b", shown["table"])
    (table,) = shown["tables"]
    assert table.startswith(f"{recipe}_summary_")


def test_the_viewer_draws_outlines_and_the_cells_stay_visible(seen: dict[str, Any]) -> None:
    outlines = [opacity for kind, opacity in seen["shapes"] if kind == "path"]
    assert len(outlines) > 50 and max(outlines) < 0.05


def test_a_request_for_the_service_returns_at_once(seen: dict[str, Any], stage: Any) -> None:
    form = seen["queue"]
    assert (form["Data_Type"], form["IDs"]) == ("Image", ",".join(map(str, stage["queued"])))
    assert f"Queued for the service: {', '.join(f'Image:{i}' for i in stage['queued'])}." in form["message"]


def test_a_watcher_serves_the_request_and_answers_who_asked(seen: dict[str, Any]) -> None:
    answer = seen["queue"]["answer"]
    assert re.search(r"Message\s+results on 1 of 1 image\b", answer)
    assert re.search(rf"Served by\s+{SERVICE[0]}", answer) and re.search(rf"Requested by\s+{USER[0]}", answer)
    assert re.search(r"1 of 1\b", seen["watcher answered"]) and "finished" in seen["watcher answered"]


def test_nothing_went_wrong_on_any_page(seen: dict[str, Any]) -> None:
    assert seen["wrong"] == []
