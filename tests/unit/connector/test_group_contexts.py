"""No call to OMERO is made without the group that it is for."""

from __future__ import annotations

import re
from pathlib import Path

CONNECTOR = Path(__file__).parents[3] / "omero_pixclf" / "connector"
OWN_PROXIES = {"session.py", "importing.py"}
"""The session itself, and imports: repositories are found within an answer, so their calls are given contexts."""


def test_services_are_had_from_the_session_only_which_binds_them_to_a_group():
    for path in sorted(CONNECTOR.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name not in OWN_PROXIES:
            assert "client.getSession(" not in text, path.name
            assert ".client.sf" not in text, path.name
            assert not re.search(r"session\.context\(", text), f"{path.name}: read and write bind the group"


def test_every_call_of_an_import_names_its_context():
    text = (CONNECTOR / "importing.py").read_text(encoding="utf-8")
    remote = r"\b(?:repository|process|handle|store)\.(?!\w+_)[a-z]\w*\("
    for line in text.splitlines():
        if re.search(remote, line) and "def " not in line:
            assert "context" in line, line
