"""A run id is a run id: what is none is refused at every door, and nothing is removed."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from omero_pixclf.app import history, merge, request
from omero_pixclf.cli import cli
from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.errors import UsageError
from omero_pixclf.folder.ledger import LEDGER, read_record
from omero_pixclf.provenance import is_run_id, new_run_id, parse_run_id, run_folder
from omero_pixclf.runs.state.image_files import ImageFiles
from omero_pixclf.runs.state.manifest import Manifest, RunHeader
from omero_pixclf.watch.run_table import _remove_folder

NOW = datetime(2026, 11, 21, 5, 30, 12, tzinfo=timezone.utc)
RUN = "20261121T053012-ab12cd"
NO_RUNS = (
    "",
    ".",
    "..",
    "../../myproject",
    "myproject",
    f"{RUN}/..",
    f"../{RUN}",
    f"{RUN} ",
    f"{RUN}\n",
    f" {RUN}",
    RUN.upper(),
    "20261121T053012-ab12c",
    "20261121T053012-ab12cde",
    "٢٠٢٦١١٢١T053012-ab12cd",
    f"{RUN}\0",
    "*",
    "~",
)


def test_what_new_runs_are_called_is_a_run_id() -> None:
    assert is_run_id(new_run_id(NOW, b"\xab\x12\xcd"))
    assert parse_run_id(RUN) == RUN


@pytest.mark.parametrize("text", NO_RUNS)
def test_what_is_no_run_id_never_becomes_a_folder(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a run id.*runs list"):
        run_folder(tmp_path, text)


@pytest.fixture
def victim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of somebody's own that has what a run's folder has."""
    monkeypatch.setenv("OMERO_PIXCLF_STATE", str(tmp_path / "state"))
    (tmp_path / "out" / ".runs").mkdir(parents=True)
    thesis = tmp_path / "myproject" / "pieces" / "thesis.txt"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("three years")
    header = RunHeader(RUN, {}, "", (), "", "", "")
    with Manifest.create(tmp_path / "made", header):
        pass
    (tmp_path / "made" / "manifest.sqlite").rename(tmp_path / "myproject" / "manifest.sqlite")
    return thesis


DOORS: dict[str, Any] = {
    "undo of files": lambda out, text: history.undo_in_folder(out, text),
    "undo in OMERO": lambda out, text: history.undo_run(Login(), text),
    "runs show": lambda out, text: list(history.show_run(Login(), text)),
    "runs diff": lambda out, text: history.diff_runs(Login(), RUN, text),
    "runs merge of files": lambda out, text: list(merge.merge_in_folder(out, [text])),
    "runs merge in OMERO": lambda out, text: list(merge.merge_in_omero(Login(), [text])),
    "resume": lambda out, text: request.load_resumed_request(text),
    "resume of files": lambda out, text: request.load_resumed_request(text, folder=request.results_state_folder(out)),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("relative", [True, False])
def test_every_door_refuses_a_path_in_place_of_a_run_and_removes_nothing(
    door: str, relative: bool, victim: Path, tmp_path: Path
) -> None:
    given = "../../myproject" if relative else str(tmp_path / "myproject")
    with pytest.raises(UsageError, match="is not a run id"):
        DOORS[door](tmp_path / "out", given)
    assert victim.read_text() == "three years"


@pytest.mark.parametrize(
    "words", [("undo", "--yes"), ("run", "--resume"), ("runs", "merge"), ("runs", "show")], ids=" ".join
)
def test_the_command_line_refuses_a_path_in_place_of_a_run(
    words: tuple[str, ...], victim: Path, tmp_path: Path
) -> None:
    where = () if words[1] == "show" else ("--out", str(tmp_path / "out"))
    ended = CliRunner().invoke(cli, [*words, "../../myproject", *where])
    assert isinstance(ended.exception, UsageError)
    assert "is not a run id" in str(ended.exception)
    assert victim.exists()


def test_undo_of_a_run_that_is_not_there_leaves_folders_that_are_no_runs(tmp_path: Path) -> None:
    kept = tmp_path / "out" / ".runs" / RUN / "pieces" / "mine"
    kept.mkdir(parents=True)
    with pytest.raises(Exception, match="nothing of it"):
        history.undo_in_folder(tmp_path / "out", RUN)
    assert kept.exists()


@pytest.mark.parametrize("text", NO_RUNS)
def test_ledgers_that_name_no_run_are_nobodys(text: str, tmp_path: Path) -> None:
    from omero_pixclf.connector.results.ledger import format_record, parse_record
    from omero_pixclf.folder.ledger import write_record
    from omero_pixclf.provenance import RunRecord

    record = RunRecord(text, "Image:51", "nuclei", "aa", "p", "n.ilp", "bb", "1", NOW, NOW, "complete")
    with pytest.raises(ValueError, match="run id"):
        parse_record(format_record(record))
    write_record(tmp_path, record)
    assert (tmp_path / LEDGER).exists()
    assert read_record(tmp_path) is None


def test_the_watcher_removes_no_folder_that_its_database_names_wrongly(victim: Path, tmp_path: Path) -> None:
    for folder, run_id in ((victim.parent.parent, "myproject"), (victim.parent.parent, RUN), (tmp_path, RUN)):
        _remove_folder(folder, run_id)
    assert victim.exists()
    with Manifest.create(tmp_path / RUN, RunHeader(RUN, {}, "", (), "", "", "")) as made:
        folder = made.folder
    _remove_folder(folder, RUN)
    assert not folder.exists()


@pytest.mark.parametrize("key", ["..", ".", "...", "a/..", "/", ""])
def test_pieces_of_an_image_never_reach_out_of_their_folder(key: str, tmp_path: Path) -> None:
    pieces = ImageFiles(tmp_path).blocks_folder(key)
    assert pieces.parent == tmp_path / "pieces"
    assert pieces.name not in ("", ".", "..")


def test_a_demo_is_not_made_anew_over_somebodys_own_files(tmp_path: Path) -> None:
    from omero_pixclf.cli.demo import _remove_earlier_demo

    (tmp_path / "home" / "omero").mkdir(parents=True)
    (tmp_path / "home" / "omero" / "omero.sqlite").touch()
    (tmp_path / "home" / "thesis.txt").touch()
    with pytest.raises(UsageError, match=r"thesis\.txt"):
        _remove_earlier_demo(tmp_path / "home")
    (tmp_path / "home" / "thesis.txt").unlink()
    _remove_earlier_demo(tmp_path / "home")
    assert not (tmp_path / "home").exists()
