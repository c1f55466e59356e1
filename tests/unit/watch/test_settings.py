"""Settings of the watcher: wrong ones are refused with their place, and the manual lists all keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from omero_pixclf.direct.mounts import DirectSettings, Mount
from omero_pixclf.errors import UsageError
from omero_pixclf.watch.settings import (
    ServerSettings,
    ServiceSettings,
    StatusPageSettings,
    WatcherSettings,
    WatchSettings,
    load_settings,
)

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[service]\nevry = 1", "service.evry: no such key; did you mean 'every'?"),
        ('[[watches]]\nname = "a"\nrecipe = "r"', "needs targets"),
        ('[[watches]]\nname = "a"\nrecipe = "r"\ntargets = ["Datset:1"]', "Datset:1"),
        ('[[watches]]\nname = "a"\nrecipe = "r"\npattern = "x*"', "kind and pattern"),
        ('[status]\nhost = "0.0.0.0"', "not loopback"),
        ("[service]\nevery = 0", "service.every"),
        ('[status]\nproxies = ["proxy.example"]', "status.proxies.*expected an address or a network"),
        ('[status]\nproxies = ["10.0.0.0/99"]', "status.proxies"),
        ('[service]\ndirect = ["/OMERO="]', "service.direct"),
        ("not toml", "not TOML"),
        ('[[watches]]\nname = "a"\nrecipe = "r"\ntarget = ["Dataset:1"]', "watches.0.target: .*did you mean 'targets'"),
        ("watches = 3\nrecipes = 4", "watches"),
    ],
)
def test_wrong_settings_are_refused_with_the_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "watch.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        load_settings(path)


def test_paths_are_relative_to_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "watch.toml"
    path.write_text('[server]\npassword_file = "p"\n[recipes]\nn = "n.toml"\n'
                    '[[watches]]\nname = "a"\ntargets = ["Dataset:1"]\nrecipe = "n"\n'
                    '[[watches]]\nname = "b"\ntargets = ["Dataset:1"]\nrecipe = "o.toml"\n')  # fmt: skip
    found = load_settings(path)
    assert found.server.password_file == tmp_path / "p" and found.recipes == {"n": tmp_path / "n.toml"}
    assert [w.recipe for w in found.watches] == ["n", str(tmp_path / "o.toml")]


def test_the_manual_tells_every_key_and_its_default() -> None:
    manual = (ROOT / "docs" / "watch.md").read_text(encoding="utf-8")
    for section, model in (("server", ServerSettings), ("service", ServiceSettings), ("status", StatusPageSettings)):
        assert f"`[{section}]`" in manual
        told = manual.partition(f"`[{section}]`")[2].partition("\n\n|")[2].partition("\n\n")[0]
        for key, known in model.model_fields.items():
            (row,) = [line for line in told.splitlines() if line.startswith(f"| `{key}` |")]
            if isinstance(known.default, (int, float, str)) and not isinstance(known.default, bool) and known.default:
                assert f"| `{known.default}` |" in row
    keys = {*WatcherSettings.model_fields, *WatchSettings.model_fields}
    assert all(f"`{key}`" in manual for key in keys - {"server", "service", "status", "recipes", "watches"})


def test_the_servers_storage_may_be_mounted(tmp_path: Path) -> None:
    path = tmp_path / "watch.toml"
    path.write_text('[service]\ndirect = ["/mnt/omero", "/data=/mnt/data"]\ndirect_check = "all"\n')
    mounts = (Mount(Path("/mnt/omero")), Mount(Path("/mnt/data"), "/data"))
    assert load_settings(path).service.direct_access == DirectSettings(mounts, "all")
