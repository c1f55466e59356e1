"""Without the extra ``embedded`` a start says which packages are missing and how to install them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from omero_pixclf.embedded.requirements import require_extra
from omero_pixclf.errors import UsageError


def test_nothing_is_said_where_all_is_installed() -> None:
    require_extra()


@pytest.mark.parametrize("name", ["tables", "cryptography"])
def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=rf"needs {name}, .*the extra `embedded`: pip install '\.\[embedded\]'"):
        require_extra()


@pytest.mark.parametrize("arguments", [["embedded", "start", "--port", "0"], ["demo"]])
def test_the_commands_say_so_in_one_line(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('tables', 'cryptography')))\n"
        "from omero_pixclf.cli import main\n"
        "main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, *arguments, "--folder", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("pip install '.[embedded]' in the checkout")
    assert "Traceback" not in done.stderr
