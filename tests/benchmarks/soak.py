"""A watcher under trouble: images in bursts, server restarts, a kill, a poison image, a change of rights; a verdict.

python -m tests.benchmarks.soak [--images 200 --minutes 30 --burst 10 --seed 1 --pictures FOLDER]

The watcher is a plain member of a read-annotate group and works on what a colleague imports. At fixed shares of the
time, while an image is in work, the server is restarted (once orderly, once by a kill) and the watcher is killed and
started again; in between the group is made read-only for a while. One image's pixels are damaged on the server's disk.
The status page is loaded all the time. In the end every good image must have been completed exactly once, over all
runs, and the poison image must be set aside with its reason.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from omero_pixclf.connector.upload import create_container
from omero_pixclf.demo.images import plate_field
from tests.benchmarks.soak_stage import (
    Soak,
    arrive,
    colleague,
    free_port,
    people,
    settings_text,
    start_watcher,
)
from tests.benchmarks.soak_verdict import failures, standing, verdict
from tests.benchmarks.stand import session, stand
from tests.e2e.browser import BROWSER, Tab, browser

WIDTHS = (1280, 390)
PICTURES = (0.08, 0.24, 0.38, 0.56, 0.78, 0.95)
"""When pictures of the page are taken, as shares of the time."""


def load_page(soak: Soak) -> str:
    """The status page; "" where it does not answer."""
    begin = time.monotonic()
    try:
        with urllib.request.urlopen(soak.address, timeout=30) as answer:
            text = str(answer.read().decode())
    except OSError:
        soak.unanswered.append(soak.elapsed)  # between a kill and the next start
        return ""
    soak.latencies.append(time.monotonic() - begin)
    return text


def wait_for_page(soak: Soak, *, seconds: float = 60) -> None:
    """Wait until the watcher that was just started shows its page."""
    deadline = time.monotonic() + seconds
    while not load_page(soak):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the watcher does not start:\n{(soak.at.folder / 'watch.log').read_text()}")
        time.sleep(0.2)
    soak.unanswered.clear()
    soak.latencies.clear()


def watch_page(soak: Soak, ended: threading.Event) -> None:
    """Load the status page now and then, and keep how long it took."""
    while not ended.wait(2):
        load_page(soak)


def look_at_page(soak: Soak, ended: threading.Event, minutes: float, pictures: Path) -> None:
    """Look at the page in a browser at some moments, as on a screen and as on a phone."""
    pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as tab:
        for share in PICTURES:
            if ended.wait(max(0.0, share * minutes * 60 - soak.elapsed)):
                return
            for width in WIDTHS:
                _picture(soak, tab, width, pictures / f"{share:.2f}-{width}.png")


def _picture(soak: Soak, tab: Tab, width: int, path: Path) -> None:
    tab.width(width)
    tab.open(soak.address)
    tab.until("[...document.images].every(i => { i.loading = 'eager'; return i.complete; })")
    soak.widths.append((width, int(tab.run("document.documentElement.scrollWidth"))))
    tab.picture(path)


def in_work(soak: Soak, *, seconds: float = 120) -> str:
    """Wait until an image is in work, and say which; "" where that does not come to be."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := re.search(r"Processing (Image:\d+)", load_page(soak)):
            return found[1]
        time.sleep(0.05)
    return ""


def restart_server(soak: Soak, *, kill: bool) -> None:
    """Stop the server while an image is in work."""
    soak.hit.append(in_work(soak))
    soak.at.restart(kill=kill)
    soak.say(f"the server was {'killed' if kill else 'stopped'} and started again, {soak.hit[-1]} was in work")


def kill_watcher(soak: Soak) -> None:
    """Kill the watcher in the middle of its work."""
    soak.hit.append(in_work(soak))
    soak.watcher.send_signal(signal.SIGKILL)
    soak.watcher.wait()
    time.sleep(2)
    soak.watcher = start_watcher(soak.at)
    soak.say(f"the watcher was killed and started again, {soak.hit[-1]} was in work")


def set_rights(soak: Soak, rights: str) -> None:
    """Change the group's level."""
    import omero.model

    with session(soak.at) as root:
        admin = root.client.sf.getAdminService()
        admin.changePermissions(admin.getGroup(soak.group), omero.model.PermissionsI(rights))
    soak.say(f"the group is {rights}")


TROUBLES: tuple[tuple[float, Callable[[Soak], None]], ...] = (
    (0.20, lambda soak: restart_server(soak, kill=False)),
    (0.35, kill_watcher),
    (0.50, lambda soak: set_rights(soak, "rwr---")),
    (0.65, lambda soak: set_rights(soak, "rwra--")),
    (0.75, lambda soak: restart_server(soak, kill=True)),
)


def carry_out(soak: Soak, images: int, minutes: float, burst: int, seed: int) -> None:
    """Bursts over the time given; a trouble comes with the first burst after its moment, when there is work to hit."""
    dice, fields = random.Random(seed), [plate_field(f"A{n}", n).pixels for n in (1, 2, 3)]
    troubles, bursts = list(TROUBLES), -(-images // burst)
    soak.start = begin = time.monotonic()
    with colleague(soak.at) as opened:
        for n in range(bursts):
            arrive(soak, opened, min(burst, images - n * burst), dice, fields, poison=n == bursts // 3)
            soak.say(f"{len(soak.good) + len(soak.poison)} images have arrived")
            while troubles and (n / bursts >= troubles[0][0] or n == bursts - 1):
                troubles.pop(0)[1](soak)
            until = begin + (n + 1) / bursts * minutes * 60
            time.sleep(max(0.0, until - time.monotonic()))


def settle(soak: Soak, minutes: float) -> None:
    """Wait until all good images are complete and the poison image is set aside."""
    deadline = time.monotonic() + minutes * 60
    while time.monotonic() < deadline:
        entries = standing(soak)
        complete = sum(any(s == "complete" for s, *_ in entries.get(i, [])) for i in soak.good)
        aside = {image for image, kind, *_ in failures(soak) if kind == "aside"}
        soak.say(f"{complete} of {len(soak.good)} good images are complete, {len(aside)} set aside")
        if complete == len(soak.good) and aside == {f"Image:{i}" for i in soak.poison}:
            time.sleep(8)  # the last run's tables
            return
        time.sleep(5)


@contextmanager
def visitors(soak: Soak, minutes: float, pictures: Path | None) -> Iterator[None]:
    """Load the page all the time while the context lasts, in a browser, too, where pictures are wanted."""
    ended = threading.Event()
    threads = [threading.Thread(target=watch_page, args=(soak, ended))]
    if pictures is not None:
        threads.append(threading.Thread(target=look_at_page, args=(soak, ended, minutes, pictures)))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def main() -> int:
    """Carry it out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("--images", 200), ("--burst", 10), ("--seed", 1)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--log", type=Path, help="keep the watcher's log here")
    parser.add_argument("--pictures", type=Path, help="keep pictures of the status page here (needs Chromium)")
    wanted = parser.parse_args()
    if wanted.pictures and BROWSER is None:
        parser.error("--pictures: Chromium is not installed here")
    with tempfile.TemporaryDirectory() as scratch, stand(Path(scratch)) as at:
        group, page = people(at), free_port()
        with colleague(at) as opened:
            datasets = [create_container(opened, "Dataset", f"soak {n}") for n in range(3)]
        (at.folder / "watch.toml").write_text(settings_text(at, page, datasets))
        soak = Soak(at, group, datasets, page, start_watcher(at))
        try:
            wait_for_page(soak)
            with visitors(soak, wanted.minutes, wanted.pictures):
                carry_out(soak, wanted.images, wanted.minutes, wanted.burst, wanted.seed)
                settle(soak, max(5.0, wanted.minutes / 3))
            result = verdict(soak)
        finally:
            soak.watcher.send_signal(signal.SIGTERM)
            print(f"the watcher ended with {soak.watcher.wait(60)}")
            if wanted.log:
                wanted.log.write_text((at.folder / "watch.log").read_text())
    return result


if __name__ == "__main__":
    sys.exit(main())
