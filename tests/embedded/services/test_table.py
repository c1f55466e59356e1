"""Tables of the embedded OMERO, through unmodified clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import omero
import omero.grid
import omero.model
import pytest

from omero_pixclf.embedded.server.server import start
from omero_pixclf.embedded.storage import data_paths
from tests.integration.conftest import ROOT_PASSWORD, EmbeddedProcess, Endpoint, Person


def columns(rows: int) -> list[Any]:
    return [
        omero.grid.ImageColumn("Image", "", list(range(rows))),
        omero.grid.DoubleColumn("area", "", [i / 2 for i in range(rows)]),
        omero.grid.StringColumn("name", "", 8, [f"é{i}" for i in range(rows)]),
    ]


def new_table(client: Any, rows: int = 0) -> tuple[Any, int]:
    table = client.sf.sharedResources().newTable(1, "table.h5")
    table.initialize(columns(0))
    if rows:
        table.addData(columns(rows))
    return table, int(table.getOriginalFile().id.val)


def reopened(client: Any, ident: int) -> Any:
    return client.sf.sharedResources().openTable(omero.model.OriginalFileI(ident, False))


def test_rows_are_there_for_a_second_client(user: Person) -> None:
    table, ident = new_table(user.client(), 5)
    table.close()
    again = reopened(user.client(), ident)
    data = again.read([0, 1, 2], 0, again.getNumberOfRows())
    assert [list(c.values) for c in data.columns] == [
        [0, 1, 2, 3, 4],
        [0.0, 0.5, 1.0, 1.5, 2.0],
        ["é0", "é1", "é2", "é3", "é4"],
    ]
    again.close()


def test_a_table_of_a_vanished_client_is_closed_with_its_rows(user: Person) -> None:
    client = user.client()
    _, ident = new_table(client, 3)
    client.closeSession()
    other = user.client()
    again = reopened(other, ident)
    assert again.getNumberOfRows() == 3
    again.close()
    assert other.sf.getQueryService().get("OriginalFile", ident).size.val > 0


def test_handles_of_one_table_share_its_rows(user: Person) -> None:
    first, ident = new_table(user.client(), 2)
    second = reopened(user.client(), ident)
    second.addData(columns(3))
    assert first.getNumberOfRows() == 5
    first.close()
    assert second.getWhereList("(area > 0.6)", None, 0, 0, 1) == [4]
    second.close()


def test_a_full_disk_refuses_rows_and_keeps_those_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full as far as the server can see: what it keeps free is larger than any disk."""
    with start(tmp_path / "data", password="x") as server:
        client = omero.client("127.0.0.1", server.port)
        client.createSession("root", "x")
        table, _ = new_table(client, 4)
        kept = data_paths._RESERVE
        monkeypatch.setattr(data_paths, "_RESERVE", 1 << 60)
        with pytest.raises(omero.ResourceError, match="no space left"):
            table.addData(columns(10))
        monkeypatch.setattr(data_paths, "_RESERVE", kept)
        table.addData(columns(1))
        assert table.getNumberOfRows() == 5
        table.close()
        client.closeSession()


def test_a_killed_server_reopens_tables_that_were_closed(own_server: EmbeddedProcess, new_lab: Any) -> None:
    person = new_lab(Endpoint("127.0.0.1", own_server.port, ROOT_PASSWORD)).member()
    table, ident = new_table(person.client(), 4)
    table.close()
    _, unfinished = new_table(person.client(), 4)
    own_server.kill()
    own_server.start()
    client = omero.client("127.0.0.1", own_server.port)
    session = client.createSession(person.name, person.password)
    query = session.getQueryService()
    assert query.get("OriginalFile", ident).size.val > 0
    assert query.get("OriginalFile", unfinished).size is None
    again = reopened(client, ident)
    assert again.getNumberOfRows() == 4
    again.close()
    client.closeSession()
