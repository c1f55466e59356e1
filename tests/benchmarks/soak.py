"""A watcher under trouble: images in bursts, server restarts, a kill, a poison image, a change of rights; a verdict.

python -m tests.benchmarks.soak [--images 200 --minutes 30 --burst 10 --seed 1]

The watcher is a plain member of a read-annotate group and works on what a colleague imports. At fixed shares of the
time the server is restarted (once orderly, once by a kill), the watcher is killed and started again, and the group is
made read-only for a while. One image's pixels are damaged on the server's disk. In the end every good image must have
been completed exactly once, over all runs, and the poison image must be set aside with its reason.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from omero_pixclf.connector.login import Login
from omero_pixclf.connector.session import connect
from omero_pixclf.connector.upload import create_container, upload_image
from omero_pixclf.demo.images import plate_field
from omero_pixclf.embedded.storage import pixels_path
from omero_pixclf.image import ArrayReader, ImageInfo
from tests.benchmarks.stand import PROGRAM, PROJECT, Stand, session, stand

MEMBER = "soak-Test-1"
SETTINGS = """
[server]
host = "127.0.0.1"
port = {port}
user = "watcher"
[service]
every = 5
settle = 5
grace = 30
attempts = 3
backoff = 10
backoff_longest = 60
state = "sqlite:///{folder}/watch.sqlite"
runs = "{folder}/runs"
[status]
port = {page}
[[watches]]
name = "soak"
targets = {targets}
recipe = "nuclei.toml"
"""


@dataclass
class Soak:
    """What is under test."""

    at: Stand
    group: int
    datasets: list[int]
    page: int
    watcher: subprocess.Popen[str]
    good: list[int] = field(default_factory=list)
    poison: list[int] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Tell what happens, with the minute."""
        print(f"{(time.monotonic() - self.start) / 60:6.2f} min  {text}", flush=True)


def people(at: Stand) -> int:
    """A group with two members, ``colleague`` and ``watcher``; returns its id."""
    import omero.model
    from omero.rtypes import rbool, rstring

    with session(at) as root:
        admin = root.client.sf.getAdminService()
        group = omero.model.ExperimenterGroupI()
        group.name, group.ldap = rstring("soak"), rbool(False)
        group.details.permissions = omero.model.PermissionsI("rwra--")
        number = int(admin.createGroup(group))
        groups = [omero.model.ExperimenterGroupI(n, False) for n in (number, 1)]
        for name in ("colleague", "watcher"):
            person = omero.model.ExperimenterI()
            person.omeName, person.firstName, person.lastName = rstring(name), rstring("S"), rstring("T")
            person.ldap = rbool(False)
            admin.createExperimenterWithPassword(person, rstring(MEMBER), groups[0], groups)
    return number


def set_rights(soak: Soak, rights: str) -> None:
    """Change the group's level."""
    import omero.model

    with session(soak.at) as root:
        admin = root.client.sf.getAdminService()
        admin.changePermissions(admin.getGroup(soak.group), omero.model.PermissionsI(rights))
    soak.say(f"the group is {rights}")


@contextmanager
def colleague(at: Stand) -> Iterator[Any]:
    """A session of whoever imports."""
    login = Login("127.0.0.1", at.port, "colleague")
    with connect(login, environ={"OMERO_PASSWORD": MEMBER}, waits=(1.0,) * 60) as opened:
        yield opened


def start_watcher(at: Stand) -> subprocess.Popen[str]:
    """The watcher as systemd would start it."""
    with (at.folder / "watch.log").open("a") as log:
        environment = {**os.environ, "OMERO_PASSWORD": MEMBER, "OMERO_USERDIR": str(at.folder / "user")}
        return subprocess.Popen(
            [str(PROGRAM), "watch", str(at.folder / "watch.toml")], env=environment, stderr=log, text=True
        )


def free_port() -> int:
    """A port that nobody listens on now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def arrive(soak: Soak, opened: Any, count: int, dice: random.Random, fields: list[Any], *, poison: bool) -> None:
    """A burst of imports; the last of them damaged on disk where ``poison``."""
    for n in range(count):
        pixels, (y, x) = dice.choice(fields), (dice.randrange(512 - 128), dice.randrange(512 - 128))
        part = np.ascontiguousarray(pixels[:, :, y : y + 128, x : x + 128])
        name = f"burst {len(soak.good)}"
        info = ImageInfo(name, name, part.shape, "uint16", ("Nuclei", "Cytoplasm"))
        image = int(upload_image(opened, ArrayReader(info, part), dataset=dice.choice(soak.datasets)))
        if poison and n == count - 1:
            number = opened.ids("select p.id from Pixels p where p.image.id = :i", i=image)[0]
            damaged = pixels_path(soak.at.folder / "server", number)
            damaged.unlink()
            damaged.mkdir()  # reading it is an error of the server's disk
            soak.poison.append(image)
            soak.say(f"Image:{image} is poison")
        else:
            soak.good.append(image)


def watch_page(soak: Soak, ended: threading.Event) -> None:
    """Load the status page now and then, and keep how long it took."""
    while not ended.wait(2):
        begin = time.monotonic()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{soak.page}/", timeout=30) as answer:
                answer.read()
            soak.latencies.append(time.monotonic() - begin)
        except OSError:
            continue  # between a kill and the next start


def restart_server(soak: Soak, *, kill: bool) -> None:
    """Stop the server while images are in work."""
    soak.at.restart(kill=kill)
    soak.say(f"the server was {'killed' if kill else 'stopped'} and started again")


def kill_watcher(soak: Soak) -> None:
    """Kill the watcher in the middle of its work."""
    soak.watcher.send_signal(signal.SIGKILL)
    soak.watcher.wait()
    time.sleep(2)
    soak.watcher = start_watcher(soak.at)
    soak.say("the watcher was killed and started again")


TROUBLES: tuple[tuple[float, Callable[[Soak], None]], ...] = (
    (0.20, lambda soak: restart_server(soak, kill=False)),
    (0.35, kill_watcher),
    (0.50, lambda soak: set_rights(soak, "rwr---")),
    (0.62, lambda soak: set_rights(soak, "rwra--")),
    (0.75, lambda soak: restart_server(soak, kill=True)),
)


def carry_out(soak: Soak, images: int, minutes: float, burst: int, seed: int) -> None:
    """Bursts and troubles over the time given."""
    dice, fields = random.Random(seed), [plate_field(f"A{n}", n).pixels for n in (1, 2, 3)]
    troubles, bursts = list(TROUBLES), -(-images // burst)
    soak.start = begin = time.monotonic()
    with colleague(soak.at) as opened:
        for n in range(bursts):
            arrive(soak, opened, min(burst, images - n * burst), dice, fields, poison=n == bursts // 3)
            soak.say(f"{len(soak.good) + len(soak.poison)} images have arrived")
            until = begin + (n + 1) / bursts * minutes * 60
            while (left := until - time.monotonic()) > 0 or (troubles and n == bursts - 1):
                if troubles and time.monotonic() - begin > troubles[0][0] * minutes * 60:
                    troubles.pop(0)[1](soak)
                time.sleep(max(0.1, min(1.0, left)))


def standing(soak: Soak) -> dict[int, list[tuple[str, int, int]]]:
    """For each image the state of its ledger entries, with the objects they tell of and the ROIs that are there."""
    with session(soak.at) as root:
        links = "select l.child.id, l.parent.id from ImageAnnotationLink l where l.child.ns = :n"
        ids = dict(root.rows(links, n="omero_pixclf/run"))
        said: dict[tuple[int, int], dict[str, str]] = {}
        pairs = root.rows(
            "select a.id, v.name, v.value from MapAnnotation a join a.mapValue v where a.ns = :n", n="omero_pixclf/run"
        )
        for ident, name, value in pairs:
            said.setdefault((ids[ident], ident), {})[name] = value
        rois = dict(root.rows("select r.image.id, count(r) from Roi r group by r.image.id"))
    found: dict[int, list[tuple[str, int, int]]] = {}
    for (image, _), entry in said.items():
        told = sum(int(v) for k, v in entry.items() if k.startswith("Objects: "))
        found.setdefault(image, []).append((entry["State"], told, int(rois.get(image, 0))))
    return found


def completions(soak: Soak) -> Counter[str]:
    """How often each image was brought to its end, over the manifests of all runs."""
    done: Counter[str] = Counter()
    for path in (soak.at.folder / "runs").glob("*/manifest.sqlite"):
        with closing(sqlite3.connect(path)) as db:
            done.update(key for (key,) in db.execute("select key from image where state = 'done'"))
    return done


def failures(soak: Soak) -> list[tuple[str, str, int, str]]:
    """What the watcher has not done, and why."""
    with closing(sqlite3.connect(soak.at.folder / "watch.sqlite")) as db:
        return list(db.execute("select image, kind, attempts, reason from failure"))


def settle(soak: Soak, minutes: float) -> None:
    """Wait until all good images are complete and the poison image is set aside."""
    deadline = time.monotonic() + minutes * 60
    while time.monotonic() < deadline:
        complete = sum(any(s == "complete" for s, *_ in standing(soak).get(i, [])) for i in soak.good)
        aside = {image for image, kind, *_ in failures(soak) if kind == "aside"}
        soak.say(f"{complete} of {len(soak.good)} good images are complete, {len(aside)} set aside")
        if complete == len(soak.good) and aside == {f"Image:{i}" for i in soak.poison}:
            time.sleep(8)  # the last run's tables
            return
        time.sleep(5)


def table_rows(soak: Soak) -> dict[str, int]:
    """How many summary tables the datasets have, and how many rows these."""
    from omero_pixclf.connector.tables import BULK_NS, read_table

    rows = {}
    with session(soak.at) as root:
        for dataset in soak.datasets:
            hql = "select l.child.id from DatasetAnnotationLink l where l.parent.id = :d and l.child.ns = :n"
            tables = root.ids(hql, d=dataset, n=BULK_NS)
            rows[f"Dataset:{dataset} ({len(tables)} table)"] = sum(len(read_table(root, t)) for t in tables)
    return rows


def verdict(soak: Soak) -> int:
    """Print what came of it; 1 where something is wrong."""
    entries, done, left = standing(soak), completions(soak), failures(soak)
    rows = table_rows(soak)
    once = [i for i in soak.good if [s for s, *_ in entries.get(i, [])] == ["complete"]]
    equal = [i for i in once if entries[i][0][1] == entries[i][0][2]]
    twice = [key for key, count in done.items() if count > 1]
    aside = [row for row in left if row[1] == "aside"]
    claims = {
        f"{len(once)} of {len(soak.good)} good images have one entry, complete": len(once) == len(soak.good),
        f"{len(equal)} of these have as many ROIs as their entry tells": len(equal) == len(soak.good),
        f"no image was brought to its end twice {twice}": not twice,
        f"all rows are in one table per dataset {rows}": sum(rows.values()) == len(soak.good)
        and all("(1 table)" in name for name in rows),
        f"the poison image alone is left, set aside {left}": [row[0] for row in aside]
        == [f"Image:{i}" for i in soak.poison]
        and len(left) == len(aside),
        "nothing of the poison image stands": not any(entries.get(i) for i in soak.poison),
    }
    for claim, holds in claims.items():
        print(f"{'yes' if holds else 'NO':<4} {claim}")
    refused = (soak.at.folder / "watch.log").read_text().count("may not annotate")
    print(f"     {refused} refusals while the group was read-only")
    spent = sorted(soak.latencies)
    if spent:
        print(f"     status page: {len(spent)} loads, median {spent[len(spent) // 2]:.2f} s, longest {spent[-1]:.2f} s")
    return 0 if all(claims.values()) else 1


def main() -> int:
    """Carry it out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("--images", 200), ("--burst", 10), ("--seed", 1)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--log", type=Path, help="keep the watcher's log here")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, stand(Path(scratch)) as at:
        group, page = people(at), free_port()
        with colleague(at) as opened:
            datasets = [create_container(opened, "Dataset", f"soak {n}") for n in range(3)]
        (at.folder / "nuclei.toml").write_text(f'[classifier]\nproject = "{PROJECT}"\n[objects]\nmin_size = 40\n')
        targets = str([f"Dataset:{d}" for d in datasets])
        text = SETTINGS.format(port=at.port, folder=at.folder, page=page, targets=targets)
        (at.folder / "watch.toml").write_text(text)
        soak, ended = Soak(at, group, datasets, page, start_watcher(at)), threading.Event()
        looker = threading.Thread(target=watch_page, args=(soak, ended))
        looker.start()
        try:
            carry_out(soak, wanted.images, wanted.minutes, wanted.burst, wanted.seed)
            settle(soak, max(5.0, wanted.minutes / 3))
            result = verdict(soak)
        finally:
            ended.set()
            looker.join()
            soak.watcher.send_signal(signal.SIGTERM)
            print(f"the watcher ended with {soak.watcher.wait(60)}")
            if wanted.log:
                wanted.log.write_text((at.folder / "watch.log").read_text())
    return result


if __name__ == "__main__":
    sys.exit(main())
