"""Imports as clients make them: files to import, the steps of the protocol, and what they leave."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import omero
import omero.cmd
import omero.grid
import omero.model
import tifffile
from numpy.typing import NDArray
from omero.rtypes import rstring

from omero_pixclf.connector.importing import ImportOptions, ImportResult, import_file_set
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.embedded.series.reading import find_file_set

SAME = np.random.default_rng(5)


def pyramid(path: Path, data: NDArray[Any], levels: int = 3) -> Path:
    """An OME-TIFF of (c, y, x) with smaller copies of every plane in SubIFDs."""
    with tifffile.TiffWriter(path, ome=True) as tiff:
        facts = {
            "axes": "CYX",
            "PhysicalSizeX": 0.25,
            "PhysicalSizeXUnit": "µm",
            "Channel": {"Name": ["red", "green"][: len(data)]},
        }
        tiff.write(data, subifds=levels - 1, tile=(32, 32), metadata=facts, photometric="minisblack")
        for level in range(1, levels):
            tiff.write(data[:, :: 2**level, :: 2**level], subfiletype=1, tile=(32, 32))
    return path


def fake(path: Path) -> Path:
    path.touch()
    return path


def imported(session: Session, path: Path, **options: Any) -> ImportResult:
    return import_file_set(session, find_file_set(path).files, ImportOptions(**options))


def begun(client: Any, files: Sequence[Path], algorithm: str = "SHA1-160") -> Any:
    """An import process of a client that speaks the protocol by itself."""
    fileset = omero.model.FilesetI()
    for file in files:
        entry = omero.model.FilesetEntryI()
        entry.clientPath = rstring(str(file).lstrip("/"))
        fileset.addFilesetEntry(entry)
    fileset.linkJob(omero.model.UploadJobI())
    settings = omero.grid.ImportSettings()
    settings.checksumAlgorithm = omero.model.ChecksumAlgorithmI()
    settings.checksumAlgorithm.value = rstring(algorithm)
    return client.getManagedRepository().importFileset(fileset, settings)


def upload(process: Any, index: int, data: bytes) -> None:
    store = process.getUploader(index)
    store.write(data, 0, len(data))
    store.close()


def answer(handle: Any, seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while (found := handle.getResponse()) is None:
        assert time.monotonic() < end, "no answer"
        time.sleep(0.02)
    return found


def prefix_of(session: Session, made: ImportResult) -> str:
    """The folder of an import within the repository, with a slash at its end."""
    ((found,),) = session.query_rows("select f.templatePrefix from Fileset f where f.id = :id", id=made.fileset)
    return str(found)


def left_of(folder: Path, process_folder: str) -> list[Path]:
    root = folder / "ManagedRepository"
    return [p for p in root.rglob("*") if process_folder in str(p)]
