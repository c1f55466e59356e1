"""The event log: who did what to which object, as any client reads it with HQL."""

from __future__ import annotations

from typing import Any

import omero.cmd
import omero.model as model
import pytest
from omero.rtypes import rlong, rstring, unwrap

from tests.integration.conftest import Person

LOGS = (
    "select e.action, e.event.experimenter.id from EventLog e where e.entityType = :t and e.entityId = :i order by e.id"
)


def logged(person: Person, kind: str, ident: int) -> list[list[Any]]:
    """Actions on an object and who acted, in their order."""
    parameters = omero.sys.ParametersI().addString("t", kind).addLong("i", ident)
    return unwrap(person.client().sf.getQueryService().projection(LOGS, parameters, {"omero.group": "-1"}))


def named(kind: str, name: str) -> Any:
    made = getattr(model, kind + "I")()
    made.name = rstring(name)
    return made


def deleted(person: Person, **targets: list[int]) -> None:
    with person.gateway() as gateway:
        for kind, ids in targets.items():
            handle = gateway.deleteObjects(kind, ids)
            gateway._waitOnCmd(handle)
            handle.close()


@pytest.fixture
def update(user: Person) -> Any:
    return user.client().sf.getUpdateService()


def test_an_object_is_made_changed_and_deleted(user: Person, update: Any) -> None:
    dataset = update.saveAndReturnObject(named("Dataset", "first"))
    dataset.name = rstring("second")
    dataset = update.saveAndReturnObject(dataset)
    update.saveAndReturnObject(dataset)  # nothing differs: nothing is logged
    deleted(user, Dataset=[dataset.id.val])
    actions = logged(user, "ome.model.containers.Dataset", dataset.id.val)
    assert actions == [["INSERT", user.ident], ["UPDATE", user.ident], ["DELETE", user.ident]]


def test_all_that_one_call_makes_belongs_to_one_event(user: Person, update: Any) -> None:
    roi = model.RoiI()
    for _ in range(3):
        roi.addShape(model.PointI())
    roi = update.saveAndReturnObject(roi)
    text = "select e.entityType, count(e) from EventLog e where e.event.id = :i group by e.entityType"
    event = omero.sys.ParametersI().addLong("i", roi.details.creationEvent.id.val)
    found = dict(unwrap(user.client().sf.getQueryService().projection(text, event)))
    assert found == {"ome.model.roi.Roi": 1, "ome.model.roi.Point": 3}


def test_a_failed_call_leaves_no_log(user: Person, update: Any) -> None:
    count = "select count(e) from EventLog e where e.event.experimenter.id = :i"
    mine = omero.sys.ParametersI().addLong("i", user.ident)
    query = user.client().sf.getQueryService()
    before = query.projection(count, mine)[0][0].val
    with pytest.raises(omero.ValidationException):
        update.saveAndReturnArray([named("Dataset", "whole"), model.DatasetI()])  # a dataset needs a name
    assert query.projection(count, mine)[0][0].val == before


def test_a_changed_level_of_a_group_is_logged_with_its_permissions(new_lab: Any, endpoint: Any) -> None:
    lab = new_lab(endpoint, "rw----")
    root = lab.root()
    request = omero.cmd.Chmod2(targetObjects={"ExperimenterGroup": [lab.group]}, permissions="rwr---")
    root.client().submit(request).close(True)
    assert ["CHMOD(rwr---)", 0] in logged(root, "ome.model.meta.ExperimenterGroup", lab.group)


def test_the_log_is_read_as_objects_and_written_by_nobody(user: Person, update: Any) -> None:
    ident = update.saveAndReturnObject(named("Project", "p")).id.val
    text = "select e from EventLog e join fetch e.event where e.entityId = :id and e.entityType like '%Project'"
    (log,) = user.client().sf.getQueryService().findAllByQuery(text, omero.sys.ParametersI().addId(ident))
    assert (log.action.val, log.event.experimenter.id.val) == ("INSERT", user.ident)
    forged = model.EventLogI()
    forged.action, forged.entityType, forged.entityId = rstring("DELETE"), rstring("x"), rlong(1)
    forged.event = model.EventI(log.event.id.val, False)
    with pytest.raises(omero.SecurityViolation):
        update.saveObject(forged)
