"""What the tests of ``omero-pixclf predict`` share: the command as a process, and a corner of a plate's field."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from omero_pixclf.demo import images
from omero_pixclf.files.opening import open_stored

DEMO = Path(images.__file__).parent
PROGRAM = Path(sys.executable).with_name("omero-pixclf")
PLATE = ["--project", str(DEMO / "plate.ilp")]


def predict(*arguments: object, cwd: Path, **more: object) -> subprocess.CompletedProcess[str]:
    command = [str(PROGRAM), "predict", *(str(a) for a in arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False, **more)  # type: ignore[call-overload, no-any-return]


def corner() -> np.ndarray:
    """A corner of a plate's field, (y, x, c) uint16."""
    pixels: np.ndarray = images.plate_field("B2", 3).pixels[0, 0, :130, :150]
    return pixels


def content(path: Path | str) -> np.ndarray:
    with open_stored(path) as stored:
        return stored.read(tuple(slice(0, n) for n in stored.shape))
