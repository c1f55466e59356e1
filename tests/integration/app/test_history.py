"""The list of runs: how many images each was to do, and those that only wrote tables; undo takes their tables, too."""

from __future__ import annotations

from dataclasses import replace

from omero_pixclf.connector.results.ledger import list_run_records, list_table_records
from omero_pixclf.connector.results.undo import undo
from omero_pixclf.runs.state.history import summarize_runs
from omero_pixclf.runs.state.manifest import Manifest, ManifestEntry, RunHeader
from tests.integration.results import counts, record, store_tables, write

FIRST, SECOND = "20261121T053001-000001", "20261121T053002-000002"


def listed(session, folder=None):
    return {o.run_id: o for o in summarize_runs(list_run_records(session), list_table_records(session), folder)}


def test_a_killed_run_is_listed_with_the_images_that_it_was_to_do(session, sink, two):
    write(sink, two[0], replace(record(FIRST), planned=8))
    assert (listed(session)[FIRST].complete, listed(session)[FIRST].images) == (1, 8)


def test_an_older_run_is_listed_with_what_its_folder_knows(session, sink, two, tmp_path):
    write(sink, two[0], record(FIRST))
    assert (listed(session)[FIRST].complete, listed(session)[FIRST].images) == (1, 1)
    with Manifest.create(tmp_path / FIRST, RunHeader(FIRST, {}, "h", (), "", "", "")) as manifest:
        manifest.add([ManifestEntry(f"Image:{n}", "Dataset:1", "", "due") for n in range(5)])
        manifest.set_state("Image:4", "skipped")
    assert listed(session, tmp_path)[FIRST].images == 4


def test_a_run_that_only_wrote_tables_is_listed(session, sink, two):
    write(sink, two[0], record(FIRST))
    store_tables(sink, SECOND, [two[0]])
    shown = listed(session)
    assert (shown[SECOND].images, shown[SECOND].complete, shown[SECOND].tables) == (0, 0, 1)
    assert shown[FIRST].tables == 0


def test_undo_of_the_images_run_takes_tables_that_another_run_made_of_them_only(user, session, sink, two):
    before = counts(user)
    write(sink, two[0], record(FIRST))
    store_tables(sink, SECOND, [two[0]])
    undo(session, FIRST)
    assert counts(user) == before
    assert listed(session) == {}


def test_undo_of_the_images_run_leaves_rows_of_others(user, session, sink, two):
    first, second = two
    write(sink, first, record(FIRST))
    write(sink, second, record(SECOND))
    store_tables(sink, SECOND, two)
    undo(session, FIRST)
    assert list(listed(session)) == [SECOND]
    assert listed(session)[SECOND].tables == 1
