"""The text of the OMERO script, as `script install` uploads it."""

from __future__ import annotations

from typing import Any

import pytest

from omero_pixclf.cli.script import script_text
from omero_pixclf.errors import UsageError


def test_the_script_carries_the_python_it_is_told_and_nothing_else_changes() -> None:
    plain, told = script_text(), script_text("/opt/it's/bin/python")
    (line,) = set(told.splitlines()) - set(plain.splitlines())
    space: dict[str, Any] = {}
    exec(line, space)
    assert space["PYTHON"] == "/opt/it's/bin/python"
    compile(told, "script", "exec")
    for bad in ("python3", "/opt/a\nimport os"):
        with pytest.raises(UsageError):
            script_text(bad)


def test_the_script_carries_where_the_servers_storage_is_mounted() -> None:
    told = script_text(direct=("/OMERO", "/data=/mnt/it's"))
    (line,) = set(told.splitlines()) - set(script_text().splitlines())
    space: dict[str, Any] = {}
    exec(line, space)
    assert space["DIRECT"] == ("/OMERO", "/data=/mnt/it's")
    for bad in ("OMERO", "/data=mnt", "data=/mnt", "/mnt\nimport os"):
        with pytest.raises(UsageError):
            script_text(direct=[bad])
