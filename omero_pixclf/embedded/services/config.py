"""IConfig: the server's version, time, identity and settings."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

import re
from typing import Any

import omero.api
from omero.rtypes import rtime

from omero_pixclf.embedded.database.sqlite import now_ms
from omero_pixclf.embedded.server.exceptions import api_usage_error, security_violation
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, without_transaction, writes_database
from omero_pixclf.embedded.users.experimenters import require_admin

__all__ = ["VERSION", "ConfigService"]

VERSION = "5.7.5-omero_pixclf"  # version of the OMERO.server whose behaviour is implemented
_PUBLIC = {  # settings that everybody may read, with their defaults
    "omero.client.browser.thumb_default_size": "96",
    "omero.client.download_as.max_size": "144000000",
    "omero.client.icetransports": "ssl,tcp",
    "omero.client.scripts_to_ignore": "/omero/figure_scripts/Movie_Figure.py,"
    "/omero/figure_scripts/Split_View_Figure.py,/omero/figure_scripts/Thumbnail_Figure.py,/omero/figure_scripts/ROI_Split_Figure.py,"
    "/omero/export_scripts/Make_Movie.py,/omero/import_scripts/Populate_ROI.py",
    "omero.client.ui.menu.dropdown.colleagues.enabled": "true",
    "omero.client.ui.menu.dropdown.colleagues.label": "Members",
    "omero.client.ui.menu.dropdown.everyone.enabled": "true",
    "omero.client.ui.menu.dropdown.everyone.label": "All Members",
    "omero.client.ui.menu.dropdown.leaders.enabled": "true",
    "omero.client.ui.menu.dropdown.leaders.label": "Owners",
    "omero.client.ui.tree.orphans.description": "This is a virtual container with orphaned images. These images are "
    "not linked anywhere. Just drag them to the selected container.",
    "omero.client.ui.tree.orphans.enabled": "true",
    "omero.client.ui.tree.orphans.name": "Orphaned Images",
    "omero.client.ui.tree.type_order": "tagset,tag,project,dataset,screen,plate,acquisition,image",
    "omero.client.viewer.initial_zoom_level": "0",
    "omero.client.viewer.interpolate_pixels": "true",
    "omero.client.viewer.roi_limit": "2000",
    "omero.client.web.host": "",
    "omero.mail.config": "false",
    "omero.pixeldata.max_plane_height": "3192",
    "omero.pixeldata.max_plane_width": "3192",
    "omero.policy.binary_access": "+read,+write,+image",
    "omero.router.insecure": "",  # see _values
    "omero.sessions.timeout": "600000",
    "omero.upgrades.url": "",  # no upgrade check
    "omero.version": VERSION,
}
_CLIENT = "omero.client."
_SECRET = re.compile(r"pass|uuid|secret|key", re.IGNORECASE)


class ConfigService(OmeroService):
    """omero.api.IConfig."""

    interface = omero.api.IConfig
    allows_guests = True

    @without_transaction
    def getVersion(self, context: Any) -> str:
        return VERSION

    @without_transaction
    def getServerTime(self, context: Any) -> Any:
        return rtime(now_ms())

    @without_transaction
    def getDatabaseTime(self, context: Any) -> Any:
        return rtime(now_ms())

    def getDatabaseUuid(self, call: RequestContext) -> str:
        return str(call.tx.one("SELECT value FROM configuration WHERE name = 'omero.db.uuid'")[0])

    # ---- reading ---------------------------------------------------------------------------------------------
    def getConfigValue(self, call: RequestContext, key: str) -> str:
        values = _values(call)
        if key not in values and not (call.caller.is_admin and key):
            raise security_violation(f"Cannot read configuration: {key}")
        return values.get(key, "")

    def getConfigValues(self, call: RequestContext, pattern: str) -> dict[str, str]:
        try:
            wanted = re.compile(pattern)
        except re.error as error:
            raise api_usage_error(f"{pattern} is no regular expression: {error}") from error
        return {key: value for key, value in _values(call).items() if wanted.search(key)}

    def getConfigDefaults(self, call: RequestContext) -> dict[str, str]:
        require_admin(call)
        return dict(_PUBLIC)

    def getClientConfigValues(self, call: RequestContext) -> dict[str, str]:
        return {key: value for key, value in _values(call).items() if key.startswith(_CLIENT)}

    @without_transaction
    def getClientConfigDefaults(self, context: Any) -> dict[str, str]:
        return {key: value for key, value in _PUBLIC.items() if key.startswith(_CLIENT)}

    # ---- writing ---------------------------------------------------------------------------------------------
    @writes_database
    def setConfigValue(self, call: RequestContext, key: str, value: str) -> None:
        require_admin(call)
        _store(call, key, value)

    @writes_database
    def setConfigValueIfEquals(self, call: RequestContext, key: str, value: str, expected: str) -> bool:
        require_admin(call)
        if _values(call).get(key, "") != (expected or ""):
            return False
        _store(call, key, value)
        return True


def _values(call: RequestContext) -> dict[str, str]:
    """Return the settings the caller may read: those of clients, and for administrators all except secrets."""
    stored = {name: value or "" for name, value in call.tx.all("SELECT name, value FROM configuration")}
    shown = {k: v for k, v in stored.items() if k in _PUBLIC or k.startswith(_CLIENT)}
    if call.caller.is_admin:
        shown = {k: v for k, v in stored.items() if not _SECRET.search(k)}
        shown["omero.data.dir"] = str(call.folder.resolve())
    return {**_PUBLIC, "omero.router.insecure": _insecure_router(call), **shown}


def _insecure_router(call: RequestContext) -> str:
    """Return the address for unencrypted transfer, with a placeholder for the host; "" if there is none."""
    port = call.server.plain_port
    return "" if port is None else f"OMERO.Glacier2/router:tcp -p {port} -h @omero.host@"


def _store(call: RequestContext, key: str, value: str) -> None:
    if not key:
        raise api_usage_error("a setting needs a name")
    if _SECRET.search(key):
        raise api_usage_error(f"{key} cannot be set")
    if value:
        call.tx.execute("INSERT OR REPLACE INTO configuration VALUES (?, ?)", (key, value))
    else:
        call.tx.execute("DELETE FROM configuration WHERE name = ?", (key,))
