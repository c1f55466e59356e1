"""Saving of an import: images in batches, then plates and links to containers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import omero.model

from omero_pixclf.embedded.commands.delete import execute_deletion
from omero_pixclf.embedded.commands.delete_rules import Deletion
from omero_pixclf.embedded.commands.graph_traversal import Action
from omero_pixclf.embedded.commands.options import ChildOptions
from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.images.rendering_definitions import apply_defaults, new_settings
from omero_pixclf.embedded.images.resolutions import open_pixels
from omero_pixclf.embedded.imports.model_objects import (
    ImportData,
    link_and_annotate,
    link_screens,
    new_images,
    new_plates,
)
from omero_pixclf.embedded.imports.pixel_import import move_pixels
from omero_pixclf.embedded.series.content import FilesetContent
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.services.pixels import describe_all_pixels

__all__ = ["IMAGES_PER_TRANSACTION", "SavedImage", "remove_images", "save_images", "save_plates_and_links"]

IMAGES_PER_TRANSACTION = 50
"""Images per transaction, which limits how long other requests wait."""


@dataclass(frozen=True)
class SavedImage:
    """An image and its Pixels as the client gets them, without related objects."""

    image: Any
    pixels: Any


def save_images(call: RequestContext, data: ImportData, numbers: range, placed: list[int]) -> list[SavedImage]:
    """Save a batch of images with their rendering settings.

    The ids of pixels whose files have been moved are appended to ``placed``; remove them if the transaction fails.
    """
    images = new_images(call, data, numbers)
    saver = Saver(call)
    for image in images:
        saver.save(image)
    saver.flush()
    made = [image.getPrimaryPixels() for image in images]
    for one, number in zip(made, numbers, strict=True):
        placed.append(one.id.val)
        move_pixels(data.pixels[number], call.folder, one.id.val)
    _note_levels(call, data.content, numbers, made)
    found = [SavedImage(_brief_image(image), _brief_pixels(one)) for image, one in zip(images, made, strict=True)]
    if data.settings.thumbnails:
        _save_settings(call, [one.id.val for one in made])
    return found


def save_plates_and_links(call: RequestContext, data: ImportData, images: Sequence[Any]) -> list[Any]:
    """Save plates and screens, and link everything to its container; return the plates without wells.

    ``images`` are all images of the import, in their order.
    """
    call.graph.load("Image", [image.id.val for image in images])  # load all at once
    known = [omero.model.ImageI(image.id.val, False) for image in images]
    plates = new_plates(data, known)
    saver = Saver(call)
    for plate in plates:
        saver.save(plate)
    saver.flush()
    link_screens(call, data.content, plates)
    on_plates = {well_sample.series for plate in data.content.plates for well_sample in plate.well_samples}
    others = [image for number, image in enumerate(known) if number not in on_plates]
    link_and_annotate(call, others, plates, data.settings)
    for plate in plates:
        plate.unloadCollections()
    return plates


def remove_images(call: RequestContext, fileset: int, count: int) -> bool:
    """Delete some images of a failed import with everything that belongs to them; False if none is left.

    Their Fileset stays, also after the last image: it shows which import failed.
    """
    sql = "SELECT id FROM image WHERE fileset = ? ORDER BY id DESC LIMIT ?"
    ids = [row[0] for row in call.tx.all(sql, (fileset, count))]
    if not ids:
        return False
    deletion = Deletion(call.as_admin(), ChildOptions(), ("Fileset",))
    deletion.run(deletion.find_targets("Image", ids), Action.DELETE)
    execute_deletion(deletion, deletion.references_to_clear())
    return True


def _note_levels(call: RequestContext, content: FilesetContent, numbers: range, pixels: Sequence[Any]) -> None:
    rows = [
        (one.id.val, place, level.width, level.height)
        for one, number in zip(pixels, numbers, strict=True)
        for place, level in enumerate(content.series[number].levels)
        if place > 0
    ]
    call.tx.executemany("INSERT INTO resolution VALUES (?, ?, ?, ?)", rows)


def _save_settings(call: RequestContext, ids: Sequence[int]) -> None:
    """Save the settings that thumbnails are rendered with."""
    saver = Saver(call)
    described = describe_all_pixels(call, ids)
    call.graph.finish_loading()
    for pixels in described:
        buffer = open_pixels(call, pixels.id.val)
        try:
            settings = new_settings(call, pixels)
            apply_defaults(call, settings, pixels, buffer)
        finally:
            buffer.close()
        saver.save(settings)
    saver.flush()


def _brief_image(image: Any) -> Any:
    made = omero.model.ImageI()
    for name in ("id", "details", "name", "description", "acquisitionDate", "series"):
        setattr(made, f"_{name}", getattr(image, f"_{name}"))
    made.fileset = omero.model.FilesetI(image.fileset.id.val, False)
    made.unloadCollections()
    return made


def _brief_pixels(pixels: Any) -> Any:
    """Return Pixels for the client: with their image's id, without channels."""
    made = omero.model.PixelsI()
    for name in ("id", "details", "sha1", "dimensionOrder", "pixelsType", "significantBits"):
        setattr(made, f"_{name}", getattr(pixels, f"_{name}"))
    for axis in "XYZCT":
        setattr(made, f"_size{axis}", getattr(pixels, f"_size{axis}"))
    made.image = omero.model.ImageI(pixels.image.id.val, False)
    made.unloadCollections()
    return made
