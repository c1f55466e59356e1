"""The service factory of a session, from which a client gets all other services."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from typing import Any

import omero.api
import omero.constants

from omero_pixclf.embedded.commands.handle import submit
from omero_pixclf.embedded.server.exceptions import api_usage_error, security_violation
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, without_transaction
from omero_pixclf.embedded.server.service_registry import STATEFUL, STATELESS
from omero_pixclf.embedded.users.logins import is_correct_password

__all__ = ["ServiceFactory"]


class ServiceFactory(OmeroService):
    """omero.api.ServiceFactory (omero.cmd.Session)."""

    interface = omero.api.ServiceFactory
    allows_guests = True

    # ---- services --------------------------------------------------------------------------------------------
    @without_transaction
    def getByName(self, context: Any, name: str) -> Any:
        if name in STATELESS:
            return self.server.open_service(self.session, self.category, name)
        if name in self.session.services:
            return self.server.proxy_for(self.session.services[name])
        raise api_usage_error(
            f"{name} is an unknown service. Please check Constants.ice or the documentation for valid strings."
        )

    @without_transaction
    def createByName(self, context: Any, name: str) -> Any:
        if name not in STATEFUL:
            raise api_usage_error(
                f"{name} is an unknown service. Please check Constants.ice or the documentation for valid strings."
            )
        return self.server.open_service(self.session, self.category, name)

    @without_transaction
    def activeServices(self, context: Any) -> list[str]:
        return list(self.session.services)

    @without_transaction
    def submit(self, context: Any, request: Any) -> Any:
        """Start an omero.cmd request."""
        return submit(self.server, self.session, self.category, request, dict(context or {}))

    # ---- the session -----------------------------------------------------------------------------------------
    def getSecurityContexts(self, call: RequestContext) -> list[Any]:
        groups = call.graph.load("ExperimenterGroup", sorted(call.caller.member_of))
        call.graph.finish_loading()
        return list(groups.values())

    def setSecurityContext(self, call: RequestContext, obj: Any) -> Any:
        stateful = omero.api.StatefulServiceInterface  # these services depend on the group, tables and handles do not
        busy = sorted(name for name, s in self.session.services.items() if issubclass(s.interface, stateful))
        if busy:
            raise security_violation(f"SecurityContext change cancelled: open services {busy}")
        group = obj._id._val
        old = call.graph.get("ExperimenterGroup", self.session.group_id)
        call.graph.get("ExperimenterGroup", group)
        if group not in call.caller.member_of and not call.caller.is_admin:
            raise security_violation(f"User {call.caller.user_id} is not a member of group {group}")
        self.session.group_id = group
        call.graph.finish_loading()
        return old

    def setSecurityPassword(self, call: RequestContext, password: str) -> None:
        """Check the password; needed for changing passwords after joining a session by uuid."""
        if not is_correct_password(call.tx, self.session.user_id, password or ""):
            raise security_violation(f"Bad password for {self.session.user_name}")
        self.session.authenticated.add(self.category)

    @without_transaction
    def setCallback(self, context: Any, callback: Any) -> None:
        """Do nothing: sessions send no notifications to their clients."""

    @without_transaction
    def subscribe(self, context: Any, topic: str, proxy: Any) -> None:
        raise api_usage_error(f"{topic}: the embedded OMERO has no topics")

    @without_transaction
    def closeOnDestroy(self, context: Any) -> None:
        self.session.detached.discard(self.category)

    @without_transaction
    def detachOnDestroy(self, context: Any) -> None:
        self.session.detached.add(self.category)

    @without_transaction
    def destroy(self, context: Any) -> None:
        """Close the session for all its clients."""
        self.server.sessions.close(self.session)

    @without_transaction
    def keepAlive(self, context: Any, proxy: Any) -> bool:
        return self._is_open(proxy)

    @without_transaction
    def keepAllAlive(self, context: Any, proxies: list[Any]) -> int:
        return sum(1 << i for i, p in enumerate(proxies) if self._is_open(p)) if proxies else -1

    def _is_open(self, proxy: Any) -> bool:
        return proxy is not None and self.server.adapter.find(proxy.ice_getIdentity()) is not None


def _getter(name: str) -> Any:
    def get(self: ServiceFactory, context: Any) -> Any:
        opened = self.getByName if name in STATELESS else self.createByName
        return opened(context, name)

    return without_transaction(get)


_GETTERS = {
    "getAdminService": "omero.api.IAdmin",
    "getConfigService": "omero.api.IConfig",
    "getContainerService": "omero.api.IContainer",
    "getLdapService": "omero.api.ILdap",
    "getPixelsService": "omero.api.IPixels",
    "getProjectionService": "omero.api.IProjection",
    "getQueryService": "omero.api.IQuery",
    "getRenderingSettingsService": "omero.api.IRenderingSettings",
    "getRepositoryInfoService": "omero.api.IRepositoryInfo",
    "getRoiService": "omero.api.IRoi",
    "getScriptService": "omero.api.IScript",
    "getSessionService": "omero.api.ISession",
    "getShareService": "omero.api.IShare",
    "getTimelineService": "omero.api.ITimeline",
    "getTypesService": "omero.api.ITypes",
    "getUpdateService": "omero.api.IUpdate",
    "getMetadataService": "omero.api.IMetadata",
    "createExporter": "omero.api.Exporter",
    "createJobHandle": "omero.api.JobHandle",
    "createRawFileStore": "omero.api.RawFileStore",
    "createRawPixelsStore": "omero.api.RawPixelsStore",
    "createRenderingEngine": "omero.api.RenderingEngine",
    "createSearchService": "omero.api.Search",
    "createThumbnailStore": "omero.api.ThumbnailStore",
    "sharedResources": "omero.grid.SharedResources",
}
for _operation, _name in _GETTERS.items():
    setattr(ServiceFactory, _operation, _getter(_name))
