"""What tests of results share: records, objects, whole runs, and what a second client counts."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np

from omero_pixclf.objects.outline import MaskShape, Outline
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.protocols import ResultImage
from omero_pixclf.table import Column, Table

COUNTED = (
    "Roi",
    "Shape",
    "Annotation",
    "ImageAnnotationLink",
    "DatasetAnnotationLink",
    "PlateAnnotationLink",
    "OriginalFile",
    "Image",
    "Pixels",
    "Channel",
    "Dataset",
    "DatasetImageLink",
)


def write_numbers(path, pixels, info, channels):
    """An encoder that needs no format."""
    path.write_bytes(",".join(channels).encode() + pixels.tobytes())


ENCODE = {"attachment-h5": write_numbers, "attachment-tiff": write_numbers}


def record(run_id, recipe="nuclei", recipe_hash="hash-1", **more):
    facts = {
        "run_id": run_id,
        "image": "",
        "recipe": recipe,
        "recipe_hash": recipe_hash,
        "fingerprint": "Pixels:1",
        "project": "nuclei.ilp",
        "project_sha256": "00",
        "version": "0.1.0",
        "started": datetime(2026, 11, 21, 5, 30, tzinfo=timezone.utc),
    }
    return RunRecord(**{**facts, **more})


def dots(count, at=0):
    """One-pixel objects."""
    return [Outline(i, 0, (MaskShape(0, 0, i + at, i, np.ones((1, 1), bool)),)) for i in range(count)]


def write(sink, info, said, *, objects=3, form="attachment-h5"):
    """A whole run on an image."""
    with sink.begin(info, said) as out:
        ids = out.save_rois(dots(objects), name="nuclei", color=(255, 0, 0))
        out.save_image(
            ResultImage("probabilities", np.zeros((1, 1, 4, 5, 2), np.float32), channels=["a", "b"], form=form)
        )
        out.complete(replace(said, finished=said.started, objects={"nuclei": objects}))
    return ids


def counts(person):
    """How many objects of each kind lie in the person's group, by a second client."""
    query = person.client().getSession().getQueryService()
    context = {"omero.group": str(person.group)}
    where = f"x where x.details.group.id = {person.group}"  # a repository's own files are everybody's
    return {k: query.projection(f"select count(x.id) from {k} {where}", None, context)[0][0].val for k in COUNTED}


def summary(*images):
    return Table(
        (
            Column("Image", "image", np.array([int(i.key[6:]) for i in images])),
            Column("N", "long", np.arange(len(images))),
        )
    )


def rois_of(person, info):
    gateway = person.gateway()
    return gateway.getRoiService().findByImage(int(info.key[6:]), None, gateway.SERVICE_OPTS).rois


def write_container(sink, info, run_id, rows=1, attachments=()):
    said = record(run_id, finished=datetime(2026, 11, 21, 6, tzinfo=timezone.utc))
    return sink.finish(
        info.place.container, said, {"summary": summary(info), "objects": summary(*[info] * rows)}, list(attachments)
    )


def store_tables(sink, run_id, infos):
    said = record(run_id, finished=datetime(2026, 11, 21, 6, tzinfo=timezone.utc))
    sink.finish(infos[0].place.container, said, {"summary": summary(*infos)}, [])


def rows_of(sink, info):
    return [f"Image:{i}" for i in sink.load_tables(info.place.container, "nuclei")["summary"]["Image"].tolist()]


def start_run(person, info, run_id):
    """A run in another process, which has written and not completed."""
    where = person.endpoint
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, where.host, str(where.port), person.name, info.key, run_id],
        env={**os.environ, "OMERO_PASSWORD": person.password},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "written\n"
    return process


_KILLED = """
import os, sys
import numpy as np
from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import connect
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.runs.protocols import ResultImage
from omero_pixclf.connector.results.sink import OmeroSink
from tests.integration.results import ENCODE, dots, record

host, port, name, image, run = sys.argv[1:]
with connect(Login(host, port=int(port), user=name)) as session:
    info = next(OmeroSource(session).images([image]))
    with OmeroSink(session, encode=ENCODE).begin(info, record(run)) as out:
        out.save_rois(dots(4), name="nuclei", color=(0, 0, 0))
        for form in ("attachment-h5", "image"):
            maps = np.zeros((1, 1, 4, 5, 2), np.float32)
            out.save_image(ResultImage("probabilities", maps, channels=["a", "b"], form=form))
        print("written", flush=True)
        sys.stdin.read()
"""


def killed_run(person, info, run_id):
    process = start_run(person, info, run_id)
    process.kill()
    process.communicate()
