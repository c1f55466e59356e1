"""OMERO.web's own functions over a container's tables (no browser): what its panel lists, and OMERO.parade takes."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from omero_pixclf.connector.results.tables import BULK_NS
from tests.e2e.test_omero_web import WEB
from tests.integration.connector.results.test_table_links import finish

pytestmark = pytest.mark.skipif(
    not WEB, reason="needs OMERO.web: make setup-web, or name its Python in OMERO_WEB_PYTHON"
)

_ASK = """
import json, os, sys
host, port, name, container, image = sys.argv[1:]
import django
django.setup()
from django.test import RequestFactory
from omero.gateway import BlitzGateway
from omeroweb.webgateway.views import _bulk_file_annotations, _table_query
conn = BlitzGateway(name, os.environ["PASSWORD"], host=host, port=int(port), secure=True)
assert conn.connect()
kind, number = container.split(":")
found = []
for _ in range(5):
    listed = _bulk_file_annotations(None, kind, int(number), conn)["data"]
    above = _bulk_file_annotations(None, "Dataset.imageLinks.child", int(image), conn)["data"]
    of_image = _bulk_file_annotations(None, "Image", int(image), conn)["data"]
    found.append([[d["ns"] for d in each] for each in (listed, above, of_image)])
rows = []
for (first, *_) in (listed, of_image):
    asked = RequestFactory().get("/")
    rows.append(_table_query(asked, first["file"], conn=conn, query=f"Image-{image}", lazy=False))
print(json.dumps({"found": found, "rows": [r["data"] for r in rows]}))
conn.close()
"""


def test_the_panel_and_parade_find_the_summary_and_the_image_leads_to_its_objects(user, sink, two, tmp_path):
    container, image = two[0].place.container, two[0]
    for run, recipe in enumerate(("nuclei", "cells", "nuclei")):
        finish(sink, two, f"20261121T05300{run}-00000{run}", recipe, rows=3)
    (tmp_path / "etc" / "grid").mkdir(parents=True)
    (tmp_path / "var" / "log").mkdir(parents=True)
    where = user.endpoint
    done = subprocess.run(
        [WEB, "-c", _ASK, where.host, str(where.port), user.name, container, image.key[6:]],
        env={
            **os.environ,
            "PASSWORD": user.password,
            "OMERODIR": str(tmp_path),
            "DJANGO_SETTINGS_MODULE": "omeroweb.settings",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    for listed, above, of_image in told["found"]:
        assert listed == above == [BULK_NS]
        assert sorted(of_image) == sorted([BULK_NS, "omero_pixclf/objects", "omero_pixclf/objects"])
    (summary, objects) = told["rows"]
    assert (len(summary["rows"]), "Image" in summary["columns"]) == (1, True)
    assert "Image" in objects["columns"]
