"""Run hostile inputs in batches, each in a process of its own, so that a crash is seen and counted."""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path

SECONDS, BYTES = 2.0, 500 * 2**20
ALREADY = set(sys.modules)
Batch = Callable[[int, int, bool, Connection], None]
"""``batch(seed, count, hostile, pipe)``: try ``count`` mutations, and the hostile inputs where ``hostile``."""


def _peak() -> int:
    """Peak memory of this program in bytes; getrusage would count what the parent held when it started this process."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))


Outcome = Callable[[bytes], tuple[str, float]]
"""What an input comes to, and how many seconds that took."""


def try_inputs(inputs: Iterable[tuple[str, bytes]], outcome: Outcome, pipe: Connection) -> None:
    """Send what came of the inputs: counts, the slowest, peak memory, modules that should not have been imported."""
    counts: collections.Counter[str] = collections.Counter()
    slowest = (0.0, "")
    for name, content in inputs:
        result, took = outcome(content)
        counts[result] += 1
        slowest = max(slowest, (took, name))
    forbidden = [name for name in ("pickle", "sklearn", "joblib") if name in sys.modules and name not in ALREADY]
    pipe.send((dict(counts), slowest, _peak(), forbidden))


def run_batches(batch: Batch, count: int, seed: int, size: int = 2000) -> dict[str, object]:
    """Try the hostile inputs and ``count`` mutations; what came of them."""
    total: collections.Counter[str] = collections.Counter()
    slowest, peak, crashes, imported, begun = (0.0, ""), 0, [], set(), time.perf_counter()
    context = multiprocessing.get_context("spawn")
    todo = [(seed + 1_000_003 * n, min(size, count - n * size), n == 0) for n in range(max(1, -(-count // size)))]
    for own, number, hostile in todo:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=batch, args=(own, number, hostile, sender))
        process.start()
        sender.close()
        try:
            counts, slow, rss, names = receiver.recv()
        except EOFError:
            crashes.append(own)
        else:
            total.update(counts)
            slowest, peak = max(slowest, slow), max(peak, rss)
            imported.update(names)
        process.join()
    return {
        "inputs": sum(total.values()),
        "outcomes": dict(total),
        "crashed batches (seeds)": crashes,
        "modules imported on the way": sorted(imported),
        "slowest (s)": round(slowest[0], 3),
        "slowest input": slowest[1],
        "peak memory of a process (MB)": peak // 2**20,
        "seconds": round(time.perf_counter() - begun, 1),
    }


def run_as_program(batch: Batch, description: str | None, default: int) -> int:
    """Print the outcome as JSON; 1 if anything crashed, was slow or large, or imported something."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--count", type=int, default=default)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    report = run_batches(batch, args.count, args.seed)
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    bad = report["crashed batches (seeds)"] or report["modules imported on the way"]
    return int(bool(bad) or report["slowest (s)"] > SECONDS or report["peak memory of a process (MB)"] * 2**20 > BYTES)
