"""Options of OMERO's hierarchy services, parsed from omero.sys.Parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omero.rtypes import unwrap

__all__ = ["ServiceOptions", "parse_service_options"]


@dataclass(frozen=True)
class ServiceOptions:
    """Owner, group, page, time range and optional parts of a query of a hierarchy service."""

    owner: int | None = None
    group: int | None = None
    limit: int | None = None
    offset: int | None = None
    start: int | None = None  # ms
    end: int | None = None  # ms
    leaves: bool = False
    orphan: bool = False
    acquisition: bool = False

    @property
    def is_paged(self) -> bool:
        """Whether a page is requested."""
        return self.limit is not None or self.offset is not None

    def conditions(self, alias: str) -> list[str]:
        """Return HQL conditions on an alias for owner and group; the values are integers."""
        found = [] if self.owner is None else [f"{alias}.details.owner.id = {self.owner}"]
        return [*found, *([] if self.group is None else [f"{alias}.details.group.id = {self.group}"])]


def parse_service_options(given: Any) -> ServiceOptions:
    """Return the options in a Parameters object; the defaults for None."""
    page = given.theFilter if given is not None else None
    extra = given.theOptions if given is not None else None
    return ServiceOptions(
        owner=_value(page, "ownerId"),
        group=_value(page, "groupId"),
        limit=_value(page, "limit"),
        offset=_value(page, "offset"),
        start=_value(page, "startTime"),
        end=_value(page, "endTime"),
        leaves=bool(_value(extra, "leaves")),
        orphan=bool(_value(extra, "orphan")),
        acquisition=bool(_value(extra, "acquisitionData")),
    )


def _value(where: Any, name: str) -> Any:
    return unwrap(getattr(where, name, None)) if where is not None else None
