"""Projects whose datasets are missing, foreign, of odd types or huge: a project, or one of the program's own errors."""

from __future__ import annotations

import gzip
import io
import time
import tracemalloc
from contextlib import redirect_stderr
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omero_pixclf.cli.predict import predict
from omero_pixclf.errors import PixclfError
from omero_pixclf.ilastik.labels import read_labels
from omero_pixclf.ilastik.project import read_project
from tests.golden.cases import OWN
from tests.golden.test_old_projects import of_early_versions
from tests.properties.fuzz_batches import BYTES, SECONDS
from tests.properties.ilp_fuzz import edited

PIXELS = gzip.decompress((OWN / "k05_2d_customscales_reordered" / "project.ilp.gz").read_bytes())


def _with_objects(file: h5py.File) -> None:
    del file["workflowName"]
    file["workflowName"] = b"Object Classification (from pixel classification)"
    file["ObjectClassification/SelectedFeatures/x/y"] = np.arange(3)


SEEDS = {"today's": PIXELS, "early": of_early_versions(PIXELS), "with objects": edited(PIXELS, _with_objects)}


def names_of(content: bytes) -> list[str]:
    """Everything in a project but most of its trees, which are alike."""
    found: list[str] = []
    edited(content, lambda file: file.visit(found.append))
    return [name for name in found if "Tree_" not in name or "Forest0000/Tree_00" in name]


NAMES = {seed: names_of(content) for seed, content in SEEDS.items()}
VALUES = [
    np.zeros(0), np.array(np.nan), np.array([np.inf, -1.0]), np.arange(7, dtype="u1"), np.arange(24).reshape(2, 3, 4),
    np.array([2**63 - 1, -(2**63)]), np.array(2.5 + 1j), np.zeros(3, [("a", "f8"), ("b", "i4")]),
    np.array([True, False]),
    b"text", b"\xff\xfe\x00bytes", b"x" * 70_000, np.array([b"a", b""]), np.array([b"[" * 5000]), -1, 10**9,
    np.zeros((300, 300), ">f4"), np.array([1, 1, 1], "f2"), b"0.5", b"99.9", b"Carving", "\u00fcn\u00efcode",
]  # fmt: skip


def _deleted(file: h5py.File, name: str, _: int) -> None:
    del file[name]


def _replaced(file: h5py.File, name: str, which: int) -> None:
    del file[name]
    file[name] = VALUES[which % len(VALUES)]


def _grouped(file: h5py.File, name: str, _: int) -> None:
    del file[name]
    file.create_group(name)["inside"] = 1


def _huge(file: h5py.File, name: str, which: int) -> None:
    del file[name]
    shape = [(2**40,), (2**20, 2**20), (2**31, 1)][which % 3]
    file.create_dataset(name, shape, ["f8", "i4", "u1"][which % 3], chunks=(1024,) * len(shape))


def _attributed(file: h5py.File, name: str, which: int) -> None:
    node = file[name]
    for number in range(which % 40):
        node.attrs[f"a{number}"] = np.zeros(6000, "u1")
    node.attrs["isEmpty"] = VALUES[which % 7]


def _linked(file: h5py.File, name: str, which: int) -> None:
    del file[name]
    file[name] = [h5py.SoftLink("/"), h5py.SoftLink(f"/{name}"), h5py.ExternalLink("/etc/passwd", "/")][which % 3]


EDITS = (_deleted, _replaced, _grouped, _huge, _attributed, _linked)
changes = st.lists(
    st.tuples(st.sampled_from(EDITS), st.integers(0, 10**6), st.integers(0, 10**4)), min_size=1, max_size=4
)


Edits = list[tuple[object, int, int]]


def changed(seed: str, edits: Edits) -> bytes:
    def edit(file: h5py.File) -> None:
        for how, at, which in edits:
            name = NAMES[seed][at % len(NAMES[seed])]
            try:
                how(file, name, which)  # type: ignore[operator]
            except (KeyError, ValueError, OSError, TypeError, RuntimeError):
                continue  # an earlier edit has taken it away, or HDF5 itself does not store that

    return edited(SEEDS[seed], edit)


@given(st.sampled_from(sorted(SEEDS)), changes)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_changed_projects_are_read_or_refused_in_time_and_memory(
    seed: str, edits: list[tuple[object, int, int]]
) -> None:
    content = changed(seed, edits)
    tracemalloc.start()
    begun = time.process_time()
    try:
        for read in (read_project, read_labels):
            try:
                read(content, name="p.ilp")
            except PixclfError as error:
                assert str(error).startswith("p.ilp: "), error
        assert time.process_time() - begun < 5 * SECONDS  # tracing memory takes most of it
        assert tracemalloc.get_traced_memory()[1] < BYTES
    finally:
        tracemalloc.stop()


@given(st.sampled_from(sorted(SEEDS)), changes)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
def test_predict_ends_with_a_code_whatever_the_project_is(tmp_path: Path, seed: str, edits: Edits) -> None:
    np.save(tmp_path / "a.npy", np.ones((40, 44, 1), np.uint8))
    (tmp_path / "p.ilp").write_bytes(changed(seed, edits))
    given_ = [f"--project={tmp_path}/p.ilp", f"--output_filename_format={tmp_path}/o", f"{tmp_path}/a.npy"]
    with redirect_stderr(io.StringIO()) as told:
        try:
            assert predict.main([*given_, "--input_axes=yxc", "--threads=1"], standalone_mode=False) in (0, 1, 2)
        except PixclfError as error:
            assert "p.ilp" in str(error), error
    assert "unexpected" not in told.getvalue()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_seeds_themselves_are_read(seed: str) -> None:
    assert read_project(SEEDS[seed]).channels == 1
