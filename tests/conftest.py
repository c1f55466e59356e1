"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMERO_EMBEDDED_FAULTS", "shuffled")  # nothing may rely on the order of fetched collections
SHARED = Path(os.environ.get("OMERO_PIXCLF_SHARED") or Path(__file__).resolve().parents[2] / "shared")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The developers' folder with what real ilastik and a real OMERO.server answered.

    Users do not have it: their run skips these tests and says so. In CI it must be there.
    """
    if not SHARED.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"CI needs {SHARED}, which is missing")
        pytest.skip(f"needs the developers' {SHARED} (goldens of real ilastik and OMERO), which is not here")
    return SHARED
