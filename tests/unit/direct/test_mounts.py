"""From the server's paths to ours, and never out of what was named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from omero_pixclf.direct.mounts import Mount, NotMountedError, locate_file, parse_mount
from omero_pixclf.errors import ImageError, UsageError
from omero_pixclf.pixel_location import PixelLocation, StoredFile

MANAGED, DATA = "/OMERO/ManagedRepository", "/OMERO"


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def imported(path: str = "lab_2/a.tif") -> PixelLocation:
    return PixelLocation("fileset", StoredFile(path, MANAGED), roots=(DATA, MANAGED))


def planes(path: str = "Pixels/51") -> PixelLocation:
    return PixelLocation("planes", StoredFile(path), roots=(DATA, MANAGED))


def group(path: str) -> PixelLocation:
    return PixelLocation("multiscales", StoredFile(path), roots=(DATA, MANAGED))


def test_a_folder_is_the_repository_or_what_holds_it(tmp_path):
    file = put(tmp_path / "ManagedRepository" / "lab_2" / "a.tif")
    for folder in (tmp_path, tmp_path / "ManagedRepository"):
        assert locate_file([Mount(folder)], imported()) == file


def test_a_folder_of_the_servers_may_be_named(tmp_path):
    file = put(tmp_path / "lab_2" / "a.tif")
    assert locate_file([parse_mount(f"{MANAGED}={tmp_path}")], imported()) == file
    with pytest.raises(NotMountedError, match=r"/OMERO/ManagedRepository/lab_2/a\.tif"):
        locate_file([parse_mount(f"/OMERO/Other={tmp_path}")], imported())


def test_planes_lie_below_the_data_directory(tmp_path):
    file = put(tmp_path / "Pixels" / "51")
    assert locate_file([Mount(tmp_path)], planes()) == file
    assert locate_file([parse_mount(f"/OMERO={tmp_path}")], planes()) == file
    with pytest.raises(NotMountedError):
        locate_file([Mount(tmp_path / "Pixels")], planes())


def test_zarr_is_found_by_its_own_path(tmp_path):
    inside = put(tmp_path / "managed" / "lab" / "a.zarr" / "0" / ".zattrs").parent
    assert locate_file([Mount(tmp_path / "managed")], group(f"{MANAGED}/lab/a.zarr/0")) == inside
    elsewhere = put(tmp_path / "zarr" / "b.zarr" / ".zattrs").parent
    assert locate_file([parse_mount(f"/data={tmp_path / 'zarr'}")], group("/data/b.zarr")) == elsewhere
    with pytest.raises(NotMountedError):
        locate_file([Mount(tmp_path)], group("/elsewhere/b.zarr"))


def test_the_first_mount_that_has_the_file_counts(tmp_path):
    (tmp_path / "empty").mkdir()
    file = put(tmp_path / "full" / "lab_2" / "a.tif")
    assert (
        locate_file([Mount(tmp_path / "absent"), Mount(tmp_path / "empty"), Mount(tmp_path / "full")], imported())
        == file
    )


def test_a_missing_file_is_named_as_it_was_looked_for(tmp_path):
    with pytest.raises(ImageError, match=rf"not found locally as {tmp_path}/lab_2/a\.tif") as caught:
        locate_file([Mount(tmp_path)], imported())
    assert not isinstance(caught.value, NotMountedError)


@pytest.mark.parametrize("path", ["../secret.tif", "lab/../../secret.tif", "lab/.."])
def test_a_path_that_leads_out_is_refused(tmp_path, path):
    put(tmp_path / "secret.tif")
    (tmp_path / "mount").mkdir()
    with pytest.raises(ImageError, match="leads out of its folder"):
        locate_file([Mount(tmp_path / "mount")], imported(path))


@pytest.mark.parametrize("path", ["/OMERO/ManagedRepository/../../etc/passwd", "/etc/passwd"])
def test_an_absolute_path_that_leads_out_is_refused(tmp_path, path):
    with pytest.raises(ImageError):
        locate_file([Mount(tmp_path)], group(path))


def test_an_absolute_path_in_a_repository_stays_below_it(tmp_path):
    """What a server would call /etc/passwd in its repository is not the machine's."""
    with pytest.raises(ImageError, match="not found locally"):
        locate_file([Mount(tmp_path)], imported("/etc/passwd".lstrip("/")))


def test_a_link_out_of_the_mount_is_refused(tmp_path):
    secret = put(tmp_path / "secret.tif")
    folder = tmp_path / "mount" / "lab_2"
    folder.mkdir(parents=True)
    (folder / "a.tif").symlink_to(secret)
    with pytest.raises(ImageError, match=rf"leads to {secret}"):
        locate_file([Mount(tmp_path / "mount")], imported())
    (folder / "a.tif").unlink()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    put(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="outside the mounted folders"):
        locate_file([Mount(tmp_path / "mount")], imported())


def test_links_of_files_imported_in_place_lead_to_where_those_are_here(tmp_path):
    target = put(tmp_path / "scope" / "a.tif")
    link = tmp_path / "managed" / "lab_2" / "a.tif"
    link.parent.mkdir(parents=True)
    link.symlink_to("/microscope/a.tif")
    mounts = [Mount(tmp_path / "managed"), parse_mount(f"/microscope={tmp_path / 'scope'}")]
    assert locate_file(mounts, imported()) == target
    with pytest.raises(ImageError, match="links cannot be resolved"):
        locate_file(mounts[:1], imported())


def test_links_in_a_circle_end(tmp_path):
    link = tmp_path / "lab_2" / "a.tif"
    link.parent.mkdir()
    link.symlink_to("b.tif")
    link.with_name("b.tif").symlink_to("a.tif")
    with pytest.raises(ImageError, match="links cannot be resolved"):
        locate_file([Mount(tmp_path)], imported())


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(put(tmp_path / "lab_2" / "b.tif").with_name("a.tif"))
    with pytest.raises(ImageError, match="neither a file nor a folder"):
        locate_file([Mount(tmp_path)], imported())


@pytest.mark.parametrize("text", ["", "=/mnt", "/OMERO=", "OMERO=/mnt"])
def test_half_a_mount_is_refused(text):
    with pytest.raises(UsageError, match="--direct"):
        parse_mount(text)
