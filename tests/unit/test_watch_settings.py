"""A watcher's settings are refused where they are wrong, and told in the manual; annotations become recipes safely."""

from __future__ import annotations

import json
import logging
import socket
from pathlib import Path

import pytest

from omero_pixclf.config import ClassifierSettings, ObjectSettings, OutputSettings, Recipe
from omero_pixclf.connector.recipe_annotations import (
    build_recipe,
    format_recipe,
    parse_project_name,
    parse_recipe_pairs,
)
from omero_pixclf.direct.mounts import DirectSettings, Mount
from omero_pixclf.errors import UsageError
from omero_pixclf.watch.logs import JsonFormatter
from omero_pixclf.watch.settings import (
    ServerSettings,
    ServiceSettings,
    StatusPageSettings,
    WatcherSettings,
    WatchSettings,
    load_settings,
)
from omero_pixclf.watch.systemd import notify

ROOT = Path(__file__).resolve().parents[2]


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


def test_a_recipe_comes_back_from_its_pairs() -> None:
    recipe = Recipe(
        name="n",
        classifier=ClassifierSettings(project="FileAnnotation:12", channels=(0, "DAPI")),
        objects=ObjectSettings(
            label=("Cell body", "Nücleus"), threshold=0.6, smooth=(0, 1, 1), fill_holes=True, max_size=900
        ),
        output=OutputSettings(rois="mask"),
    )
    assert build_recipe(parse_recipe_pairs(format_recipe(recipe), {})) == recipe


def test_people_may_write_plain_words_or_name_a_recipe_or_paste_one() -> None:
    known = {"nuclei": Recipe(classifier=ClassifierSettings(project="/etc/omero_pixclf/nuclei.ilp"))}
    plain = parse_recipe_pairs([("Project", "n.ilp"), ("objects.label", "Nucleus")], known)
    assert plain == {"classifier": {"project": "n.ilp"}, "objects": {"label": "Nucleus"}}
    named = build_recipe(parse_recipe_pairs([("Recipe", "nuclei"), ("objects.threshold", "0.7")], known))
    assert named.classifier.project == "/etc/omero_pixclf/nuclei.ilp" and named.objects.threshold == 0.7
    pasted = parse_recipe_pairs([("Recipe", 'name = "p"\n[classifier]\nproject = "FileAnnotation:3"')], known)
    assert build_recipe(pasted).title == "p"


@pytest.mark.parametrize("project", ["/etc/passwd", "../n.ilp", "Dataset:3", "C:\\n.ilp", "FileAnnotation:x"])
def test_an_annotation_cannot_name_a_file_of_the_host(project: str) -> None:
    for pairs in ([("Project", project)], [("Recipe", f"[classifier]\nproject = {json.dumps(project)}")]):
        with pytest.raises(UsageError, match="project"):
            parse_recipe_pairs(pairs, {})
    assert parse_project_name("n.ilp") == "n.ilp"
    smuggled = parse_recipe_pairs([("Project", "n.ilp"), ("classifier.project", project)], {})
    assert smuggled["classifier"]["project"] == "n.ilp"


def test_systemd_is_told_by_its_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        assert notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert listening.recv(100) == b"READY=1"
    assert not notify("READY=1", {}) and not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})


def test_log_lines_for_machines_are_one_json_object_each() -> None:
    record = logging.LogRecord("a", logging.INFO, "f", 1, "two\nlines of %s", ("x",), None)
    line = JsonFormatter().format(record)
    assert "\n" not in line and json.loads(line)["message"] == "two\nlines of x"


def test_the_servers_storage_may_be_mounted(tmp_path: Path) -> None:
    path = tmp_path / "watch.toml"
    path.write_text('[service]\ndirect = ["/mnt/omero", "/data=/mnt/data"]\ndirect_check = "all"\n')
    mounts = (Mount(Path("/mnt/omero")), Mount(Path("/mnt/data"), "/data"))
    assert load_settings(path).service.direct_access == DirectSettings(mounts, "all")
