"""omero.sys.Parameters as OMERO's hierarchy services understand them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omero.rtypes import unwrap

__all__ = ["ServiceOptions", "parse_service_options"]


@dataclass(frozen=True)
class ServiceOptions:
    """Whose objects, which page, which time, and how much of them."""

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
        """Whether a page is asked for."""
        return self.limit is not None or self.offset is not None

    def conditions(self, alias: str) -> list[str]:
        """HQL conditions on an alias for owner and group; the values are whole numbers."""
        found = [] if self.owner is None else [f"{alias}.details.owner.id = {self.owner}"]
        return [*found, *([] if self.group is None else [f"{alias}.details.group.id = {self.group}"])]


def parse_service_options(given: Any) -> ServiceOptions:
    """The options of a request; no Parameters, no options."""
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
