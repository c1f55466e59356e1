"""The server: Ice communicator, SSL endpoint, plain endpoint on the loopback interface, and data folder."""

from __future__ import annotations

import logging
import secrets
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakKeyDictionary

import Ice
import omero.api
import omero.ObjectFactoryRegistrar
import omero.rtypes

from omero_pixclf.embedded.database.initial_rows import insert_initial_rows, set_password
from omero_pixclf.embedded.database.sqlite import Database
from omero_pixclf.embedded.requirements import require_extra
from omero_pixclf.embedded.server.fault_injection import FaultInjection
from omero_pixclf.embedded.server.glacier_router import make_router
from omero_pixclf.embedded.server.message_size import MESSAGE_MAX_KB
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, make_servant
from omero_pixclf.embedded.server.service_factory import ServiceFactory
from omero_pixclf.embedded.server.service_registry import STATEFUL, STATELESS, load_service_class
from omero_pixclf.embedded.storage.data_folder import lock_folder
from omero_pixclf.embedded.storage.data_paths import remove_orphaned_files, remove_temporary_folders
from omero_pixclf.embedded.storage.repositories import ensure_repositories
from omero_pixclf.embedded.users.logins import store_session_end
from omero_pixclf.embedded.users.passwords import LoginThrottle
from omero_pixclf.embedded.users.sessions import ClientSession, SessionRegistry, new_uuid

if TYPE_CHECKING:
    from omero_pixclf.embedded.server.script_processors import ProcessorRegistry
from omero_pixclf.errors import UsageError

__all__ = ["Server", "is_loopback", "start"]

_log = logging.getLogger(__name__)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EXPIRY_INTERVAL_S = 10.0
_LAST_WAIT_S = 10.0  # for running requests when the server stops
_PROPERTIES = {
    "Ice.Plugin.IceSSL": "IceSSL:createIceSSL",
    "IceSSL.VerifyPeer": "0",
    "Ice.ThreadPool.Server.Size": "8",
    "Ice.ThreadPool.Server.SizeMax": "32",
    "Ice.ThreadPool.Client.Size": "2",
    "Ice.ThreadPool.Client.SizeMax": "8",
    "Ice.MessageSizeMax": str(MESSAGE_MAX_KB),
    "Ice.ACM.Server.Timeout": "60",
    "Ice.ACM.Server.Close": "0",
    "Ice.ACM.Server.Heartbeat": "3",
    "Ice.Warn.Connections": "0",
    "Ice.Warn.Dispatch": "0",
    "Ice.CacheMessageBuffers": "0",
}


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach a server that listens on this address."""
    return host in _LOOPBACK


class Server:
    """A running server; as a context manager it stops at the end.

    Attributes
    ----------
    host, port
        Address of the SSL endpoint.
    plain_port
        Port without encryption, which gateways without ``secure`` use; on the loopback interface only, else None.
    new_password
        Root's password if this start generated it, else None.
    folder
        The data folder.
    """

    def __init__(
        self, folder: Path, port: int, password: str | None, host: str, faults: FaultInjection | None = None
    ) -> None:
        self.folder = folder
        self.faults = faults if faults is not None else FaultInjection.from_environment()
        self.host = host
        self.new_password: str | None = None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # contains the password hashes and the private key
        self.throttle = LoginThrottle()
        self.sessions = SessionRegistry(self._on_session_closed)
        self._stopped = threading.Event()
        self._workers: WeakKeyDictionary[threading.Thread, OmeroService] = WeakKeyDictionary()
        with ExitStack() as held:  # released if the start fails
            held.callback(lock_folder(folder).close)
            self.database = Database(folder / "omero.sqlite", self.faults)
            held.callback(self.database.close)
            self._prepare(password)
            ensure_repositories(self.database)  # creates the repositories at the first start
            self._remove_leftovers()
            self.communicator = _create_communicator(folder)
            held.callback(self.communicator.destroy)
            self.adapter = self._adapter(host, port)
            self._resources = held.pop_all()
        self.port, *plain = (int(endpoint.getInfo().port) for endpoint in self.adapter.getEndpoints())
        self.plain_port = plain[0] if plain else None
        self.adapter.add(make_router(self), Ice.Identity("router", "OMERO.Glacier2"))
        self.adapter.activate()
        self._expiry_thread = threading.Thread(target=self._expire_sessions, name="omero-sessions", daemon=True)
        self._expiry_thread.start()

    # ---- starting and stopping -------------------------------------------------------------------------------
    def _prepare(self, password: str | None) -> None:
        with self.database.writing() as tx:
            if tx.one("SELECT 1 FROM experimenter") is None:
                if password is None:
                    self.new_password = password = secrets.token_urlsafe(12)
                return insert_initial_rows(tx, password)
            tx.execute("UPDATE session SET closed = started WHERE closed IS NULL")
            if password is not None:
                set_password(tx, 0, password)
        return None

    def _remove_leftovers(self) -> None:
        """Remove unfinished data of a server that was killed."""
        remove_temporary_folders(self.folder)
        with self.database.writing() as tx:
            if tx.one("SELECT 1 FROM fileset") is not None:
                from omero_pixclf.embedded.imports.filesets import discard_unfinished_imports

                discard_unfinished_imports(RequestContext.for_server(self, tx))
            row = tx.one("SELECT next FROM sequence WHERE name = 'pixels'")
        remove_orphaned_files(self.folder, "Pixels", row[0] if row else 1)

    def _adapter(self, host: str, port: int) -> Any:
        if not is_loopback(host):
            _log.warning(
                "listening on %s: everybody who can reach this address can try passwords; 127.0.0.1 is safer", host
            )
        endpoints = [f"ssl -h {host} -p {port}"]
        if is_loopback(host):  # OMERO's second port, for clients that switch to unencrypted transfer after login
            endpoints.append(f"tcp -h {host} -p 0")
        try:
            return self.communicator.createObjectAdapterWithEndpoints("omero", ":".join(endpoints))
        except Ice.LocalException as error:
            raise UsageError(f"{host}:{port}: cannot listen there ({type(error).__name__}); is it in use?") from error

    def stop(self) -> None:
        """Close all sessions and release port, threads and files."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        if "processors" in self.__dict__:
            self.processors.stop()
        for service in list(self._workers.values()):
            service.interrupt()
        for session in self.sessions.all():
            self.sessions.close(session)
        self._join_workers()
        self._expiry_thread.join(_EXPIRY_INTERVAL_S)
        self._resources.close()

    @property
    def is_stopping(self) -> bool:
        """Whether the server has begun to stop."""
        return self._stopped.is_set()

    def run_in_background(self, service: OmeroService, work: Callable[[], object], name: str) -> None:
        """Run a service's work in a thread; when the server stops, it interrupts the service and waits."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._workers[thread] = service
        thread.start()

    def _join_workers(self) -> None:
        end = time.monotonic() + _LAST_WAIT_S
        for thread in list(self._workers):
            thread.join(max(0.0, end - time.monotonic()))

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _expire_sessions(self) -> None:
        while not self._stopped.wait(_EXPIRY_INTERVAL_S):
            for session in self.sessions.expire():
                _log.info("session of %s expired", session.user_name)

    @cached_property
    def processors(self) -> ProcessorRegistry:
        """The script processors, created when first used."""
        from omero_pixclf.embedded.server.script_processors import ProcessorRegistry

        return ProcessorRegistry(self)

    # ---- services and proxies --------------------------------------------------------------------------------
    def factory_proxy(self, session: ClientSession, category: str) -> Any:
        """Return the proxy of a session's service factory for one of its clients."""
        identity = Ice.Identity(session.uuid, category)
        session.categories.add(category)
        if self.adapter.find(identity) is None:
            self._add(ServiceFactory(self, session), identity)
        return omero.api.ServiceFactoryPrx.uncheckedCast(self.adapter.createProxy(identity))

    def open_service(self, session: ClientSession, category: str, name: str) -> Any:
        """Return the proxy of a service: the session's stateless service, or a new stateful one."""
        kind = load_service_class(name)
        stateful = name in STATEFUL
        identity = Ice.Identity(new_uuid() + name if stateful else session.uuid + name, category)
        if self.adapter.find(identity) is None:
            service = kind(self, session)
            self._add(service, identity)
            if stateful:
                session.services[identity.name] = service
        return self._typed_proxy(kind, identity)

    def add_object(self, session: ClientSession, category: str, service: OmeroService, name: str) -> Any:
        """Register a service object of a session, such as a table or a handle; return its proxy."""
        identity = Ice.Identity(new_uuid() + name, category)
        self._add(service, identity)
        session.services[identity.name] = service
        return self._typed_proxy(type(service), identity)

    def _typed_proxy(self, kind: type[OmeroService], identity: Any) -> Any:
        """Return a proxy of the interface that a service class implements."""
        interface = kind.interface
        proxies = sys.modules[interface.__module__]
        return getattr(proxies, interface.__name__ + "Prx").uncheckedCast(self.adapter.createProxy(identity))

    def _add(self, service: OmeroService, identity: Any) -> None:
        service.name, service.category = identity.name, identity.category
        self.adapter.add(make_servant(service), identity)

    def proxy_for(self, service: OmeroService) -> Any:
        """Return the proxy of an open service."""
        return self._typed_proxy(type(service), Ice.Identity(service.name, service.category))

    def close_service(self, service: OmeroService) -> None:
        """Release a stateful service and remove it; does nothing for stateless ones."""
        if service.session.services.pop(service.name, None) is None:
            return
        self._remove(Ice.Identity(service.name, service.category))
        service.release()

    def _remove(self, identity: Any) -> None:
        with suppress(Ice.ObjectAdapterDeactivatedException):  # the server is stopping
            if self.adapter.find(identity) is not None:
                self.adapter.remove(identity)

    def router_proxy(self) -> Any:
        """Return a proxy with this server's endpoint."""
        return self.adapter.createProxy(Ice.Identity("router", "OMERO.Glacier2"))

    # ---- ends ------------------------------------------------------------------------------------------------
    def remove_client(self, session: ClientSession, category: str) -> None:
        """Remove the stateless services of one client; other clients may go on using the stateful ones.

        OMERO.web uses a new client for each page and finds its scripts and requests by their proxies.
        """
        self._remove_category(session, category)
        for service in list(session.services.values()):
            if service.category == category:
                service.on_client_gone()

    def drop_session(self, session: ClientSession, connection: Any) -> NoReturn:
        """Close a session and its client's connection without telling the client; for tests of clients."""
        _log.warning("dropped the session of %s on purpose (%s)", session.user_name, self.faults)
        self.sessions.close(session)
        connection.close(True)
        raise Ice.ObjectNotExistException

    def _remove_category(self, session: ClientSession, category: str) -> None:
        for name in ("", *STATELESS):
            self._remove(Ice.Identity(session.uuid + name, category))

    def _on_session_closed(self, session: ClientSession) -> None:
        for service in list(session.services.values()):
            self.close_service(service)
        for category in session.categories:
            self._remove_category(session, category)
        try:
            with self.database.writing() as tx:
                store_session_end(tx, session)
        except (sqlite3.Error, TimeoutError):  # a full disk or a busy database must not keep the session open
            _log.exception("the end of session %s could not be stored", session.ident)


def _create_communicator(folder: Path) -> Any:
    from omero_pixclf.embedded.server.certificate import PASSWORD, ensure_certificate  # needs the extra `embedded`

    settings = Ice.InitializationData()
    settings.properties = Ice.createProperties()
    for name, value in _PROPERTIES.items():
        settings.properties.setProperty(name, value)
    settings.properties.setProperty("IceSSL.CertFile", str(ensure_certificate(folder)))
    settings.properties.setProperty("IceSSL.Password", PASSWORD)
    made = Ice.initialize(settings)
    omero.ObjectFactoryRegistrar.registerObjectFactory(made, None)
    for factory in omero.rtypes.ObjectFactories.values():
        factory.register(made)
    return made


def start(
    folder: str | Path,
    port: int = 0,
    password: str | None = None,
    host: str = "127.0.0.1",
    *,
    faults: FaultInjection | None = None,
) -> Server:
    """Start an embedded OMERO on a data folder.

    Parameters
    ----------
    folder
        The data folder; it is created if it does not exist.
    port
        The port to listen on; 0 picks a free one.
    password
        Root's password, set at every start. Without it, the first start generates one (`Server.new_password`) and
        later starts do not change it.
    host
        The address to listen on.
    faults
        Faults to inject, for tests of clients; by default those in the environment variable, if any.

    Returns
    -------
    Server
        Ready for clients; use it as a context manager or call its `stop`.

    Raises
    ------
    UsageError
        The extra ``embedded`` is not installed, another server runs on the folder, the folder cannot be used, or the
        address cannot be listened on.
    """
    require_extra()
    where = Path(folder)
    try:
        return Server(where, port, password, host, faults)
    except (OSError, sqlite3.Error) as error:
        what = f"{error.filename or where}: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"{where}: cannot be used as a data folder ({what}); choose a new folder, or a writable one with free space"
        ) from error
