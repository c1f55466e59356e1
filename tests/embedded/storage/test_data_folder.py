"""The data folder of a server is deleted only if nothing else is in it and no server is running."""

from __future__ import annotations

from pathlib import Path

import pytest

from omero_pixclf.embedded.server.server import start
from omero_pixclf.embedded.storage.data_folder import remove_server_folder
from omero_pixclf.errors import UsageError


def test_a_servers_folder_that_holds_other_things_too_is_not_deleted(tmp_path: Path) -> None:
    with start(tmp_path / "omero", port=0, password="secret"), pytest.raises(UsageError, match="running"):
        remove_server_folder(tmp_path / "omero")
    (tmp_path / "omero" / "thesis.txt").write_text("three years")
    with pytest.raises(UsageError, match=r"also contains thesis\.txt"):
        remove_server_folder(tmp_path / "omero")
    (tmp_path / "omero" / "thesis.txt").unlink()
    remove_server_folder(tmp_path / "omero")
    assert not (tmp_path / "omero").exists()
