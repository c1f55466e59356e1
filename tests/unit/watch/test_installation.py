"""The id of a watcher's installation."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from omero_pixclf.errors import OutputError
from omero_pixclf.watch.installation import installation_id


def test_an_installation_keeps_its_id_and_another_has_another(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(installation_id, [tmp_path / "runs"] * 8))
    assert len(ids) == 1 and ids != {installation_id(tmp_path / "others")}
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == [".installation-id"]
    (tmp_path / "runs" / ".installation-id").write_text("torn")
    with pytest.raises(OutputError, match="not a watcher's id"):
        installation_id(tmp_path / "runs")
