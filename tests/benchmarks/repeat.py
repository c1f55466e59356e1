"""A plate of 96 wells × 4 fields: run, run again, change the threshold, undo; what stands in OMERO after each.

python -m tests.benchmarks.repeat [--rows 8 --columns 12 --fields 4]
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.stand import PROJECT, Stand, counts, plate, stand


def timed(at: Stand, label: str, *arguments: str) -> tuple[str, dict[str, int]]:
    """Run a command, tell its time and what then stands; returns its output and the counts."""
    start = time.monotonic()
    out = at.command(*arguments)
    seconds = time.monotonic() - start
    standing = counts(at)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{label:<28} {seconds:7.1f} s  children's peak {peak:5.0f} MB  {standing}", flush=True)
    return out, standing


def main() -> int:
    """Carry it out; 1 where something is left over or missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("--rows", 8), ("--columns", 12), ("--fields", 4)):
        parser.add_argument(name, type=int, default=default)
    sizes = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, stand(Path(scratch)) as at:
        number = plate(at, "repeat", rows=sizes.rows, columns=sizes.columns, fields=sizes.fields)
        before = counts(at)
        print(f"{'before':<28} {before}")
        job = ["run", f"Plate:{number}", "--project", str(PROJECT), "--min-size", "40", "--json"]
        _, first = timed(at, "run", *job)
        _, again = timed(at, "run again (no-op)", *job)
        out, changed = timed(at, "other threshold (replaces)", *job, "--threshold", "0.7")
        run = json.loads(out.splitlines()[0])["run"]
        _, after = timed(at, "undo", "undo", run, "--yes")
    same_kinds = {k: first[k] == changed[k] for k in first if k not in ("Roi", "Shape")}
    verdicts = {
        "no-op changes nothing": again == first,
        "replaced, none left over": all(same_kinds.values()),
        "undo leaves what was before": after == before,
    }
    for claim, holds in verdicts.items():
        print(f"{'yes' if holds else 'NO':<4} {claim}")
    return 0 if all(verdicts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
