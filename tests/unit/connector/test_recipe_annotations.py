"""Keys of annotations that describe a recipe."""

from __future__ import annotations

import pytest

from omero_pixclf.connector.recipe_annotations import parse_recipe_pairs
from omero_pixclf.connector.watching import list_opt_ins
from omero_pixclf.errors import UsageError

PAIRS = [("Recipe", "nuclei"), ("Project", "FileAnnotation:12"), ("objects.min_size", "40")]


@pytest.mark.parametrize("twice", [("Recipe", "cells"), ("Project", "a.ilp"), ("objects.min_size", "50")])
@pytest.mark.parametrize("first", [True, False])
def test_a_key_that_is_there_twice_is_refused_whatever_the_order(twice: tuple[str, str], first: bool) -> None:
    pairs = [twice, *PAIRS] if first else [*PAIRS, twice]
    with pytest.raises(UsageError, match=rf"annotation: {twice[0]} is there twice, .*; remove one of them"):
        parse_recipe_pairs(pairs, {})


def test_the_same_twice_and_other_peoples_keys_do_no_harm() -> None:
    pairs = [*PAIRS, PAIRS[2], ("Comment", "a"), ("Comment", "b")]
    assert parse_recipe_pairs(pairs, {}) == parse_recipe_pairs(PAIRS, {})


class TwoDatasets:
    """A session in which one opt-in hangs on Dataset:99 and Dataset:100."""

    user_id = 1

    def query_rows(self, hql: str, **_: object) -> list[list[object]]:
        if "DatasetAnnotationLink" in hql:
            return [[5, 100], [5, 99]]
        if "omeName" in hql:
            return [[5, "ada"]]
        return []

    def query_objects(self, hql: str, **_: object) -> list[object]:
        return []


def test_containers_are_in_the_order_of_their_numbers() -> None:
    assert [note.target for note in list_opt_ins(TwoDatasets())] == ["Dataset:99", "Dataset:100"]  # type: ignore[arg-type]
