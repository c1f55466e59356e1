"""The form of the OMERO script: made from the recipe's model, and parsed to a recipe."""

from __future__ import annotations

import contextlib
import doctest
from typing import Any

import pytest
from omero.rtypes import unwrap

from omero_pixclf.config import ClassifierSettings, ObjectSettings, OutputSettings, Recipe
from omero_pixclf.errors import UsageError
from omero_pixclf.omero_script import form
from omero_pixclf.omero_script.form import HERE, QUEUE, form_parameters, list_choices, parameter_name, parse_form

CLASSIFIER = "plate.ilp (FileAnnotation:12, on Plate:3)"
MODELS = {"classifier": ClassifierSettings, "objects": ObjectSettings, "output": OutputSettings}
KEYS = [(s, k) for s, m in MODELS.items() for k in m.model_fields if (s, k) != ("classifier", "project")]
FORM = {p.name(): p for p in form_parameters([CLASSIFIER])}


def nested(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


NESTED = nested(100_000)
LOOP: list[Any] = []
LOOP += [LOOP] * 9
WIDE: list[Any] = ["x"] * 100
for _ in range(6):
    WIDE = [WIDE] * 100  # 10^14 texts for whoever goes through all


def filled(**changes: Any) -> dict[str, Any]:
    """What a user sends who changes nothing but these, as plain values."""
    defaults = {name: unwrap(p.prototype) for name, p in FORM.items() if p.useDefault}
    return {**defaults, "IDs": [3], "Data_Type": "Plate", "Classifier": CLASSIFIER, **changes}


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(form).failed == 0


@pytest.mark.parametrize(("section", "key"), KEYS, ids=lambda v: str(v))
def test_every_key_of_a_recipe_is_a_parameter_with_its_description_default_and_limits(section: str, key: str) -> None:
    field = MODELS[section].model_fields[key]
    parameter = FORM[parameter_name(section, key)]
    assert parameter.description == field.description and parameter.optional
    shown = unwrap(parameter.prototype) if parameter.useDefault else None
    if shown not in ("default", None):
        assert shown == field.default
    for limit, at in (("min", "ge"), ("max", "le")):
        wanted = next((getattr(m, at) for m in field.metadata if hasattr(m, at)), None)
        found = getattr(parameter, limit)
        assert (found.val if found is not None else None) == wanted


def test_no_two_keys_share_a_parameter_and_places_in_the_form_are_unique() -> None:
    places = [p.grouping for p in FORM.values()]
    assert len(set(places)) == len(places) == len(form_parameters([CLASSIFIER]))
    assert {parameter_name(*k) for k in KEYS} <= set(FORM)


def test_an_unchanged_form_is_the_default_recipe() -> None:
    request = parse_form(filled())
    assert request.recipe == Recipe(name="plate", classifier=ClassifierSettings(project="FileAnnotation:12"))
    assert request.targets == ("Plate:3",) and not request.queue and not request.repeat


@pytest.mark.parametrize(
    ("name", "value", "section", "key", "wanted"),
    [
        ("Threshold", 0.7, "objects", "threshold", 0.7),
        ("Label", ["Nucleus", " Cell "], "objects", "label", ("Nucleus", "Cell")),
        ("Channels", ["DAPI", "1"], "classifier", "channels", ("DAPI", 1)),
        ("Smooth", [1.5], "objects", "smooth", (1.5, 1.5, 1.5)),
        ("Smooth", [0.0, 1.0, 2.0], "objects", "smooth", (0.0, 1.0, 2.0)),
        ("Connectivity", "26", "objects", "connectivity", 26),
        ("Max_Size", 900, "objects", "max_size", 900),
        ("Fill_Holes", True, "objects", "fill_holes", True),
        ("Min_Size", 0, "objects", "min_size", 0),
        ("Dimensions", "3d", "objects", "dims", "3d"),
        ("ROIs", "mask", "output", "rois", "mask"),
        ("Label_Images", "image", "output", "labels", "image"),
        ("Tables", False, "output", "table", False),
    ],
)
def test_a_changed_parameter_changes_its_key_and_no_other(
    name: str, value: Any, section: str, key: str, wanted: Any
) -> None:
    recipe = parse_form(filled(**{name: value})).recipe
    assert getattr(getattr(recipe, section), key) == wanted
    default = parse_form(filled()).recipe
    part = getattr(default, section).model_copy(update={key: wanted})
    assert recipe == default.model_copy(update={section: part})


def test_settings_below_an_unticked_box_do_not_count() -> None:
    request = parse_form(filled(Object_Settings=False, Threshold=0.9, ROIs="mask"))
    assert request.recipe.objects.threshold == 0.5 and request.recipe.output.rois == "mask"


@pytest.mark.parametrize("section", ["probabilities", "segmentation", "labels"])
def test_what_only_folders_can_hold_is_not_offered(section: str) -> None:
    values = [v.val for v in FORM[parameter_name("output", section)].values.val]
    assert "image" in values and "zarr" not in values


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"IDs": []}, "no Plate is selected"),
        ({"Classifier": ""}, "Attach a trained .ilp"),
        ({"Classifier": "choose one"}, "no classifier is chosen"),
        ({"Smooth": [1.0, 2.0]}, "smooth"),
        ({"Method": "hysteresis", "Low": 0.9, "High": 0.5}, "below low"),
        ({"Min_Size": 50, "Max_Size": 10}, "below min_size"),
    ],
)
def test_what_cannot_be_done_is_refused_with_words(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_form(filled(**changes))


def test_targets_are_named_once_and_the_way_to_run_is_kept() -> None:
    request = parse_form(filled(Data_Type="Image", IDs=[5, 6, 5], Run=QUEUE, Most_Images=7, Repeat=True))
    assert request.targets == ("Image:5", "Image:6")
    assert request.queue and request.repeat and request.most_images == 7
    assert not parse_form(filled(Run=HERE)).queue


@pytest.mark.parametrize("name", ["plate.ilp", "a (FileAnnotation:7, on Plate:1).ilp", "()", "ü, x.ilp"])
def test_an_entry_of_the_list_leads_back_to_its_file_whatever_it_is_called(name: str) -> None:
    (entry,) = list_choices([(12, name, "Dataset:7")])
    assert parse_form(filled(Classifier=entry)).recipe.classifier.project == "FileAnnotation:12"


@pytest.mark.parametrize("given", ["FileAnnotation:12", "plate.ilp"])
def test_clients_may_name_a_project_themselves(given: str) -> None:
    assert parse_form(filled(Classifier=given)).recipe.classifier.project == given


def test_of_several_projects_none_is_taken_unasked_and_the_only_one_is() -> None:
    several = next(p for p in form_parameters([CLASSIFIER, "b"]) if p.name() == "Classifier")
    assert [v.val for v in several.values.val] == ["choose one", CLASSIFIER, "b"]
    assert [v.val for v in FORM["Classifier"].values.val] == [CLASSIFIER]


def test_a_name_of_ones_own_goes_before_the_files() -> None:
    assert parse_form(filled(Recipe_Name=" nuclei, strict ")).recipe.name == "nuclei, strict"


def test_without_attached_projects_the_form_still_opens() -> None:
    form = {p.name(): p for p in form_parameters([])}
    assert form["Classifier"].values is None and form["Classifier"].optional
    assert not FORM["Classifier"].optional


@pytest.mark.parametrize(
    "given",
    ["/etc/passwd", "./plate.ilp", "../plate.ilp", "~/plate.ilp", "C:\\plate.ilp", "File:12", "FileAnnotation:x",
     "FileAnnotation:²", "FileAnnotation:" + "1" * 5000, "plate\n.ilp", "file:plate.ilp"],
)  # fmt: skip
def test_a_path_on_the_servers_disk_is_no_classifier(given: str) -> None:
    with pytest.raises(UsageError, match="project"):
        parse_form(filled(Classifier=given))


@pytest.mark.parametrize(
    "changes",
    [{"Classifier": 12}, {"Data_Type": ["Plate"]}, {"Data_Type": "Roi"}, {"IDs": "3"}, {"IDs": ["x"]}, {"IDs": [-1]},
     {"IDs": [10**400]}, {"Recipe_Name": 5}, {"Most_Images": "many"}, {"Min_Size": 10**400}, {"Threshold": 10**400},
     {"Threshold": float("nan")}, {"Smooth": [float("inf")]}, {"Smooth": [10**400]}, {"Smooth": 7 * [1.0]},
     {"Label": {"a": 1}}, {"Channels": ["1" * 5000] * 3 + [[[]]]}, {"IDs": NESTED}, {"Classifier": NESTED},
     {"Channels": [NESTED]}, {"Label": {"a": NESTED}}, {"Unknown": NESTED}, {"Run": NESTED}, {"IDs": LOOP},
     {"Channels": WIDE}],
)  # fmt: skip
def test_whatever_a_client_sends_is_understood_or_refused(changes: dict[str, Any]) -> None:
    with contextlib.suppress(UsageError):
        parse_form(filled(**changes))


@pytest.mark.parametrize("value", [NESTED, {"a": NESTED}, LOOP, WIDE])
@pytest.mark.parametrize("name", ["IDs", "Classifier", "Channels", "Recipe_Name", "Most_Images"])
def test_values_nested_without_end_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^{name.replace('_', ' ')}: (nested|more than)"):
        parse_form(filled(**{name: value}))


@pytest.mark.parametrize("most", [0, -1, 10_001, 2**62, True, False, 1.0, "5"])
def test_the_number_of_images_keeps_to_the_forms_limits_whoever_sends_it(most: Any) -> None:
    with pytest.raises(UsageError, match=r"^Most Images: expected"):
        parse_form(filled(Most_Images=most))
