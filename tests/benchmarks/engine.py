"""The engine's speed and memory: `python -m tests.benchmarks.engine [--only a b c start threads large]`.

Whole processes, from start to written file, with two threads: ``omero-pixclf predict`` on the works of the developers'
``bench`` folder, alternating with its yardstick ``vigra_reference.py`` (Debian's python3-vigra), medians of five.
``threads`` compares one thread with two inside one process, reading and writing left out (on a machine where others
work too, use ``--quiet``: it waits for idle processors and drops what was disturbed). ``large`` streams a
40,000 x 40,000 uint16 image from Zarr to Zarr; it takes minutes and 5 GB of disk.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import zarr

from omero_pixclf.ilastik.project import Project, read_project
from omero_pixclf.image import ArrayReader
from omero_pixclf.pixels.predict import predict_blocks
from tests.conftest import SHARED
from tests.golden.cases import reader, stored

BENCH = SHARED / "bench"
WORKS = {
    "a": ("a_2d_all37.ilp", "a_2d_2048_u16.h5"),
    "b": ("b_3d_all37.ilp", "b_3d_64x512x512_u8.h5"),
    "c": ("c_2d_typical8.ilp", "a_2d_2048_u16.h5"),
}
BARS = {"a": (0.13, 400), "b": (0.06, 700), "c": (0.42, 400)}
LARGE = 40_000


@dataclass(frozen=True)
class Process:
    """What a process took: seconds on the clock, seconds of processor time, peak memory in MB, and what it printed."""

    seconds: float
    processor: float
    peak: int
    output: str


def timed(command: list[str]) -> Process:
    """Run a command to its end."""
    with tempfile.TemporaryFile() as output:
        begun = time.perf_counter()
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begun
        output.seek(0)
        printed = output.read().decode("utf-8", "replace")
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}:\n{printed}")
    return Process(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024, printed)


def predict(project: Path, raw: str, out: Path, *more: str) -> Process:
    """Our whole process, with two threads."""
    program = Path(sys.executable).parent / "omero-pixclf"
    result = timed(
        [str(program), "predict", "--project", str(project), "--threads", "2"]
        + ["--output_filename_format", str(out), *more, raw]
    )
    remove(out)
    return result


def remove(path: Path) -> None:
    """Delete a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def compare(work: str, repeats: int, folder: Path) -> dict[str, object]:
    """Ours and the yardstick's time on one work, alternating."""
    project, raw = BENCH / WORKS[work][0], BENCH / WORKS[work][1]
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(predict(project, f"{raw}/data", folder / "out.h5"))
        yardstick = timed(["/usr/bin/python3", str(BENCH / "vigra_reference.py"), str(project), str(raw)])
        theirs.append(json.loads(yardstick.output.splitlines()[-1])["total_s"])
    ratio, peak = BARS[work]
    mine, other = statistics.median(p.seconds for p in ours), statistics.median(theirs)
    return {
        "work": work,
        "ours (s)": round(mine, 2),
        "yardstick (s)": round(other, 2),
        "ratio": round(mine / other, 3),
        "bar": ratio,
        "peak (MB)": max(p.peak for p in ours),
        "peak bar (MB)": peak,
        "all of ours (s)": [round(p.seconds, 2) for p in ours],
    }


def start(repeats: int, folder: Path) -> dict[str, object]:
    """A 64 x 64 image, whole process, warm caches."""
    with h5py.File(BENCH / WORKS["a"][1]) as whole, h5py.File(folder / "small.h5", "w") as small:
        small["data"] = whole["data"][:64, :64]
        small["data"].attrs["axistags"] = whole["data"].attrs["axistags"]
    runs = [
        predict(BENCH / WORKS["c"][0], f"{folder / 'small.h5'}/data", folder / "out.h5") for _ in range(repeats + 1)
    ]
    median = statistics.median(p.seconds for p in runs[1:])
    return {"work": "start", "ours (s)": round(median, 2), "bar (s)": 0.8, "peak (MB)": max(p.peak for p in runs)}


def _ticks() -> tuple[int, int]:
    """Ticks of all processors since the machine started: idle, and busy."""
    user, nice, system, idle, wait, *rest = map(int, Path("/proc/stat").read_text("ascii").split("\n")[0].split()[1:8])
    return idle + wait, user + nice + system + sum(rest)


def _undisturbed(work: Callable[[], None], *, quiet: bool) -> float:
    """Seconds that some work takes; with ``quiet``, only when nothing else ran on the machine meanwhile."""
    while True:
        if quiet:
            before = _ticks()
            time.sleep(0.2)
            after = _ticks()
            if after[1] - before[1] > 0.05 * (sum(after) - sum(before)):
                continue
        usage, ticks, begun = resource.getrusage(resource.RUSAGE_SELF), _ticks(), time.perf_counter()
        work()
        seconds = time.perf_counter() - begun
        now = resource.getrusage(resource.RUSAGE_SELF)
        own = now.ru_utime + now.ru_stime - usage.ru_utime - usage.ru_stime
        others = (_ticks()[1] - ticks[1]) / os.sysconf("SC_CLK_TCK") - own
        if not quiet or others < 0.05 * seconds + 0.02:
            return seconds


def _consume(project: Project, image: ArrayReader, count: int) -> None:
    collections.deque(predict_blocks(project, image, threads=count), 0)


def threads(repeats: int, *, quiet: bool) -> Iterator[dict[str, object]]:
    """One thread and two, alternating, computing only."""
    for work, (project_name, raw_name) in WORKS.items():
        project = read_project(BENCH / project_name)
        image = reader(stored(BENCH / raw_name, "data"))
        took: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(repeats):
            for count, seconds in took.items():
                seconds.append(_undisturbed(partial(_consume, project, image, count), quiet=quiet))
        one, two = statistics.median(took[1]), statistics.median(took[2])
        row: dict[str, object] = {
            "work": f"threads {work}",
            "1 thread (s)": round(one, 2),
            "2 threads (s)": round(two, 2),
        }
        yield {**row, "speed-up": round(one / two, 2), "bar": 1.7}


def large(folder: Path, side: int = LARGE) -> dict[str, object]:
    """A large image from Zarr to Zarr, and work a just before and after, per pixel."""
    source = folder / "large.zarr"
    tile = stored(BENCH / WORKS["a"][1], "data")[0, 0, :, :, 0]
    rng = np.random.default_rng(1)
    array = zarr.create_array(source, shape=(side, side), chunks=(1024, 1024), dtype="uint16")
    for y in range(0, side, 1024):
        rows = np.concatenate([np.roll(tile, rng.integers(0, 2048, 2), (0, 1))] * (side // 2048 + 1), axis=1)
        array[y : y + 1024] = rows[: min(1024, side - y), :side]
    project, small = BENCH / WORKS["a"][0], f"{BENCH / WORKS['a'][1]}/data"
    before = predict(project, small, folder / "out.h5")
    ours = predict(
        project, str(source), folder / "out.zarr", "--output_format", "single-scale OME-Zarr", "--input_axes", "yx"
    )
    after = predict(project, small, folder / "out.h5")
    remove(source)
    pixels = side**2 / 2048**2
    return {
        "work": f"{side} x {side} to Zarr",
        "ours (s)": round(ours.seconds, 1),
        "time per pixel, of work a's": round(ours.seconds / pixels / ((before.seconds + after.seconds) / 2), 2),
        "processor time per pixel, of work a's": round(
            ours.processor / pixels / ((before.processor + after.processor) / 2), 2
        ),
        "bar": 1.0,
        "peak (MB)": ours.peak,
        "peak bar (MB)": 1000,
    }


def main() -> int:
    """Run the works asked for and print a JSON line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["a", "c", "b", "start", "threads"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", type=int, default=LARGE, help="of the large image")
    parser.add_argument("--quiet", action="store_true", help="for threads: wait until nothing else runs")
    args = parser.parse_args()
    if not BENCH.is_dir():
        raise SystemExit(f"needs the developers' {BENCH}")
    with tempfile.TemporaryDirectory() as name:
        for work in sorted(args.only, key="threads".__eq__):  # last: it makes this process large
            for row in _rows(work, args, Path(name)):
                sys.stdout.write(json.dumps(row) + "\n")
                sys.stdout.flush()
    return 0


def _rows(work: str, args: argparse.Namespace, folder: Path) -> Iterable[dict[str, object]]:
    if work in WORKS:
        return [compare(work, args.repeats, folder)]
    if work == "start":
        return [start(args.repeats, folder)]
    return threads(args.repeats, quiet=args.quiet) if work == "threads" else [large(folder, args.side)]


if __name__ == "__main__":
    sys.exit(main())
