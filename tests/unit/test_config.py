"""Recipes: what is accepted, what is refused and how, and what their hash covers."""

from __future__ import annotations

from pathlib import Path

import pytest

from omero_pixclf.config import Recipe, load_recipe, parse_size
from omero_pixclf.errors import UsageError


def recipe(**changes: object) -> Recipe:
    return load_recipe(None, {"classifier.project": "nuclei.ilp", **changes})


def test_a_recipe_needs_nothing_but_a_project() -> None:
    made = recipe()
    assert made.title == "nuclei"
    assert made.objects.threshold == 0.5
    assert made.output.rois == "auto"


def test_options_go_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        'name = "n"\n[classifier]\nproject = "x.ilp"\n[objects]\nthreshold = 0.3\nmin_size = 5\n'
    )
    made = load_recipe(tmp_path / "r.toml", {"objects.threshold": 0.7})
    assert (made.objects.threshold, made.objects.min_size, made.name) == (0.7, 5, "n")


def test_a_project_beside_the_recipe_is_found_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "x.ilp").touch()
    (tmp_path / "r.toml").write_text('[classifier]\nproject = "x.ilp"\n')
    assert load_recipe(tmp_path / "r.toml", {}).classifier.project == str(tmp_path / "x.ilp")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("threshold = 1", "no classifier"),
        (
            '[classifier]\nproject = "x"\n[objects]\ntreshold = 0.5',
            "objects.treshold: .*did you mean 'threshold'",
        ),
        (
            '[classifier]\nproject = "x"\n[objects]\nthreshold = 2',
            "objects.threshold: .* 1, found 2",
        ),
        ('[classifier]\nproject = "x"\n[objekts]', "objekts: no such key; did you mean 'objects'?"),
        ('[classifier]\nproject = "x"\n[objects]\nmethod = "hysteresis"\nlow = 0.9\nhigh = 0.5', "below low"),
        ('[classifier]\nproject = "x"\n[objects]\nmin_size = 9\nmax_size = 3', "below min_size"),
        ("[classifier", "not TOML"),
    ],
)
def test_a_bad_recipe_is_refused_with_its_place(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "r.toml").write_text(content)
    with pytest.raises(UsageError, match=words) as caught:
        load_recipe(tmp_path / "r.toml", {})
    assert "r.toml" in str(caught.value)


def test_the_hash_covers_what_changes_results_and_nothing_else() -> None:
    first = recipe().hash("aa")
    assert recipe(**{"objects.threshold": 0.6}).hash("aa") != first
    assert recipe().hash("bb") != first
    assert recipe(name="other").hash("aa") == first
    assert load_recipe(None, {"classifier.project": "elsewhere/nuclei.ilp"}).hash("aa") == first


def test_one_sigma_counts_for_all_axes() -> None:
    assert recipe(**{"objects.smooth": 1.5}).objects.smooth == (1.5, 1.5, 1.5)


@pytest.mark.parametrize(("text", "size"), [("2G", 2**31), ("500M", 500 * 2**20), ("1.5 GiB", 3 * 2**29), ("7", 7)])
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "2X", "0"])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


def test_a_recipe_without_a_name_is_called_after_its_projects_file() -> None:
    """However the project was named: results are found by what the recipe is called."""
    attached = recipe(**{"classifier.project": "FileAnnotation:12"})
    assert attached.called_after("nuclei.ilp").title == recipe().called_after("nuclei.ilp").title == "nuclei"
    assert attached.called_after("nuclei.ilp").hash("aa") == attached.hash("aa")
    assert recipe(name="own").called_after("nuclei.ilp").title == "own"
