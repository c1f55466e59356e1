"""A CSV file of a container's images without results, with the reasons."""

from __future__ import annotations

import csv
from pathlib import Path

from omero_pixclf.runs.state.image_files import key_to_file_name
from omero_pixclf.runs.state.manifest import Manifest
from omero_pixclf.text import printable

__all__ = ["write_failure_list"]


def write_failure_list(manifest: Manifest, container: str) -> tuple[Path, ...]:
    """Write ``failures.csv`` into the run's folder for a container with failed or refused images.

    Returns
    -------
    tuple of Path
        The file; empty if all images are done.
    """
    left = [e for e in manifest.entries() if e.container == container and e.state in ("failed", "refused")]
    if not left:
        return ()
    folder = manifest.folder / "failures" / key_to_file_name(container)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "failures.csv"
    with path.open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(["image", "name", "state", "reason"])
        rows.writerows(map(printable, (e.key, e.name, e.state, e.reason)) for e in left)
    return (path,)
