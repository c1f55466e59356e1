"""Searching by words through a real client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import omero
import omero.model as model
import pytest
from omero.rtypes import rstring

from tests.integration.conftest import Person


@pytest.fixture
def found(user: Person) -> Callable[[str], list[str]]:
    """Names of the datasets that a search finds among four."""
    update = user.client().getSession().getUpdateService()
    for name, about in (("red cells", "first plate"), ("Green cells", "dish"), ("nothing", None), ("cellular", None)):
        dataset = model.DatasetI()
        dataset.name = rstring(name)
        dataset.description = rstring(about) if about else None
        if name == "nothing":
            note = model.MapAnnotationI()
            note.setMapValue([model.NamedValue("stain", "DAPI blue")])
            dataset.linkAnnotation(note)
        update.saveObject(dataset)
    gateway = user.gateway()
    return lambda text: sorted(d.getName() for d in gateway.searchObjects(["Dataset"], text))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cells", ["Green cells", "red cells"]),
        ("CELL*", ["Green cells", "cellular", "red cells"]),
        ("red green", ["Green cells", "red cells"]),
        ("red AND cells", ["red cells"]),
        ("cells -green", ["red cells"]),
        ('"first plate"', ["red cells"]),
        ("dapi", ["nothing"]),
        ("annotation:blue", ["nothing"]),
        ("name:dish", []),
        ("description:dish", ["Green cells"]),
        ("absent", []),
    ],
)
def test_words_phrases_fields_and_wildcards(found: Callable[[str], list[str]], text: str, names: list[str]) -> None:
    assert found(text) == names


def test_results_come_in_batches(user: Person) -> None:
    session: Any = user.client().getSession()
    datasets = []
    for _ in range(5):
        datasets.append(model.DatasetI())
        datasets[-1].name = rstring("one of five")
    session.getUpdateService().saveArray(datasets)
    search = session.createSearchService()
    search.onlyType("Dataset")
    search.setBatchSize(2)
    search.byFullText("five")
    sizes = []
    while search.hasNext():
        sizes.append(len(search.results()))
    assert sizes == [2, 2, 1]
    with pytest.raises(omero.ApiUsageException):
        search.byFullText("")
    search.close()
