"""What real ilastik answered, against what lies in OMERO after import, run and download by commands."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from omero_pixclf.demo.readback import attachments, download
from tests.e2e.conftest import Omero
from tests.e2e.test_main_job import events

AXES = "tzyxc"


def five(path: Path, name: str) -> NDArray[Any]:
    """A dataset of ilastik's, by its own axis tags, as (t, z, y, x, c)."""
    with h5py.File(path) as file:
        keys = [a["key"] for a in json.loads(file[name].attrs["axistags"])["axes"]]
        present = [k for k in AXES if k in keys]
        pixels = np.transpose(file[name][()], [keys.index(k) for k in present])
    return pixels.reshape([pixels.shape[present.index(k)] if k in present else 1 for k in AXES])


@pytest.mark.parametrize("case", ["c14_mitocheck_txyzc_u16", "c17_3d2c_u16_omeroguide14"])
def test_maps_downloaded_from_omero_equal_ilastiks(
    case: str, shared: Path, omero: Omero, tmp_path: Path, second_client: Any
) -> None:
    golden = shared / "goldens" / case
    (tmp_path / "project.ilp").write_bytes(gzip.decompress((golden / "project.ilp.gz").read_bytes()))
    (tmp_path / f"{case}.h5").write_bytes((golden / "raw.h5").read_bytes())
    imported = omero.command("embedded", "import", str(tmp_path / f"{case}.h5"), "--dataset", case)
    image = int(imported.stdout.split("\t")[0].removeprefix("Image:"))
    dataset = second_client.getObject("Image", image).getParent().getId()
    maps = ["--probabilities", "attachment", "--segmentation", "attachment", "--rois", "none"]
    done = omero.command("run", f"Dataset:{dataset}", "--project", str(tmp_path / "project.ilp"), *maps, "--json")
    assert events(done.stdout)[-1]["done"] == 1

    for kind, stored in (("probabilities", "probabilities.h5"), ("segmentation", "simple_segmentation.h5")):
        (found,) = [a for a in attachments(second_client, "Image", image) if kind in a.name]
        download(second_client, found.annotation_id, tmp_path / stored)
        ours, theirs = five(tmp_path / stored, "exported_data"), five(golden / stored, "exported_data")
        if kind == "segmentation":
            np.testing.assert_array_equal(ours, theirs)
        else:
            assert np.abs(ours - theirs).max() <= 1e-6
