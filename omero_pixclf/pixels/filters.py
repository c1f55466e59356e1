"""ilastik's filters at one scale on one channel of a box; shared intermediate results are computed once."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from omero_pixclf.image import Float32Array
from omero_pixclf.pixels.bounding_box import BoundingBox, Shape3
from omero_pixclf.pixels.gaussian import FILTER_WINDOW, SMOOTHING_WINDOW, gaussian_kernel, kernel_radius
from omero_pixclf.pixels.kernel_program import KernelProgram, TemporaryArray

__all__ = ["BoxPixels", "add_filters", "filter_halo"]

_Array = TemporaryArray | Float32Array
_ONE = np.ones(1, np.float32)
_Orders = tuple[int, int, int]
_SECOND: tuple[_Orders, ...] = ((0, 0, 2), (0, 2, 0), (2, 0, 0))
_FIRST: tuple[_Orders, ...] = ((0, 0, 1), (0, 1, 0), (1, 0, 0))
_MIXED: tuple[_Orders, ...] = ((0, 1, 1), (1, 0, 1), (1, 1, 0))
"""Orders of derivatives along (z, y, x): xx, yy, zz; x, y, z; xy, xz, yz."""


def _split_scale(scale: float) -> tuple[float, float]:
    """Return the sigma of the smoothing that comes first, and the sigma of the filter itself.

    At scales above 1, filters have sigma 1 and run on an image that is smoothed first, so that both together have the
    scale. At scales up to 1, both sigmas are the scale.
    """
    return (math.sqrt(scale * scale - 1.0), 1.0) if scale > 1.0 else (scale, scale)


def _gradient_sigma(sigma: float) -> float:
    """Return the sigma of the gradients in the structure tensor; their products are smoothed with sigma itself.

    ilastik passes the opposite order to its filter library (fastfilters), which swaps the two.
    """
    return 0.5 * sigma


def _filter_margin(scale: float, features: Collection[str]) -> int:
    """Return how many pixels of the smoothed image around its own a filter needs."""
    _, sigma = _split_scale(scale)
    tensor = kernel_radius(_gradient_sigma(sigma), FILTER_WINDOW) if "StructureTensorEigenvalues" in features else 0
    return kernel_radius(sigma, FILTER_WINDOW) + tensor


def filter_halo(scale: float, features: Collection[str]) -> int:
    """Return how many pixels of the image around its own a filter needs."""
    return kernel_radius(_split_scale(scale)[0], SMOOTHING_WINDOW) + _filter_margin(scale, features)


def _along_axes(margin: int, axes: Sequence[int]) -> Shape3:
    z, y, x = (margin if axis in axes else 0 for axis in range(3))
    return (z, y, x)


@dataclass(frozen=True, eq=False)
class BoxPixels:
    """The pixels of a box of an image: in memory, or a temporary array of a program."""

    pixels: _Array
    bounds: BoundingBox


@dataclass(frozen=True)
class _SeparablePasses:
    """Separable convolutions of one box: along x, then y, then z. Passes that several results share run once."""

    source: BoxPixels
    image: Shape3
    axes: tuple[int, ...]
    program: KernelProgram
    done: dict[tuple[object, ...], BoxPixels] = field(default_factory=dict)

    def run(self, sigma: float, orders: _Orders, window: float, target: BoundingBox) -> BoxPixels:
        """Return the source, filtered with derivatives of the given orders along (z, y, x), on the target box."""
        box = self.source
        for number, axis in enumerate(self.axes):
            rest = self.axes[number + 1 :]
            key = (sigma, window, target, tuple(orders[a] for a in self.axes[: number + 1]))
            if key not in self.done:
                bounds = target.expand(_along_axes(kernel_radius(sigma, window), rest), self.image)
                out = BoxPixels(TemporaryArray(bounds.shape), bounds)
                self.add_pass(out, box, axis, gaussian_kernel(sigma, orders[axis], window), orders[axis] == 1)
                self.done[key] = out
            box = self.done[key]
        return box

    def add_pass(self, out: BoxPixels, box: BoxPixels, axis: int, weights: Float32Array, odd: bool) -> None:
        """Add one pass to the program."""
        z, y, x = (a - b for a, b in zip(out.bounds.start, box.bounds.start, strict=True))
        rest = (weights, axis, odd, (z, y, x), out.bounds.start[axis], self.image[axis])
        self.program.add("convolve", box.pixels, out.pixels, rest=rest)


def add_filters(
    source: BoxPixels,
    image: Shape3,
    target: BoundingBox,
    *,
    scale: float,
    in_2d: bool,
    rows: Mapping[str, Sequence[_Array]],
    program: KernelProgram,
) -> None:
    """Add the filters of one scale to a program.

    Parameters
    ----------
    source
        The image on the target box and the pixels around it that the filters need, up to the borders of the image.
    image
        Extents of the image ``(z, y, x)``.
    target
        The box to compute.
    scale
        Sigma in pixels.
    in_2d
        Whether the filters see each plane alone.
    rows
        For each wanted filter, the arrays for its components, each float32 of the target's shape.
    program
        The program that the passes are added to.
    """
    axes = (2, 1) if in_2d else (2, 1, 0)
    before, sigma = _split_scale(scale)
    wide = target.expand(_along_axes(_filter_margin(scale, rows), axes), image)
    smooth = _SeparablePasses(source, image, axes, program).run(before, (0, 0, 0), SMOOTHING_WINDOW, wide)
    cascade = _SeparablePasses(smooth, image, axes, program)

    def derived(orders: Sequence[_Orders], at: float = sigma) -> list[_Array]:
        known = [o for o in orders if not in_2d or o[0] == 0]
        return [cascade.run(at, o, FILTER_WINDOW, target).pixels for o in known]

    if "GaussianSmoothing" in rows:
        home = BoxPixels(rows["GaussianSmoothing"][0], target)
        cascade.add_pass(home, cascade.run(sigma, (0, 0, 0), FILTER_WINDOW, target), 2, _ONE, False)
    if "DifferenceOfGaussians" in rows:
        (wider,), (narrow,) = derived([(0, 0, 0)]), derived([(0, 0, 0)], 0.66 * sigma)
        program.add("subtract", wider, narrow, rows["DifferenceOfGaussians"][0])
    if "GaussianGradientMagnitude" in rows:
        program.add("norm2" if in_2d else "norm3", *derived(_FIRST), rows["GaussianGradientMagnitude"][0])
    if "LaplacianOfGaussian" in rows:
        program.add("add2" if in_2d else "add3", *derived(_SECOND), rows["LaplacianOfGaussian"][0])
    if "HessianOfGaussianEigenvalues" in rows:
        _add_eigenvalues([*derived(_SECOND), *derived(_MIXED)], rows["HessianOfGaussianEigenvalues"], program)
    if "StructureTensorEigenvalues" in rows:
        tensor = _add_structure_tensor(cascade, sigma, target)
        _add_eigenvalues(tensor, rows["StructureTensorEigenvalues"], program)


def _add_structure_tensor(cascade: _SeparablePasses, sigma: float, target: BoundingBox) -> list[_Array]:
    """Add the smoothed products of the gradients; return them as xx, yy(, zz), xy(, xz, yz)."""
    axes, image, program = cascade.axes, cascade.image, cascade.program
    wide = target.expand(_along_axes(kernel_radius(sigma, FILTER_WINDOW), axes), image)
    orders = _FIRST[: len(axes)]
    gradient = [cascade.run(_gradient_sigma(sigma), o, FILTER_WINDOW, wide) for o in orders]
    pairs = [(i, i) for i in range(len(axes))] + [(i, j) for i in range(len(axes)) for j in range(i + 1, len(axes))]
    tensor = []
    for i, j in pairs:
        product = TemporaryArray(wide.shape)
        program.add("multiply", gradient[i].pixels, gradient[j].pixels, product)
        smooth = _SeparablePasses(BoxPixels(product, wide), image, axes, program)
        tensor.append(smooth.run(sigma, (0, 0, 0), FILTER_WINDOW, target).pixels)
    return tensor


def _add_eigenvalues(tensor: Sequence[_Array], out: Sequence[_Array], program: KernelProgram) -> None:
    if len(tensor) == 3:
        xx, yy, xy = tensor
        program.add("eigen2", xx, xy, yy, *out)
    else:
        xx, yy, zz, xy, xz, yz = tensor
        program.add("eigen3", zz, yz, xz, yy, xy, xx, *out)
