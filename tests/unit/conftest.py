"""What several of the unit tests ask for."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture
def told(caplog):
    """The log, from the level of information on."""
    caplog.set_level(logging.INFO, "omero_pixclf")
    return caplog
