"""The plugin of OMERO's own command line."""

from __future__ import annotations

import pytest

from omero_pixclf.cli.omero_control import needs_session


@pytest.mark.parametrize(
    ("words", "needs"),
    [
        ("run Plate:3 --project x.ilp", True),
        ("runs list", True),
        ("script install", True),
        ("run Plate:3 --out there", False),
        ("run Plate:3 -s other", False),
        ("run --server=other Plate:3", False),
        ("predict --project x.ilp", False),
        ("demo", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_omeros_session_is_asked_for_only_by_commands_that_use_one(words: str, needs: bool) -> None:
    assert needs_session(words.split()) is needs
