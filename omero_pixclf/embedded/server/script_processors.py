"""Script processors: the server's own process for official scripts, and processors that users register."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import Ice
import omero
import omero.grid
import omero.model

from omero_pixclf.embedded.server.exceptions import omero_error
from omero_pixclf.embedded.server.protocols import RequestServer
from omero_pixclf.embedded.users.access_rights import SYSTEM_GROUP
from omero_pixclf.embedded.users.logins import open_session

if TYPE_CHECKING:
    from omero_pixclf.embedded.users.sessions import ClientSession

__all__ = ["Processor", "ProcessorRegistry"]

_log = logging.getLogger(__name__)
_START_S = 30.0
_STOP_S = 10.0


@dataclass(frozen=True)
class Processor:
    """A registered processor and its proxy over its client's connection."""

    session: ClientSession
    connection: Any = field(repr=False)
    identity: Any
    proxy: Any = field(repr=False)  # Ice aborts the process if such a proxy is printed

    def process_proxy(self, process: Any) -> Any:
        """Return a proxy of one of its processes."""
        return omero.grid.ProcessPrx.uncheckedCast(self.connection.createProxy(process.ice_getIdentity()))


class _AcceptanceCallback(omero.grid.ProcessorCallback):  # type: ignore[misc]
    """Collects the processors' answers to the question whether they accept a job."""

    def __init__(self) -> None:
        self.answered = threading.Condition()
        self.accepted: list[Any] = []  # identities
        self.responses = 0

    def isProxyAccepted(self, accepted: bool, session: str, proxy: Any, current: Any = None) -> None:
        with self.answered:
            self.responses += 1
            if accepted and proxy is not None:
                self.accepted.append(proxy.ice_getIdentity())
            self.answered.notify_all()

    def isAccepted(self, accepted: bool, session: str, identity: str, current: Any = None) -> None:
        with self.answered:
            self.responses += 1
            self.answered.notify_all()

    def responseRunning(self, jobs: list[int], current: Any = None) -> None:
        """Not used: the server does not ask for running jobs."""


class ProcessorRegistry:
    """All processors of a server; its own processor is started when it is first needed.

    Attributes
    ----------
    parameters
        Cached parameters of scripts.
    """

    def __init__(self, server: RequestServer) -> None:
        self.parameters: dict[tuple[int, str], Any] = {}  # omero.grid.JobParams by script and SHA-1
        self._server = server
        self._lock = threading.RLock()
        self._registered = threading.Condition(self._lock)
        self._known: list[Processor] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._session: ClientSession | None = None

    # ---- registration ----------------------------------------------------------------------------------------
    def add(self, session: ClientSession, connection: Any, proxy: Any) -> None:
        """Register a processor of a client's connection."""
        identity = proxy.ice_getIdentity()
        reachable = omero.grid.ProcessorPrx.uncheckedCast(connection.createProxy(identity))
        with self._registered:
            self._known.append(Processor(session, connection, identity, reachable))
            self._registered.notify_all()

    def remove(self, identity: Any) -> None:
        """Remove a processor."""
        with self._lock:
            self._known = [p for p in self._known if p.identity != identity]

    def _open_processors(self) -> list[Processor]:
        with self._lock:
            self._known = [p for p in self._known if not p.session.closed]
            return list(self._known)

    # ---- choosing --------------------------------------------------------------------------------------------
    def find_accepting(self, job: Any, user: int, group: int, seconds: float) -> Processor:
        """Return a user's processor that accepts a job.

        Raises
        ------
        omero.NoProcessorAvailable
            No processor has accepted within ``seconds``.
        """
        asked = self._open_processors()
        answers = _AcceptanceCallback()
        proxy = omero.grid.ProcessorCallbackPrx.uncheckedCast(self._server.adapter.addWithUUID(answers))
        try:
            about = (omero.model.ExperimenterI(user, False), omero.model.ExperimenterGroupI(group, False), job, proxy)
            for processor in asked:
                self._ask(processor, about)
            with answers.answered:
                done = lambda: bool(answers.accepted) or answers.responses >= len(asked)  # noqa: E731
                answers.answered.wait_for(done, seconds)
                accepted, responses = list(answers.accepted), answers.responses
        finally:
            self._server.adapter.remove(proxy.ice_getIdentity())
        for processor in asked:
            if processor.identity in accepted:
                return processor
        message = f"No processor available! [{responses} response(s)]"
        raise omero.NoProcessorAvailable("", "omero.NoProcessorAvailable", message, responses)

    def _ask(self, processor: Processor, about: tuple[Any, ...]) -> None:
        try:
            processor.proxy.begin_willAccept(*about)
        except Ice.Exception as error:
            _log.info("a processor of %s is gone: %s", processor.session.user_name, error)
            self.remove(processor.identity)

    def own_processor(self) -> Processor:
        """Return the server's own processor.

        Raises
        ------
        omero.InternalException
            Its process does not start.
        """
        with self._registered:
            if self._process is None or self._process.poll() is not None or self._is_unreachable():
                self._start()
            if not self._registered.wait_for(lambda: self._find_own() is not None, _START_S):
                raise omero_error(omero.InternalException, f"the script processor was not ready after {_START_S:g} s")
            found = self._find_own()
        assert found is not None
        return found

    def _find_own(self) -> Processor | None:
        return next((p for p in self._known if p.session is self._session and not p.session.closed), None)

    def _is_unreachable(self) -> bool:
        """Whether the connection to the own processor is lost; its process is then killed."""
        assert self._session is not None
        assert self._process is not None
        found = self._find_own()
        if not self._session.closed and (found is None or _is_reachable(found)):
            return False  # registered, or starting
        _log.warning("the script processor is gone and is started again")
        self._process.kill()
        self._process.wait()
        return True

    # ---- the server's own process ----------------------------------------------------------------------------
    def _start(self) -> None:
        home = (self._server.folder / "processor").resolve()  # absolute: it is the process's working directory
        for part in ("etc", "tmp", "lib/server"):
            (home / part).mkdir(parents=True, exist_ok=True)
        host, port = self._address(), self._server.port
        (home / "etc" / "ice.config").write_text(f"omero.host={host}\nomero.port={port}\n", encoding="utf-8")
        with self._server.database.writing() as tx:
            self._session = open_session(
                self._server.sessions, tx, 0, SYSTEM_GROUP, agent="OMERO.processor", idle_ms=0, event_type="Processing"
            )
        settings = {"host": host, "port": port, "session": self._session.uuid, "home": str(home)}
        self._process = _start_process(home)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(settings).encode() + b"\n")
        self._process.stdin.flush()

    def _address(self) -> str:
        """Return the address of the server for processes on this machine."""
        return "127.0.0.1" if self._server.host in ("0.0.0.0", "localhost", "") else self._server.host

    def stop(self) -> None:
        """Stop the server's own processor and its scripts."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_reachable(processor: Processor) -> bool:
    try:
        processor.proxy.ice_ping()
    except Ice.Exception as error:
        _log.info("a processor does not answer: %s", error)
        return False
    return True


def _start_process(home: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMERO_TMPDIR": str(home / "tmp"), "PYTHONWARNINGS": "ignore"}
    environment.pop("ICE_CONFIG", None)
    log = (home / "processor.log").open("ab")
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "omero_pixclf.embedded.server.processor_main"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=home,
        )
