"""Results of runs on an image: written, told, and replaced only once the new ones stand."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from omero_pixclf.connector.results.ledger import RUN_NS, find_entries_on, open_entry
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.runs.protocols import ResultImage
from tests.integration.results import (
    counts,
    dots,
    record,
    rois_of,
    write,
)


def test_a_run_leaves_rois_a_file_and_a_readable_entry(session, user, sink, info):
    ids = write(sink, info, record("20261121T053001-000001"))
    image = user.gateway().getObject("Image", int(info.key[6:]))
    assert sorted(r.id.val for r in rois_of(user, info)) == sorted(ids.tolist())
    (file,) = [a for a in image.listAnnotations() if a.OMERO_TYPE.__name__ == "FileAnnotationI"]
    assert file.getFileName() == "a_probabilities.h5"
    assert file.getNs().endswith("omero_pixclf/probabilities")
    (entry,) = list(image.listAnnotations(ns=RUN_NS))
    said = dict(entry.getValue())
    assert (said["Run ID"], said["State"], said["Image"], said["Objects: nuclei"]) == (
        "20261121T053001-000001",
        "complete",
        info.key,
        "3",
    )
    assert "In work by" not in said


def test_the_previous_run_is_told(session, sink, info):
    said = record("20261121T053001-000001")
    assert sink.find_records(info, "nuclei") == []
    write(sink, info, said)
    (previous,) = sink.find_records(info, "nuclei")
    assert previous.identity == said.identity
    assert previous.state == "complete"
    assert previous.objects == {"nuclei": 3}
    assert sink.find_records(info, "another recipe") == []


def test_a_second_run_of_the_recipe_replaces_the_first(session, user, sink, info):
    write(sink, info, record("20261121T053001-000001"))
    before = counts(user)
    second = write(sink, info, record("20261121T053002-000002", recipe_hash="hash-2"))
    assert counts(user) == before
    assert [r.run_id for r in sink.find_records(info, "nuclei")] == ["20261121T053002-000002"]
    assert sorted(r.id.val for r in rois_of(user, info)) == sorted(second.tolist())


def test_a_run_of_another_recipe_leaves_the_first(session, sink, info, user):
    write(sink, info, record("20261121T053001-000001"))
    write(sink, info, record("20261121T053002-000002", recipe="cells"))
    assert len(rois_of(user, info)) == 6
    assert len(sink.find_records(info, "nuclei")) == len(sink.find_records(info, "cells")) == 1


def test_the_old_results_stand_until_the_new_are_complete(session, sink, info, user):
    first = write(sink, info, record("20261121T053001-000001"))
    with sink.begin(info, record("20261121T053002-000002")) as out:
        out.save_rois(dots(2), name="nuclei", color=(0, 0, 0))
        assert set(first.tolist()) < {r.id.val for r in rois_of(user, info)}
        out.complete(record("20261121T053002-000002"))
    assert len(rois_of(user, info)) == 2


def test_a_failed_image_leaves_nothing_and_keeps_the_old_results(session, user, sink, info):
    write(sink, info, record("20261121T053001-000001"))
    before = counts(user)
    with pytest.raises(RuntimeError, match="disk on fire"), sink.begin(info, record("20261121T053002-000002")) as out:
        out.save_rois(dots(5), name="nuclei", color=(0, 0, 0))
        out.save_image(
            ResultImage("segmentation", np.zeros((1, 1, 2, 2, 1), np.uint8), channels=["s"], form="attachment-tiff")
        )
        out.save_image(ResultImage("segmentation", np.zeros((1, 1, 2, 2, 1), np.uint8), channels=["s"], form="image"))
        raise RuntimeError("disk on fire")
    assert counts(user) == before
    assert [r.run_id for r in sink.find_records(info, "nuclei")] == ["20261121T053001-000001"]


def test_a_map_becomes_an_image_beside_its_source(session, user, sink, info, dataset):
    maps = np.random.default_rng(0).random((1, 1, 20, 30, 2)).astype(np.float32)
    with sink.begin(replace(info, pixel_size_um=(None, 0.5, 0.25)), record("20261121T053001-000001")) as out:
        out.save_image(ResultImage("probabilities", maps, channels=["nuclei", "background"], form="image"))
        out.complete(record("20261121T053001-000001"))
    (made,) = [i for i in OmeroSource(session).images([f"Dataset:{dataset}"]) if i.key != info.key]
    assert (made.name, made.dtype, made.channels) == ("a.tif probabilities", "float32", ("nuclei", "background"))
    assert made.pixel_size_um == (None, 0.5, 0.25)
    stored = user.gateway().getObject("Image", int(made.key[6:]))
    assert_array_equal(stored.getPrimaryPixels().getPlane(0, 1, 0), maps[0, 0, :, :, 1])
    assert [dict(a.getValue())["Run ID"] for a in stored.listAnnotations(ns=RUN_NS)] == ["20261121T053001-000001"]


def test_an_open_entry_names_its_process(session, info):
    entry = open_entry(session, RUN_NS, record("20261121T053001-000001", image=info.key))
    assert f"process {os.getpid()} " in find_entries_on(session, RUN_NS, info.key)[0].worker
    assert entry.mark.endswith(f"#{entry.annotation}")
