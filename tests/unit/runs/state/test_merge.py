"""Shards merged into one run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omero_pixclf.errors import UsageError
from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.runs.state.manifest import Manifest, ManifestEntry, RunHeader
from omero_pixclf.runs.state.merge import create_merged_manifest, load_shard_runs, make_merged_header
from omero_pixclf.table import Column, Table


def image(number: int, side: int = 64) -> ImageInfo:
    shape = (1, 1, side, side, 2)
    return ImageInfo(f"Image:{number}", f"i{number}", shape, "uint16", ("a", "b"), place=ImageLocation("Dataset:1"))


def run(number: int) -> str:
    return f"20261121T000000-00000{number}"


def part(folder: Path, number: int, shard: str, state: str = "done", digest: str = "h") -> str:
    header = RunHeader(run(number), {}, digest, ("Dataset:1",), "s", "ada", "now", shard)
    with Manifest.create(folder / header.run_id, header) as manifest:
        manifest.add([ManifestEntry(f"Image:{number}", "Dataset:1", f"i{number}", "due")])
        manifest.set_state(f"Image:{number}", state)  # type: ignore[arg-type]
        manifest.save_table(f"Image:{number}", "summary", Table((Column("Image", "image", np.array([number])),)))
    return header.run_id


def test_shares_become_one_run_that_knows_all_they_knew(tmp_path: Path) -> None:
    runs = [part(tmp_path, 1, "2/3"), part(tmp_path, 2, "1/3", "running"), part(tmp_path, 3, "3/3")]
    parts = load_shard_runs(tmp_path, runs)
    header = make_merged_header(run(9), "now", parts)
    assert header.merged == (run(2), run(1), run(3)) and header.shard == ""
    with create_merged_manifest(tmp_path, header, parts) as manifest:
        states = {e.key: e.state for e in manifest.entries()}
        assert states == {"Image:1": "done", "Image:2": "failed", "Image:3": "done"}
        assert f"--resume {run(2)}" in manifest.entries()[0].reason
        kept = manifest.load_table("Image:3", "summary")
        assert kept is not None and kept["Image"].tolist() == [3]
    with Manifest.open(tmp_path / run(9)) as again:
        assert again.header.merged == (run(2), run(1), run(3))


def test_what_is_not_a_whole_set_of_shares_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    one, two, other = part(tmp_path, 1, "1/3"), part(tmp_path, 2, "2/3"), part(tmp_path, 3, "3/3", digest="x")
    whole = part(tmp_path, 4, "")
    with pytest.raises(UsageError, match="missing 3/3"):
        load_shard_runs(tmp_path, [one, two])
    with pytest.raises(UsageError, match="not the same recipe hash"):
        load_shard_runs(tmp_path, [one, two, other])
    with pytest.raises(UsageError, match="is no share"):
        load_shard_runs(tmp_path, [whole])
    with pytest.raises(UsageError, match="no such run"):
        load_shard_runs(tmp_path, [run(8)])
