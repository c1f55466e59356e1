"""What a folder of images is: each real file once, what cannot be read with its reason, results of runs never."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import h5py
import numpy as np
import pytest

from omero_pixclf.errors import ImageError, OutputError
from omero_pixclf.folder.backend import FolderSink, FolderSource, folder_runs, undo_folder
from omero_pixclf.folder.ledger import LEDGER, write_record
from omero_pixclf.folder.safe_names import safe_name
from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.provenance import RunRecord
from omero_pixclf.table import Column, Table

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.zeros((8, 9), np.uint8))
    return path


def listed(*targets: Path) -> list[ImageInfo]:
    return list(FolderSource().images([str(t) for t in targets]))


def names(*targets: Path) -> list[str]:
    return [i.name for i in listed(*targets)]


def record(number: int, image: str, recipe: str = "nuclei") -> RunRecord:
    return RunRecord(f"20261121T00000{number}-aaaaaa", image, recipe, f"h {recipe}", "f", "p", "s", "v", NOW)


def image(path: Path) -> ImageInfo:
    place = ImageLocation(str(path.parent), path.parent.name)
    return ImageInfo(str(path), path.name, (1, 1, 8, 9, 1), "uint8", ("",), place=place)


def done(sink: FolderSink, one: ImageInfo, said: RunRecord) -> None:
    with sink.begin(one, said) as writer:
        writer.complete(replace(said, state="complete", finished=NOW))


@pytest.mark.parametrize("loop", ["its own folder", "the folder above", "each other", "itself"])
def test_links_that_lead_in_circles_give_each_image_once(tmp_path: Path, loop: str) -> None:
    put(tmp_path / "in" / "sub" / "a.npy")
    if loop == "each other":
        put(tmp_path / "in" / "other" / "b.npy")
        (tmp_path / "in" / "sub" / "there").symlink_to("../other")
        (tmp_path / "in" / "other" / "back").symlink_to("../sub")
    else:
        goal = {"its own folder": ".", "the folder above": "..", "itself": "self"}[loop]
        (tmp_path / "in" / "sub" / "self").symlink_to(goal)
    assert names(tmp_path / "in") == (["b.npy", "a.npy"] if loop == "each other" else ["a.npy"])


def test_a_file_that_several_names_lead_to_is_one_image_by_the_name_that_is_no_link(tmp_path: Path) -> None:
    real = put(tmp_path / "in" / "z.npy")
    (tmp_path / "in" / "a.npy").symlink_to("z.npy")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in", target_is_directory=True)
    assert [i.key for i in listed(tmp_path / "in", tmp_path / "in" / "again", tmp_path / "in" / "a.npy")] == [str(real)]


def test_a_folder_of_links_to_files_elsewhere_is_a_folder_of_images(tmp_path: Path) -> None:
    for name in "ab":
        real = put(tmp_path / "store" / name / "image.npy")
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.npy").symlink_to(real)
    assert [i.key for i in listed(tmp_path / "in")] == [str(tmp_path / "in" / f"{n}.npy") for n in "ab"]


def test_what_cannot_be_read_is_listed_with_its_reason(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    put(folder / "good.npy")
    (folder / "text.tif").write_text("no image")
    (folder / "empty.npy").write_bytes(b"")
    (folder / "gone.tif").symlink_to("nowhere.tif")
    os.mkfifo(folder / "pipe.tif")
    with h5py.File(folder / "two.h5", "w") as file:
        file["a"], file["b"] = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    found = {i.name: i.problem for i in listed(folder)}
    assert [name for name, problem in found.items() if not problem] == ["good.npy"]
    assert set(found) == {"good.npy", "text.tif", "empty.npy", "gone.tif", "pipe.tif", "two.h5"}
    assert all(str(folder / name) in problem for name, problem in found.items() if problem)
    assert "nowhere.tif" in found["gone.tif"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list everything")
def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    (tmp_path / "in" / "closed").mkdir(parents=True)
    (tmp_path / "in" / "closed").chmod(0)
    (found,) = listed(tmp_path / "in")
    assert "cannot be listed" in found.problem


def test_one_bad_file_among_named_files_does_not_stop_the_others(tmp_path: Path) -> None:
    good, bad = put(tmp_path / "good.npy"), tmp_path / "bad.tif"
    bad.write_text("no image")
    assert [bool(i.problem) for i in listed(good, bad)] == [False, True]


@pytest.mark.parametrize("other", ["b.nd2", "b.CZI", "b.lif", "b.lsm", "b.jp2", "b.webp", "b.nii.gz"])
def test_images_of_formats_that_are_not_read_are_refused_by_name(tmp_path: Path, other: str) -> None:
    put(tmp_path / "in" / "a.npy")
    (tmp_path / "in" / other).touch()
    for beside in ("notes.txt", "a.csv", "a.json", "a.xdce", "a.gz"):
        (tmp_path / "in" / beside).touch()
    good, bad = listed(tmp_path / "in")
    assert (good.name, good.problem, bad.name) == ("a.npy", "", other)
    assert "not read from files" in bad.problem and "convert" in bad.problem
    with pytest.raises(ImageError, match="not read from files"):
        listed(tmp_path / "in" / other)


@pytest.mark.parametrize("inside", [[], ["sub/"], ["notes.txt"], ["0/0/0"], ["f.zarr/"]])
def test_a_store_without_content_is_refused_by_name(tmp_path: Path, inside: list[str]) -> None:
    put(tmp_path / "in" / "a.npy")
    for name in ("", *inside):
        path = tmp_path / "in" / "e.zarr" / name
        (path if name.endswith("/") or not name else path.parent).mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch()
    good, bad = listed(tmp_path / "in")
    assert (good.name, bad.name) == ("a.npy", "f.zarr" if "f.zarr/" in inside else "e.zarr")
    assert "holds no Zarr metadata" in bad.problem
    assert "holds no Zarr metadata" in listed(tmp_path / "in" / "e.zarr")[0].problem


def test_a_folder_of_images_that_is_called_as_a_store_is_a_folder(tmp_path: Path) -> None:
    put(tmp_path / "in" / "e.zarr" / "sub" / "a.npy")
    assert names(tmp_path / "in") == ["a.npy"]


@pytest.mark.parametrize(
    ("folder", "recipe"), [("Nuclei", "nuclei"), ("cafe\u0301", "caf\u00e9"), ("STRASSE", "straße")]
)
def test_runs_are_found_in_a_folder_that_another_spelling_made(tmp_path: Path, folder: str, recipe: str) -> None:
    """As on file systems that ignore case or the way accents are written."""
    here, sink = image(put(tmp_path / "a.npy")), FolderSink(tmp_path / "out")
    done(sink, here, record(1, here.key, recipe))
    (made,) = (tmp_path / "out").iterdir()
    made.rename(tmp_path / "out" / folder)
    assert [r.recipe for _, r in folder_runs(tmp_path / "out")] == [recipe]
    assert undo_folder(tmp_path / "out", record(1, "").run_id) == {"images": 1, "tables": 0}


@pytest.mark.parametrize("content", ["{}", "[]", "no JSON", '{"accounts": []}'])
def test_somebodys_own_file_called_ledger_hides_no_images(tmp_path: Path, content: str) -> None:
    put(tmp_path / "in" / "sub" / "a.npy")
    (tmp_path / "in" / "sub" / LEDGER).write_text(content)
    assert names(tmp_path / "in") == ["a.npy"]


def test_results_are_no_images_also_where_their_ledger_is_damaged(tmp_path: Path) -> None:
    one = image(put(tmp_path / "a.npy"))
    done(FolderSink(tmp_path / "out"), one, record(1, one.key))
    (run,) = tmp_path.glob(f"out/*/*/*/{LEDGER}")
    put(run.parent / "result.npy")
    assert names(tmp_path) == ["a.npy"]
    run.write_text("cut o")
    assert names(tmp_path) == ["a.npy"]


PAIRS = [("nuclei:1", "nuclei/1"), ("a*", "a?"), ("x.", "x"), ("..", "/"), ("CON", "con"), ("Nuclei", "nuclei")]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_recipes_whose_names_become_one_folder_keep_their_results_apart(tmp_path: Path, one: str, other: str) -> None:
    here, sink = image(put(tmp_path / "a.npy")), FolderSink(tmp_path / "out")
    rows = Table((Column("Image", "string", np.array(["a"], object)),))
    done(sink, here, record(1, here.key, one))
    sink.finish("/data", record(1, "", one), {"summary": rows}, [])
    done(sink, here, record(2, here.key, other))
    sink.finish("/data", record(2, "", other), {}, [])
    for number, recipe in ((1, one), (2, other)):
        assert [r.run_id for r in sink.find_records(here, recipe)] == [record(number, "").run_id]
    assert list(sink.load_tables("/data", one)) == ["summary"]
    assert len(list(folder_runs(tmp_path / "out"))) == 4 or one == other
    assert undo_folder(tmp_path / "out", record(1, "").run_id) == {"images": 1, "tables": 1}
    assert [r.run_id for r in sink.find_records(here, other)] == [record(2, "").run_id]


def test_debris_of_another_recipe_of_the_same_folder_is_left_to_that(tmp_path: Path) -> None:
    here, sink = image(put(tmp_path / "a.npy")), FolderSink(tmp_path / "out")
    with pytest.raises(SystemError), sink.begin(here, record(1, here.key, "nuclei:1")):
        raise SystemError
    home = tmp_path / "out" / "nuclei_1" / next(iter(sink._home("nuclei:1", here.name, here.key).parts[-1:]))
    write_record_at(home / record(1, "").run_id, record(1, here.key, "nuclei:1"))
    done(sink, here, record(2, here.key, "nuclei/1"))
    assert (home / record(1, "").run_id).is_dir()
    done(sink, here, record(3, here.key, "nuclei:1"))
    assert not (home / record(1, "").run_id).exists()


def write_record_at(folder: Path, said: RunRecord) -> None:
    folder.mkdir(parents=True)
    write_record(folder, said)


def test_what_is_no_runs_folder_is_never_removed(tmp_path: Path) -> None:
    here, sink = image(put(tmp_path / "a.npy")), FolderSink(tmp_path / "out")
    done(sink, here, record(1, here.key))
    (home,) = (p.parent.parent for p in tmp_path.glob(f"out/*/*/*/{LEDGER}"))
    for name, content in (("notes", "{}"), ("empty", "")):
        (home / name).mkdir()
        if content:
            (home / name / LEDGER).write_text(content)
    done(sink, here, record(2, here.key))
    assert sorted(p.name for p in home.iterdir()) == [record(2, "").run_id, "empty", "notes"]


def test_undo_leaves_copies_that_somebody_made_of_results(tmp_path: Path) -> None:
    here, sink = image(put(tmp_path / "a.npy")), FolderSink(tmp_path / "out")
    done(sink, here, record(1, here.key))
    shutil.copytree(tmp_path / "out" / "nuclei", tmp_path / "out" / "nuclei to keep")
    undo_folder(tmp_path / "out", record(1, "").run_id)
    assert len(list((tmp_path / "out").glob(f"*/*/*/{LEDGER}"))) == 1


LONG = ["x" * 251 + ".npy", "é" * 125 + ".npy", "細" * 83 + ".npy"]


@pytest.mark.parametrize("name", LONG)
def test_the_longest_names_of_images_folders_and_recipes_work(tmp_path: Path, name: str) -> None:
    here, sink = image(put(tmp_path / name)), FolderSink(tmp_path / "out")
    recipe = name * 2
    done(sink, here, record(1, here.key, recipe))
    sink.finish(f"/data/{name}", record(1, "", recipe), {}, [])
    assert [r.recipe for r in sink.find_records(here, recipe)] == [recipe]
    assert undo_folder(tmp_path / "out", record(1, "").run_id) == {"images": 1, "tables": 1}


@pytest.mark.parametrize(
    "text", ["CON", "nul.txt", "com1", "LPT9.a.b", "x" * 300, "é" * 200, "..", "", "a/b", "\udce9\n"]
)
def test_a_safe_name_is_one_that_every_file_system_takes(text: str) -> None:
    name = safe_name(text, most=100)
    assert 0 < len(name.encode()) <= 100
    assert not set(name) & set('/\\:*?"<>|\n') and name == name.strip(" .")
    assert name.partition(".")[0].lower() not in ("con", "nul", "com1", "lpt9", "")


def rows(*names: str) -> Table:
    return Table((Column("Image", "string", np.array(names, object)),))


def test_tables_of_a_finished_run_say_complete_and_stand_for_the_next_process(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "out")
    sink.finish("/data", record(1, ""), {"summary": rows("a"), "objects": rows("a", "a")}, [])
    (ledger,) = tmp_path.glob(f"out/*/*/*/{LEDGER}")
    assert json.loads(ledger.read_text())["state"] == "complete"
    assert {name: len(t) for name, t in sink.load_tables("/data", "nuclei").items()} == {"summary": 1, "objects": 2}


def test_tables_that_an_earlier_version_left_as_running_still_stand(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "out")
    sink.finish("/data", record(1, ""), {"summary": rows("a")}, [])
    (ledger,) = tmp_path.glob(f"out/*/*/*/{LEDGER}")
    ledger.write_text(json.dumps(json.loads(ledger.read_text()) | {"state": "running", "worker": "elsewhere 1"}))
    assert len(sink.load_tables("/data", "nuclei")["summary"]) == 1
    with pytest.raises(OutputError, match=r"gone\.png"):
        sink.finish("/data", record(2, ""), {"summary": rows("a", "b")}, [tmp_path / "gone.png"])
    assert len(sink.load_tables("/data", "nuclei")["summary"]) == 1
    sink.finish("/data", record(2, ""), {"summary": rows("a", "b")}, [])
    assert len(list(tmp_path.glob(f"out/*/*/*/{LEDGER}"))) == 1


def test_a_resumed_runs_tables_stand_until_the_new_ones_are_there(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "out")
    sink.finish("/data", record(1, ""), {"summary": rows("a")}, [])
    with pytest.raises(OutputError, match=r"gone\.png"):
        sink.finish("/data", record(1, ""), {}, [tmp_path / "gone.png"])
    assert len(sink.load_tables("/data", "nuclei")["summary"]) == 1
    sink.finish("/data", record(1, ""), {"summary": rows("a", "b")}, [])
    assert len(sink.load_tables("/data", "nuclei")["summary"]) == 2
