"""OMERO.web's own answers over tables with numbers that were not measured: JSON as browsers read it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omero_pixclf.connector.results.container_tables import drop_empty_columns
from omero_pixclf.connector.results.tables import BULK_NS, read_table, write_table
from omero_pixclf.connector.upload import create_container
from tests.e2e.test_omero_web import WEB
from tests.unit.connector.results.test_container_tables import refuse, tables

pytestmark = pytest.mark.skipif(
    not WEB, reason="needs OMERO.web: make setup-web, or name its Python in OMERO_WEB_PYTHON"
)

ASK = """
import json, os, sys
host, port, name, annotation = sys.argv[1:]
import django
django.setup()
from django.http import JsonResponse
from django.test import RequestFactory
from omero.gateway import BlitzGateway
from omeroweb.webgateway.views import _table_query
conn = BlitzGateway(name, os.environ["PASSWORD"], host=host, port=int(port), secure=True)
assert conn.connect()
file = conn.getObject("FileAnnotation", int(annotation)).getFile().getId()
answers = [_table_query(RequestFactory().get("/"), file, conn=conn, query=q, lazy=False) for q in ("*", "Image-1")]
print(json.dumps([JsonResponse(answer).content.decode() for answer in answers]))
conn.close()
"""


@pytest.mark.parametrize("which", [0, 1])
def test_the_answer_for_any_image_is_json(session: Any, user: Any, which: int, tmp_path: Path) -> None:
    dataset = create_container(session, "Dataset", "data")
    told: dict[str, Any] = {"group": session.group_id, "namespace": BULK_NS, "description": "d"}
    table = tables()[which]
    stored = write_table(
        session, f"Dataset:{dataset}", drop_empty_columns(table), name=f"t_{dataset}_{which}.h5", **told
    )
    for folder in ("etc/grid", "var/log"):
        (tmp_path / folder).mkdir(parents=True)
    where, environment = user.endpoint, {"PASSWORD": user.password, "OMERODIR": str(tmp_path)}
    done = subprocess.run(
        [str(WEB), "-c", ASK, where.host, str(where.port), user.name, str(stored)],
        env={**os.environ, **environment, "DJANGO_SETTINGS_MODULE": "omeroweb.settings"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    whole, one = (json.loads(text, parse_constant=refuse) for text in json.loads(done.stdout.splitlines()[-1]))
    assert len(whole["data"]["rows"]) == len(table) and len(one["data"]["rows"]) == 1
    back = read_table(session, stored)
    for column in back.columns:
        if column.kind == "double":
            given = table[column.name]
            np.testing.assert_array_equal(column.values, np.where(np.isfinite(given), given, np.nan))
