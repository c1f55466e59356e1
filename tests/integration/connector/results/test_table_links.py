"""Which tables a container offers, as OMERO.web and OMERO.parade ask for them."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

import pytest
from omero.model import MapAnnotationI, NamedValue
from omero.rtypes import rstring

from omero_pixclf.connector.results.annotations import make_link
from omero_pixclf.connector.results.ledger import TABLES_NS, find_entries_on
from omero_pixclf.connector.results.tables import BULK_NS, OBJECTS_NS, write_table
from omero_pixclf.connector.results.undo import remove_results, undo
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.connector.upload import upload_image
from omero_pixclf.connector.watching import WATCH_NS, list_opt_ins
from tests.integration.readers import reader
from tests.integration.results import counts, record, summary

FINISHED = record("20261121T053000-000000").started


def offered(person, key):
    """Names of the tables that OMERO.web 5.33 finds on an object (`webgateway.views._bulk_file_annotations`)."""
    kind, _, ident = key.partition(":")
    query = (
        f"select f.name, a.ns from {kind}AnnotationLink l join l.child a, FileAnnotation b join b.file f "
        f"where b.id = a.id and l.parent.id = {ident} and (a.ns = '{BULK_NS}' or f.mimetype = 'OMERO.tables')"
    )
    service = person.client().getSession().getQueryService()
    rows = service.projection(query, None, {"omero.group": "-1"})
    return sorted((row[0].val, row[1].val) for row in rows)


def finish(sink, infos, run_id, recipe="nuclei", rows=2):
    """Both tables of a run; the first image has all the objects."""
    sink.load_tables(infos[0].place.container, recipe)
    tables = {"summary": summary(*infos), "objects": summary(*[infos[0]] * rows)}
    said = record(run_id, recipe=recipe, finished=FINISHED)
    return sink.finish(infos[0].place.container, said, tables, [])


def older_layout(session, container, infos, recipe):
    """Tables as version 0.1 left them: both on the container, named for run and entry only."""
    from omero_pixclf.connector.results.ledger import close_entry, open_entry

    said = record("20261121T053009-000009", recipe=recipe, image=container)
    entry = open_entry(session, TABLES_NS, replace(said, state="running"))
    for name, space in (("summary", BULK_NS), ("objects", OBJECTS_NS)):
        write_table(
            session,
            container,
            summary(*infos),
            group=entry.group,
            name=f"omero_pixclf_20261121T053009-000009_{entry.annotation}_{name}.h5",
            namespace=space,
            description=entry.mark,
        )
    close_entry(session, entry, replace(said, state="complete", finished=FINISHED))


def test_the_container_offers_the_summary_alone(user, sink, two):
    container = two[0].place.container
    finish(sink, two, "20261121T053001-000001")
    finish(sink, two, "20261121T053002-000002", rows=5)
    (only,) = offered(user, container)
    assert only[1] == BULK_NS and only[0].startswith("nuclei_summary_20261121T053002-000002_")


def test_the_object_table_is_attached_to_every_image_with_a_row(user, sink, two):
    written = finish(sink, two, "20261121T053001-000001")
    for image in two:
        (name, space), *more = offered(user, image.key)
        assert (space, more) == (OBJECTS_NS, []) and name.startswith("nuclei_objects_20261121T053001-000001_")
    assert sorted(sink.load_tables(two[0].place.container, "nuclei")) == ["objects", "summary"]
    assert sorted(written) == ["objects", "summary"]


def test_of_several_recipes_the_last_is_offered_and_undoing_it_offers_the_one_before(session, user, sink, two):
    container = two[0].place.container
    finish(sink, two, "20261121T053001-000001", "nuclei")
    before, alone = counts(user), offered(user, container)
    finish(sink, two, "20261121T053002-000002", "cells")
    assert [name.partition("_")[0] for name, _ in offered(user, container)] == ["cells"]
    assert len(sink.load_tables(container, "nuclei")) == len(sink.load_tables(container, "cells")) == 2
    assert [space for _, space in offered(user, two[1].key)].count(BULK_NS) == 1  # the earlier recipe's summary
    undo(session, "20261121T053002-000002")
    assert offered(user, container) == alone
    finish(sink, two, "20261121T053003-000003", "nuclei")
    assert [name.partition("_2026")[0] for name, _ in offered(user, container)] == ["nuclei_summary"]
    undo(session, "20261121T053003-000003")
    assert counts(user)["OriginalFile"] == before["OriginalFile"] - 2  # the third run had replaced the first


def test_tables_of_an_earlier_version_are_found_replaced_and_undone(session, user, sink, two):
    container = two[0].place.container
    empty = counts(user)
    older_layout(session, container, two, "nuclei")
    assert len(offered(user, container)) == 2
    assert sorted(sink.load_tables(container, "nuclei")) == ["objects", "summary"]
    finish(sink, two, "20261121T053001-000001")
    assert [name.partition("_2026")[0] for name, _ in offered(user, container)] == ["nuclei_summary"]
    undo(session, "20261121T053001-000001")
    assert counts(user) == empty
    older_layout(session, container, two, "nuclei")
    undo(session, "20261121T053009-000009")
    assert counts(user) == empty


def test_tables_of_an_earlier_version_leave_the_container_when_another_recipe_ends(session, user, sink, two):
    container = two[0].place.container
    older_layout(session, container, two, "nuclei")
    finish(sink, two, "20261121T053001-000001", "cells")
    assert [name.partition("_2026")[0] for name, _ in offered(user, container)] == ["cells_summary"]
    assert sorted(sink.load_tables(container, "nuclei")) == ["objects", "summary"]


def test_taking_back_the_tables_of_one_entry_leaves_those_of_others(session, sink, two):
    """Entry 30 beside 300: ``_`` is a wildcard where the server looks for names."""
    container = two[0].place.container
    finish(sink, two, "20261121T053001-000001")
    (entry,) = find_entries_on(session, TABLES_NS, container)
    number = entry.annotation
    others = {
        f"omero_pixclf_20261121T053001-000001_{number}0_summary.h5",
        f"nuclei_summary_20261121T053001-000001_{number}0.h5",
        f"x_20261121T053001-000001x{number}.h5",
    }
    for name in others:
        facts = {"group": entry.group, "namespace": BULK_NS, "description": "of another entry"}
        write_table(session, container, summary(*two), name=name, **facts)
    remove_results(session, entry)
    hql = "select f.name from OriginalFile f where f.mimetype = 'OMERO.tables' and f.details.owner.id = :me"
    left = session.query_rows(hql, me=session.user_id)
    assert {name for (name,) in left} == others


def test_the_tables_of_others_are_named_in_the_log(endpoint, new_lab, caplog):
    from omero_pixclf.connector.results.sink import OmeroSink
    from omero_pixclf.connector.upload import create_container
    from tests.integration.results import ENCODE

    lab = new_lab(endpoint, "rwra--")
    owner, colleague = lab.member("owner"), lab.member("colleague")
    mine, theirs = owner.session(), colleague.session()
    dataset = create_container(mine, "Dataset", "data")
    image = upload_image(mine, reader((1, 1, 4, 4, 1)), dataset=dataset)
    infos = list(OmeroSource(mine).images([f"Image:{image}"]))
    finish(OmeroSink(theirs, encode=ENCODE), infos, "20261121T053001-000001", "theirs")
    with caplog.at_level(logging.WARNING):
        finish(OmeroSink(mine, encode=ENCODE), infos, "20261121T053002-000002", "ours")
    assert len(offered(owner, f"Dataset:{dataset}")) == 2  # what is theirs stays
    assert any(
        "1 table of other users" in line and "theirs_summary_20261121T053001-000001" in line for line in caplog.messages
    )


@pytest.mark.parametrize("host", ["", "https://omero.example/web/"])
def test_the_entry_says_where_the_object_table_is(own_server, new_lab, host):
    from omero_pixclf.connector.results.sink import OmeroSink
    from omero_pixclf.connector.upload import create_container
    from tests.integration.conftest import ROOT_PASSWORD, Endpoint
    from tests.integration.results import ENCODE

    where = Endpoint("127.0.0.1", own_server.port, ROOT_PASSWORD)
    lab = new_lab(where)
    root = lab.root().client().getSession()
    root.getConfigService().setConfigValue("omero.client.web.host", host)
    session = lab.member().session()
    dataset = create_container(session, "Dataset", "data")
    image = upload_image(session, reader((1, 1, 4, 4, 1)), dataset=dataset)
    sink = OmeroSink(session, encode=ENCODE)
    written = finish(sink, list(OmeroSource(session).images([f"Image:{image}"])), "20261121T053001-000001")
    (entry,) = find_entries_on(session, TABLES_NS, f"Dataset:{dataset}")
    hql = "select v.value from MapAnnotation a join a.mapValue v where a.id = :id and v.name = 'Object table'"
    ((said,),) = session.query_rows(hql, id=entry.annotation)
    number = int(written["objects"].partition(":")[2])
    (file,) = session.query_ids("select a.file.id from FileAnnotation a where a.id = :id", id=number)
    expected = f"{host}webclient/omero_table/{file}/" if host else f"{written['objects']}, among the attachments"
    assert said.startswith(expected)


def test_key_values_are_read_in_their_order(session, dataset):
    """A projection has none (`tests.conftest` shuffles them)."""
    note = MapAnnotationI()
    note.ns = rstring(WATCH_NS)
    pairs = [(f"key {n}", str(n)) for n in range(12)]
    note.setMapValue([NamedValue(*pair) for pair in pairs])
    made = make_link(f"Dataset:{dataset}", note)
    session.write_once("noting", lambda sf: sf.getUpdateService().saveObject(made), group=session.group_id)
    assert [n.pairs for n in list_opt_ins(session) if n.target == f"Dataset:{dataset}"] == [tuple(pairs)]


def test_undoing_a_run_of_another_recipe_leaves_the_one_that_is_offered(session, user, sink, two):
    begun = record("20261121T053000-000000").started
    for number, recipe, images in ((1, "one", two[:1]), (2, "one", two), (3, "two", two)):
        started = begun + timedelta(minutes=number)
        run = f"20261121T05300{number}-00000{number}"
        for image in images:
            said = record(run, recipe=recipe, started=started)
            with sink.begin(image, said) as out:
                out.complete(replace(said, finished=FINISHED))
        sink.load_tables(two[0].place.container, recipe)
        said = record(run, recipe=recipe, started=started, finished=FINISHED)
        sink.finish(two[0].place.container, said, {"summary": summary(*images)}, [])
    undo(session, "20261121T053002-000002")
    ((name, _),) = offered(user, two[0].place.container)
    assert name.startswith("two_summary_")
