"""The golden table of object classification: `python -m tests.golden.object_table [--block N]`.

Prints, case by case, how far we are from ilastik: label images, features, predictions, probabilities, table headers.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.conftest import SHARED
from tests.golden.object_cases import ObjectDifference, compare_objects, object_folders


def is_equal(found: ObjectDifference) -> bool:
    """Whether a case is inside the bars."""
    return (
        found.pixels == 0
        and found.predicted == 0
        and found.probabilities <= 1e-6
        and found.features <= 1e-6
        and not found.header
    )


def main() -> int:
    """Print the table; 1 if a case is outside of the bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--block", type=int, default=0, help="also compute features in blocks of so many pixels")
    args = parser.parse_args()
    write = sys.stdout.write
    write(
        f"{'case':40}{'block':>6}{'objects':>8}{'labels':>7}{'columns':>8}{'features':>10}{'pred.':>6}{'prob.':>8}"
        f"{'header':>7}{'s':>7}\n"
    )
    outside = 0
    for folder in object_folders(SHARED if SHARED.is_dir() else None):
        for block in (None, (args.block,) * 3) if args.block else (None,):
            begun = time.perf_counter()
            found = compare_objects(folder, block=block)
            took = time.perf_counter() - begun
            write(
                f"{folder.name:40}{args.block if block else '-':>6}{found.objects:>8}{found.pixels:>7}"
                f"{found.columns:>8}{found.features:>10.1g}{found.predicted:>6}{found.probabilities:>8.1g}"
                f"{len(found.header):>7}{took:7.2f}\n"
            )
            outside += not is_equal(found)
    write(f"{outside} outside of the bars\n")
    return int(outside > 0)


if __name__ == "__main__":
    sys.exit(main())
