"""Preview of one image with the outlines of its objects drawn over it: arrays in, PNG bytes out."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from omero_pixclf.image import Array
from omero_pixclf.objects.contours import signed_area, trace_contours
from omero_pixclf.objects.simplify import simplify_rings
from omero_pixclf.report.fonts import load_font

__all__ = [
    "BRIGHTEST",
    "CHANNEL_COLORS",
    "COLOR_STEP",
    "DARKEST",
    "FRAMES",
    "MAX_ENLARGEMENT",
    "MIN_LINE_BRIGHTNESS",
    "MIN_OBJECT_SIZE",
    "RIM",
    "SIDE",
    "STROKE",
    "Color",
    "SubsampledArray",
    "draw_overlay",
    "encode_png",
    "lighten_for_dark_background",
    "quantize_colors",
]

Color = tuple[int, int, int]

_NOTHING = np.empty(0, np.int64)

SIDE = 480  # pixels of a preview's longer side, roughly
MAX_ENLARGEMENT = 6  # of small images: their pixels are visible, and the PNG is still small
FRAMES = 3  # of a time series: first, middle and last
MIN_OBJECT_SIZE = (
    9  # pixels across an object with a visible outline; if objects are smaller, a part of the image is shown
)
DARKEST, BRIGHTEST = 4.0, 99.8  # percentiles that become black and full colour
CHANNEL_COLORS: tuple[Color, ...] = ((225, 225, 225), (0, 100, 230), (230, 120, 0), (180, 0, 200), (0, 170, 90))
RIM = 7  # width of the outline: (RIM - 1) / 2 on a canvas of twice the size
STROKE = 4  # the same for the lines of enlarged images
COLOR_STEP = 4  # noise in finer steps is invisible, but takes a third of the file
MIN_LINE_BRIGHTNESS = 105  # of 255: darker class colours are lightened to be visible on a dark image


@dataclass(frozen=True)
class SubsampledArray:
    """Every ``step``-th pixel along y and x of an array that can be sliced; read only where it is indexed."""

    array: Any
    step: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape after subsampling."""
        t, z, y, x, *rest = self.array.shape
        return (t, z, -(-y // self.step), -(-x // self.step), *rest)

    @property
    def dtype(self) -> Any:
        """Data type of the array."""
        return self.array.dtype

    def __getitem__(self, place: Any, /) -> NDArray[Any]:
        given = place if isinstance(place, tuple) else (place,)
        missing: list[Any] = [slice(None)] * (4 - len(given))
        t, z, *sides = [*given, *missing]
        rows, columns = (self._steps(side, extent) for side, extent in zip(sides, self.array.shape[2:4], strict=True))
        return np.asarray(self.array[t, z, rows, columns])

    def _steps(self, side: slice, extent: int) -> slice:
        start, stop, _ = side.indices(-(-extent // self.step))
        return slice(start * self.step, min(stop * self.step, extent), self.step)


def draw_overlay(
    pixels: NDArray[Any] | SubsampledArray,
    labels: Mapping[str, Array | SubsampledArray],
    colors: Mapping[str, Color],
    *,
    pixel_um: float | None = None,
) -> bytes:
    """Draw an image with the outlines of its objects and return it as a PNG.

    If the objects are too small to be visible in the whole image, a part of it is shown, and the picture says so.

    Parameters
    ----------
    pixels
        ``(t, z, y, x, c)`` of any numeric dtype; stacks are shown as maximum projections, time series by their first,
        middle and last frame, each channel stretched between its 4th and 99.8th percentile. Three channels of uint8
        are red, green and blue.
    labels
        ``(t, z, y, x)`` integers for each class; 0 is background.
    colors
        Red, green, blue, 0 to 255, for each class.
    pixel_um
        Micrometres per pixel along x, for a scale bar; None draws no scale bar.
    """
    count, _, height, width, _ = pixels.shape
    frames = sorted({round(i * (count - 1) / (FRAMES - 1)) for i in range(FRAMES)})
    flat = {name: np.stack([image[t].max(axis=0) for t in frames]) for name, image in labels.items()}
    rows, columns = _choose_window(list(flat.values()), (height, width))
    shown = _preview_shape(rows.stop - rows.start, columns.stop - columns.start)
    canvas = _blend_channels(np.stack([_project(pixels[t, :, rows, columns], shown) for t in frames]), pixels.dtype)
    for name, image in flat.items():
        line = np.stack([_outline_coverage(frame[rows, columns], shown) for frame in image])[..., None]
        canvas = canvas * (1 - line) + line * np.array(lighten_for_dark_background(colors[name]), np.float32)
    pictures = [quantize_colors(frame) for frame in canvas]
    _annotate_frames(pictures, frames, count, shown[1] / (columns.stop - columns.start), pixel_um)
    if rows.stop - rows.start < height or columns.stop - columns.start < width:
        _draw_label(pictures[0], (8, shown[0] - 26), f"part of {width} × {height} pixels")
    return encode_png(_join_frames(pictures), effort=1)  # a temporary file, read for the contact sheet and the page


def lighten_for_dark_background(color: Color) -> Color:
    """Mix a class colour with white until it is visible on a dark image.

    >>> lighten_for_dark_background((255, 0, 0)), lighten_for_dark_background((0, 0, 255))
    ((255, 64, 64), (93, 93, 255))
    """
    light = float(np.dot(color, (0.2126, 0.7152, 0.0722)))
    white = max(0.0, (MIN_LINE_BRIGHTNESS - light) / (255 - light)) if light < MIN_LINE_BRIGHTNESS else 0.0
    r, g, b = (round(v + (255 - v) * white) for v in color)
    return (r, g, b)


def _choose_window(labels: Sequence[NDArray[Any]], shape: tuple[int, int]) -> tuple[slice, slice]:
    """Choose the rows and columns to show: all, or a part around the median position of very small objects."""
    sizes = np.concatenate([np.bincount(frame.ravel())[1:] for image in labels for frame in image] or [_NOTHING])
    if not (sizes > 0).any():
        return slice(0, shape[0]), slice(0, shape[1])
    across = float(np.sqrt(np.median(sizes[sizes > 0])))
    side = max(SIDE // 2, int(across * SIDE / MIN_OBJECT_SIZE))
    found = np.argwhere(np.max([image.max(axis=0) for image in labels], axis=0)[::4, ::4])
    middle = 4 * np.median(found, axis=0) if len(found) else np.array(shape) / 2
    rows, columns = (_centered_slice(float(m), side, extent) for m, extent in zip(middle, shape, strict=True))
    return rows, columns


def _centered_slice(middle: float, side: int, extent: int) -> slice:
    side = min(side, extent)
    start = int(np.clip(round(middle - side / 2), 0, extent - side))
    return slice(start, start + side)


def _preview_shape(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the picture: small images are enlarged by whole numbers, large ones reduced to `SIDE`."""
    longest = max(height, width)
    factor = min(max(1, round(SIDE / longest)), MAX_ENLARGEMENT) if longest <= SIDE else SIDE / longest
    return max(1, round(height * factor)), max(1, round(width * factor))


def _project(stack: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Maximum projection of a ``(z, y, x, c)`` stack, resized to a shape (rows, columns)."""
    planes = stack.max(axis=0) if len(stack) > 1 else stack[0]
    is_smaller = shape[0] < planes.shape[0]
    method = Image.Resampling.BOX if is_smaller else Image.Resampling.BICUBIC
    channels = [np.nan_to_num(planes[..., c].astype(np.float32)) for c in range(planes.shape[-1])]
    return np.stack([np.asarray(Image.fromarray(c).resize(shape[::-1], method)) for c in channels], axis=-1)


def _blend_channels(frames: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[np.float32]:
    """Convert ``(n, y, x, c)`` to red, green, blue, 0 to 255: the first channel in grey, others in colours over it."""
    channels = frames.shape[-1]
    if channels == 3 and dtype == np.uint8:
        return np.clip(frames, 0, 255)
    total = np.zeros((*frames.shape[:3], 3), np.float32)
    for c in range(min(channels, len(CHANNEL_COLORS))):
        plane = frames[..., c]
        low, high = np.percentile(plane, (DARKEST, BRIGHTEST))
        scaled = np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
        total += scaled[..., None] * np.array(CHANNEL_COLORS[c], np.float32)
    return np.clip(total, 0, 255)


def _outline_coverage(labels: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Fraction (0 to 1) of each pixel of a ``(y, x)`` picture that is covered by an outline."""
    fine = (2 * shape[0], 2 * shape[1])
    rim = _draw_contours(labels, fine) if fine[0] // labels.shape[0] > 2 else _inner_rim(labels, fine)
    part: NDArray[np.float32] = rim.reshape(shape[0], 2, shape[1], 2).mean(axis=(1, 3), dtype=np.float32)
    return part


def _inner_rim(labels: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask of the inner rims of all objects of a ``(y, x)`` image, scaled to a shape."""
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(shape, labels.shape, strict=True))
    large = labels[rows[:, None], columns[None, :]]
    rim: NDArray[np.bool_] = (large > 0) & (ndimage.maximum_filter(large, RIM) != ndimage.minimum_filter(large, RIM))
    return rim


def _draw_contours(labels: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask of smooth contours of all objects of a small ``(y, x)`` image, enlarged to a shape.

    The time depends on the objects, not on the enlargement.
    """
    scale = (shape[1] / labels.shape[1], shape[0] / labels.shape[0])
    canvas = Image.new("1", shape[::-1])
    draw = ImageDraw.Draw(canvas)
    rings = [ring.corners.astype(np.float64) for ring in trace_contours(labels)]
    clockwise = [ring if signed_area(ring) > 0 else ring[::-1] for ring in rings]
    for line in simplify_rings(clockwise, tolerance=0.5):
        points = (np.concatenate((line, line[:2])) * scale).ravel().tolist()
        draw.line(points, fill=1, width=STROKE)
    return np.asarray(canvas)


def _annotate_frames(
    pictures: Sequence[Image.Image], frames: Sequence[int], count: int, scale: float, um: float | None
) -> None:
    """Write the time points on the frames, and a scale bar on the last one."""
    if count > 1:
        for picture, t in zip(pictures, frames, strict=True):
            _draw_label(picture, (8, 6), f"t = {t + 1} of {count}")
    last = pictures[-1]
    if um and last.width >= 100:
        length = _round_length(um / scale * last.width / 4)
        bar = round(length / um * scale)
        right, bottom = last.width - 10, last.height - 10
        draw = ImageDraw.Draw(last)
        draw.rectangle((right - bar - 1, bottom - 5, right + 1, bottom + 1), fill="black")
        draw.rectangle((right - bar, bottom - 4, right, bottom), fill="white")
        _draw_label(last, (right - bar // 2, bottom - 8), f"{length:g} µm", anchor="ms")


def _round_length(limit: float) -> float:
    """The largest of 1, 2, 5, 10, 20, … (or 0.1, 0.2, …) that is at most ``limit``."""
    power = 10.0 ** np.floor(np.log10(limit))
    return float(max(step * power for step in (1, 2, 5) if step * power <= limit * 1.0001))


def _draw_label(picture: Image.Image, at: tuple[int, int], text: str, *, anchor: str = "la") -> None:
    ImageDraw.Draw(picture).text(
        at, text, fill="white", font=load_font(15), anchor=anchor, stroke_width=2, stroke_fill="black"
    )


def _join_frames(pictures: Sequence[Image.Image]) -> Image.Image:
    """Put pictures of one size beside each other."""
    width, height = pictures[0].size
    row = Image.new("RGB", (len(pictures) * (width + 4) - 4, height), "white")
    for n, picture in enumerate(pictures):
        row.paste(picture, (n * (width + 4), 0))
    return row


def quantize_colors(pixels: NDArray[Any]) -> Image.Image:
    """Convert ``(y, x, 3)`` values of 0 to 255 to a picture with fewer colours, which compresses better."""
    return Image.fromarray(np.clip(np.rint(pixels / COLOR_STEP) * COLOR_STEP, 0, 255).astype(np.uint8))


def encode_png(image: Image.Image, *, effort: int = 9) -> bytes:
    """Encode a picture as the bytes of a PNG file; ``effort`` is the compression level, 1 to 9."""
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=effort)
    return out.getvalue()
