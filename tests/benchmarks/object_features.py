"""How long all features of 20,000 objects in a 4,096² image take: ``python -m tests.benchmarks.object_features``.

Beside it, in the same run and alternating: the properties that scikit-image has too, by ours and by
``skimage.measure.regionprops_table``. Every measurement has a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.ilastik.object_features import HULL_2D, SKELETON_2D, STANDARD, ObjectFeature, available_features
from omero_pixclf.objects.features.compute import compute_features
from omero_pixclf.objects.label import label_components
from tests.benchmarks.objects import ellipses

SHARED = (
    "Count",
    "Coord<Minimum>",
    "Coord<Maximum>",
    "RegionCenter",
    "RegionRadii",
    "Mean",
    "Minimum",
    "Maximum",
    "Variance",
)
THEIRS = (
    "label",
    "area",
    "bbox",
    "centroid",
    "inertia_tensor_eigvals",
    "intensity_mean",
    "intensity_min",
    "intensity_max",
    "intensity_std",
)
Scene = tuple[NDArray[np.int32], NDArray[np.uint16]]


def scene(size: int, count: int, channels: int) -> Scene:
    """Ellipses of 10 to 20 pixels, and an image of noise."""
    labels = label_components(ellipses(size, count)[None, None], connectivity=4)[0]
    image = np.random.default_rng(1).integers(0, 4000, (*labels.shape, channels)).astype(np.uint16)
    return labels, image


def all_features(labels: NDArray[np.int32], image: NDArray[np.uint16], margin: int) -> object:
    """Every feature of ilastik's plug-ins."""
    return compute_features(labels, image, available_features(2, image.shape[-1], (margin, margin, 1)))


def one_group(wanted: Callable[[ObjectFeature], bool]) -> Callable[..., object]:
    """Some of the features."""

    def compute(labels: NDArray[np.int32], image: NDArray[np.uint16], margin: int) -> object:
        every = available_features(2, image.shape[-1], (margin, margin, 1))
        return compute_features(labels, image, [feature for feature in every if wanted(feature)])

    return compute


def scikit_image(labels: NDArray[np.int32], image: NDArray[np.uint16], margin: int) -> object:
    """scikit-image's of the same properties."""
    from skimage.measure import regionprops_table

    return regionprops_table(labels[0], image[0], properties=THEIRS)


WORK: dict[str, Callable[..., object]] = {
    "all features": all_features,
    "shared properties, ours": one_group(lambda f: f.plugin == STANDARD and f.name in SHARED),
    "shared properties, regionprops_table": scikit_image,
    "standard, without neighborhood": one_group(lambda f: f.plugin == STANDARD and f.margin is None),
    "in neighborhood": one_group(lambda f: f.margin is not None),
    "2D convex hull": one_group(lambda f: f.plugin == HULL_2D),
    "2D skeleton": one_group(lambda f: f.plugin == SKELETON_2D),
}


def measure_once(name: str, options: dict[str, int], pipe: Any) -> None:
    """Run one kind of work; send its seconds, processor seconds and peak memory above the scene's, in bytes."""
    labels, image = scene(options["size"], options["count"], options["channels"])
    WORK[name](labels[:, :64, :64], image[:, :64, :64], options["margin"])  # imports are not the work
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.perf_counter()
    WORK[name](labels, image, options["margin"])
    took = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_SELF)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    pipe.send((took, processor, (after.ru_maxrss - before.ru_maxrss) * 1024, int(labels.max())))


def measure_alone(name: str, options: dict[str, int]) -> tuple[float, float, int, int]:
    """`measure_once` in a new process."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=measure_once, args=(name, options, sender))
    process.start()
    found = receiver.recv()
    process.join()
    return found


def main() -> None:
    """Measure everything, alternating, and write a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--margin", type=int, default=10, help="pixels of the neighborhood")
    parser.add_argument("--runs", type=int, default=3)
    options = vars(parser.parse_args())
    found: dict[str, list[tuple[float, float, int, int]]] = {name: [] for name in WORK}
    for _ in range(options["runs"]):
        for name in WORK:
            found[name].append(measure_alone(name, options))
    write = sys.stdout.write
    objects = found["all features"][0][3]
    write(f"{objects} objects in {options['size']}², {options['channels']} channels, neighborhood of ")
    write(f"{options['margin']} pixels, medians of {options['runs']}\n")
    write(f"{'':40}{'s':>8}{'processor s':>13}{'MB':>8}\n")
    for name, runs in found.items():
        took, processor, memory, _ = (statistics.median(values) for values in zip(*runs, strict=True))
        write(f"{name:40}{took:8.2f}{processor:13.2f}{memory / 1e6:8.0f}\n")


if __name__ == "__main__":
    main()
