"""Compare the memory and disk space that an image needs with what the machine has."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from math import prod
from pathlib import Path

import numpy as np

from omero_pixclf.errors import OutputError
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import ImageInfo
from omero_pixclf.runs.state.state_folders import suggest_other_folder
from omero_pixclf.text import format_size

__all__ = [
    "DEFAULT_MEMORY",
    "array_bytes",
    "available_memory",
    "check_disk_space",
    "find_disk_shortage",
    "needs_blocks",
]

DEFAULT_MEMORY = 4 * 2**30
"""Bytes that one image's arrays may take where nothing else is said."""


def array_bytes(image: ImageInfo, project: Project) -> int:
    """Return the bytes of an image's pixels, probabilities, labels and masks together."""
    per_pixel = image.shape[4] * np.dtype(image.dtype).itemsize + 4 * len(project.classes) + 16  # 16: labels, masks
    return prod(image.shape[:4]) * per_pixel


def needs_blocks(image: ImageInfo, project: Project, memory: int | None) -> bool:
    """Return whether an image's arrays do not fit into the memory limit."""
    return array_bytes(image, project) > (memory or DEFAULT_MEMORY)


def find_disk_shortage(image: ImageInfo, project: Project, memory: int | None, folder: Path) -> str | None:
    """Return why the arrays of a large image do not fit on the disk of a folder, or None."""
    if not needs_blocks(image, project, memory):
        return None
    needed, free = array_bytes(image, project), _free_disk_space(folder)
    if needed <= free:
        return None
    return (
        f"{image.key}: {format_size(needed)} needed for its maps in {folder}, {format_size(free)} free; make room, or "
        f"{suggest_other_folder(folder)}"
    )


def check_disk_space(needed: int, folder: Path) -> None:
    """Check that a run fits on the disk of a folder, which need not exist yet.

    Raises
    ------
    OutputError
        There is not enough space.
    """
    free = _free_disk_space(folder)
    if needed > free:
        raise OutputError(
            f"{folder}: the run may take {format_size(needed)} here, {format_size(free)} free; make room, or "
            f"{suggest_other_folder(folder)}"
        )


def _free_disk_space(folder: Path) -> int:
    place = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    return shutil.disk_usage(place).free


def available_memory() -> int | None:
    """Return the bytes of memory that processes can still use; None if the system does not say."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None
