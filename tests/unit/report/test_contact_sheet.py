"""Many pictures on one sheet."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.report.contact_sheet import Thumbnail, draw_contact_sheet
from omero_pixclf.runs.planning.sampling import choose_previewed, sample_groups

COLORS = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (200, 0, 200), (0, 200, 200)]


def tile(n: int, group: str = "", size: tuple[int, int] = (300, 200)) -> Thumbnail:
    out = io.BytesIO()
    Image.new("RGB", size, COLORS[n % len(COLORS)]).save(out, "PNG")
    return Thumbnail(out.getvalue(), f"tile {n}", f"{n} objects", group)


def sheet(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def at(image: Image.Image, column: int, row: int) -> tuple[int, ...]:
    """The colour in the middle of a picture of 300 x 200."""
    found = image.getpixel((20 + column * 320 + 150, 132 + row * 258 + 100))
    assert isinstance(found, tuple)
    return tuple(4 * round(v / 4) for v in found)


def test_pictures_stand_in_rows_in_their_order() -> None:
    shown = sheet(draw_contact_sheet("Six", [tile(n) for n in range(6)], columns=3))
    assert [at(shown, n % 3, n // 3) for n in range(6)] == COLORS


def test_pictures_of_a_plate_stand_as_their_wells_do_and_missing_wells_stay_free() -> None:
    wells = ["B2", "B4", "C2", "C3", "C4"]
    shown = sheet(draw_contact_sheet("Plate", [tile(n, well) for n, well in enumerate(wells)]))
    assert at(shown, 0, 0) == COLORS[0] and at(shown, 2, 0) == COLORS[1] and at(shown, 2, 1) == COLORS[4]
    assert min(at(shown, 1, 0)) >= 252  # B3: white


def test_of_many_images_an_even_choice_is_shown_and_the_sheet_says_so() -> None:
    tiles = [tile(0) for _ in range(30)]
    some, all_ = sheet(draw_contact_sheet("Many", tiles, limit=12)), sheet(draw_contact_sheet("Many", tiles[:12]))
    assert some.size == all_.size
    note = (20, 60, 700, 84)
    assert some.crop(note).getextrema() != all_.crop(note).getextrema()


@pytest.mark.parametrize("size", [(1456, 480), (60, 2000), (8, 8)])
def test_any_shape_of_picture_fits(size: tuple[int, int]) -> None:
    shown = sheet(draw_contact_sheet("Mixed", [tile(0), tile(1, size=size), tile(2)]))
    assert shown.width <= 3200


def test_long_titles_stay_on_the_sheet() -> None:
    short, long = (sheet(draw_contact_sheet(text, [tile(0)])) for text in ("x", "very long " * 60))
    assert long.size == short.size


def test_a_sample_of_wells_takes_one_image_of_each_before_a_second_of_any() -> None:
    wells = [f"{row}{column}" for row in "ABCDEFGH" for column in range(1, 13) for _ in range(4)]
    chosen = sample_groups(wells, 96)
    assert [wells[i] for i in chosen] == sorted(set(wells), key=wells.index)
    assert len(sample_groups(wells, 200)) == 192 and len(sample_groups(wells, 50)) == 50


def test_a_sample_without_groups_is_spread_from_the_first_to_the_last() -> None:
    chosen = sample_groups([""] * 1000, 96)
    assert len(chosen) == len(set(chosen)) == 96 and (chosen[0], chosen[-1]) == (0, 999)
    assert sample_groups([""] * 5, 96) == [0, 1, 2, 3, 4] and sample_groups([], 96) == []


def image(number: int, container: str, well: str | None = None) -> ImageInfo:
    return ImageInfo(f"Image:{number}", "i", (1, 1, 8, 8, 1), "uint8", ("",), place=ImageLocation(container, "", well))


def test_previews_are_chosen_for_each_container_as_its_sheet_shows_them() -> None:
    dataset = [image(n, "Dataset:1") for n in range(1000)]
    few = [image(n, "Dataset:2") for n in range(1000, 1003)]
    wells = [f"{row}{column}" for row in "ABCDEFGH" for column in range(1, 13) for _ in range(4)]
    plate = [image(2000 + n, "Plate:3", well) for n, well in enumerate(wells)]
    chosen = choose_previewed([*dataset, *few, *plate])
    assert {i.key for i in few} <= chosen and len(chosen) == 96 + 3 + 96
    shown = [i for i in dataset if i.key in chosen]
    assert len(sample_groups([""] * len(shown), 96)) == 96  # a sheet of these shows them all
    assert {i.place.well for i in plate if i.key in chosen} == set(wells)
