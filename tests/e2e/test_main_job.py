"""A stored `.ilp` over images in OMERO, by the commands of the README, seen through another client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omero_pixclf.demo.images import plate_field, z_stack
from omero_pixclf.demo.readback import attachments, download, image_results, table_rows
from tests.e2e.conftest import Omero

DEMO = Path(__file__).resolve().parents[2] / "omero_pixclf" / "demo"
BULK, OBJECTS = "openmicroscopy.org/omero/bulk_annotations", "omero_pixclf/objects"


def put(omero: Omero, folder: Path, dataset: str, **images: np.ndarray) -> tuple[int, list[int]]:
    """Import arrays (t, z, y, x, c) by command; returns the dataset's id and the images' ids."""
    import ezomero

    for name, pixels in images.items():
        np.save(folder / f"{name}.npy", pixels)
    paths = [str(folder / f"{name}.npy") for name in images]
    done = omero.command("embedded", "import", *paths, "--dataset", dataset, "--axes", "tzyxc")
    ids = [int(line.split("\t")[0].removeprefix("Image:")) for line in done.stdout.splitlines()]
    conn = ezomero.connect("root", "e2e-root-password", host=omero.host, port=omero.port, secure=True, group="")
    try:
        (found,) = [d.getId() for d in conn.getObjects("Dataset", attributes={"name": dataset})]
    finally:
        conn.close()
    return found, ids


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_run_finds_nuclei_and_leaves_rois_tables_ledger_and_picture(
    omero: Omero, tmp_path: Path, second_client: Any
) -> None:
    scene = plate_field("A2", 3)
    dataset, (image,) = put(omero, tmp_path, "main job", field=scene.pixels)
    target = f"Dataset:{dataset}"
    done = omero.command("run", target, "--project", str(DEMO / "plate.ilp"), "--min-size", "40", "--json")
    lines = events(done.stdout)
    assert [e["event"] for e in lines] == ["planned", "outcome", "containeroutcome", "finished"]
    count = lines[1]["objects"]["Nucleus"]
    true = len(np.unique(scene.nuclei)) - 1
    assert 0.8 * true <= count <= 1.1 * true

    results = image_results(second_client, image)
    assert results.rois == {"Nucleus": count}
    assert results.run["State"] == "complete" and results.run["Run ID"] == lines[0]["run"]

    files = {a.namespace: a for a in attachments(second_client, "Dataset", dataset)}
    summary = table_rows(second_client, files[BULK].file_id)
    assert [(row["Image"], row["Count_Nucleus"]) for row in summary] == [(image, count)]
    (of_image,) = [a for a in attachments(second_client, "Image", image) if a.namespace == OBJECTS]
    objects = table_rows(second_client, of_image.file_id)
    assert len(objects) == count and len({row["Roi"] for row in objects}) == count
    pictures = {a.name: a for a in attachments(second_client, "Dataset", dataset) if a.name.endswith((".png", ".html"))}
    assert set(pictures) == {"contact_sheet.png", "histograms.png", "report.html"}
    download(second_client, pictures["contact_sheet.png"].annotation_id, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")

    again = events(
        omero.command("run", target, "--project", str(DEMO / "plate.ilp"), "--min-size", "40", "--json").stdout
    )
    assert again[-1]["skipped"] == 1 and again[-1]["done"] == 0

    changed = omero.command("run", target, "--project", str(DEMO / "plate.ilp"), "--min-size", "500", "--json")
    fewer = events(changed.stdout)[1]["objects"]["Nucleus"]
    assert 0 < fewer < count
    assert image_results(second_client, image).rois == {"Nucleus": fewer}
    assert len(attachments(second_client, "Dataset", dataset)) == 4  # summary, contact sheet, histograms, report
    assert len([a for a in attachments(second_client, "Image", image) if a.namespace == OBJECTS]) == 1

    omero.command("undo", events(changed.stdout)[0]["run"], "--yes")
    left = image_results(second_client, image)
    assert left.rois == {} and left.run == {}
    assert attachments(second_client, "Dataset", dataset) == attachments(second_client, "Image", image) == []


def test_an_image_that_does_not_fit_is_refused_with_its_reason_and_the_others_go_on(
    omero: Omero, tmp_path: Path
) -> None:
    good = plate_field("A3", 4).pixels
    dataset, (one, two) = put(omero, tmp_path, "mixed", good=good, one_channel=good[..., :1])
    project = str(DEMO / "plate.ilp")
    done = omero.command("run", f"Dataset:{dataset}", "--project", project, "--json", code=1)
    outcomes = {e["image"]: e for e in events(done.stdout) if e["event"] == "outcome"}
    assert outcomes[f"Image:{one}"]["state"] == "done"
    refused = outcomes[f"Image:{two}"]
    assert refused["state"] == "refused"
    assert "trained on 2 channels" in refused["reason"] and "--channels" in refused["reason"]
    checked = omero.command("check", f"Dataset:{dataset}", "--project", project, code=1)
    assert "trained on 2 channels" in checked.stdout


def test_a_stack_gives_one_roi_per_object_through_its_planes(omero: Omero, tmp_path: Path, second_client: Any) -> None:
    dataset, (image,) = put(omero, tmp_path, "stack", stack=z_stack(5).pixels)
    project = str(DEMO / "stack.ilp")
    done = omero.command("run", f"Image:{image}", "--project", project, "--rois", "mask", "--min-size", "60", "--json")
    count = events(done.stdout)[1]["objects"]["Nucleus"]
    found = second_client.getRoiService().findByImage(image, None)
    assert len(found.rois) == count
    assert max(len(roi.copyShapes()) for roi in found.rois) > 3
    assert len({shape.theZ.val for shape in found.rois[0].copyShapes()}) == len(found.rois[0].copyShapes())
    assert dataset


def test_the_project_may_be_attached_in_omero(omero: Omero, tmp_path: Path, second_client: Any) -> None:
    dataset, (image,) = put(omero, tmp_path, "attached project", field=plate_field("B3", 5).pixels)
    annotation = second_client.createFileAnnfromLocalFile(str(DEMO / "plate.ilp"), mimetype="application/x-hdf5")
    second_client.getObject("Dataset", dataset).linkAnnotation(annotation)
    attached = f"FileAnnotation:{annotation.getId()}"
    for named in (attached, "plate.ilp"):
        done = omero.command("run", f"Dataset:{dataset}", "--project", named, "--force", "--json")
        assert events(done.stdout)[-1]["done"] == 1
    run = image_results(second_client, image).run  # of one run: the second has replaced the first
    assert (run["Project file"], run["Recipe"]) == ("plate.ilp", "plate")
    for named in (attached, "plate.ilp", str(DEMO / "plate.ilp")):
        done = omero.command("run", f"Dataset:{dataset}", "--project", named, "--json")
        assert events(done.stdout)[-1]["skipped"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "Dataset:999999", "--project", str(DEMO / "plate.ilp")], 2, "Dataset:999999"),
        (["run", "Dataset:1", "--project", "nowhere/nuclei.ilp"], 2, "no such file"),
        (["run", "Nonsense:1", "--project", str(DEMO / "plate.ilp")], 2, "Nonsense:1"),
        (["run"], 2, "--resume"),
        (["run", "Dataset:1", "--project", str(DEMO / "plate.ilp"), "--label", "Nukleus"], 2, "Nucleus"),
        (["undo", "20200101T000000-000000", "--yes"], 2, "20200101T000000-000000"),
    ],
)
def test_wrong_requests_end_with_a_message_and_their_exit_code(
    omero: Omero, arguments: list[str], code: int, words: str
) -> None:
    done = omero.command(*arguments, code=code)
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there_is_exit_code_3(omero: Omero) -> None:
    done = omero.command(
        "check", "Dataset:1", "--project", str(DEMO / "plate.ilp"), "-s", "127.0.0.1", "-p", "9", code=3
    )
    assert "127.0.0.1" in done.stderr and "Traceback" not in done.stderr


def test_a_wrong_password_is_exit_code_3(omero: Omero, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("wrong\n")
    secret.chmod(0o600)
    project = str(DEMO / "plate.ilp")
    done = omero.command("check", "Dataset:1", "--project", project, "--password-file", str(secret), code=3)
    assert "Traceback" not in done.stderr and "wrong" not in done.stderr.replace("wrong password", "")
