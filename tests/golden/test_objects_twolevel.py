"""Two-level thresholding finds ilastik's objects, under ilastik's numbers."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from omero_pixclf.objects.two_level_threshold import TwoLevelSettings, two_level_threshold

CASES = ["o01_oc_2d3c_wPred", "o02_oc_2t3d2c_wPred_std", "o05_oc_3d_hysteresis_samechannel"]
METHODS = {0: "simple", 1: "hysteresis"}


def five_axes(path: Path, name: str) -> NDArray[Any]:
    with h5py.File(path) as file:
        data = file[name]
        axes = "".join(a["key"] for a in json.loads(data.attrs["axistags"])["axes"])
        assert "tzyxc".endswith(axes), axes
        return data[()].reshape((1,) * (5 - data.ndim) + data.shape)


def settings_of(case: Path) -> TwoLevelSettings:
    with h5py.File(io.BytesIO(gzip.decompress((case / "project.ilp.gz").read_bytes()))) as project:
        group = project["ThresholdTwoLevels"]
        return TwoLevelSettings(
            method=METHODS[int(group["CurOperator"][()])],
            channel=int(group["Channel"][()]),
            core_channel=int(group["CoreChannel"][()]),
            low=float(group["LowThreshold"][()]),
            high=float(group["HighThreshold"][()]),
            sigma=tuple(float(group["SmootherSigma"][a][()]) for a in "zyx"),
            min_size=int(group["MinSize"][()]),
            max_size=int(group["MaxSize"][()]),
        )


@pytest.mark.parametrize("name", CASES)
def test_label_images_equal_ilastiks_object_identities(shared: Path, name: str) -> None:
    case = shared / "goldens" / name
    probabilities = five_axes(case / "prediction_maps.h5", "data")
    expected = five_axes(case / "object_identities.h5", "exported_data")[..., 0]
    found = two_level_threshold(probabilities, settings_of(case))
    assert expected.max() > 0
    assert np.count_nonzero(found != expected) == 0
