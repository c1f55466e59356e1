"""The golden table: `python -m tests.golden.table [--pure]` prints, case by case, how far we are from ilastik."""

from __future__ import annotations

import argparse
import os
import sys
import time

WAYS = ((None, 1), (None, 2), (24_000_000, 1), (24_000_000, 2), (6_000_000, 2))


def main() -> int:
    """Print the table; 1 if a case is outside of the bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pure", action="store_true", help="numpy instead of the compiled kernels")
    parser.add_argument("--only", default="", help="cases whose names begin with this")
    args = parser.parse_args()
    if args.pure:
        os.environ["OMERO_PIXCLF_PURE"] = "1"
    from omero_pixclf.errors import ProjectError
    from omero_pixclf.pixels.kernels import kernels
    from tests.conftest import SHARED
    from tests.golden.cases import compared, folders

    write = sys.stdout.write
    write(f"kernels: {kernels.level()}\n")
    write(f"{'case':34}{'memory':>9}{'threads':>8}{'features':>10}{'probab.':>9}{'segm.':>7}{'uncert.':>9}{'s':>7}\n")
    worst = 0
    for folder in folders(SHARED if SHARED.is_dir() else None):
        if not folder.name.startswith(args.only):
            continue
        for memory, threads in WAYS[:1] if args.pure else WAYS:
            begun = time.perf_counter()
            try:
                found = compared(folder, memory=memory, threads=threads, untiled=memory is None)
            except ProjectError as refusal:
                write(f"{folder.name:34}refused: {refusal}\n")
                break
            took = time.perf_counter() - begun
            shown = [("-" if v is None else f"{v:.1g}") for v in (found.features, found.probabilities)]
            doubt = "-" if found.uncertainty is None else f"{found.uncertainty:.1g}"
            label = "default" if memory is None else f"{memory / 1e6:.1f}M"
            write(
                f"{folder.name:34}{label:>9}{threads:>8}{shown[0]:>10}{shown[1]:>9}{found.pixels:>7}{doubt:>9}{took:7.2f}\n"
            )
            bad = found.pixels > 0 or found.probabilities > 1e-6 or (found.features or 0) > 1e-6
            worst += bool(bad)
    write(f"{worst} outside of the bars\n")
    return int(worst > 0)


if __name__ == "__main__":
    sys.exit(main())
