"""The OMERO script as the server's processor runs it: uploaded, asked for its parameters, run, queued, refused."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import omero
import pytest
from omero.rtypes import rbool, rdouble, rlist, rlong, rstring, unwrap

from omero_pixclf.cli.script import NAME, script_text
from omero_pixclf.connector.files import attach_file
from omero_pixclf.connector.results.ledger import list_run_records
from omero_pixclf.connector.scripts import find_script, install_script, script_parameters
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.connector.upload import WellContent, create_container, create_plate, upload_image
from omero_pixclf.connector.watching import REQUEST_NS, list_open_requests
from omero_pixclf.demo.images import plate_field
from omero_pixclf.demo.seed import scene_reader
from omero_pixclf.errors import NotAllowedError
from omero_pixclf.image import ArrayReader, ImageInfo
from omero_pixclf.omero_script.form import QUEUE, form_parameters
from tests.integration.conftest import Endpoint, Lab, Person

DEMO = Path(__file__).resolve().parents[3] / "omero_pixclf" / "demo"
PATH = f"omero_pixclf/{NAME}"


@dataclass(frozen=True)
class Stage:
    """A user with a dataset of one field and one image that does not fit, a plate, and an attached project."""

    lab: Lab
    person: Person
    script: int
    dataset: int
    field: int
    misfit: int
    plate: int
    wells: list[int]
    project: int


@pytest.fixture(scope="module")
def stage(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        client = omero.client(host=endpoint.host, port=endpoint.port)
        stack.callback(client.closeSession)
        client.createSession("root", endpoint.password)
        lab = Lab(endpoint, "rw----", client)
        person, root = lab.member(), lab.root()
        stack.callback(person._open.close)
        stack.callback(root._open.close)
        script = install_script(root.session(), PATH, script_text()).ident
        session = person.session()
        dataset = create_container(session, "Dataset", "script stage")
        field = upload_image(session, scene_reader(plate_field("A2", 3)), dataset=dataset)
        grey = ImageInfo("grey", "grey", (1, 1, 64, 64, 1), "uint8", ("",))
        misfit = upload_image(session, ArrayReader(grey, np.zeros(grey.shape, np.uint8)), dataset=dataset)
        laid = [WellContent(0, c, [scene_reader(plate_field(f"A{c + 1}", 5))]) for c in range(2)]
        plate = create_plate(session, "script plate", laid)
        wells = session.query_ids("select w.id from Well w where w.plate.id = :id order by w.column", id=plate)
        project = attach_file(session, f"Dataset:{dataset}", DEMO / "plate.ilp")
        yield Stage(lab, person, script, dataset, field, misfit, plate, wells, project)


@dataclass(frozen=True)
class Ended:
    """A script's end: return code, outputs, and what it wrote to its log and to stderr."""

    code: int
    outputs: dict[str, Any]
    log: str
    errors: str

    @property
    def message(self) -> str:
        return str(self.outputs["Message"].val) if "Message" in self.outputs else ""


def run(stage: Stage, kind: str, ids: list[int], **inputs: Any) -> Ended:
    """Run the script as OMERO.web does, by a client of its own, and wait for its end."""
    client = stage.person.client()
    service = client.sf.getScriptService()
    choice = f"plate.ilp (FileAnnotation:{stage.project}, on Dataset:{stage.dataset})"
    given = {"Data_Type": rstring(kind), "IDs": rlist([rlong(i) for i in ids]), "Classifier": rstring(choice)}
    process = service.runScript(stage.script, {**given, "Min_Size": rlong(40), **inputs}, None)
    end = time.monotonic() + 120
    while process.poll() is None:
        assert time.monotonic() < end, "the script does not end"
        time.sleep(0.1)
    code, outputs = process.poll().val, process.getResults(0)
    process.close(False)
    return Ended(code, outputs, text_of(client, outputs, "stdout"), text_of(client, outputs, "stderr"))


def text_of(client: Any, outputs: dict[str, Any], name: str) -> str:
    if name not in outputs:
        return ""
    store = client.sf.createRawFileStore()
    try:
        store.setFileId(outputs[name].val.id.val)
        return bytes(store.read(0, store.size())).decode()
    finally:
        store.close()


def entries(session: Session, script: int) -> tuple[str, ...]:
    """The list of classifiers as this user's form shows it."""
    (listed,) = [p for p in script_parameters(session, script) if p.name == "Classifier"]
    return listed.values


def roi_count(stage: Stage, image: int) -> int:
    found = stage.person.client().sf.getRoiService().findByImage(image, None)
    return len(found.rois)


def test_the_server_tells_every_parameter_with_its_limits(stage: Stage) -> None:
    found = stage.person.client().sf.getScriptService().getParams(stage.script)
    wanted = {p.name(): p for p in form_parameters(["x"])}
    assert set(found.inputs) == set(wanted)
    assert found.name == "Pixel_Classification" and "ilastik" in found.description
    for name, p in wanted.items():
        told = found.inputs[name]
        assert told.grouping == p.grouping and told.description == p.description
        assert unwrap(told.min) == unwrap(p.min) and unwrap(told.max) == unwrap(p.max)
        assert type(told.prototype) is type(p.prototype) and told.useDefault == p.useDefault
        if name != "Classifier":
            assert unwrap(told.values) == unwrap(p.values)


def test_the_list_of_classifiers_is_live_and_each_users_own(stage: Stage, tmp_path: Path) -> None:
    session, other = stage.person.session(), Lab(stage.lab._endpoint, "rw----", stage.lab._root).member()
    try:
        assert entries(session, stage.script) == (
            f"plate.ilp (FileAnnotation:{stage.project}, on Dataset:{stage.dataset})",
        )
        theirs = other.session()
        assert entries(theirs, stage.script) == ()
        dataset = create_container(theirs, "Dataset", "theirs")
        copy = tmp_path / "Zellkerne (neu), ü.ilp"
        copy.write_bytes((DEMO / "plate.ilp").read_bytes())
        annotation = attach_file(theirs, f"Dataset:{dataset}", copy)
        assert entries(theirs, stage.script) == (f"{copy.name} (FileAnnotation:{annotation}, on Dataset:{dataset})",)
        assert len(entries(session, stage.script)) == 1
    finally:
        other._open.close()


def test_a_run_finds_what_the_command_line_would_and_says_where(stage: Stage) -> None:
    done = run(stage, "Image", [stage.field])
    assert done.code == 0, done.errors + done.log
    assert done.message.startswith("1 of 1 image done: ") and done.errors == ""
    count = roi_count(stage, stage.field)
    assert f"{count} Nucleus" in done.message and f"1/1 Image:{stage.field}" in done.log
    true = len(np.unique(plate_field("A2", 3).nuclei)) - 1
    assert 0.8 * true <= count <= 1.1 * true
    (record,) = [r for r in list_run_records(stage.person.session()) if r.image == f"Image:{stage.field}"]
    assert record.state == "complete" and record.run_id in done.message and record.objects == {"Nucleus": count}
    assert done.outputs["Container"].val.id.val == stage.dataset
    sheet = done.outputs["File_Annotation"].val
    assert (sheet.file.name.val, sheet.file.mimetype.val) == ("contact_sheet.png", "image/png")

    again = run(stage, "Image", [stage.field])
    assert again.code == 0 and "already had these results" in again.message


def test_an_image_that_does_not_fit_fails_with_its_reason_and_the_others_are_done(stage: Stage) -> None:
    done = run(stage, "Dataset", [stage.dataset], Repeat=rbool(True))
    assert done.code == 1
    assert "1 of 2 images done" in done.message and "grey" in done.message
    assert "trained on 2 channels" in done.message and "choose with Channels" in done.message
    assert "Traceback" not in done.errors


def test_wells_are_wells(stage: Stage) -> None:
    done = run(stage, "Well", stage.wells[:1])
    assert done.code == 0 and "1 of 1 image done" in done.message
    assert done.outputs["Container"].val.id.val == stage.plate


def test_too_many_images_are_refused_before_any_work(stage: Stage) -> None:
    done = run(stage, "Plate", [stage.plate], Most_Images=rlong(1), Recipe_Name=rstring("other name"))
    assert done.code == 1 and "2 images are due, but Most Images is 1" in done.message and QUEUE in done.message
    assert not [r for r in list_run_records(stage.person.session()) if r.recipe == "other name"]


def test_queueing_leaves_a_request_with_the_recipe_and_returns(stage: Stage) -> None:
    before = roi_count(stage, stage.field)
    done = run(stage, "Plate", [stage.plate], Run=rstring(QUEUE), Threshold=rdouble(0.625), Recipe_Name=rstring("q"))
    assert done.code == 0 and f"Plate:{stage.plate}" in done.message
    session = stage.person.session()
    (note,) = [n for n in list_open_requests(session) if n.target == f"Plate:{stage.plate}"]
    pairs = dict(note.pairs)
    assert pairs["State"] == "queued" and "0.625" in pairs.values()
    assert f"FileAnnotation:{stage.project}" in " ".join(pairs.values())
    links = stage.person.gateway().getObject("Plate", stage.plate).listAnnotations(ns=REQUEST_NS)
    assert [a.getId() for a in links] == [note.annotation]
    assert roi_count(stage, stage.field) == before

    again = run(stage, "Plate", [stage.plate], Run=rstring(QUEUE), Threshold=rdouble(0.625), Recipe_Name=rstring("q"))
    assert again.code == 0 and f"identical request: Plate:{stage.plate}" in again.message
    assert [n.annotation for n in list_open_requests(session) if n.target == f"Plate:{stage.plate}"] == [
        note.annotation
    ]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"Threshold": rdouble(2.0)}, "Threshold"),
        ({"Most_Images": rlong(0)}, "Most_Images"),
        ({"Method": rstring("magic")}, "Method"),
        ({"Classifier": rstring("foreign.ilp (FileAnnotation:1, on Plate:9)")}, "Classifier"),
    ],
)
def test_what_lies_outside_the_limits_is_refused_by_the_server(
    stage: Stage, inputs: dict[str, Any], words: str
) -> None:
    with pytest.raises(omero.ValidationException, match=words):
        run(stage, "Image", [stage.field], **inputs)


@pytest.mark.parametrize(
    ("kind", "ids", "inputs", "words"),
    [
        ("Dataset", [99_999_999], {}, "Dataset:99999999"),
        ("Image", [], {}, "no Image is selected"),
        ("Image", None, {"Label": rlist([rstring("Nukleus")])}, "Nukleus"),
    ],
)
def test_a_refusal_is_a_message_and_an_error_and_no_traceback(
    stage: Stage, kind: str, ids: list[int] | None, inputs: dict[str, Any], words: str
) -> None:
    done = run(stage, kind, [stage.field] if ids is None else ids, **inputs)
    assert done.code == 1 and done.message.startswith("Nothing was done: ") and words in done.message
    assert done.errors == ""


def test_only_administrators_install_for_all_and_again_is_an_update(stage: Stage) -> None:
    with pytest.raises(NotAllowedError, match="administrator"):
        install_script(stage.person.session(), PATH, script_text())
    root = stage.lab.root()
    session = root.session()
    path = f"of-test-{os.getpid()}/{NAME}"
    try:
        first = install_script(session, path, script_text())
        assert first.change == "installed"
        assert install_script(session, path, script_text()).change == "unchanged"
        second = install_script(session, path, script_text(sys.executable))
        assert (second.change, second.ident) == ("updated", first.ident)
        standing = find_script(session, path)
        assert standing is not None and standing.text == script_text(sys.executable)
        session.write("tidy", lambda sf: sf.getScriptService().deleteScript(first.ident), group=session.group_id)
        assert find_script(session, path) is None
    finally:
        root._open.close()


def test_pixels_come_from_the_servers_files_where_the_installer_said_so(stage: Stage, folder: Path) -> None:
    root = stage.lab.root()
    session = root.session()
    path = f"direct-of-test-{os.getpid()}/{NAME}"
    script = install_script(session, path, script_text(direct=[str(folder)])).ident
    try:
        done = run(replace(stage, script=script), "Image", [stage.field], Recipe_Name=rstring("read directly"))
        assert done.code == 0, done.log
        assert "1 image read directly" in done.log
    finally:
        session.write("tidy", lambda sf: sf.getScriptService().deleteScript(script), group=session.group_id)
        root._open.close()


def bare_python() -> Path:
    """The interpreter that this environment was made from, which has no omero_pixclf."""
    place = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    probe = subprocess.run([str(place), "-c", "import omero_pixclf"], capture_output=True, cwd="/", check=False)
    if sys.base_prefix == sys.prefix or probe.returncode == 0:
        pytest.skip("needs an environment made from a Python without omero_pixclf")
    return place


@pytest.mark.parametrize("way", ["variable", "written", "path", "nowhere"])
def test_the_script_finds_omero_pixclf_in_another_environment(tmp_path: Path, way: str) -> None:
    """Run as a processor does whose Python lacks omero_pixclf; ParseExit shows that the form was made."""
    python = bare_python()
    (tmp_path / "script").write_text(script_text(sys.executable if way == "written" else ""))
    (tmp_path / "config").write_text("omero.scripts.parse=only\nomero.host=127.0.0.1\n")
    environment = {"ICE_CONFIG": "config", "PYTHONPATH": "/nonexistent", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    if way == "variable":
        environment["OMERO_PIXCLF_PYTHON"] = sys.executable
    if way == "path":
        environment["PATH"] = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        [str(python), "./script"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if way == "nowhere":
        assert done.returncode == 1 and "has no omero_pixclf" in done.stderr and "--python" in done.stderr
    else:
        assert "ParseExit" in done.stderr, done.stderr
