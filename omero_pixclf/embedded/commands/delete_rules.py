"""What a deletion takes along, and what forbids it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from omero_pixclf.embedded.commands.graph_traversal import Action, Fate, Journey
from omero_pixclf.embedded.commands.links import (
    Item,
    annotation_links,
    bond,
    items,
    link_classes,
    of_kind,
    referrers,
    text_of,
)
from omero_pixclf.embedded.commands.request_errors import graph_failure
from omero_pixclf.embedded.commands.rules import (
    BORROWED_ANNOTATIONS,
    CONTENTS,
    FREE_ANNOTATIONS,
    HOLDS,
    PARTS,
    SETTINGS,
    Hold,
)
from omero_pixclf.embedded.database.object_model import entity
from omero_pixclf.embedded.database.schema import pair_table, table
from omero_pixclf.embedded.database.sqlite import ids_parameter

__all__ = ["PlainRemoval", "Removal", "check_filesets", "delete_rows", "is_any", "orphaned_references", "pair_tables"]

_FREE_PARTS = ("Pixels.settings", "Pixels.thumbnails", "~FileAnnotation.file")
_FREE = {bond(hold.bond).thing for hold in HOLDS if hold.free} | set(FREE_ANNOTATIONS)
_CHECKED_LINKS = ("PixelsOriginalFileMap",)  # a link goes with either end whatever its owner, but for these
_KEPT_LINKS = ("FilesetJobLink",)
_IMPORT_JOBS = ("IndexingJob", "MetadataImportJob", "PixelDataJob", "ThumbnailGenerationJob", "UploadJob")


def is_any(item: Item, kinds: Iterable[str]) -> bool:
    """Whether an object is of one of some classes."""
    return any(of_kind(item.kind, kind) for kind in kinds)


class Removal(Journey):
    """Delete2's spread."""

    parts: Sequence[str] = (*PARTS, *SETTINGS)
    holds: Sequence[Hold] = (*HOLDS, *CONTENTS)

    def spread(self, action: Action, batch: list[Item]) -> None:
        """Follow parts, annotations, files and links."""
        super().spread(action, batch)
        for text in _FREE_PARTS:
            self.follow(bond(text), action, batch, checked=False)
        self._annotations(batch)
        self._files_of_jobs(batch)
        self._cut_links(batch)

    def settled(self, thing: Item) -> Fate | None:
        """What nobody holds is deleted, some kinds whatever the caller may do to them."""
        if is_any(thing, _FREE):
            return Fate(thing, Action.DROP, False)
        if of_kind(thing.kind, "Annotation") and not self.rights(thing).delete:
            return None
        return Fate(thing, Action.DROP, True)

    def _annotations(self, batch: list[Item]) -> None:
        """Annotations of what goes are considered, others' files and tags are not."""
        for name in annotation_links():
            holders = {item.id: item for item in batch if of_kind(item.kind, bond(name).holder)}
            for pair in bond(name).things(self.tx, holders) if holders else ():
                if self._takes_annotation(holders[pair.known], pair.other):
                    self.consider(pair.other)
            links = [item.id for item in batch if item.kind == name]
            for pair in bond(f"{name}.child").things(self.tx, links) if links else ():
                if not is_any(pair.other, BORROWED_ANNOTATIONS):
                    self._consider_unlinked(pair.other)

    def _consider_unlinked(self, annotation: Item) -> None:
        if is_any(annotation, FREE_ANNOTATIONS) or self.rights(annotation).delete:
            self.consider(annotation)

    def _takes_annotation(self, holder: Item, annotation: Item) -> bool:
        if is_any(annotation, FREE_ANNOTATIONS):
            return True
        if is_any(annotation, BORROWED_ANNOTATIONS) and holder.owner != annotation.owner:
            return False
        return self.rights(annotation).delete

    def _files_of_jobs(self, batch: list[Item]) -> None:
        jobs = {item.id: item for item in batch if is_any(item, _IMPORT_JOBS)}
        for pair in bond("JobOriginalFileLink").things(self.tx, jobs) if jobs else ():
            if jobs[pair.known].owner == pair.other.owner:
                self.consider(pair.other)

    def _cut_links(self, batch: list[Item]) -> None:
        """Links go with either of their ends."""
        for link, end, _side in self.links(batch, [name for name in link_classes() if name not in _KEPT_LINKS]):
            if of_kind(end.kind, "TagAnnotation") and entity(link.kind).is_annotation_link and _side == "child":
                self._cut_tag(link, end)
            else:
                self.decide(link, Action.DROP, checked=is_any(link, _CHECKED_LINKS))

    def _cut_tag(self, link: Item, tag: Item) -> None:
        """A tag leaves only what the caller may delete."""
        for pair in bond(f"{link.kind}.parent").things(self.tx, [link.id]):
            if self.goes(pair.other.key) or self.rights(pair.other).delete:
                self.decide(link, Action.DROP, checked=False)
            elif link.key not in self.fates:
                raise graph_failure(f"may not delete {text_of(tag)} while {text_of(pair.other)} remains")

    # ---- what forbids it -------------------------------------------------------------------------------------
    def check(self) -> None:
        """GraphException where something may not be deleted or something that stays needs it."""
        for fate in self.fates.values():
            if fate.checked and not self.rights(fate.item).delete:
                raise graph_failure(f"not permitted to delete {text_of(fate.item)}")
        images = self.taken("Image", Action.DROP)
        self._check_wells([image.id for image in images])
        check_filesets(self, images)

    def _check_wells(self, images: list[int]) -> None:
        for pair in bond("~WellSample.image").things(self.tx, images) if images else ():
            if not self.goes(pair.other.key):
                raise graph_failure(f"may not delete Image[{pair.known}] while {text_of(pair.other)} remains")

    def to_unlink(self) -> list[tuple[str, str, list[int]]]:
        """(table, property, ids of rows) of references to empty; GraphException where one may not be emptied."""
        found = []
        for root, ids in self.of_action(Action.DROP).items():
            for kind, name, nullable, rows in orphaned_references(self, root, ids):
                if not nullable:
                    raise graph_failure(f"cannot null {entity(kind).qualified}.{name}")
                for item in rows:
                    if not self.rights(item).edit:
                        raise graph_failure(f"not permitted to update {text_of(item)}")
                found.append((kind, name, [item.id for item in rows]))
        return found


class PlainRemoval(Removal):
    """The spread of a deletion that takes along parts and links only: contents and annotations stay."""

    def consider(self, thing: Item) -> None:
        """Leave alone what others might use."""


def check_filesets(journey: Journey, images: Sequence[Item]) -> None:
    """A fileset's images go together: GraphException where some stay."""
    ids = [image.id for image in images]
    filesets = bond("~Fileset.images").things(journey.tx, ids) if ids else []
    split = {pair.other.id: pair.known for pair in filesets if not journey.goes(pair.other.key)}
    for pair in bond("Fileset.images").things(journey.tx, split) if split else ():
        if not journey.goes(pair.other.key):
            raise graph_failure(
                f"within Fileset[{pair.known}] may not take Image[{split[pair.known]}] while "
                f"{text_of(pair.other)} remains"
            )


def orphaned_references(journey: Journey, root: str, ids: Sequence[int]) -> list[tuple[str, str, bool, list[Item]]]:
    """(class, property, nullable, objects) of what stays and refers to objects that are dropped."""
    found = []
    for kind, name, nullable in referrers(root):
        staying = [item for item in _referring(journey, kind, name, ids) if not journey.goes(item.key, Action.DROP)]
        if staying:
            found.append((kind, name, nullable, staying))
    return found


def _referring(journey: Journey, kind: str, name: str, ids: Sequence[int]) -> list[Item]:
    """Objects that refer to some ids; the property may belong to some classes of the table only."""
    sql = f'SELECT id FROM {table(kind).name} WHERE "{name}" IN (SELECT value FROM json_each(?))'
    return items(journey.tx, kind, [row[0] for row in journey.tx.all(sql, (ids_parameter(ids),))])


def delete_rows(journey: Journey) -> None:
    """Delete the rows of everything that is dropped."""
    for root, ids in journey.of_action(Action.DROP).items():
        found = ids_parameter(ids)
        journey.tx.execute(f"DELETE FROM {table(root).name} WHERE id IN (SELECT value FROM json_each(?))", (found,))
        for name in pair_tables(root):
            journey.tx.execute(f"DELETE FROM {name} WHERE id IN (SELECT value FROM json_each(?))", (found,))


def pair_tables(root: str) -> set[str]:
    """Tables with the name-value pairs of a hierarchy's objects."""
    kinds = [entity(name) for name in entity(root).family]
    return {pair_table(kind, field) for kind in kinds for field in kind.fields.values() if field.kind == "pairs"}
