"""Readers of HDF5, NumPy and picture files: whole images or an error that says what is missing and what to do."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from omero_pixclf.errors import ImageError
from omero_pixclf.files.opening import open_image
from omero_pixclf.image import Region

FIRST = np.arange(30 * 40, dtype="uint16").reshape(30, 40)
TRUTH = FIRST % 3 == 0


def pixels_of(path: str | Path) -> np.ndarray:
    with open_image(path) as image:
        return image.read(Region.whole(image.info.shape))[0, 0, :, :, 0]


def write(path: Path, **arrays: object) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            file[name] = value
    return path


def test_hdf5_without_images_names_what_it_has(tmp_path):
    path = write(tmp_path / "a.h5", line=np.arange(5), number=3)
    with pytest.raises(ImageError, match=r"none of 2 to 5 dimensions; besides, line of shape \(5,\), number of shape"):
        pixels_of(path)
    with pytest.raises(ImageError, match=r"has 1 dimensions \(shape \(5,\)\), expected 2 to 5"):
        pixels_of(f"{path}/line")


def test_a_link_to_another_hdf5_file_is_named_and_followed(tmp_path):
    write(tmp_path / "other.h5", raw=FIRST)
    path = write(tmp_path / "a.h5", data=h5py.ExternalLink("other.h5", "/raw"))
    with pytest.raises(ImageError, match=r"links to arrays in other files: data -> other\.h5/raw"):
        pixels_of(path)
    assert np.array_equal(pixels_of(f"{path}/data"), FIRST)
    with open_image(f"{path}/data") as image:
        before = image.info.fingerprint
    write(tmp_path / "other.h5", raw=FIRST, more=FIRST)
    with open_image(f"{path}/data") as image:
        assert image.info.fingerprint != before


def test_links_to_missing_files_out_of_the_folder_and_in_circles_are_refused(tmp_path):
    (tmp_path / "in").mkdir()
    write(tmp_path / "secret.h5", raw=FIRST)
    path = write(
        tmp_path / "in/a.h5",
        gone=h5py.ExternalLink("none.h5", "/raw"),
        out=h5py.ExternalLink("../secret.h5", "/raw"),
        round=h5py.ExternalLink("a.h5", "/round"),
        soft=h5py.SoftLink("/nowhere"),
    )
    for name, reason in (
        ("gone", "it needs none.h5, which does not exist"),
        ("out", "outside"),
        ("round", "circle"),
        ("soft", "holds no array 'soft'"),
    ):
        with pytest.raises(ImageError, match=reason):
            pixels_of(f"{path}/{name}")


def virtual(folder: Path) -> Path:
    """An array whose halves are in two other files."""
    layout = h5py.VirtualLayout(shape=(30, 40), dtype="uint16")
    for n in range(2):
        write(folder / f"part{n}.h5", raw=FIRST[15 * n : 15 * n + 15])
        layout[15 * n : 15 * n + 15] = h5py.VirtualSource(f"part{n}.h5", "raw", shape=(15, 40))
    with h5py.File(folder / "all.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    return folder / "all.h5"


def test_an_array_made_of_parts_in_other_files_is_read_whole_or_refused(tmp_path):
    path = virtual(tmp_path)
    assert np.array_equal(pixels_of(path), FIRST)
    write(tmp_path / "part1.h5", other=FIRST)
    with pytest.raises(ImageError, match=r"incomplete: part1\.h5 holds no array 'raw'"):
        pixels_of(path)
    (tmp_path / "part1.h5").unlink()
    with pytest.raises(ImageError, match=r"incomplete: it needs part1\.h5, which does not exist"):
        pixels_of(path)


def test_pixels_in_raw_files_beside_hdf5_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", (30, 40), "uint16", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
    with pytest.raises(ImageError, match="raw files"):
        pixels_of(tmp_path / "a.h5")


def test_chunks_larger_than_memory_and_shapes_larger_than_any_disk_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("wide", (2**20, 2**20), "uint8", chunks=(2**16, 2**16 - 1))
        file.create_dataset("vast", (2**31, 2**31, 2**10), "uint8", chunks=(1, 64, 64))
    np.lib.format.write_array_header_1_0(
        (tmp_path / "a.npy").open("wb"), {"descr": "<u2", "fortran_order": False, "shape": (2**40, 2**40)}
    )
    store = tmp_path / "a.zarr"
    zarr.open_array(str(store), mode="w", shape=(2**20, 2**20), chunks=(2**17, 2**17), dtype="uint8")
    for name in ("a.h5/vast", "a.npy", "a.zarr"):
        with pytest.raises(ImageError, match=r"damaged|GiB each|incomplete"):
            pixels_of(tmp_path / name)
    with open_image(tmp_path / "a.h5/wide"):  # 4 GiB less 64 kB is allowed
        pass


def test_a_numpy_file_that_is_cut_is_refused_when_it_is_opened(tmp_path):
    np.save(tmp_path / "a.npy", FIRST)
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:-7])
    with (
        pytest.raises(ImageError, match=f"it has {len(data) - 7} of {len(data)} bytes"),
        open_image(tmp_path / "a.npy"),
    ):
        pass


@pytest.mark.parametrize("kind", ["gif", "png"])
def test_an_animation_is_refused_rather_than_read_as_its_first_frame(tmp_path, kind):
    frames = [Image.fromarray((FIRST + n).astype("uint8")) for n in range(3)]
    path = tmp_path / f"a.{kind}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="holds 3 frames"), open_image(path):
        pass
    frames[0].save(path)
    assert np.array_equal(pixels_of(path), FIRST.astype("uint8"))


@pytest.mark.parametrize("name", ["a.h5", "a.npy", "a.tif", "packed.tif", "a.zarr"])
def test_truth_values_are_the_numbers_0_and_1_in_every_format(tmp_path, name):
    path = tmp_path / name
    if name == "a.h5":
        write(path, data=TRUTH)
    elif name == "a.npy":
        np.save(path, TRUTH)
    elif name.endswith(".tif"):
        tifffile.imwrite(path, TRUTH, **({"compression": "zlib"} if name == "packed.tif" else {}))
    else:
        array = zarr.open_array(str(path), mode="w", shape=TRUTH.shape, chunks=(16, 16), dtype="bool")
        array[:] = TRUTH
    with open_image(path) as image:
        assert image.info.dtype == "uint8"
        found = image.read(Region((0, 0, 3, 4, 0), (1, 1, 29, 40, 1)))[0, 0, :, :, 0]
    assert found.dtype == np.uint8
    assert np.array_equal(found, TRUTH[3:29, 4:40].astype("uint8"))
