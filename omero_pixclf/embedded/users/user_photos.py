"""Users' photos: files in the group ``user``, linked to the user by an annotation."""

from __future__ import annotations

import hashlib
from typing import Any

import omero.model
from omero.rtypes import rlong, rstring

from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.hql.queries import query_objects
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.storage.data_paths import file_path
from omero_pixclf.embedded.users.access_rights import USER_GROUP

__all__ = ["load_photos", "store_photo"]

_NAMESPACE = "openmicroscopy.org/omero/experimenter/photo"


def load_photos(call: RequestContext) -> list[Any]:
    """Return the caller's photos as original files."""
    return query_objects(
        call.in_group(None),
        "select f from ExperimenterAnnotationLink l, FileAnnotation a join a.file f "
        "where l.child.id = a.id and l.parent.id = :i and a.ns = :n order by f.id",
        i=call.caller.user_id,
        n=_NAMESPACE,
    )


def store_photo(call: RequestContext, name: str, mimetype: str, data: bytes) -> int:
    """Store a photo of the caller; return the file's id."""
    saver = Saver(call.as_admin())
    link = omero.model.ExperimenterAnnotationLinkI()
    link.parent = omero.model.ExperimenterI(call.caller.user_id, False)
    link.child = omero.model.FileAnnotationI()
    link.child.ns = rstring(_NAMESPACE)
    link.child.file = file = _file(name, mimetype, data)
    for made in (link, link.child, file):
        made.details.owner = omero.model.ExperimenterI(call.caller.user_id, False)
        made.details.group = omero.model.ExperimenterGroupI(USER_GROUP, False)
    saver.save(link)
    saver.flush()
    path = file_path(call.folder, file.id.val)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return int(file.id.val)


def _file(name: str, mimetype: str, data: bytes) -> Any:
    file = omero.model.OriginalFileI()
    file.name, file.path, file.mimetype = rstring(name), rstring("/"), rstring(mimetype)
    file.size, file.hash = rlong(len(data)), rstring(hashlib.sha1(data).hexdigest())
    file.hasher = omero.model.ChecksumAlgorithmI()
    file.hasher.value = rstring("SHA1-160")
    return file
