"""Registry of the services: OMERO's service names and the classes that implement them."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

__all__ = ["STATEFUL", "STATELESS", "load_service_class"]

STATELESS = {
    "omero.api.IAdmin": "admin.AdminService",
    "omero.api.IConfig": "config.ConfigService",
    "omero.api.IContainer": "container.ContainerService",
    "omero.api.ILdap": "ldap.LdapService",
    "omero.api.IMetadata": "metadata.MetadataService",
    "omero.api.IPixels": "pixels.PixelsService",
    "omero.api.IProjection": "projection.ProjectionService",
    "omero.api.IQuery": "query.QueryService",
    "omero.api.IRenderingSettings": "rendering_settings.RenderingSettingsService",
    "omero.api.IRepositoryInfo": "repository_info.RepositoryInfoService",
    "omero.api.IRoi": "roi.RoiService",
    "omero.api.IScript": "script.ScriptService",
    "omero.api.ISession": "session.SessionService",
    "omero.api.ITimeline": "timeline.TimelineService",
    "omero.api.ITypes": "types.TypesService",
    "omero.api.IUpdate": "update.UpdateService",
    "omero.grid.SharedResources": "resources.SharedResources",
}
STATEFUL: dict[str, str] = {
    "omero.api.Exporter": "exporter.Exporter",
    "omero.api.JobHandle": "job_handle.JobHandle",
    "omero.api.RawFileStore": "file_store.RawFileStore",
    "omero.api.RawPixelsStore": "pixels_store.RawPixelsStore",
    "omero.api.RenderingEngine": "rendering_engine.RenderingEngine",
    "omero.api.Search": "search.SearchService",
    "omero.api.ThumbnailStore": "thumbnails.ThumbnailStore",
}


@cache
def load_service_class(name: str) -> Any:
    """Import and return the class of a service name (``omero.api.IQuery``), or None."""
    where = STATELESS.get(name) or STATEFUL.get(name)
    if where is None:
        return None
    module, kind = where.split(".")
    return getattr(import_module(f"omero_pixclf.embedded.services.{module}"), kind)
