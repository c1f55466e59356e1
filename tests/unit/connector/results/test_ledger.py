"""Ledger entries as keys and values."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from omero_pixclf.connector.results.ledger import (
    LedgerEntry,
    format_mark,
    format_record,
    format_table_name,
    is_table_of,
    parse_record,
)
from omero_pixclf.provenance import RunRecord

RECORD = RunRecord(
    run_id="20261121T053012-ab12cd",
    image="Image:51",
    recipe="nuclei",
    recipe_hash="f00",
    fingerprint="Pixels:9 sha1:abc",
    project="nuclei.ilp",
    project_sha256="beef",
    version="0.1.0",
    started=datetime(2026, 11, 21, 5, 30, 12, tzinfo=timezone.utc),
)
DONE = replace(
    RECORD,
    state="complete",
    finished=datetime(2026, 11, 21, 5, 31, tzinfo=timezone.utc),
    objects={"nuclei": 12, "State": 3},
    uncertainty=0.125,
    settings={"objects.threshold": "0.5", "Run ID": "x"},
)


@pytest.mark.parametrize("record", [RECORD, DONE, replace(DONE, image="Plate:3", objects={})])
def test_a_record_comes_back_from_its_pairs(record):
    assert parse_record(format_record(record)) == record


def test_people_read_what_was_done():
    pairs = dict(format_record(DONE))
    assert pairs["Run ID"] == DONE.run_id
    assert pairs["Started"] == "2026-11-21T05:30:12Z"
    assert pairs["Objects: nuclei"] == "12"


def test_biomero_finds_its_keys():
    pairs = dict(format_record(DONE))
    assert pairs["Workflow_ID"] == DONE.run_id
    assert (pairs["Name"], pairs["Version"], pairs["Created_On"]) == ("nuclei", "0.1.0", "2026-11-21T05:30:12Z")
    assert pairs["Param_objects.threshold"] == "0.5"


def test_pairs_of_somebody_else_are_no_record():
    with pytest.raises(KeyError):
        parse_record([("Run ID", RECORD.run_id), ("State", "complete")])


def test_two_entries_of_one_run_have_different_marks():
    first, second = (LedgerEntry(i, "omero_pixclf/run", 3, RECORD) for i in (11, 12))
    assert first.mark == format_mark("omero_pixclf/run", RECORD.run_id, 11)
    assert first.mark != second.mark
    assert format_table_name(first, "summary") != format_table_name(second, "summary")


@pytest.mark.parametrize("other", [300, 3, 301, 130])
def test_a_table_belongs_to_its_entry_alone(other):
    entry, neighbour = (LedgerEntry(i, "omero_pixclf/run/tables", 3, RECORD) for i in (30, other))
    for named in (format_table_name(neighbour, "summary"), f"omero_pixclf_{RECORD.run_id}_{other}_summary.h5"):
        assert is_table_of(neighbour, named) and not is_table_of(entry, named)
    assert is_table_of(entry, format_table_name(entry, "objects", "4711"))
    assert is_table_of(entry, f"omero_pixclf_{RECORD.run_id}_30_objects.4711.h5")


@pytest.mark.parametrize("recipe", ["nuclei", "cells/2", "a\\b\nc", "细胞 100%", "n" * 300])
def test_table_files_carry_the_recipe_in_a_name_that_fits(recipe):
    entry = LedgerEntry(30, "omero_pixclf/run/tables", 3, replace(RECORD, recipe=recipe))
    name = format_table_name(entry, "summary")
    assert name.startswith(recipe[:4].replace("\\", "_")[:3]) and len(name) <= 255
    assert not set("/\\\n") & set(name)
    assert is_table_of(entry, name)
