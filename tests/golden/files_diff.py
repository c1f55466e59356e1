"""What ``predict`` writes beside what ilastik wrote, for every golden: ``python -m tests.golden.files_diff``.

Each golden's ``case.json`` holds the command that ilastik was given; the same options go to ``omero-pixclf predict``.
Most goldens were packed again after ilastik wrote them and kept ``axistags`` of its attributes; k11 kept all.
"""

from __future__ import annotations

import gzip
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from omero_pixclf.cli.predict import predict
from omero_pixclf.headless.compare import compare_metadata, compare_pixels
from tests.conftest import SHARED

REFUSED = ("k07_sklearn_rf",)
PACKED_AGAIN = ("chunks", "compression", "attribute DIMENSION_LABELS", "attribute display_mode", "attribute drange")


@dataclass(frozen=True)
class Run:
    """One command of a golden, and where the file lies that ilastik wrote."""

    case: str
    source: str
    arguments: list[str]
    project: Path
    folder: Path
    golden: Path

    @property
    def name(self) -> str:
        return f"{self.case}: {self.source}"


@dataclass(frozen=True)
class Found:
    """How our file differs from the golden.

    Attributes
    ----------
    facts
        Facts beside the pixels that differ: name of the file, axes, shape, type, attributes.
    largest, differing, total
        Of the pixels.
    checked
        The facts that were compared.
    """

    facts: list[str]
    largest: float
    differing: int
    total: int
    checked: int


def runs(shared: Path = SHARED) -> Iterator[Run]:
    """Every pixel classification or autocontext command of every golden."""
    for folder in sorted([*(shared / "goldens").glob("[ack]*"), *(shared / "demo/goldens").iterdir()]):
        case = json.loads((folder / "case.json").read_text())
        project = folder / "project.ilp.gz"
        if not project.exists():
            project = folder / ".." / ".." / Path(case["project"]).name
        commands = {source: run["cmd"] for source, run in case["runs"].items()}
        for source, command in (commands or _masked()).items():
            words = shlex.split(command)
            arguments = [w for w in words[words.index("--headless") :] if not w.startswith("--project=")]
            yield Run(case["case"], source, arguments, project, folder, _golden(folder, source))


def _masked() -> dict[str, str]:
    """The commands of k11, whose case.json gives none: its origin says that a mask was given."""
    names = {
        "Probabilities": "probabilities",
        "Simple Segmentation": "simple_segmentation",
        "Uncertainty": "uncertainty",
    }
    return {
        source: shlex.join(
            [
                *("--headless", "--readonly", f"--export_source={source}", "--output_format=compressed hdf5"),
                *(f"--output_filename_format={name}.h5", "--output_internal_path=exported_data"),
                *("--raw_data", "raw.h5/data", "--prediction_mask", "mask.h5/data"),
            ]
        )
        for source, name in names.items()
    }


def _golden(folder: Path, source: str) -> Path:
    return folder / f"{source.lower().replace(' stage ', '_stage').replace(' ', '_')}.h5"


def execute(run: Run, scratch: Path) -> tuple[int, Path]:
    """Give the golden's options to ``predict``, with inputs where they lie and outputs in a scratch folder."""
    project = scratch / "project.ilp"
    content = run.project.read_bytes()
    project.write_bytes(gzip.decompress(content) if run.project.suffix == ".gz" else content)
    arguments = [f"--project={project}"]
    for word in run.arguments:
        if word.startswith("--output_filename_format="):
            name = word.partition("=")[2].replace("{dataset_dir}/", "")
            word = f"--output_filename_format={scratch}/{name}"
        arguments.append(str(run.folder / word) if word.endswith(".h5/data") else word)
    code = predict.main(arguments, standalone_mode=False)
    written = [p for p in scratch.iterdir() if p != project]
    return code, written[0] if written else scratch / "nothing"


def compare(run: Run, ours: Path) -> Found:
    """Compare a file of ours with the golden's; features with the crop that the golden kept."""
    if run.source == "Features":
        return _compare_features(run, ours)
    packed_again = "k11" not in run.case
    with h5py.File(run.golden) as golden, h5py.File(ours) as file:
        facts = [] if list(golden) == list(file) else [f"array: {list(file)}, ilastik's {list(golden)}"]
        checked = 4 + len(golden["exported_data"].attrs)
    facts += [] if ours.name == run.golden.name else [f"file: {ours.name}, ilastik's {run.golden.name}"]
    addresses = (f"{ours}/exported_data", f"{run.golden}/exported_data")
    for found in compare_metadata(*addresses):
        if not (packed_again and found.fact in PACKED_AGAIN):
            facts.append(f"{found.fact}: {found.ours!r}, ilastik's {found.theirs!r}")
    pixels = compare_pixels(*addresses)
    assert pixels is not None, facts
    return Found(facts, pixels.largest, pixels.differing, pixels.total, checked)


def _compare_features(run: Run, ours: Path) -> Found:
    """Largest difference in units of each channel's maximum; NaN and infinite pixels must agree."""
    with h5py.File(run.golden) as golden, h5py.File(ours) as file:
        item, mine = golden["features"], file["exported_data"]
        facts = []
        if tuple(item.attrs["full_shape"]) != mine.shape:
            facts.append(f"shape: {mine.shape}, ilastik's {tuple(item.attrs['full_shape'])}")
        if json.loads(item.attrs["axistags"]) != json.loads(mine.attrs["axistags"]):
            facts.append("attribute axistags")
        offset = item.attrs["offset"]
        box = tuple(slice(o, o + n) for o, n in zip(offset, item.shape, strict=True))
        theirs, part = item[()].astype(float), mine[box].astype(float)
    with np.errstate(invalid="ignore"):
        gap = np.where((theirs == part) | (np.isnan(theirs) & np.isnan(part)), 0, np.abs(theirs - part))
        scale = np.max(np.where(np.isfinite(theirs), np.abs(theirs), 0), axis=tuple(range(theirs.ndim - 1)))
        relative = np.nan_to_num(gap / np.maximum(scale, 1e-30), nan=np.inf)
    return Found(facts, float(relative.max()), int(np.count_nonzero(gap)), gap.size, 3)


def main(arguments: list[str]) -> int:
    """Print the table; 1 where anything but pixels' last bits differs."""
    bad = 0
    out = sys.stdout.write
    out(f"{'case':34} {'source':28} {'facts':>5} {'differing':>20} {'largest':>9}  differences\n")
    for run in runs():
        if arguments and not any(a in run.case for a in arguments):
            continue
        with tempfile.TemporaryDirectory() as folder, _silent():
            try:
                code, ours = execute(run, Path(folder))
                row: Any = compare(run, ours) if code == 0 else f"exit code {code}"
            except Exception as problem:  # noqa: BLE001 - a row of the table
                row = f"{type(problem).__name__}: {problem}"
        if isinstance(row, str):
            refused = run.case in REFUSED
            bad += not refused
            out(f"{run.case:34} {run.source:28} {'refused, as it must be: ' if refused else ''}{row}\n")
            continue
        bad += bool(row.facts)
        counts = f"{row.differing}/{row.total}"
        out(f"{run.case:34} {run.source:28} {row.checked:5} {counts:>20} {row.largest:9.2g}  ")
        out(f"{'; '.join(row.facts) or 'none'}\n")
    return int(bad > 0)


class _silent:  # noqa: N801 - reads as a word
    """Lines of ``predict`` do not belong into the table."""

    def __enter__(self) -> None:
        self.kept, sys.stdout = sys.stdout, Path(os.devnull).open("w")

    def __exit__(self, *_: object) -> None:
        sys.stdout.close()
        sys.stdout = self.kept


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
