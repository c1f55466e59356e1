"""Which class serves which of OMERO's services: adding a service is a file in services/ and a line here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

__all__ = ["STATEFUL", "STATELESS", "service_class"]

STATELESS = {
    "omero.api.IAdmin": "admin.Admin",
    "omero.api.IConfig": "config.Config",
    "omero.api.IContainer": "container.Container",
    "omero.api.ILdap": "ldap.Ldap",
    "omero.api.IMetadata": "metadata.Metadata",
    "omero.api.IPixels": "pixels.Pixels",
    "omero.api.IProjection": "projection.Projection",
    "omero.api.IQuery": "query.Query",
    "omero.api.IRenderingSettings": "rendering_settings.RenderingSettings",
    "omero.api.IRepositoryInfo": "repository_info.RepositoryInfo",
    "omero.api.IRoi": "roi.Roi",
    "omero.api.IScript": "script.Scripts",
    "omero.api.ISession": "session.Session",
    "omero.api.ITimeline": "timeline.Timeline",
    "omero.api.ITypes": "types.Types",
    "omero.api.IUpdate": "update.Update",
    "omero.grid.SharedResources": "resources.SharedResources",
}
STATEFUL: dict[str, str] = {
    "omero.api.Exporter": "exporter.Exporter",
    "omero.api.JobHandle": "job_handle.JobHandle",
    "omero.api.RawFileStore": "file_store.RawFileStore",
    "omero.api.RawPixelsStore": "pixels_store.RawPixelsStore",
    "omero.api.RenderingEngine": "rendering_engine.RenderingEngine",
    "omero.api.Search": "search.Search",
    "omero.api.ThumbnailStore": "thumbnails.ThumbnailStore",
}


@cache
def service_class(name: str) -> Any:
    """The class registered for a service's name (``omero.api.IQuery``), or None."""
    where = STATELESS.get(name) or STATEFUL.get(name)
    if where is None:
        return None
    module, kind = where.split(".")
    return getattr(import_module(f"omero_pixclf.embedded.services.{module}"), kind)
