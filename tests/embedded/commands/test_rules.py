"""The rules of the object graph and the classes that requests accept as targets name what the model has."""

from __future__ import annotations

import pytest

from omero_pixclf.embedded.commands import chgrp, chmod, delete, find_related, rules
from omero_pixclf.embedded.commands.links import relation
from omero_pixclf.embedded.database.object_model import entity


@pytest.mark.parametrize(
    "text", [*rules.PARTS, *rules.SETTINGS, *(h.relation for h in (*rules.HOLDS, *rules.CONTENTS))]
)
def test_every_rule_names_properties_that_the_model_has(text):
    found = relation(text)
    assert found.holder in entity(found.holder).ancestors
    assert found.member in entity(found.member).ancestors


@pytest.mark.parametrize("names", [delete.TARGETS, chgrp.TARGETS, chmod.TARGETS, find_related.TARGETS])
def test_every_legal_target_is_a_class(names):
    assert all(entity(name).name == name for name in names if name != "AnnotationLink")
