"""Hostile object classification projects: `python -m tests.properties.object_project_fuzz [--count N] [--seed S]`.

Every input must end in an ObjectProject or a ProjectError within two seconds and 500 MB; what is read is applied to a
small image. Inputs are real projects whose bytes were mutated, and projects edited with the HDF5 library.
"""

from __future__ import annotations

import gzip
import io
import random
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import h5py
import numpy as np

from omero_pixclf.errors import ProjectError
from omero_pixclf.ilastik.object_project import read_object_project
from omero_pixclf.objects.object_classifier import classify_objects, find_objects
from tests.properties.fuzz_batches import run_as_program, try_inputs
from tests.properties.ilp_fuzz import edited, mutated, replaced, rewritten

CASES = Path(__file__).parents[1] / "golden" / "cases"
FORESTS = "ObjectClassification/ClassifierForests"
SELECTED = "ObjectClassification/SelectedFeatures/Standard Object Features"
MARGIN = f"{SELECTED}/Mean in neighborhood/margin"
Edit = Callable[[h5py.File], object]


def object_seeds() -> list[bytes]:
    """Projects to start from: few and all features, one in HDF5's newest forms, one with a pixel classifier in it."""
    few, every = (
        gzip.decompress((CASES / name / "project.ilp.gz").read_bytes())
        for name in ("o10_oc_2d_ipht", "o06_oc_2d_1c_all_features")
    )
    return [few, every, rewritten(_without_opaque(few), libver=("v108", "v108")), with_pixel_part(few)]


def with_pixel_part(content: bytes) -> bytes:
    """A project of pixel and object classification in one file."""
    pixels = gzip.decompress((CASES / "k06_2d_u16_typical8" / "project.ilp.gz").read_bytes())

    def edit(file: h5py.File) -> None:
        with h5py.File(io.BytesIO(content), "r") as other:
            for name in ("ObjectClassification", "ObjectExtraction", "ThresholdTwoLevels"):
                other.copy(other[name], file, name)
        replaced("workflowName", data=b"Object Classification (from pixel classification)")(file)

    return edited(pixels, edit)


def _without_opaque(content: bytes) -> bytes:
    """A copy without the pickle, whose type h5py does not write again."""
    return edited(content, lambda file: file["ObjectClassification"].pop("ExportSettings", None))


def _removed(path: str) -> Edit:
    return lambda file: file.__delitem__(path)


def _put_in_forest(name: str, value: object) -> Edit:
    return replaced(f"{FORESTS}/Forest0000/{name}", data=value)


def _soft_link(file: h5py.File) -> None:
    del file[SELECTED]
    file[SELECTED] = h5py.SoftLink("/ObjectExtraction/Features/Standard Object Features")


def _external_link(file: h5py.File) -> None:
    del file["ObjectExtraction"]
    file["ObjectExtraction"] = h5py.ExternalLink("/etc/passwd", "/")


def _many_features(file: h5py.File) -> None:
    for number in range(20_000):
        file.create_group(f"{SELECTED}/Feature {number}")


HOSTILE: dict[str, Edit] = {
    "graph cut": replaced("ThresholdTwoLevels/CurOperator", data=2),
    "another method": replaced("ThresholdTwoLevels/CurOperator", data=99),
    "a method in words": replaced("ThresholdTwoLevels/CurOperator", data=b"simple"),
    "half a channel": replaced("ThresholdTwoLevels/Channel", data=0.5),
    "a negative channel": replaced("ThresholdTwoLevels/CoreChannel", data=-1),
    "a threshold that is not a number": replaced("ThresholdTwoLevels/LowThreshold", data=np.nan),
    "an infinite threshold": replaced("ThresholdTwoLevels/HighThreshold", data=np.inf),
    "a negative size": replaced("ThresholdTwoLevels/MinSize", data=-5),
    "several sizes": replaced("ThresholdTwoLevels/MaxSize", data=np.arange(9)),
    "a gigantic sigma": replaced("ThresholdTwoLevels/SmootherSigma/x", data=1e300),
    "a negative sigma": replaced("ThresholdTwoLevels/SmootherSigma/y", data=-1.0),
    "sigma as a number": lambda file: (
        file.__delitem__("ThresholdTwoLevels/SmootherSigma"),
        replaced("ThresholdTwoLevels/SmootherSigma", data=1.0)(file),
    )[0],
    "an unknown feature": lambda file: file.create_group(f"{SELECTED}/__import__('os')"),
    "an unknown plug-in": lambda file: file.create_group("ObjectClassification/SelectedFeatures/Evil/Mean"),
    "features by the thousand": _many_features,
    "no features": _removed("ObjectClassification/SelectedFeatures"),
    "a feature too few": _removed(f"{SELECTED}/Variance"),
    "features by a soft link": _soft_link,
    "features by an external link": _external_link,
    "a feature of values": replaced(SELECTED, data=np.arange(3)),
    "a gigantic margin": replaced(MARGIN, data=np.array([2**31, 2**31, 1])),
    "a negative margin": replaced(MARGIN, data=np.array([-5, -5, -1])),
    "a margin of four": replaced(MARGIN, data=np.array([1, 1, 1, 1])),
    "a margin in words": replaced(MARGIN, data=np.array([b"wide"])),
    "a margin that is not a number": replaced(MARGIN, data=np.array([np.nan, 1.0, 1.0])),
    "no classifier": _removed(FORESTS),
    "a pickle instead of a classifier": replaced(f"{FORESTS}/pickled_type", data=b"cos\nsystem\n(S'true'\ntR."),
    "more columns": _put_in_forest("_ext_param/column_count_", np.array([7.0])),
    "billions of columns": _put_in_forest("_ext_param/column_count_", np.array([4e9])),
    "no classes": _put_in_forest("_ext_param/class_count_", np.array([0.0])),
    "labels that are not there": replaced(f"{FORESTS}/known_labels", data=np.array([1, 4_000_000_000], np.uint32)),
    "no labels": replaced(f"{FORESTS}/known_labels", data=np.zeros(0, np.uint32)),
    "names that are not text": replaced("ObjectClassification/LabelNames", data=np.arange(2)),
    "a name too few": replaced("ObjectClassification/LabelNames", data=np.array([b"one"])),
    "colours in words": replaced("ObjectClassification/PmapColors", data=np.array([b"red", b"green"])),
    "objects of a class that is not there": replaced("ObjectClassification/LabelInputs/0000/0", data=np.full(9, 77)),
    "objects of half a class": replaced("ObjectClassification/LabelInputs/0000/0", data=np.full(9, 0.5)),
    "gigabytes of labels, none of them stored": replaced(
        "ObjectClassification/LabelInputs/0000/0", shape=(2**33,), dtype="u4"
    ),
    "another workflow": replaced("workflowName", data=b"Object Classification (from the stars)"),
    "a workflow in numbers": replaced("workflowName", data=7),
}


def object_outcome(content: bytes) -> tuple[str, float]:
    """What reading (and, where it succeeds, applying) a project comes to, and the seconds that reading took."""
    start = time.process_time()
    try:
        project = read_object_project(content, name="hostile.ilp")
    except ProjectError:
        return "refused", time.process_time() - start
    took = time.process_time() - start
    dims, channels = project.trained_on[0]
    shape = (1 if dims == 2 else 3, 24, 26)
    rng = np.random.default_rng(0)
    try:
        if project.threshold is not None:
            find_objects(rng.random((1, *shape, 3), np.float32), project.threshold)
        labels = np.repeat(np.repeat(rng.integers(0, 3, (shape[0], 4, 5)), 6, axis=1), 6, axis=2)[:, :24, :26]
        classify_objects(project, labels, rng.random((*shape, min(channels, 8)), np.float32))
    except ProjectError:
        return "read, then refused", took
    return "read", took


def _inputs(count: int, seed: int, *, hostile: bool) -> Iterator[tuple[str, bytes]]:
    start = object_seeds()
    if hostile:
        for base in (start[0], start[2]):
            for name, edit in HOSTILE.items():
                yield name, edited(base, edit)
    rng = random.Random(seed)
    for number in range(count):
        yield f"mutation {seed}/{number}", mutated(rng.choice(start), rng)


def try_object_batch(seed: int, count: int, hostile: bool, pipe: Connection) -> None:
    """Try a batch of projects in this process."""
    try_inputs(_inputs(count, seed, hostile=hostile), object_outcome, pipe)


if __name__ == "__main__":
    sys.exit(run_as_program(try_object_batch, __doc__, 10_000))
