"""Hostile project files: `python -m tests.properties.ilp_fuzz [--count N] [--seed S]`.

Every input must end in a Project or a ProjectError within two seconds and 500 MB. Inputs are real projects whose bytes
were mutated, and projects that were edited with the HDF5 library into what a person with bad intent would send.
Each batch runs in a process of its own, so that a crash is seen and counted.
"""

from __future__ import annotations

import collections
import gzip
import io
import random
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import h5py
import numpy as np

from omero_pixclf.errors import ImageError, ProjectError
from omero_pixclf.ilastik.labels import read_labels
from omero_pixclf.ilastik.project import read_project
from omero_pixclf.pixels.predict import predict_array
from tests.properties.fuzz_batches import run_as_program, try_inputs

CASES = Path(__file__).parents[1] / "golden" / "cases"
FORESTS = "PixelClassification/ClassifierForests"
Edit = Callable[[h5py.File], object]


def seeds() -> list[bytes]:
    """Projects to start from: small real ones, and one written by the newest HDF5 library in its newest forms."""
    names = ("k05_2d_customscales_reordered", "k06_2d_u16_typical8", "k08_2t3d_u16_mixed2d3d")
    real = [gzip.decompress((CASES / name / "project.ilp.gz").read_bytes()) for name in names]
    return [*real, rewritten(real[0], libver=("v108", "v108"))]


def rewritten(content: bytes, **how: object) -> bytes:
    """The same project, written anew by h5py; chunked and compressed where a dataset is not tiny."""
    out = io.BytesIO()
    with h5py.File(io.BytesIO(content), "r") as old, h5py.File(out, "w", **how) as new:

        def copy(name: str, node: h5py.Group | h5py.Dataset) -> None:
            if isinstance(node, h5py.Group):
                target: h5py.Group | h5py.Dataset = new.require_group(name)
            else:
                packed = {"compression": "gzip", "shuffle": True} if node.ndim and node.size > 30 else {}
                target = new.create_dataset(name, data=node[()], dtype=node.dtype, **packed)
            for key, value in node.attrs.items():
                target.attrs[key] = value

        old.visititems(copy)
    return out.getvalue()


def edited(content: bytes, edit: Edit) -> bytes:
    """A project after an edit with h5py."""
    out = io.BytesIO(content)
    with h5py.File(out, "r+") as file:
        edit(file)
    return out.getvalue()


def replaced(path: str, **value: object) -> Edit:
    """Put another dataset in the place of one."""

    def edit(file: h5py.File) -> None:
        if path in file:
            del file[path]
        file.create_dataset(path, **value)

    return edit


def _tree(change: Callable[[np.ndarray], None], name: str = "topology") -> Edit:
    def edit(file: h5py.File) -> None:
        forest = file[FORESTS]["Forest0000"]
        tree = forest[next(key for key in forest if key.startswith("Tree_"))]
        values = tree[name][()]
        change(values)
        tree[name][...] = values

    return edit


def _put(at: int, value: float) -> Callable[[np.ndarray], None]:
    return lambda values: values.__setitem__(at, value)


def _link(path: str, link: h5py.SoftLink | h5py.ExternalLink) -> Edit:
    def edit(file: h5py.File) -> None:
        del file[path]
        file[path] = link

    return edit


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(7,), dtype="f8")
    layout[:] = h5py.VirtualSource("/etc/hostname", "Scales", shape=(7,))
    del file["FeatureSelections/Scales"]
    file.create_virtual_dataset("FeatureSelections/Scales", layout)


def _cycle_of_groups(file: h5py.File) -> None:
    forests = file[FORESTS]
    del forests["Forest0000/_ext_param"]
    forests["Forest0000/_ext_param"] = forests


def _external_storage(file: h5py.File) -> None:
    del file["FeatureSelections/Scales"]
    file.create_dataset("FeatureSelections/Scales", (7,), "f8", external=[("/etc/passwd", 0, 56)])


def chain(count: int) -> np.ndarray:
    """The topology of a tree that is as deep as it has nodes: each has the next one and a leaf of its own."""
    at = 2 + 7 * np.arange(count)
    zero = np.zeros_like(at)
    nodes = np.stack([zero, zero, at + 7, at + 5, zero, zero + 2**30, zero], axis=1)
    return np.concatenate([[14, 2], nodes.ravel(), [2**30, 0]]).astype(np.int32)


TOPOLOGY = f"{FORESTS}/Forest0000/Tree_00/topology"
HOSTILE: dict[str, Edit] = {
    "tree that leads back to its root": _tree(_put(4, 2)),
    "tree whose branches are shared": _tree(lambda v: v.__setitem__(5, v[4])),
    "child before the tree": _tree(_put(4, -7)),
    "child far outside": _tree(_put(5, 2**31 - 1)),
    "child on the last entry": _tree(lambda v: v.__setitem__(4, v.size - 1)),
    "feature that is not there": _tree(_put(6, 100_000)),
    "negative feature": _tree(_put(6, -1)),
    "parameters outside": _tree(_put(3, 2**31 - 1)),
    "negative parameters": _tree(_put(3, -1)),
    "hyperplane node": _tree(_put(2, 1)),
    "unknown leaf": _tree(_put(2, 0x40000001)),
    "threshold that is not a number": _tree(_put(1, np.nan), "parameters"),
    "infinite threshold": _tree(_put(1, np.inf), "parameters"),
    "other number of classes": _tree(_put(1, 200)),
    "tree of no nodes": replaced(TOPOLOGY, data=np.zeros(0, np.int32)),
    "tree of text": replaced(TOPOLOGY, data=np.array([b"two", b"three"])),
    "tree of floats": replaced(TOPOLOGY, data=np.linspace(0, 1, 20)),
    "tree as a chain of a million nodes": replaced(TOPOLOGY, data=chain(10**6)),
    "gigabytes of tree, none of them stored": replaced(TOPOLOGY, shape=(2**33,), dtype="i4"),
    "gigabytes of tree, compressed": replaced(
        TOPOLOGY, shape=(2**34,), dtype="i4", chunks=(2**20,), compression="gzip"
    ),
    "a bomb of zeros": replaced(TOPOLOGY, data=np.zeros(2**24, np.int32), compression="gzip", chunks=(2**22,)),
    "another filter": replaced(TOPOLOGY, data=np.zeros(100, np.int32), compression="lzf"),
    "a million trees": replaced(f"{FORESTS}/Forest0000/_options/tree_count_", data=np.array([1e6])),
    "minus one tree": replaced(f"{FORESTS}/Forest0000/_options/tree_count_", data=np.array([-1.0])),
    "half a tree": replaced(f"{FORESTS}/Forest0000/_options/tree_count_", data=np.array([0.5])),
    "trees in words": replaced(f"{FORESTS}/Forest0000/_options/tree_count_", data=b"fifty"),
    "billions of features": replaced(f"{FORESTS}/Forest0000/_ext_param/column_count_", data=np.array([4e9])),
    "no classes": replaced(f"{FORESTS}/Forest0000/_ext_param/class_count_", data=np.array([0.0])),
    "labels that are not there": replaced(f"{FORESTS}/known_labels", data=np.array([1, 4_000_000_000], np.uint32)),
    "labels twice": replaced(f"{FORESTS}/known_labels", data=np.array([1, 1], np.uint32)),
    "labels in words": replaced(f"{FORESTS}/known_labels", data=np.array([b"one", b"two"])),
    "a pickle instead of a classifier": replaced(f"{FORESTS}/pickled_type", data=b"cos\nsystem\n(S'true'\ntR."),
    "scales in words": replaced("FeatureSelections/Scales", data=np.array([b"one"] * 7)),
    "scale that is not a number": replaced("FeatureSelections/Scales", data=np.array([np.nan] * 7)),
    "negative scales": replaced("FeatureSelections/Scales", data=-np.arange(1.0, 8.0)),
    "gigantic scales": replaced("FeatureSelections/Scales", data=10.0 ** np.arange(300, 307)),
    "no scales": replaced("FeatureSelections/Scales", data=np.zeros(0)),
    "scales by the million": replaced("FeatureSelections/Scales", data=np.arange(1.0, 1e6)),
    "unknown filter": replaced("FeatureSelections/FeatureIds", data=np.array([b"__import__('os')"] * 6)),
    "matrix of another shape": replaced("FeatureSelections/SelectionMatrix", data=np.ones((6, 6), bool)),
    "empty matrix": replaced("FeatureSelections/SelectionMatrix", shape=(6, 7), dtype=bool),
    "one-dimensional matrix": replaced("FeatureSelections/SelectionMatrix", data=np.ones(42, bool)),
    "flags of another length": replaced("FeatureSelections/ComputeIn2d", data=np.ones(3, bool)),
    "a compound": replaced("FeatureSelections/Scales", data=np.zeros(7, [("a", "f8"), ("b", "i4")])),
    "soft link": _link("FeatureSelections/Scales", h5py.SoftLink("/FeatureSelections/FeatureIds")),
    "soft link to itself": _link("FeatureSelections", h5py.SoftLink("/FeatureSelections")),
    "external link": _link("FeatureSelections", h5py.ExternalLink("/etc/passwd", "/")),
    "external link to a classifier": _link(FORESTS, h5py.ExternalLink("other.ilp", FORESTS)),
    "virtual dataset": _virtual,
    "data in another file": _external_storage,
    "a group that holds itself": _cycle_of_groups,
    "group for a dataset": lambda file: (file.__delitem__(TOPOLOGY), file.create_group(TOPOLOGY))[0],
    "dataset for a group": replaced(FORESTS, data=np.arange(3)),
    "names that are not text": replaced("PixelClassification/LabelNames", data=np.arange(2)),
    "a thousand names": replaced("PixelClassification/LabelNames", data=np.array([b"x"] * 1000)),
    "colours in words": replaced("PixelClassification/PmapColors", data=np.array([b"red", b"green"])),
    "colours out of range": replaced("PixelClassification/PmapColors", data=np.full((2, 3), 2**40)),
    "axes that are no axes": replaced("Input Data/infos/lane0000/Raw Data/axistags", data=b'{"axes": [{"key": "q"}]}'),
    "axes nested without end": replaced("Input Data/infos/lane0000/Raw Data/axistags", data=b"[" * 200_000),
    "shape without extent": replaced("Input Data/infos/lane0000/Raw Data/shape", data=np.array([0, -1, 5])),
    "another workflow": replaced("workflowName", data=b"Carving"),
    "a workflow in numbers": replaced("workflowName", data=7),
    "ten thousand forests": lambda file: collections.deque(
        (file[FORESTS].create_group(f"Forest{i:06d}") for i in range(10_000)), 0
    ),
}


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Bytes after one of several kinds of damage."""
    data = bytearray(content)
    kind = rng.randrange(7)
    if kind == 0:
        return bytes(data[: rng.randrange(len(data))])
    if kind == 1:
        for _ in range(rng.choice((1, 3, 30, 300))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        words = [0, 1, 8, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1, len(data), len(data) - 8, rng.randrange(len(data))]
        for _ in range(rng.choice((1, 3, 30))):
            at = rng.randrange(len(data) // 8) * 8
            data[at : at + 8] = rng.choice(words).to_bytes(8, "little")
    elif kind == 3:
        size = rng.choice((8, 64, 512, 4096))
        a, b = rng.randrange(len(data)), rng.randrange(len(data))
        data[a : a + size] = data[b : b + size]
    elif kind == 4:
        size, at = rng.choice((1, 8, 512)), rng.randrange(len(data))
        data[at:at] = rng.randbytes(size)
    elif kind == 5:
        size, at = rng.choice((1, 8, 512, 8192)), rng.randrange(len(data))
        del data[at : at + size]
    else:
        _damage_structure(data, rng)
    return bytes(data)


def _damage_structure(data: bytearray, rng: random.Random) -> None:
    """Change bytes close to where the format keeps its own books."""
    for _ in range(rng.choice((1, 2, 8))):
        mark = rng.choice((b"TREE", b"HEAP", b"SNOD", b"GCOL", b"OHDR", b"OCHK", b"FRHP", b"BTHD", b"BTLF", b"\x89HDF"))
        found = [i for i in range(0, len(data), 1) if data.startswith(mark, i)][:2000] if rng.random() < 0.3 else []
        at = rng.choice(found) if found else data.find(mark, rng.randrange(len(data)))
        if at >= 0:
            spot = at + rng.randrange(4, 72)
            for offset in range(rng.choice((1, 2, 4, 8))):
                if spot + offset < len(data):
                    data[spot + offset] = rng.choice((0, 1, 2, 127, 128, 255, rng.randrange(256)))


def inputs(count: int, seed: int, *, hostile: bool) -> Iterator[tuple[str, bytes]]:
    """Hostile projects first, each on two seeds, where asked for; then mutated bytes."""
    start = seeds()
    if hostile:
        for base in (start[0], start[-1]):
            for name, edit in HOSTILE.items():
                yield name, edited(base, edit)
    rng = random.Random(seed)
    for number in range(count):
        yield f"mutation {seed}/{number}", mutated(rng.choice(start), rng)


def outcome(content: bytes) -> tuple[str, float]:
    """What reading (and, where it succeeds, applying) a project comes to, and the seconds that reading took."""
    start = time.process_time()
    try:
        project = read_project(content, name="hostile.ilp")
    except ProjectError:
        return "refused", time.process_time() - start
    took = time.process_time() - start
    try:
        read_labels(content)
        if max(project.stages[0].selection.minimum_size(2)) <= 64 and project.channels <= 8:
            z = 1 if project.is_2d else 40
            predict_array(project, np.ones((1, z, 40, 40, project.channels), np.float32), threads=1)
    except (ProjectError, ImageError):
        return "read, then refused", took
    return "read", took


def try_batch(seed: int, count: int, hostile: bool, pipe: Connection) -> None:
    """Try a batch of projects in this process."""
    try_inputs(inputs(count, seed, hostile=hostile), outcome, pipe)


if __name__ == "__main__":
    sys.exit(run_as_program(try_batch, __doc__, 20_000))
