"""Several people at once: two runs on one plate beside a colleague's results, and what a member may do in each level.

python -m tests.benchmarks.company
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from omero.model import ExperimenterGroupI, ExperimenterI, PermissionsI
from omero.rtypes import rbool, rstring

from omero_pixclf.image import ArrayReader, ImageInfo
from omero_pixclf.objects.outline import MaskShape, Outline
from tests.benchmarks.stand import PROGRAM, PROJECT, Stand, plate_as, results, session, stand


def lab(at: Stand, name: str, level: str, *people: str) -> None:
    """A group of this level with these members; a member's password is the name."""
    with session(at) as root:
        admin = root.client.sf.getAdminService()
        group = ExperimenterGroupI()
        group.name, group.ldap, group.details.permissions = rstring(name), rbool(False), PermissionsI(level)
        made = ExperimenterGroupI(admin.createGroup(group), False)
        for person in people:
            user = ExperimenterI()
            user.omeName, user.firstName, user.lastName = rstring(person), rstring(person), rstring("Member")
            user.ldap = rbool(False)
            both = [made, ExperimenterGroupI(admin.getSecurityRoles().userGroupId, False)]
            admin.createExperimenterWithPassword(user, rstring(person), made, both)


@contextmanager
def as_user(at: Stand, name: str) -> Any:
    """A session of the connector as a member."""
    with session(at, user=name, password=name) as opened:
        yield opened


def command(at: Stand, user: str, *arguments: str) -> subprocess.Popen[str]:
    """A command under way as a member."""
    environment = {**at.environment, "OMERO_USER": user, "OMERO_PASSWORD": user}
    pipe = subprocess.PIPE
    return subprocess.Popen([str(PROGRAM), *arguments], env=environment, text=True, stdout=pipe, stderr=pipe)


def leave_something(opened: Any, plate_id: int, folder: Path) -> None:
    """A colleague's ROIs on every image, a table and a file on the plate."""
    from omero_pixclf.connector.files import attach_file
    from omero_pixclf.connector.results.rois import save_outlines
    from omero_pixclf.connector.results.tables import write_table
    from omero_pixclf.connector.source import OmeroSource
    from omero_pixclf.table import Column, Table

    for image in OmeroSource(opened).images([f"Plate:{plate_id}"]):
        shapes = [Outline(i, 0, (MaskShape(0, 0, i, i, np.ones((3, 3), bool)),)) for i in range(4)]
        number = int(image.key.partition(":")[2])
        group = opened.group_id
        facts: dict[str, Any] = {"name": "Nucleus", "color": (9, 9, 9), "channel": None, "mark": "mine"}
        save_outlines(opened, shapes, image=number, group=group, **facts)
    (folder / "notes.txt").write_text("mine")
    attach_file(opened, f"Plate:{plate_id}", folder / "notes.txt")
    table = Table((Column("Image", "image", np.arange(5)), Column("Mine", "double", np.linspace(0, 1, 5))))
    space = "openmicroscopy.org/omero/bulk_annotations"
    target, group = f"Plate:{plate_id}", opened.group_id
    write_table(opened, target, table, group=group, name="mine", namespace=space, description="mine")


def digest_of(opened: Any) -> str:
    """Everything that a user owns on images and plates, byte for byte, as a digest."""
    from omero_pixclf.connector.files import download_file

    own = {"me": opened.user_id}
    parts = [
        opened.query_rows(f"select {what} where x.details.owner.id = :me order by x.id", **own)
        for what in (
            "x.id, x.name from Roi x",
            "x.id, x.x, x.y, x.width, x.height from Mask x",
            "x.id, x.ns from Annotation x",
            "x.id, x.parent.id, x.child.id from PlateAnnotationLink x",
            "x.id, x.hash, x.size from OriginalFile x",
        )
    ]
    masks = opened.query_objects("select x from Mask x where x.details.owner.id = :me order by x.id", **own)
    parts.append([bytes(mask.bytes) for mask in masks])
    files = opened.query_ids("select x.id from FileAnnotation x where x.details.owner.id = :me order by x.id", **own)
    content = [hashlib.sha256(download_file(opened, n)[1]).hexdigest() for n in files]
    return f"{[len(p) for p in parts]} {hashlib.sha256(repr((parts, content)).encode()).hexdigest()[:16]}"


def two_runs_beside_a_colleague(at: Stand, folder: Path) -> bool:
    """Whether two runs at once leave one run's results, and the colleague's as they were."""
    lab(at, "lab", "rwra--", "anna", "carl")
    calm, busy = (plate_as(at, "plate", user="anna", rows=2, columns=3, fields=2) for _ in range(2))
    with as_user(at, "carl") as carl:
        leave_something(carl, busy, folder)
        before = digest_of(carl)
    job = ["--project", str(PROJECT), "--min-size", "40"]
    command(at, "anna", "run", f"Plate:{calm}", *job).communicate()
    both = [command(at, "anna", "run", f"Plate:{busy}", *job) for _ in range(2)]
    codes = []
    for process in both:
        process.communicate()
        codes.append(process.returncode)
    if any(codes):  # an image that the other run had in work is left to it; a third run finds all done or does it
        command(at, "anna", "run", f"Plate:{busy}", *job).communicate()
    with as_user(at, "carl") as carl:
        after = digest_of(carl)
    with as_user(at, "anna") as anna:
        alone, together = (results(at, p, opened=anna, owner=anna.user_id) for p in (calm, busy))
    equal = alone == together
    for part in alone if not equal else ():
        print(f"{part}: alone {alone[part]}\n{part}: together {together[part]}")
    print(f"exit codes of the two runs: {codes}")
    print(f"{'yes' if equal else 'NO':<4} two runs at once leave the results of one")
    print(f"{'yes' if before == after else 'NO':<4} the colleague's ROIs, table and file are as they were: {before}")
    return equal and before == after


def levels(at: Stand) -> None:
    """What a member's check of a colleague's image says in groups of the four levels."""
    from omero_pixclf.connector.upload import create_container, upload_image

    for name, level in (("private", "rw----"), ("read-only", "rwr---"), ("annotate", "rwra--"), ("write", "rwrw--")):
        lab(at, f"lab {name}", level, f"owner-{name}", f"member-{name}")
        info = ImageInfo("a", "a", (1, 1, 64, 64, 2), "uint16", ("Nuclei", "Cytoplasm"))
        with as_user(at, f"owner-{name}") as owner:
            dataset = create_container(owner, "Dataset", "data")
            image = upload_image(owner, ArrayReader(info, np.zeros(info.shape, np.uint16)), dataset=dataset)
        process = command(at, f"member-{name}", "run", f"Image:{image}", "--project", str(PROJECT))
        out, err = process.communicate()
        print(f"{name} ({level}): exit {process.returncode}\n    " + "\n    ".join((out + err).strip().splitlines()))


def main() -> int:
    """Carry it out; 1 where something was touched."""
    with tempfile.TemporaryDirectory() as scratch, stand(Path(scratch)) as at:
        good = two_runs_beside_a_colleague(at, Path(scratch))
        levels(at)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
