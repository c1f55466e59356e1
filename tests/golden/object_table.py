"""The golden table of object classification: `python -m tests.golden.object_table [--block N] [--pure]`.

Prints, case by case, how far we are from ilastik: label images, features, predictions, probabilities, table headers.
"""

from __future__ import annotations

import argparse
import os
import sys
import time


def main() -> int:
    """Print the table; 1 if a case is outside of the bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--block", type=int, default=0, help="also compute features in blocks of so many pixels")
    parser.add_argument("--pure", action="store_true", help="Python and numpy instead of the compiled kernels")
    parser.add_argument("--only", default="", help="cases whose names begin with this")
    args = parser.parse_args()
    if args.pure:
        os.environ["OMERO_PIXCLF_PURE"] = "1"
    from omero_pixclf.objects.kernels import NATIVE
    from tests.conftest import SHARED
    from tests.golden.object_cases import compare_objects, object_folders

    write = sys.stdout.write
    write(f"kernels: {'compiled' if NATIVE else 'Python'}\n")
    write(
        f"{'case':40}{'block':>6}{'objects':>8}{'labels':>7}{'columns':>8}{'features':>10}{'pred.':>6}{'prob.':>8}"
        f"{'header':>7}{'s':>7}\n"
    )
    outside = 0
    for folder in object_folders(SHARED if SHARED.is_dir() else None):
        if not folder.name.startswith(args.only):
            continue
        for block in (None, (args.block,) * 3) if args.block else (None,):
            begun = time.perf_counter()
            found = compare_objects(folder, block=block)
            took = time.perf_counter() - begun
            write(
                f"{folder.name:40}{args.block if block else '-':>6}{found.objects:>8}{found.pixels:>7}"
                f"{found.columns:>8}{found.features:>10.1g}{found.predicted:>6}{found.probabilities:>8.1g}"
                f"{len(found.header):>7}{took:7.2f}\n"
            )
            outside += not found.is_equal
    write(f"{outside} outside of the bars\n")
    return int(outside > 0)


if __name__ == "__main__":
    sys.exit(main())
