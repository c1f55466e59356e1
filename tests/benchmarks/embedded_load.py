"""Eight clients of the embedded OMERO at once, each in a process of its own, none of which may see an error or miss a
write."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

CLIENTS = 8
KINDS = ("Dataset", "Image", "Roi", "MapAnnotation", "OriginalFile")


@dataclass(frozen=True)
class Load:
    """What came of it."""

    minutes: float
    rounds: int
    written: dict[str, int]
    found: dict[str, int]
    errors: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return self.rounds > 0 and not self.errors and self.written == self.found

    def report(self) -> str:
        lost = {kind: self.written[kind] - self.found[kind] for kind in KINDS if self.written[kind] != self.found[kind]}
        done = f"{self.rounds} rounds, {sum(self.written.values())} objects written, {len(self.errors)} errors"
        verdict = f"lost writes: {lost or 'none'}  {'ok' if self.holds else 'MISSED'}"
        lines = [f"{CLIENTS} clients for {self.minutes:g} min: {done}, {verdict}"]
        return "\n".join([*lines, *self.errors[:10]])


def under_load(port: int, password: str, minutes: float) -> Load:
    """Let all clients work for some minutes, then count what stands."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    gate = context.Barrier(CLIENTS)  # starting a process takes a while; the time counts from when all are logged in
    clients = [
        context.Process(target=work, args=(number, port, password, minutes, gate, results)) for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    answers = [results.get(timeout=minutes * 60 + 240) for _ in clients]
    for client in clients:
        client.join(30)
    written = Counter(dict.fromkeys(KINDS, 0))
    for _, counts, _ in answers:
        written.update(counts)
    errors = tuple(error for *_, found in answers for error in found)
    found = standing(port, password)
    return Load(minutes, sum(rounds for rounds, *_ in answers), dict(written), found, errors)


def standing(port: int, password: str) -> dict[str, int]:
    """How many objects of the clients there are."""
    import omero.clients

    client = omero.client(host="127.0.0.1", port=port)
    query = client.createSession("root", password).getQueryService()
    try:
        return {kind: _count(query, kind) for kind in KINDS}
    finally:
        client.closeSession()


def _count(query: Any, kind: str) -> int:
    import omero.sys

    field, value = {"MapAnnotation": ("ns", "load"), "OriginalFile": ("path", "/load/")}.get(kind, ("name", "load"))
    hql = f"select count(o.id) from {kind} o where o.{field} = '{value}'"
    return int(query.projection(hql, omero.sys.ParametersI())[0][0].val)


def work(number: int, port: int, password: str, minutes: float, gate: Any, results: Any) -> None:
    """One client: rounds of writing, reading back and deleting until the time is over; errors are kept, not raised."""
    from omero.gateway import BlitzGateway

    counts: Counter[str] = Counter()
    errors: list[str] = []
    rounds = 0
    gateway = BlitzGateway("root", password, host="127.0.0.1", port=port, secure=True)
    try:
        if not gateway.connect():
            errors.append(f"client {number}: cannot log in")
        gate.wait(120)
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end and not errors:
            counts.update(one_round(gateway, np.random.default_rng((number, rounds))))
            rounds += 1
    except Exception as error:  # noqa: BLE001 - every error is what is looked for
        errors.append(f"client {number}, round {rounds}: {type(error).__name__}: {error}")
    finally:
        gateway.close()
        results.put((rounds, dict(counts), errors))


def one_round(gateway: Any, random: np.random.Generator) -> Counter[str]:
    """Write something of every kind, read all of it back, and delete what is not to stay."""
    import omero.model
    from omero.rtypes import rdouble, rstring

    update, query = gateway.getUpdateService(), gateway.getQueryService()
    dataset = omero.model.DatasetI()
    dataset.name = rstring("load")
    dataset = update.saveAndReturnObject(dataset)
    plane = random.integers(0, 60000, (64, 48)).astype(np.uint16)
    container = gateway.getObject("Dataset", dataset.id.val)
    image = gateway.createImageFromNumpySeq(iter([plane]), "load", dataset=container)
    assert np.array_equal(image.getPrimaryPixels().getPlane(), plane), "other pixels came back"
    rois = []
    for place in range(40):
        roi, shape = omero.model.RoiI(), omero.model.PointI()
        roi.name, roi.image = rstring("load"), omero.model.ImageI(image.getId(), False)
        shape.x, shape.y = rdouble(place), rdouble(random.random())
        roi.addShape(shape)
        rois.append(roi)
    ids = update.saveAndReturnIds(rois)
    gateway.deleteObjects("Roi", list(ids[:10]), wait=True)
    note = omero.model.MapAnnotationI()
    note.ns = rstring("load")
    note.setMapValue([omero.model.NamedValue("k", str(random.random()))])
    link = omero.model.ImageAnnotationLinkI()
    link.parent, link.child = omero.model.ImageI(image.getId(), False), note
    update.saveAndReturnObject(link)
    data = random.bytes(10_000)
    file = omero.model.OriginalFileI()
    file.name, file.path = rstring("data"), rstring("/load/")
    file = update.saveAndReturnObject(file)
    store = gateway.c.sf.createRawFileStore()
    store.setFileId(file.id.val)
    store.write(data, 0, len(data))
    store.save()
    assert store.read(0, len(data)) == data, "other bytes came back"
    store.close()
    parameters = omero.sys.ParametersI().addId(image.getId())
    left = query.projection("select count(r.id) from Roi r where r.image.id = :id", parameters)[0][0].val
    assert left == 30, f"{left} ROIs of 30"
    return Counter({"Dataset": 1, "Image": 1, "Roi": 30, "MapAnnotation": 1, "OriginalFile": 1})
