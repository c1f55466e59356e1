"""A run that is killed in its middle, and the same command once more, without ``--resume``."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from omero_pixclf.demo.images import plate_field
from omero_pixclf.demo.readback import attachments, image_results, table_rows
from tests.e2e.conftest import PROGRAM, Omero
from tests.e2e.test_main_job import BULK, DEMO, OBJECTS, put

IMAGES = 8
DONE = 2  # outcomes that are told before the kill


def killed_in_the_middle(omero: Omero, arguments: list[str]) -> None:
    """Start a run and kill it, without any warning, as soon as it has told of some images."""
    run = subprocess.Popen([str(PROGRAM), *arguments], env=omero.environment, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    told = (json.loads(line)["event"] for line in run.stdout)
    outcomes = sum(1 for _ in zip(range(DONE), (e for e in told if e == "outcome"), strict=False))
    run.kill()
    run.communicate()
    assert outcomes == DONE and run.returncode == -signal.SIGKILL


def test_a_run_started_anew_after_a_kill_leaves_every_row_once(
    omero: Omero, tmp_path: Path, second_client: Any
) -> None:
    scenes = {f"field{n}": plate_field(f"A{n % 3 + 1}", n).pixels[:, :, :200, :200] for n in range(IMAGES)}
    dataset, images = put(omero, tmp_path, "killed and started anew", **scenes)
    command = ["run", f"Dataset:{dataset}", "--project", str(DEMO / "plate.ilp"), "--min-size", "40", "--json"]
    killed_in_the_middle(omero, command)
    assert not [a for a in attachments(second_client, "Dataset", dataset) if a.namespace == BULK]

    end = json.loads(omero.command(*command).stdout.splitlines()[-1])
    assert end["skipped"] >= DONE and end["done"] == IMAGES - end["skipped"]

    (summary,) = [a for a in attachments(second_client, "Dataset", dataset) if a.namespace == BULK]
    rows = table_rows(second_client, summary.file_id)
    assert sorted(row["Image"] for row in rows) == sorted(images)
    drawn = {i: image_results(second_client, i).rois.get("Nucleus", 0) for i in images}
    attached = [a for i in images for a in attachments(second_client, "Image", i) if a.namespace == OBJECTS]
    (objects,) = {a.file_id for a in attached}
    of_objects = table_rows(second_client, objects)
    assert {row["Image"]: row["Count_Nucleus"] for row in rows} == drawn and sum(drawn.values()) > IMAGES
    assert Counter(row["Image"] for row in of_objects) == Counter({i: n for i, n in drawn.items() if n})
    assert len({row["Roi"] for row in of_objects}) == len(of_objects)

    again = json.loads(omero.command(*command).stdout.splitlines()[-1])
    assert (again["skipped"], again["done"]) == (IMAGES, 0)
