"""Kill the run and the server at random moments, resume, and compare with an undisturbed run on an equal plate.

python -m tests.benchmarks.kills [--run-kills 20 --server-kills 10 --seed 1]
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.stand import PROJECT, Stand, counts, plate, results, stand


def run_until_killed(at: Stand, arguments: list[str], after: float, *, server: bool) -> int:
    """Start a command, kill it or the server after so many seconds; returns the command's exit code."""
    process = at.start(*arguments)
    deadline = time.monotonic() + after
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    if process.poll() is None:
        if server:
            at.restart(kill=True)
        else:
            process.send_signal(signal.SIGKILL)
    _, err = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL, 3):
        raise RuntimeError(f"{arguments}: exit {process.returncode}\n{err[-4000:]}")
    return process.returncode


def disturbed(at: Stand, number: int, kills: list[bool], dice: random.Random, longest: float) -> None:
    """Run on a plate with these kills (True: the server's), going on with the same run each time."""
    job = ["run", f"Plate:{number}", "--project", str(PROJECT), "--min-size", "40"]
    for n, server in enumerate(kills):
        code = run_until_killed(at, job, dice.uniform(0.3, longest), server=server)
        print(f"kill {n + 1} of {len(kills)}: {'server' if server else 'run'}, the run ended with {code}", flush=True)
        runs = sorted(p.name for p in (at.folder / "runs").iterdir()) if (at.folder / "runs").is_dir() else []
        mine = [r for r in runs if (at.folder / "runs" / r / "manifest.sqlite").is_file() and r > at_start(at)]
        if mine:
            job = ["run", "--resume", mine[-1]]
    at.command(*job)


def at_start(at: Stand) -> str:
    """The newest run before the disturbed one."""
    marker = at.folder / "newest"
    return marker.read_text() if marker.is_file() else ""


def main() -> int:
    """Carry it out; 1 where the results differ or something is left over."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("--run-kills", 20), ("--server-kills", 10), ("--seed", 1), ("--rows", 4), ("--columns", 6)):
        parser.add_argument(name, type=int, default=default)
    wanted = parser.parse_args()
    dice = random.Random(wanted.seed)
    with tempfile.TemporaryDirectory() as scratch, stand(Path(scratch)) as at:
        calm = plate(at, "plate", rows=wanted.rows, columns=wanted.columns, fields=2)
        rough = plate(at, "plate", rows=wanted.rows, columns=wanted.columns, fields=2)
        before = counts(at)
        start = time.monotonic()
        at.command("run", f"Plate:{calm}", "--project", str(PROJECT), "--min-size", "40")
        seconds = time.monotonic() - start
        one = counts(at)
        (at.folder / "newest").write_text(max(p.name for p in (at.folder / "runs").iterdir()))
        print(f"undisturbed: {seconds:.1f} s")
        kills = [False] * wanted.run_kills + [True] * wanted.server_kills
        dice.shuffle(kills)
        disturbed(at, rough, kills, dice, max(1.5, seconds / 3))
        both = counts(at)
        equal = results(at, calm) == results(at, rough)
    left_over = {k: both[k] - one[k] - (one[k] - before[k]) for k in both}
    print(f"{'yes' if equal else 'NO':<4} results equal those of the undisturbed run")
    print(f"{'NO' if any(left_over.values()) else 'yes':<4} nothing twice, nothing left over {left_over}")
    return 0 if equal and not any(left_over.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
