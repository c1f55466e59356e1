"""How long 20,000 objects in a 4,096² image take: ``python tests/benchmarks/objects.py``.

Labelling, measuring (two channels, three classes, all columns), outlining (exact, simplified, masks) and splitting,
each the median of some runs; the issue's bar is labelling, measuring and outlining together in under 5 s on two cores.
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.objects.block_labeling import label_blocks
from omero_pixclf.objects.label import label_components
from omero_pixclf.objects.measure import measure
from omero_pixclf.objects.outline import trace_outlines
from omero_pixclf.objects.watershed import split_by_distance

PITCH = 28


def ellipses(size: int, count: int, seed: int = 0) -> NDArray[np.bool_]:
    """Separate ellipses of 10 to 20 pixels on a shaken grid."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((size, size), np.bool_)
    y, x = np.mgrid[:21, :21] - 10
    across = size // PITCH
    for place in rng.permutation(across * across)[:count]:
        turn, a, b = rng.uniform(0, math.pi), *rng.uniform(5, 10, 2)
        u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
        top, left = divmod(int(place), across)
        top, left = top * PITCH + rng.integers(0, 6), left * PITCH + rng.integers(0, 6)
        mask[top : top + 21, left : left + 21] |= (u / a) ** 2 + (v / b) ** 2 < 1
    return mask


def timed(work: Callable[[], Any], runs: int) -> tuple[float, Any]:
    """Median seconds, and the last result."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), result


def main() -> None:
    """Make the image, time each step, write a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    mask = ellipses(options.size, options.count)[None, None]
    image = rng.integers(0, 4000, (*mask.shape, 2)).astype(np.uint16)
    probabilities = rng.random((*mask.shape, 3)).astype(np.float32)
    labels = label_components(mask, connectivity=4)
    size = (None, 0.5, 0.5)
    tiled = np.empty(mask.shape, np.int32)
    steps: dict[str, Callable[[], Any]] = {
        "label": lambda: label_components(mask, connectivity=4),
        "measure": lambda: measure(labels, image, probabilities, class_name="a", dims=2, pixel_size_um=size),
        "polygons": lambda: list(trace_outlines(labels)),
        "polygons, simplified 0.5": lambda: list(trace_outlines(labels, simplify=0.5)),
        "masks": lambda: list(trace_outlines(labels, kind="mask")),
        "label in blocks of 512²": lambda: label_blocks(mask, tiled, block=(1, 512, 512), connectivity=4),
        "split by distance": lambda: split_by_distance(labels, connectivity=4),
    }
    write = sys.stdout.write
    write(f"{labels.max()} objects in {options.size}², median of {options.runs}\n")
    seconds = {name: timed(work, options.runs)[0] for name, work in steps.items()}
    for name, taken in seconds.items():
        write(f"{name:26} {taken:6.2f} s\n")
    bar = seconds["label"] + seconds["measure"] + seconds["polygons, simplified 0.5"]
    write(f"{'label, measure, outline':26} {bar:6.2f} s\n")
    write(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB\n")


if __name__ == "__main__":
    main()
