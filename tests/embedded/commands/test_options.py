"""Child options of graph requests: included and excluded classes and namespaces."""

from __future__ import annotations

import pytest
from omero.cmd.graphs import ChildOption

from omero_pixclf.embedded.commands.links import StoredObject
from omero_pixclf.embedded.commands.options import child_options
from omero_pixclf.embedded.commands.request_errors import RequestError
from omero_pixclf.embedded.users.access_rights import ALL_RIGHTS, NO_RIGHTS

TAG, MAP, ROI = (
    StoredObject(kind, ident, 2, 3) for ident, kind in enumerate(("TagAnnotation", "MapAnnotation", "Roi"), 1)
)


class NoNamespaces:
    """A transaction in which no annotation has a namespace, but for those given."""

    def __init__(self, **named: str) -> None:
        self.rows = [(int(ident[1:]), ns) for ident, ns in named.items()]

    def all(self, sql: str, values: object = ()) -> list[tuple[int, str]]:
        return self.rows


def split(
    options: list[ChildOption], items: list[StoredObject], tx: object = None, rights: object = ALL_RIGHTS
) -> tuple[set, set]:
    return child_options(options).split(tx or NoNamespaces(), items, lambda item: rights)


def test_without_options_nothing_is_decided():
    assert split([], [TAG, ROI]) == (set(), set())


def test_excluded_kinds_stay_and_included_ones_go():
    options = [ChildOption(["Roi"], None, None, None), ChildOption(None, ["Annotation"], None, None)]
    assert split(options, [TAG, MAP, ROI]) == ({TAG.key, MAP.key}, {ROI.key})


def test_what_may_not_be_deleted_is_not_included():
    assert split([ChildOption(["Roi"], None, None, None)], [ROI], rights=NO_RIGHTS) == (set(), set())


def test_namespaces_narrow_an_option_to_some_annotations():
    named = NoNamespaces(i1="a", i2="b")
    only = [ChildOption(None, ["Annotation"], ["a"], None)]
    but = [ChildOption(None, ["Annotation"], None, ["a"])]
    assert split(only, [TAG, MAP], named)[0] == {TAG.key}
    assert split(but, [TAG, MAP], named)[0] == {MAP.key}


def test_annotations_of_the_import_are_left_alone_unless_named():
    named = NoNamespaces(i1="openmicroscopy.org/omero/import/companionFile")
    assert split([ChildOption(None, ["Annotation"], None, None)], [TAG, MAP], named)[0] == {MAP.key}


@pytest.mark.parametrize(
    "option",
    [
        ChildOption(None, None, None, None),
        ChildOption(["Roi"], None, ["a"], ["b"]),
        ChildOption(["Nonsense"], None, None, None),
    ],
)
def test_options_that_say_nothing_or_contradict_themselves_are_refused(option):
    with pytest.raises(RequestError):
        child_options([option])
