"""Object classification: what real ilastik answered, case by case, and how our answer differs from it.

Two cases of our own are in ``tests/golden/cases``; all are in the developers' shared folder.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from omero_pixclf.ilastik.object_features import Dimensions
from omero_pixclf.ilastik.object_project import ObjectProject, read_object_project
from omero_pixclf.objects.features.blockwise_features import compute_features_blockwise
from omero_pixclf.objects.features.compute import FeatureTable, compute_features
from omero_pixclf.objects.object_classifier import ObjectClasses, classify_features, find_objects, paint_objects
from omero_pixclf.objects.object_table import build_object_columns, default_features
from tests.golden.cases import OWN, stored


@dataclass(frozen=True)
class ObjectDifference:
    """How far one case is from ilastik.

    Attributes
    ----------
    objects
        Number of objects, over all time points.
    pixels
        Pixels of the label image ("Object Identities") that differ.
    features
        Largest relative difference of a feature as float32, and the feature's name; NaN is equal to NaN only.
    columns
        Number of feature columns compared.
    predicted
        Pixels of "Object Predictions" that differ.
    probabilities
        Largest difference in "Object Probabilities".
    header
        Columns of ilastik's table that we do not have, or the other way round.
    """

    objects: int
    pixels: int
    features: float
    worst: str
    columns: int
    predicted: int
    probabilities: float
    header: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Whether the case is inside the bars."""
        exact = self.pixels == 0 and self.predicted == 0 and not self.header
        return exact and self.probabilities <= 1e-6 and self.features <= 1e-6


def object_folders(shared: Path | None) -> list[Path]:
    """Folders of all object classification cases at hand, each name once."""
    found = {path.name: path for path in sorted(OWN.glob("o*"))}
    for path in sorted(shared.glob("goldens/o*")) if shared is not None else ():
        found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


def object_project_of(folder: Path) -> ObjectProject:
    """The case's project."""
    return read_object_project(gzip.decompress((folder / "project.ilp.gz").read_bytes()), name=folder.name + ".ilp")


def compare_objects(folder: Path, *, block: tuple[int, int, int] | None = None) -> ObjectDifference:
    """Our answer to a case beside ilastik's; with ``block``, features are computed block by block."""
    project, raw = object_project_of(folder), stored(folder / "raw.h5", "data")
    labels = find_objects(stored(folder / "prediction_maps.h5", "data"), project.threshold)
    identities = stored(folder / "object_identities.h5")[..., 0]
    predictions, probabilities = stored(folder / "object_predictions.h5"), stored(folder / "object_probabilities.h5")
    dims: Dimensions = 3 if labels.shape[1] > 1 else 2
    chosen = project.features_for(dims, raw.shape[-1])
    asked = [*project.computed, *default_features(project.computed)]
    frames: dict[int, ObjectClasses] = {}
    tables, predicted, difference = [], 0, 0.0
    for t in range(len(raw)):
        if block is None:
            table = compute_features(labels[t], raw[t], asked)
        else:
            table = compute_features_blockwise(labels, raw, asked, block=block, t=t)
        classes = classify_features(project, table, chosen)
        painted = paint_objects(labels[t], classes.label, classes.predicted)
        predicted += int(np.count_nonzero(painted != predictions[t, ..., 0]))
        shares = paint_objects(labels[t], classes.label, classes.probabilities)
        difference = max(difference, float(np.abs(shares - probabilities[t]).max()))
        tables.append(table)
        frames[t] = classes
    ours, theirs = build_object_columns(project, frames, project.computed), _stored_columns(folder)
    header = sorted(set(ours) ^ set(theirs))
    far = {name: _compare_column(ours[name], theirs[name]) for name in ours if name in theirs}
    if (folder / "features_of_ilastik.h5").is_file():
        far |= _compare_stored_features(folder, tables)
    worst = max(far, key=lambda name: far[name])
    return ObjectDifference(
        sum(map(len, tables)),
        int(np.count_nonzero(labels != identities)),
        far[worst],
        worst,
        len(far),
        predicted,
        difference,
        tuple(header),
    )


def _stored_columns(folder: Path) -> dict[str, list[str] | NDArray[np.generic]]:
    """The columns of ilastik's table, as CSV (text) or HDF5."""
    if (folder / "table_table.csv").is_file():
        with (folder / "table_table.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        return {name: [row[name] for row in rows] for name in rows[0]}
    with h5py.File(folder / "table.h5") as file:
        table = file["table"][()]
    return {name: table[name] for name in table.dtype.names}


def _compare_column(ours: NDArray[np.generic], theirs: list[str] | NDArray[np.generic]) -> float:
    """The largest relative difference of two columns; infinite where types, lengths or texts differ."""
    if ours.dtype == object:
        texts = [value.decode() if isinstance(value, bytes) else value for value in theirs]
        return 0.0 if ours.tolist() == texts else float("inf")
    if isinstance(theirs, np.ndarray) and theirs.dtype != ours.dtype:
        return float("inf")
    return _relative(ours, np.array([float(value) for value in theirs]))


def _compare_stored_features(folder: Path, tables: list[FeatureTable]) -> dict[str, float]:
    """The differences from what ilastik had in memory (row 0 is the background)."""
    far = {}
    with h5py.File(folder / "features_of_ilastik.h5") as file:
        for t, table in enumerate(tables):
            for feature, values in table.values.items():
                if f"t{t}/{feature.plugin}/{feature.name}" not in file:
                    continue  # one of the default features
                theirs = file[f"t{t}/{feature.plugin}/{feature.name}"][()][1:]
                name = f"t{t}/{feature.plugin}/{feature.name}"
                far[name] = _relative(values, theirs)
    return far


def _relative(ours: NDArray[np.generic], theirs: NDArray[np.generic]) -> float:
    """The largest relative difference; infinite where only one is NaN."""
    if ours.shape != theirs.shape:
        return float("inf")
    ours = ours.astype(np.float32).astype(np.float64)
    if not np.array_equal(np.isnan(ours), np.isnan(theirs)):
        return float("inf")
    same = (ours == theirs) | np.isnan(ours)
    size = np.where(theirs == 0, 1.0, np.abs(theirs))
    return float(np.where(same, 0.0, np.abs(ours - theirs) / size).max(initial=0.0))
