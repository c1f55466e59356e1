"""Recipes in annotations: their keys, and what an annotation may not name."""

from __future__ import annotations

import json

import pytest

from omero_pixclf.config import ClassifierSettings, ObjectSettings, OutputSettings, Recipe
from omero_pixclf.connector.recipe_annotations import (
    build_recipe,
    format_recipe,
    parse_project_name,
    parse_recipe_pairs,
)
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


def test_a_recipe_comes_back_from_its_pairs() -> None:
    recipe = Recipe(
        name="n",
        classifier=ClassifierSettings(project="FileAnnotation:12", channels=(0, "DAPI")),
        objects=ObjectSettings(
            label=("Cell body", "Nücleus"), threshold=0.6, smooth=(0, 1, 1), fill_holes=True, max_size=900
        ),
        output=OutputSettings(rois="mask"),
    )
    assert build_recipe(parse_recipe_pairs(format_recipe(recipe), {})) == recipe


def test_people_may_write_plain_words_or_name_a_recipe_or_paste_one() -> None:
    known = {"nuclei": Recipe(classifier=ClassifierSettings(project="/etc/omero_pixclf/nuclei.ilp"))}
    plain = parse_recipe_pairs([("Project", "n.ilp"), ("objects.label", "Nucleus")], known)
    assert plain == {"classifier": {"project": "n.ilp"}, "objects": {"label": "Nucleus"}}
    named = build_recipe(parse_recipe_pairs([("Recipe", "nuclei"), ("objects.threshold", "0.7")], known))
    assert named.classifier.project == "/etc/omero_pixclf/nuclei.ilp" and named.objects.threshold == 0.7
    pasted = parse_recipe_pairs([("Recipe", 'name = "p"\n[classifier]\nproject = "FileAnnotation:3"')], known)
    assert build_recipe(pasted).title == "p"


@pytest.mark.parametrize("project", ["/etc/passwd", "../n.ilp", "Dataset:3", "C:\\n.ilp", "FileAnnotation:x"])
def test_an_annotation_cannot_name_a_file_of_the_host(project: str) -> None:
    for pairs in ([("Project", project)], [("Recipe", f"[classifier]\nproject = {json.dumps(project)}")]):
        with pytest.raises(UsageError, match="project"):
            parse_recipe_pairs(pairs, {})
    assert parse_project_name("n.ilp") == "n.ilp"
    smuggled = parse_recipe_pairs([("Project", "n.ilp"), ("classifier.project", project)], {})
    assert smuggled["classifier"]["project"] == "n.ilp"
