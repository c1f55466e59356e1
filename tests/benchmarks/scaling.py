"""One plate by one process, two processes, dask workers and shares: time, efficiency, memory, results; then faults.

python -m tests.benchmarks.scaling [--rows 2 --columns 3 --tiles 4] [--faults --every 20]

Each way works on a plate of its own with equal pixels. One process with one thread is what efficiency is measured
against: on N cores N workers with one thread each should take an Nth of its time. The embedded server of this stand
runs on the same cores and takes its share of them, so processor time is told, too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from omero_pixclf.demo.images import plate_field
from omero_pixclf.image import ArrayReader, ImageInfo
from tests.benchmarks.stand import PROJECT, Stand, counts, results, session, stand

RECIPE = ("--project", str(PROJECT), "--min-size", "40", "--json")
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Watch:
    """Looks at a command and its processes while it runs."""

    root: int
    peaks: dict[int, int] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)

    def look(self) -> None:
        """Note peak memory (kB) and processor time of each process."""
        for pid in (self.root, *family(self.root)):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
                times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            peak = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
            self.peaks[pid] = max(peak, self.peaks.get(pid, 0))
            self.seconds[pid] = (int(times[11]) + int(times[12])) / TICK


def family(root: int) -> list[int]:
    """Pids of all processes below one."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            below.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        children = below.get(todo.pop(), [])
        found += children
        todo += children
    return found


def watched(
    at: Stand, commands: Sequence[Sequence[str]], roots: Sequence[int] = ()
) -> tuple[float, list[Watch], list[str]]:
    """Run commands side by side to their ends, looking at them (and at other processes) meanwhile."""
    start = time.monotonic()
    processes = [at.start(*command) for command in commands]
    outputs = [_collect(process) for process in processes]
    watches = [Watch(p.pid) for p in processes] + [Watch(pid) for pid in roots]
    while any(process.poll() is None for process in processes):
        for watch in watches:
            watch.look()
        time.sleep(0.1)
    seconds = time.monotonic() - start
    texts = [output() for output in outputs]
    for process, (_, err) in zip(processes, texts, strict=True):
        if process.returncode:
            raise RuntimeError(f"exit {process.returncode}\n{err[-4000:]}")
    return seconds, watches, [out for out, _ in texts]


def _collect(process: subprocess.Popen[str]) -> Callable[[], tuple[str, str]]:
    said: list[tuple[str, str]] = []
    reader = threading.Thread(target=lambda: said.append(process.communicate()))
    reader.start()

    def output() -> tuple[str, str]:
        reader.join()
        return said[0]

    return output


@contextmanager
def dask_workers(at: Stand) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers, two threads each: one image computes, another is read or written."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    scheduler = _dask(at, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    place = str(at.folder / "dask")
    workers = [
        _dask(at, "worker", address, "--nworkers", "1", "--nthreads", "2", "--no-dashboard", "--local-directory", place)
        for _ in range(2)
    ]
    try:
        time.sleep(6)
        yield address, workers
    finally:
        for process in (*workers, scheduler):
            process.send_signal(signal.SIGTERM)
        for process in (*workers, scheduler):
            process.wait()


def _dask(at: Stand, *arguments: str) -> subprocess.Popen[bytes]:
    code = "import sys; from dask.__main__ import main; sys.exit(main())"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=at.environment, **quiet)  # type: ignore[call-overload]


def large_plate(at: Stand, rows: int, columns: int, tiles: int) -> int:
    """A plate, one field per well, of simulated fields laid side by side: ``tiles`` times 512 pixels along y and x."""
    from omero_pixclf.connector.upload import WellContent, create_plate

    wells = []
    for n in range(rows * columns):
        field_of = plate_field(f"A{n % 3 + 1}", 50 + n).pixels
        pixels = np.tile(field_of, (1, 1, tiles, tiles, 1))
        info = ImageInfo(f"plate {n}", f"plate {n}", pixels.shape, "uint16", ("Nuclei", "Cytoplasm"))
        wells.append(WellContent(n // columns, n % columns, [ArrayReader(info, pixels)]))
    with session(at) as opened:
        return int(create_plate(opened, "plate", wells))


@dataclass(frozen=True)
class Way:
    """One way to do the work: its name, how many workers it has, and what does it on a plate."""

    name: str
    workers: int
    do: Callable[[Stand, int], tuple[float, list[Watch]]]


def in_processes(count: int) -> Way:
    """A pool of processes with one thread each; one is the run's own."""

    def do(at: Stand, number: int) -> tuple[float, list[Watch]]:
        command = ["run", f"Plate:{number}", *RECIPE, "--workers", str(count), "--threads", "1"]
        seconds, watches, _ = watched(at, [command])
        return seconds, watches

    return Way(f"{count} local process{'es' if count > 1 else ''}", count, do)


def by_dask(at: Stand, number: int) -> tuple[float, list[Watch]]:
    """Two workers of a dask cluster, which stands already."""
    with dask_workers(at) as (address, workers):
        command = ["run", f"Plate:{number}", *RECIPE, "--dask", address, "--threads", "1"]
        seconds, watches, _ = watched(at, [command], [w.pid for w in workers])
    return seconds, watches


def in_shares(at: Stand, number: int) -> tuple[float, list[Watch]]:
    """Four shares, two at a time, and their merging."""
    base = ["run", f"Plate:{number}", *RECIPE, "--workers", "1", "--threads", "1"]
    total, seen, runs = 0.0, [], []
    for pair in ((1, 2), (3, 4)):
        seconds, watches, texts = watched(at, [[*base, "--shard", f"{n}/4"] for n in pair])
        total, seen = total + seconds, seen + watches
        runs += [json.loads(text.splitlines()[0])["run"] for text in texts]
    seconds, watches, _ = watched(at, [["runs", "merge", *runs]])
    return total + seconds, seen + watches


WAYS = (in_processes(1), in_processes(2), Way("2 dask workers", 2, by_dask), Way("4 shares, 2 at a time", 2, in_shares))


def table(at: Stand, rows: int, columns: int, tiles: int) -> bool:
    """Do each way on a plate of its own and tell how it went; whether all results are equal."""
    print(
        f"{'way':<24} {'wall s':>7} {'cpu s':>7} {'efficiency':>10} {'efficiency by cpu':>18} {'peak MB':>8}  results"
    )
    first: tuple[float, float, object] | None = None
    equal = True
    for way in WAYS:
        number = large_plate(at, rows, columns, tiles)
        seconds, watches = way.do(at, number)
        cpu = sum(sum(w.seconds.values()) for w in watches)
        peak = max(max(w.peaks.values()) for w in watches) / 1024
        found = results(at, number)
        first = first or (seconds, cpu, found)
        same = found == first[2]
        equal &= same
        efficiency, by_cpu = first[0] / (way.workers * seconds), first[1] / cpu
        print(
            f"{way.name:<24} {seconds:7.1f} {cpu:7.1f} {efficiency:10.2f} {by_cpu:18.2f} {peak:8.0f}  "
            f"{'equal' if same else 'DIFFERENT'}",
            flush=True,
        )
    return equal


def faults(at: Stand, rows: int, columns: int, tiles: int, every: float, dice: random.Random) -> bool:
    """Kill a worker every so many seconds, and the server once; everything is finished once."""
    calm = large_plate(at, rows, columns, tiles)
    rough = large_plate(at, rows, columns, tiles)
    before = counts(at)
    at.command("run", f"Plate:{calm}", *RECIPE)
    one = counts(at)
    process = at.start("run", f"Plate:{rough}", *RECIPE, "--workers", "2")
    output = _collect(process)
    kills, restarted, start = 0, False, time.monotonic()
    struck = start
    while process.poll() is None:
        time.sleep(0.1)
        now = time.monotonic()
        if now - struck > every:
            workers = _workers(process.pid)
            if workers:
                os.kill(dice.choice(workers), signal.SIGKILL)
                kills, struck = kills + 1, now
        if not restarted and now - start > every * 1.5:
            at.restart(kill=True)
            restarted = True
    out, err = output()
    ends = [json.loads(line) for line in out.splitlines()]
    failed = [e for e in ends if e["event"] == "outcome" and e["state"] == "failed"]
    print(f"     {kills} workers killed, the server {'once' if restarted else 'never'}; exit {process.returncode}")
    if process.returncode:
        print(f"     {[e['reason'] for e in failed] or err[-300:]}; going on with --resume")
        run = next(e["run"] for e in ends if e["event"] == "planned")
        at.command("run", "--resume", run)
    left = {k: v - one[k] - (one[k] - before[k]) for k, v in counts(at).items()}
    equal, once = results(at, calm) == results(at, rough), not any(left.values())
    print(f"{'yes' if equal else 'NO':<4} results equal those of an undisturbed run")
    print(f"{'yes' if once else 'NO':<4} nothing twice, nothing left over", "" if once else left)
    return equal and once


def _workers(root: int) -> list[int]:
    """The spawned workers of a run, which are its children, without multiprocessing's own tracker."""
    found = []
    for pid in family(root):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue
        if b"spawn_main" in line:
            found.append(pid)
    return found


def main() -> int:
    """Carry it out; 1 where results differ or something is left over."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("--rows", 2), ("--columns", 3), ("--tiles", 4), ("--seed", 1)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--every", type=float, default=20.0, help="seconds between kills")
    parser.add_argument("--faults", action="store_true", help="the fault run only")
    wanted = parser.parse_args()
    size = (wanted.rows, wanted.columns, wanted.tiles)
    with tempfile.TemporaryDirectory() as scratch, stand(Path(scratch)) as at:
        if wanted.faults:
            return 0 if faults(at, *size, wanted.every, random.Random(wanted.seed)) else 1
        return 0 if table(at, *size) else 1


if __name__ == "__main__":
    sys.exit(main())
