"""Opening the state database: wrong addresses, folders that cannot be made."""

from __future__ import annotations

from pathlib import Path

import pytest

from omero_pixclf.errors import OutputError, UsageError
from omero_pixclf.watch.state import open_state


@pytest.mark.parametrize("url", ["nonsense", "oracle://x/y"])
def test_a_wrong_address_of_the_state_is_wrong_usage(url: str) -> None:
    with pytest.raises(UsageError, match="Expected sqlite"):
        open_state(url)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/watch\.sqlite: cannot create the folder"):
        open_state(f"sqlite:///{tmp_path}/file/watch.sqlite")
