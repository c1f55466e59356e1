"""Rules of deletions: which objects are deleted along, and which checks can forbid the deletion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from omero_pixclf.embedded.commands.graph_traversal import Action, Decision, GraphTraversal
from omero_pixclf.embedded.commands.links import (
    StoredObject,
    annotation_links,
    find_objects,
    format_object,
    is_kind,
    link_classes,
    referring_fields,
    relation,
)
from omero_pixclf.embedded.commands.request_errors import graph_error
from omero_pixclf.embedded.commands.rules import (
    BORROWED_ANNOTATIONS,
    CONTENTS,
    FREE_ANNOTATIONS,
    HOLDS,
    PARTS,
    SETTINGS,
    HoldRule,
)
from omero_pixclf.embedded.database.object_model import entity
from omero_pixclf.embedded.database.schema import pair_table, table
from omero_pixclf.embedded.database.sqlite import ids_parameter

__all__ = [
    "Deletion",
    "PlainDeletion",
    "check_filesets",
    "delete_rows",
    "is_any_kind",
    "orphaned_references",
    "pair_tables",
]

_FREE_PARTS = ("Pixels.settings", "Pixels.thumbnails", "~FileAnnotation.file")
_FREE = {relation(hold.relation).member for hold in HOLDS if hold.free} | set(FREE_ANNOTATIONS)
_CHECKED_LINKS = ("PixelsOriginalFileMap",)  # links that require the right to delete; others go with either end
_KEPT_LINKS = ("FilesetJobLink",)
_IMPORT_JOBS = ("IndexingJob", "MetadataImportJob", "PixelDataJob", "ThumbnailGenerationJob", "UploadJob")


def is_any_kind(item: StoredObject, kinds: Iterable[str]) -> bool:
    """Whether an object is of one of some classes."""
    return any(is_kind(item.kind, kind) for kind in kinds)


class Deletion(GraphTraversal):
    """The traversal of Delete2."""

    parts: Sequence[str] = (*PARTS, *SETTINGS)
    holds: Sequence[HoldRule] = (*HOLDS, *CONTENTS)

    def expand(self, action: Action, batch: list[StoredObject]) -> None:
        """Follow parts, annotations, files and links."""
        super().expand(action, batch)
        for text in _FREE_PARTS:
            self.follow(relation(text), action, batch, checked=False)
        self._annotations(batch)
        self._files_of_jobs(batch)
        self._cut_links(batch)

    def decide_unheld(self, member: StoredObject) -> Decision | None:
        """Delete objects that no other object holds; some classes regardless of the caller's rights."""
        if is_any_kind(member, _FREE):
            return Decision(member, Action.DELETE, False)
        if is_kind(member.kind, "Annotation") and not self.rights(member).delete:
            return None
        return Decision(member, Action.DELETE, True)

    def _annotations(self, batch: list[StoredObject]) -> None:
        """Consider annotations of deleted objects, except others' files and tags."""
        for name in annotation_links():
            holders = {item.id: item for item in batch if is_kind(item.kind, relation(name).holder)}
            for pair in relation(name).members(self.tx, holders) if holders else ():
                if self._takes_annotation(holders[pair.known], pair.other):
                    self.consider(pair.other)
            links = [item.id for item in batch if item.kind == name]
            for pair in relation(f"{name}.child").members(self.tx, links) if links else ():
                if not is_any_kind(pair.other, BORROWED_ANNOTATIONS):
                    self._consider_unlinked(pair.other)

    def _consider_unlinked(self, annotation: StoredObject) -> None:
        if is_any_kind(annotation, FREE_ANNOTATIONS) or self.rights(annotation).delete:
            self.consider(annotation)

    def _takes_annotation(self, holder: StoredObject, annotation: StoredObject) -> bool:
        if is_any_kind(annotation, FREE_ANNOTATIONS):
            return True
        if is_any_kind(annotation, BORROWED_ANNOTATIONS) and holder.owner != annotation.owner:
            return False
        return self.rights(annotation).delete

    def _files_of_jobs(self, batch: list[StoredObject]) -> None:
        jobs = {item.id: item for item in batch if is_any_kind(item, _IMPORT_JOBS)}
        for pair in relation("JobOriginalFileLink").members(self.tx, jobs) if jobs else ():
            if jobs[pair.known].owner == pair.other.owner:
                self.consider(pair.other)

    def _cut_links(self, batch: list[StoredObject]) -> None:
        """Delete the links at either end of deleted objects."""
        for link, end, _side in self.find_links(batch, [name for name in link_classes() if name not in _KEPT_LINKS]):
            if is_kind(end.kind, "TagAnnotation") and entity(link.kind).is_annotation_link and _side == "child":
                self._cut_tag(link, end)
            else:
                self.decide(link, Action.DELETE, checked=is_any_kind(link, _CHECKED_LINKS))

    def _cut_tag(self, link: StoredObject, tag: StoredObject) -> None:
        """Delete a tag's link if the caller may delete the tagged object; GraphException otherwise."""
        for pair in relation(f"{link.kind}.parent").members(self.tx, [link.id]):
            if self.has_decision(pair.other.key) or self.rights(pair.other).delete:
                self.decide(link, Action.DELETE, checked=False)
            elif link.key not in self.decisions:
                raise graph_error(f"may not delete {format_object(tag)} while {format_object(pair.other)} remains")

    # ---- what forbids it -------------------------------------------------------------------------------------
    def check(self) -> None:
        """Raise GraphException if something may not be deleted, or something that stays needs it."""
        for decision in self.decisions.values():
            if decision.checked and not self.rights(decision.item).delete:
                raise graph_error(f"not permitted to delete {format_object(decision.item)}")
        images = self.decided_objects("Image", Action.DELETE)
        self._check_wells([image.id for image in images])
        check_filesets(self, images)

    def _check_wells(self, images: list[int]) -> None:
        for pair in relation("~WellSample.image").members(self.tx, images) if images else ():
            if not self.has_decision(pair.other.key):
                raise graph_error(f"may not delete Image[{pair.known}] while {format_object(pair.other)} remains")

    def references_to_clear(self) -> list[tuple[str, str, list[int]]]:
        """Return (table, property, ids of rows) of references to clear; GraphException if one is required."""
        found = []
        for root, ids in self.ids_by_table(Action.DELETE).items():
            for kind, name, nullable, rows in orphaned_references(self, root, ids):
                if not nullable:
                    raise graph_error(f"cannot null {entity(kind).qualified}.{name}")
                for item in rows:
                    if not self.rights(item).edit:
                        raise graph_error(f"not permitted to update {format_object(item)}")
                found.append((kind, name, [item.id for item in rows]))
        return found


class PlainDeletion(Deletion):
    """A deletion that includes parts and links only: contents and annotations stay."""

    def consider(self, member: StoredObject) -> None:
        """Do nothing: shared objects stay."""


def check_filesets(traversal: GraphTraversal, images: Sequence[StoredObject]) -> None:
    """Raise GraphException if only some images of a fileset are included."""
    ids = [image.id for image in images]
    filesets = relation("~Fileset.images").members(traversal.tx, ids) if ids else []
    split = {pair.other.id: pair.known for pair in filesets if not traversal.has_decision(pair.other.key)}
    for pair in relation("Fileset.images").members(traversal.tx, split) if split else ():
        if not traversal.has_decision(pair.other.key):
            raise graph_error(
                f"within Fileset[{pair.known}] may not take Image[{split[pair.known]}] while "
                f"{format_object(pair.other)} remains"
            )


def orphaned_references(
    traversal: GraphTraversal, root: str, ids: Sequence[int]
) -> list[tuple[str, str, bool, list[StoredObject]]]:
    """Return (class, property, nullable, objects) of objects that stay and refer to deleted objects."""
    found = []
    for kind, name, nullable in referring_fields(root):
        staying = [
            item
            for item in _referring(traversal, kind, name, ids)
            if not traversal.has_decision(item.key, Action.DELETE)
        ]
        if staying:
            found.append((kind, name, nullable, staying))
    return found


def _referring(traversal: GraphTraversal, kind: str, name: str, ids: Sequence[int]) -> list[StoredObject]:
    """Return objects that refer to some ids; the property may exist in some classes of the table only."""
    sql = f'SELECT id FROM {table(kind).name} WHERE "{name}" IN (SELECT value FROM json_each(?))'
    return find_objects(traversal.tx, kind, [row[0] for row in traversal.tx.all(sql, (ids_parameter(ids),))])


def delete_rows(traversal: GraphTraversal) -> None:
    """Delete the rows of all objects to be deleted."""
    for root, ids in traversal.ids_by_table(Action.DELETE).items():
        found = ids_parameter(ids)
        traversal.tx.execute(f"DELETE FROM {table(root).name} WHERE id IN (SELECT value FROM json_each(?))", (found,))
        for name in pair_tables(root):
            traversal.tx.execute(f"DELETE FROM {name} WHERE id IN (SELECT value FROM json_each(?))", (found,))


def pair_tables(root: str) -> set[str]:
    """Return the tables with the name-value pairs of a class hierarchy."""
    kinds = [entity(name) for name in entity(root).family]
    return {pair_table(kind, field) for kind in kinds for field in kind.fields.values() if field.kind == "pairs"}
