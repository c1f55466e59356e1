"""What real ilastik answered, case by case, and how our answer differs from it.

Cases of our own (``k*``) lie in ``tests/golden/cases``; the others, and the demo's, in the developers' shared folder.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from omero_pixclf.ilastik.project import Project, read_project
from omero_pixclf.image import AXES, ArrayReader, ImageInfo
from omero_pixclf.pixels.exports import simple_segmentation, uncertainty
from omero_pixclf.pixels.features import features_of_image
from omero_pixclf.pixels.predict import feature_blocks, predict_blocks

OWN = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Difference:
    """How far one case is from ilastik.

    Attributes
    ----------
    features
        Largest difference of a feature, in parts of its channel's maximum; None where ilastik's are not there.
    probabilities
        Largest difference of a probability (Autocontext: of either stage).
    pixels
        Pixels of the Simple Segmentation that differ.
    uncertainty
        Largest difference of the uncertainty; None where ilastik's is not there.
    """

    features: float | None
    probabilities: float
    pixels: int
    uncertainty: float | None


def folders(shared: Path | None) -> list[Path]:
    """Folders of all pixel and Autocontext cases at hand, each name once."""
    found = {path.name: path for path in sorted(OWN.glob("k*"))}
    if shared is not None:
        for pattern in ("goldens/[acko]*", "demo/goldens/*"):
            for path in sorted(shared.glob(pattern)):
                if path.name[0] != "o":
                    found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


def project_of(folder: Path) -> Project:
    """The case's project."""
    stored = folder / "project.ilp.gz"
    if stored.is_file():
        return read_project(gzip.decompress(stored.read_bytes()), name=folder.name + ".ilp")
    return read_project(folder.parents[1] / f"{folder.name}.ilp")


def stored(path: Path, dataset: str = "exported_data") -> NDArray[Any]:
    """An HDF5 dataset as ``(t, z, y, x, c)``, by its axistags."""
    with h5py.File(path) as file:
        node = file[dataset]
        axes = "".join(axis["key"] for axis in json.loads(node.attrs["axistags"])["axes"])
        return five(node[()], axes)


def five(values: NDArray[Any], axes: str) -> NDArray[Any]:
    """An array with axes in any order as ``(t, z, y, x, c)``."""
    values = values.transpose([axes.index(axis) for axis in AXES if axis in axes])
    missing = tuple(i for i, axis in enumerate(AXES) if axis not in axes)
    return np.ascontiguousarray(np.expand_dims(values, missing))


def reader(pixels: NDArray[Any], key: str = "image") -> ArrayReader:
    """An image in memory."""
    t, z, y, x, c = pixels.shape
    return ArrayReader(ImageInfo(key, key, (t, z, y, x, c), str(pixels.dtype), ("",) * c), pixels)


def predicted(
    project: Project, raw: NDArray[Any], mask: NDArray[Any] | None, *, memory: int | None, threads: int
) -> NDArray[np.float32]:
    """Probabilities out of blocks, every pixel exactly once."""
    out = np.full((*raw.shape[:4], len(project.classes)), np.nan, np.float32)
    masked = None if mask is None else reader(mask, "mask")
    for region, block in predict_blocks(project, reader(raw), memory=memory, threads=threads, mask=masked):
        assert np.isnan(out[region.slices]).all()
        out[region.slices] = block
    assert not np.isnan(out).any()
    return out


def compared(folder: Path, *, memory: int | None = None, threads: int = 1, untiled: bool = True) -> Difference:
    """Our answer to a case beside ilastik's."""
    project, raw = project_of(folder), stored(folder / "raw.h5", "data")
    mask = stored(folder / "mask.h5", "data") if (folder / "mask.h5").is_file() else None
    ours = predicted(project, raw, mask, memory=memory, threads=threads)
    last = "_stage2" if len(project.stages) > 1 else ""
    difference = float(np.abs(ours - stored(folder / f"probabilities{last}.h5")).max())
    if last:
        first = predicted(project.stage(1), raw, mask, memory=memory, threads=threads)
        difference = max(difference, float(np.abs(first - stored(folder / "probabilities_stage1.h5")).max()))
    pixels = int((simple_segmentation(ours) != stored(folder / f"simple_segmentation{last}.h5")).sum())
    doubt = folder / "uncertainty.h5"
    doubts = float(np.abs(uncertainty(ours) - stored(doubt)).max()) if doubt.is_file() else None
    return Difference(_features(folder, project, raw, memory, threads, untiled), difference, pixels, doubts)


def _features(
    folder: Path, project: Project, raw: NDArray[Any], memory: int | None, threads: int, untiled: bool
) -> float | None:
    if not (folder / "features.h5").is_file():
        return None
    theirs, start = _stored_features(folder)
    if untiled:
        ours = features_of_image(project, raw)
    else:
        ours = np.empty((*raw.shape[:4], theirs.shape[4]), np.float32)
        for region, block in feature_blocks(project, reader(raw), memory=memory, threads=threads):
            ours[region.slices] = block
    crop = ours[tuple(slice(a, a + n) for a, n in zip(start, theirs.shape, strict=True))]
    finite = np.isfinite(theirs)
    assert np.array_equal(np.isnan(crop), np.isnan(theirs))
    assert np.array_equal(crop[~finite & ~np.isnan(theirs)], theirs[~finite & ~np.isnan(theirs)])
    size = np.abs(np.where(finite, theirs, 0)).max(axis=(0, 1, 2, 3))
    with np.errstate(invalid="ignore"):
        far = np.abs(np.where(finite, crop - theirs, 0)).max(axis=(0, 1, 2, 3))
    return float((far / np.where(size > 0, size, 1)).max())


def _stored_features(folder: Path) -> tuple[NDArray[Any], Sequence[int]]:
    with h5py.File(folder / "features.h5") as file:
        node = file["features"]
        axes = "".join(axis["key"] for axis in json.loads(node.attrs["axistags"])["axes"])
        offset = [int(v) for v in node.attrs["offset"]]
        start = [offset[axes.index(axis)] if axis in axes else 0 for axis in AXES]
        return five(node[()], axes), start
