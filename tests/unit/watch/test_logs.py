"""Log lines as JSON."""

from __future__ import annotations

import json
import logging

from omero_pixclf.watch.logs import JsonFormatter


def test_log_lines_for_machines_are_one_json_object_each() -> None:
    record = logging.LogRecord("a", logging.INFO, "f", 1, "two\nlines of %s", ("x",), None)
    line = JsonFormatter().format(record)
    assert "\n" not in line and json.loads(line)["message"] == "two\nlines of x"
