"""The soak's stage: a server, a group with a watcher and a colleague who imports, and the watcher's process."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import connect
from omero_pixclf.connector.upload import upload_image
from omero_pixclf.embedded.storage.data_paths import pixels_path
from omero_pixclf.image import ArrayReader, ImageInfo
from tests.benchmarks.stand import PROGRAM, PROJECT, Stand, session

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
    """What is under test.

    Attributes
    ----------
    latencies, unanswered
        Seconds of each load of the status page; loads that were not answered, with the second of the soak.
    widths
        For each picture of the page, the width of its screen and of what is on it.
    hit
        What was in work at each kill and restart.
    """

    at: Stand
    group: int
    datasets: list[int]
    page: int
    watcher: subprocess.Popen[str]
    good: list[int] = field(default_factory=list)
    poison: list[int] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    unanswered: list[float] = field(default_factory=list)
    widths: list[tuple[int, int]] = field(default_factory=list)
    hit: list[str] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)

    @property
    def address(self) -> str:
        """The status page's."""
        return f"http://127.0.0.1:{self.page}/"

    @property
    def elapsed(self) -> float:
        """Seconds since the first image."""
        return time.monotonic() - self.start

    def say(self, text: str) -> None:
        """Tell what happens, with the minute."""
        print(f"{self.elapsed / 60:6.2f} min  {text}", flush=True)


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


@contextmanager
def colleague(at: Stand) -> Iterator[Any]:
    """A session of whoever imports."""
    login = Login("127.0.0.1", at.port, "colleague")
    with connect(login, environ={"OMERO_PASSWORD": MEMBER}, waits=(1.0,) * 60) as opened:
        yield opened


def settings_text(at: Stand, page: int, datasets: list[int]) -> str:
    """The watcher's settings: its datasets, and times short enough for a soak."""
    targets = str([f"Dataset:{d}" for d in datasets])
    (at.folder / "nuclei.toml").write_text(f'[classifier]\nproject = "{PROJECT}"\n[objects]\nmin_size = 40\n')
    return SETTINGS.format(port=at.port, folder=at.folder, page=page, targets=targets)


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
            number = opened.query_ids("select p.id from Pixels p where p.image.id = :i", i=image)[0]
            damaged = pixels_path(soak.at.folder / "server", number)
            damaged.unlink()
            damaged.mkdir()  # reading it is an error of the server's disk
            soak.poison.append(image)
            soak.say(f"Image:{image} is poison")
        else:
            soak.good.append(image)
