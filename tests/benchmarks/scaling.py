"""One plate by one process, two processes, dask workers and shares: time, efficiency, memory, results; then faults.

python -m tests.benchmarks.scaling [--rows 2 --columns 3 --tiles 4] [--project all_features.ilp] [-- --rois none]
python -m tests.benchmarks.scaling --faults [processes|dask] [--every 20]

Each way works on a plate of its own with equal pixels; with ``--rounds`` all ways take turns, and medians are told. One
process with one thread is what efficiency is measured against: on N cores N workers with one thread each should take an
Nth of its time. The embedded server of this stand runs on the same cores and takes its share of them, and so does what
starts and plans a run. So four numbers are told:

- efficiency: of the wall time, as it is; beside one process the server has a core of its own, beside as many workers as
  there are cores it has none, so that 1.00 cannot be had here;
- of ideal: against the least that it can take here: a share of one process's time, or all cores busy with nothing but
  what one process and its server have to do, whichever is more;
- by cpu: processor time of one process against that of all workers together, which is what the work itself loses by
  being spread (compute-bound: every worker on a core that is its own);
- cores: how busy all processes including the server kept as many cores as there are workers.

The work must be worth it: with a few seconds of computing, starting processes is what is measured. ``--tiles`` makes
images larger, ``--project`` takes one with more features, and with ``-- --rois none`` (options of the runs) only tables
and pictures are written, which leaves the server little to do.

Faults: worker processes are killed at random every so many seconds, and the server once; then the same over dask,
where the scheduler is killed once, too. Everything must be finished once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import statistics
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

from omero_pixclf.app.backends import OMERO_MODULES
from omero_pixclf.demo.images import plate_field
from omero_pixclf.image import ArrayReader, ImageInfo
from tests.benchmarks.stand import PROJECT, Stand, counts, results, session, stand

TICK = os.sysconf("SC_CLK_TCK")
LEAN = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False", "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s"}
Said = tuple[str, str]
"""Both outputs of a command."""


@dataclass
class Watch:
    """Looks at a command and its processes while it runs."""

    root: int
    peaks: dict[int, int] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    before: dict[int, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Processor time of all processes since the watch began, or since they did."""
        return sum(self.seconds.values()) - sum(self.before.values())

    @classmethod
    def begun(cls, root: int) -> Watch:
        """Of processes that may be there already."""
        watch = cls(root)
        watch.look()
        return cls(root, before=watch.seconds)

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
    at: Stand, commands: Sequence[Sequence[str]], roots: Sequence[int] = (), *, together: int = 1
) -> tuple[float, list[Watch], list[str]]:
    """Run commands to their ends, so many ``together``, looking at them (and at other processes) meanwhile."""
    watches, started = [Watch.begun(pid) for pid in roots], list[tuple[subprocess.Popen[str], Callable[[], Said]]]()
    waiting, start = list(commands), time.monotonic()
    while (running := sum(process.poll() is None for process, _ in started)) or waiting:
        for command in waiting[: max(0, together - running)]:
            process = at.start(*command)
            started.append((process, _collect(process)))
            watches.append(Watch(process.pid))
        del waiting[: max(0, together - running)]
        for watch in watches:
            watch.look()
        time.sleep(0.1)
    seconds = time.monotonic() - start
    texts = [(process, *said()) for process, said in started]
    for process, _, err in texts:
        if process.returncode:
            raise RuntimeError(f"exit {process.returncode}\n{err[-4000:]}")
    return seconds, watches, [out for _, out, _ in texts]


def _collect(process: subprocess.Popen[str]) -> Callable[[], Said]:
    said: list[Said] = []
    reader = threading.Thread(target=lambda: said.append(process.communicate()))
    reader.start()

    def output() -> Said:
        reader.join()
        return said[0]

    return output


@dataclass
class Dask:
    """A scheduler and two workers, two threads each: one image computes, another is read or written.

    They start as docs/scaling.md recommends: the package is preloaded, and dask's profiler is off.
    """

    at: Stand
    port: int
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The scheduler's."""
        return f"tcp://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Both kinds of processes."""
        where = ("--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
        self.scheduler = _dask(self.at, "scheduler", *where)
        self.workers = [self._worker() for _ in range(2)]

    def _worker(self) -> subprocess.Popen[bytes]:
        place = str(self.at.folder / f"dask {time.monotonic_ns()}")
        limits = ("--nworkers", "1", "--nthreads", "2", "--no-dashboard", "--local-directory", place)
        ready = [text for module in OMERO_MODULES for text in ("--preload", module)]
        return _dask(self.at, "worker", self.address, *limits, *ready, **LEAN)

    def wait(self) -> None:
        """Until both workers are there."""
        from distributed import Client

        with Client(self.address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(len(self.workers), timeout=120)

    def restart(self) -> None:
        """The scheduler is killed, and with it go its workers; others come."""
        assert self.scheduler is not None
        self.scheduler.kill()
        self.scheduler.wait()
        self.stop()
        self.start()

    def victims(self) -> list[int]:
        """The processes that work, which are children of those that look after them.

        Whoever looks after one that is killed while it starts gives up; another comes, as a batch system sees to it.
        """
        self.workers = [w if w.poll() is None else self._worker() for w in self.workers]
        return [pid for worker in self.workers for pid in _spawned(worker.pid)]

    def stop(self) -> None:
        """End them all."""
        processes = [p for p in (*self.workers, self.scheduler) if p is not None]
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def dask_workers(at: Stand) -> Iterator[Dask]:
    """A cluster that stands while the context lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        cluster = Dask(at, free.getsockname()[1])
    cluster.start()
    try:
        cluster.wait()
        yield cluster
    finally:
        cluster.stop()


def _dask(at: Stand, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
    code = "import sys; from dask.__main__ import main; sys.exit(main())"
    command, quiet = [sys.executable, "-c", code, *arguments], subprocess.DEVNULL
    return subprocess.Popen(command, env={**at.environment, **settings}, stdout=quiet, stderr=quiet)


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
    """One way to do the work: its name, how many workers it has, and what does it on a plate by a recipe's options."""

    name: str
    workers: int
    do: Callable[[Stand, int, Sequence[str]], tuple[float, list[Watch]]]


def in_processes(count: int) -> Way:
    """A pool of processes with one thread each; one is the run's own."""

    def do(at: Stand, number: int, recipe: Sequence[str]) -> tuple[float, list[Watch]]:
        command = ["run", f"Plate:{number}", *recipe, "--workers", str(count), "--threads", "1"]
        seconds, watches, _ = watched(at, [command])
        return seconds, watches

    return Way(f"{count} local process{'es' if count > 1 else ''}", count, do)


def by_dask(at: Stand, number: int, recipe: Sequence[str]) -> tuple[float, list[Watch]]:
    """Two workers of a dask cluster, which stands already."""
    with dask_workers(at) as cluster:
        command = ["run", f"Plate:{number}", *recipe, "--dask", cluster.address, "--threads", "1"]
        seconds, watches, _ = watched(at, [command], [w.pid for w in cluster.workers])
    return seconds, watches


def in_shares(at: Stand, number: int, recipe: Sequence[str]) -> tuple[float, list[Watch]]:
    """Four shares, two at a time as a batch system would start them, and their merging."""
    base = ["run", f"Plate:{number}", *recipe, "--workers", "1", "--threads", "1"]
    seconds, seen, texts = watched(at, [[*base, "--shard", f"{n}/4"] for n in range(1, 5)], together=2)
    runs = [json.loads(text.splitlines()[0])["run"] for text in texts]
    merging, watches, _ = watched(at, [["runs", "merge", *runs]])
    return seconds + merging, seen + watches


WAYS = (in_processes(1), in_processes(2), Way("2 dask workers", 2, by_dask), Way("4 shares, 2 at a time", 2, in_shares))


@dataclass(frozen=True)
class Taken:
    """What one way took: seconds on the clock, of processor time, and of the server's; peak memory (MB); results."""

    seconds: float
    cpu: float
    server: float
    peak: float
    found: object


def taken(at: Stand, way: Way, size: Sequence[int], recipe: Sequence[str]) -> Taken:
    """Do the work one way, on a plate of its own."""
    number = large_plate(at, *size)
    before = _seconds(at.server.pid)
    seconds, watches = way.do(at, number, recipe)
    server = _seconds(at.server.pid) - before
    cpu, peak = sum(watch.total for watch in watches), max(max(w.peaks.values()) for w in watches) / 1024
    print(f"  {way.name}: {seconds:.1f} s, processor {cpu:.1f} s, server {server:.1f} s", file=sys.stderr, flush=True)
    return Taken(seconds, cpu, server, peak, results(at, number))


def table(at: Stand, size: Sequence[int], recipe: Sequence[str], rounds: int) -> bool:
    """Do each way so many times in turn and tell the medians; whether all results are equal."""
    took: dict[str, list[Taken]] = {way.name: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            took[way.name].append(taken(at, way, size, recipe))
    alone = {
        name: statistics.median(getattr(t, name) for t in took[WAYS[0].name]) for name in ("seconds", "cpu", "server")
    }
    first = took[WAYS[0].name][0].found
    print(
        f"{'way':<24} {'wall s':>7} {'cpu s':>7} {'server s':>8} {'efficiency':>10} {'of ideal':>8} "
        f"{'by cpu':>7} {'cores':>6} {'peak MB':>8}  results"
    )
    for way in WAYS:
        several = took[way.name]
        seconds, cpu, server = (statistics.median(getattr(t, name) for t in several) for name in alone)
        ideal = max(alone["seconds"] / way.workers, (alone["cpu"] + alone["server"]) / (os.cpu_count() or 1))
        efficiency, busy = alone["seconds"] / (way.workers * seconds), (cpu + server) / (way.workers * seconds)
        peak, same = max(t.peak for t in several), all(t.found == first for t in several)
        print(
            f"{way.name:<24} {seconds:7.1f} {cpu:7.1f} {server:8.1f} {efficiency:10.2f} {ideal / seconds:8.2f} "
            f"{alone['cpu'] / cpu:7.2f} {busy:6.2f} {peak:8.0f}  {'equal' if same else 'DIFFERENT'}"
        )
    return all(t.found == first for several in took.values() for t in several)


def _seconds(pid: int) -> float:
    """Processor time of a process and its children."""
    watch = Watch(pid)
    watch.look()
    return sum(watch.seconds.values())


@dataclass
class Disturber:
    """Kills one of some processes every so many seconds, and does other damage in between, each once."""

    every: float
    dice: random.Random
    victims: Callable[[], list[int]]
    damage: list[Callable[[], None]]
    kills: int = 0
    done: int = 0

    def disturb(self, process: subprocess.Popen[str]) -> None:
        """Until the process ends."""
        start = struck = time.monotonic()
        while process.poll() is None:
            time.sleep(0.1)
            now = time.monotonic()
            if now - struck > self.every and (there := self.victims()):
                os.kill(self.dice.choice(there), signal.SIGKILL)
                self.kills, struck = self.kills + 1, now
            if self.done < len(self.damage) and now - start > self.every * (self.done + 1.5):
                self.damage[self.done]()
                self.done += 1


def faults(at: Stand, size: Sequence[int], recipe: Sequence[str], which: str, every: float, seed: int) -> bool:
    """A run over processes and one over dask, both disturbed, against one that is not."""
    calm = large_plate(at, *size)
    before, start = counts(at), time.monotonic()
    at.command("run", f"Plate:{calm}", *recipe)
    print(f"{'calm':<10} {time.monotonic() - start:.0f} s", flush=True)
    one, good = counts(at), True
    left = {name: one[name] - before[name] for name in one}

    def server() -> None:
        at.restart(kill=True)

    if which != "dask":
        rough = large_plate(at, *size)
        process, before = _begun(at, rough, recipe, "--workers", "2")
        disturber = Disturber(every, random.Random(seed), lambda: _spawned(process.pid), [server])
        good &= _finished(at, process, before, disturber, "processes", (calm, rough), left)
    if which != "processes":
        rough = large_plate(at, *size)
        with dask_workers(at) as cluster:
            process, before = _begun(at, rough, recipe, "--dask", cluster.address)
            disturber = Disturber(every, random.Random(seed), cluster.victims, [cluster.restart, server])
            good &= _finished(at, process, before, disturber, "dask", (calm, rough), left)
    return good


def _begun(at: Stand, number: int, recipe: Sequence[str], *how: str) -> tuple[subprocess.Popen[str], dict[str, int]]:
    """A run under way, and what was there before it."""
    before = counts(at)
    return at.start("run", f"Plate:{number}", *recipe, *how), before


def _finished(
    at: Stand,
    process: subprocess.Popen[str],
    before: dict[str, int],
    disturber: Disturber,
    name: str,
    plates: tuple[int, int],
    left: dict[str, int],
) -> bool:
    """Let a run be disturbed, go on with it if it stopped, and compare it with the calm one."""
    output = _collect(process)
    start = time.monotonic()
    disturber.disturb(process)
    out, err = output()
    ends = [json.loads(line) for line in out.splitlines()]
    failed = [e["reason"] for e in ends if e["event"] == "outcome" and e["state"] == "failed"]
    print(
        f"{name:<10} {time.monotonic() - start:.0f} s, {disturber.kills} workers killed, {disturber.done} of "
        f"{len(disturber.damage)} other faults (scheduler, server); exit {process.returncode}",
        flush=True,
    )
    if process.returncode:
        print(f"{'':<10} {failed or err[-300:]}; going on with --resume", flush=True)
        run = next(e["run"] for e in ends if e["event"] == "planned")
        at.command("run", "--resume", run)
    over = {k: v - before[k] - left[k] for k, v in counts(at).items() if v - before[k] != left[k]}
    equal = results(at, plates[0]) == results(at, plates[1])
    print(f"{'':<10} {'yes' if equal else 'NO':<4} results equal those of an undisturbed run")
    print(f"{'':<10} {'NO' if over else 'yes':<4} nothing twice, nothing left over", over or "", flush=True)
    return equal and not over and disturber.done == len(disturber.damage)


def _spawned(root: int) -> list[int]:
    """The workers below a process: not multiprocessing's own tracker, nor the process that workers are forked from."""
    found = []
    for pid in family(root):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"spawn_main" in line or (b"forkserver" in line and not family(pid)):
            found.append(pid)
    return found


def main() -> int:
    """Carry it out; 1 where results differ or something is left over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("--rows", 2), ("--columns", 3), ("--tiles", 4), ("--rounds", 1), ("--seed", 1)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--project", type=Path, default=PROJECT, help="the classifier (default: the demo's)")
    parser.add_argument("--channels", help="the plate's channels that it takes: 0 or 1 (default: both)")
    parser.add_argument("--label", help="its label that is an object (default: its first)")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between kills")
    faults_of = {"nargs": "?", "const": "both", "choices": ("both", "processes", "dask")}
    parser.add_argument("--faults", **faults_of, help="the fault runs only, both or one of them")  # type: ignore[arg-type]
    parser.add_argument("options", nargs="*", help="options for the runs themselves, after --")
    wanted = parser.parse_args()
    size = (wanted.rows, wanted.columns, wanted.tiles)
    chosen = {"--label": wanted.label, "--channels": wanted.channels}
    more = [text for option, value in chosen.items() if value for text in (option, value)]
    recipe = ("--project", str(wanted.project.absolute()), "--min-size", "40", *more, *wanted.options, "--json")
    with tempfile.TemporaryDirectory() as scratch, stand(Path(scratch)) as at:
        if wanted.faults:
            return 0 if faults(at, size, recipe, wanted.faults, wanted.every, wanted.seed) else 1
        return 0 if table(at, size, recipe, wanted.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
