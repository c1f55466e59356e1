"""Pictures of results: an image with its objects outlined, and many of them on one sheet. Arrays in, PNG bytes out."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from omero_pixclf.objects.label import Labels

__all__ = ["Tile", "contact_sheet", "overlay"]

SIDE = 480  # pixels of a preview's longer side, roughly
CHANNEL_COLORS = ((1.0, 1.0, 1.0), (0.1, 0.75, 0.3), (0.85, 0.1, 0.65), (0.1, 0.35, 0.95), (0.9, 0.5, 0.1))
CHANNEL_WEIGHT = 0.75  # of further channels, so that the first stays plain to see
DARKEST, BRIGHTEST = 1.0, 99.7  # percentiles that become black and full colour
FRAMES = 3  # of a time series: first, middle and last

Color = tuple[int, int, int]


def overlay(pixels: NDArray[Any], labels: Mapping[str, Labels], colors: Mapping[str, Color]) -> bytes:
    """A PNG of an image with the outlines of its objects.

    Parameters
    ----------
    pixels
        ``(t, z, y, x, c)``; stacks are shown as maximum projections, time series by their first, middle and last frame,
        each channel stretched between its 1st and 99.7th percentile.
    labels
        ``(t, z, y, x)`` for each class.
    colors
        Red, green, blue, 0 to 255, for each class.
    """
    count = pixels.shape[0]
    frames = sorted({round(i * (count - 1) / (FRAMES - 1)) for i in range(FRAMES)})
    shown = np.stack([pixels[t].max(axis=0) for t in frames])  # frames, y, x, c
    canvas = _resized(_colored(shown))
    for name, image in labels.items():
        flat = np.stack([image[t].max(axis=0) for t in frames])
        canvas[_edges(_resized_labels(flat, canvas.shape[1:3]))] = colors[name]
    gap = np.full((canvas.shape[1], 4, 3), 255, np.uint8)
    parts = [part for frame in canvas for part in (frame, gap)][:-1]
    return _png(Image.fromarray(np.concatenate(parts, axis=1)))


def _colored(frames: NDArray[Any]) -> NDArray[np.uint8]:
    """``(n, y, x, c)`` of any type as ``(n, y, x, 3)``: the first channel in grey, others in colours over it."""
    total = np.zeros((*frames.shape[:3], 3), np.float32)
    channels = min(frames.shape[3], len(CHANNEL_COLORS))
    for c in range(channels):
        plane = np.nan_to_num(frames[..., c].astype(np.float32))
        low, high = np.percentile(plane[:, ::2, ::2], (DARKEST, BRIGHTEST))
        scaled = np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
        weight = 1.0 if c == 0 else CHANNEL_WEIGHT
        total += weight * scaled[..., None] * np.array(CHANNEL_COLORS[c], np.float32)
    return (255 * np.clip(total, 0, 1)).astype(np.uint8)


def _scale(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns to show: small images are enlarged by whole numbers, large ones reduced to `SIDE`."""
    longest = max(shape)
    if longest <= SIDE:
        factor = max(1, round(SIDE / longest))
        return shape[0] * factor, shape[1] * factor
    return max(1, round(shape[0] * SIDE / longest)), max(1, round(shape[1] * SIDE / longest))


def _resized(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = _scale(frames.shape[1:3])
    method = Image.Resampling.BOX if width < frames.shape[2] else Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(f).resize((width, height), method)) for f in frames])


def _resized_labels(labels: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    rows = (np.arange(shape[0]) + 0.5) * labels.shape[1] / shape[0]
    columns = (np.arange(shape[1]) + 0.5) * labels.shape[2] / shape[1]
    return labels[:, rows.astype(int)[:, None], columns.astype(int)[None, :]]


def _edges(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """The outermost pixels of every object."""
    edge = np.zeros(labels.shape, np.bool_)
    for axis in (1, 2):
        near, far = [slice(None)] * 3, [slice(None)] * 3
        near[axis], far[axis] = slice(None, -1), slice(1, None)
        differs = labels[tuple(near)] != labels[tuple(far)]
        edge[tuple(near)] |= differs
        edge[tuple(far)] |= differs
    return edge & (labels > 0)


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet, with what is written below it."""

    picture: bytes
    title: str
    caption: str = ""


def contact_sheet(title: str, tiles: Sequence[Tile], *, columns: int | None = None, limit: int = 96) -> bytes:
    """A PNG with the tiles in rows, each with its title and caption; an evenly spaced ``limit`` of them if more."""
    chosen = [tiles[round(i * (len(tiles) - 1) / (limit - 1))] for i in range(limit)] if len(tiles) > limit else tiles
    pictures = [Image.open(io.BytesIO(t.picture)).convert("RGB") for t in chosen]
    width, height = max(p.width for p in pictures), max(p.height for p in pictures)
    columns = columns or min(len(chosen), max(1, round((len(chosen) * 1.6 * height / width) ** 0.5)))
    rows = -(-len(chosen) // columns)
    shrink = min(1.0, 2400 / (columns * width))
    width, height = round(width * shrink), round(height * shrink)
    margin, text, head = 14, 50, 56
    sheet = Image.new("RGB", (margin + columns * (width + margin), head + rows * (height + text) + margin), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((margin, 14), title, fill="black", font=ImageFont.load_default(26))
    note = f"{len(chosen)} of {len(tiles)} images" if len(chosen) < len(tiles) else ""
    draw.text((sheet.width - margin, 20), note, fill="gray", font=ImageFont.load_default(18), anchor="ra")
    for n, (tile, picture) in enumerate(zip(chosen, pictures, strict=True)):
        x, y = margin + n % columns * (width + margin), head + n // columns * (height + text)
        size = (max(1, round(picture.width * shrink)), max(1, round(picture.height * shrink)))
        sheet.paste(picture.resize(size, Image.Resampling.LANCZOS), (x, y))
        draw.text((x, y + size[1] + 3), tile.title, fill="black", font=ImageFont.load_default(17))
        draw.text((x, y + size[1] + 24), tile.caption, fill="dimgray", font=ImageFont.load_default(15))
    return _png(sheet)


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()
