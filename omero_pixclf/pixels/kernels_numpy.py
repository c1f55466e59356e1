"""The kernels in numpy, for installations without the compiled module: the same numbers, bit for bit.

A fused multiply-add (one rounding) of single precision numbers is computed in double precision: the product is exact
there, and the sum is rounded to odd, so that only the second rounding, to single precision, has an effect
(Boldo and Melquiond, 2008).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from omero_pixclf.image import Array, Float32Array, Float64Array, Int32Array, UInt32Array

__all__ = ["evaluate", "level", "run"]

_ENTRY = np.dtype([("threshold", np.float32), ("word", np.uint32), ("keep", np.uint32)])


def level() -> str:
    """Return the name of this implementation."""
    return "numpy"


def _fused_multiply_add(weight: np.float32, values: Float32Array, sums: Float32Array) -> Float32Array:
    product = np.float64(weight) * values.astype(np.float64)
    addend = sums.astype(np.float64)
    total = product + addend
    back = total - product
    lost = (product - (total - back)) + (addend - back)
    bits = total.view(np.int64)
    odd = (bits & 1) == 1
    up = (lost > 0) == (total > 0)
    inexact = (lost != 0) & ~odd & np.isfinite(total) & np.isfinite(lost)
    return np.asarray((bits + np.where(inexact, np.where(up, 1, -1), 0)).view(np.float64).astype(np.float32))


def _fused_range(radius: int, length: int) -> tuple[int, int]:
    """Return the columns where ilastik's filters fuse along x: whole groups of 32, after a first group of 8."""
    low, high = -(-radius // 8) * 8, (length - radius) // 32 * 32 if length > radius else 0
    return (low, high) if high > -(-low // 32) * 32 else (0, 0)


@np.errstate(all="ignore")
def run(calls: list[tuple[Any, ...]]) -> None:
    """Run kernels one after the other: each is a name, the arrays read and written, and its other arguments."""
    for name, *arguments in calls:
        _KERNELS[name](*arguments)


def _convolve(
    src: Float32Array,
    dst: Float32Array,
    weights: Float32Array,
    axis: int,
    odd: bool,
    offset: tuple[int, int, int],
    first: int,
    length: int,
) -> None:
    """One separable pass along an axis of a ``(z, y, x)`` box of an image, mirrored at the image's edges.

    Parameters
    ----------
    src, dst
        float32 ``(z, y, x)``.
    weights
        As `gaussian` returns them.
    axis
        0, 1 or 2: z, y or x.
    odd
        Whether the taps on the left count negatively.
    offset
        Where ``dst`` begins within ``src``, ``(z, y, x)``.
    first, length
        Where ``dst`` begins along the axis, and the extent of the image along it.
    """
    at = np.arange(first, first + dst.shape[axis])
    begin = first - offset[axis]
    box = [slice(o, o + n) for o, n in zip(offset, dst.shape, strict=True)]
    box[axis] = slice(None)
    lines = src[tuple(box)]

    def gather(indices: Array) -> Float32Array:
        mirrored = np.abs(indices)
        mirrored = np.where(mirrored >= length, 2 * (length - 1) - mirrored, mirrored) - begin
        if mirrored.min() < 0 or mirrored.max() >= lines.shape[axis]:
            raise ValueError("the pass reads outside of its source")
        return np.asarray(np.take(lines, mirrored, axis=axis))

    if weights.size == 1:
        dst[...] = gather(at)
        return
    low, high = _fused_range(weights.size - 1, length) if axis == 2 else (0, length)
    fuse = (at >= low) & (at < high)
    sums = weights[0] * gather(at)
    for k, weight in enumerate(weights[1:], 1):
        right, left = gather(at + k), gather(at - k)
        both = right - left if odd else right + left
        plain = sums + weight * both
        sums = np.where(
            fuse.reshape([-1 if d == axis else 1 for d in range(3)]), _fused_multiply_add(weight, both, sums), plain
        )
    dst[...] = sums


def _multiply(a: Float32Array, b: Float32Array, out: Float32Array) -> None:
    """The product of two arrays."""
    np.multiply(a, b, out=out)


def _subtract(a: Float32Array, b: Float32Array, out: Float32Array) -> None:
    """The difference of two arrays."""
    np.subtract(a, b, out=out)


def _add2(a: Float32Array, b: Float32Array, out: Float32Array) -> None:
    """The sum of two arrays."""
    np.add(a, b, out=out)


def _add3(a: Float32Array, b: Float32Array, c: Float32Array, out: Float32Array) -> None:
    """The sum of three arrays, from the left."""
    np.add(a + b, c, out=out)


def _norm2(a: Float32Array, b: Float32Array, out: Float32Array) -> None:
    """The Euclidean norm of two components."""
    np.sqrt(a * a + b * b, out=out)


def _norm3(a: Float32Array, b: Float32Array, c: Float32Array, out: Float32Array) -> None:
    """The Euclidean norm of three components."""
    np.sqrt(a * a + b * b + c * c, out=out)


def _lesser(a: Any, b: Any) -> Any:
    return np.where(a < b, a, b)


def _greater(a: Any, b: Any) -> Any:
    return np.where(a > b, a, b)


def _eigen2(a: Float32Array, b: Float32Array, c: Float32Array, great: Float32Array, small: Float32Array) -> None:
    """Eigenvalues of the matrices ``((a, b), (b, c))``."""
    mean, half = (a + c) * np.float32(0.5), (a - c) * np.float32(0.5)
    root = np.sqrt(half * half + b * b)
    one, two = mean + root, mean - root
    great[...], small[...] = _greater(one, two), _lesser(one, two)


def _polynomial(x: Array, *coefficients: float) -> Array:
    value = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        value = value * x + np.float32(c)
    return value


def _arctangent(y: Float32Array, x: Float32Array) -> Float32Array:
    """The angle in [0, pi] whose tangent is y / x, y not negative (polynomial of N. Shibata's SLEEF)."""
    negative, y, x = np.signbit(x), np.abs(y), np.abs(x)
    steep = y > x
    turns = np.where(negative, np.float32(-2), np.float32(0)) + steep.astype(np.float32)
    den, num = np.where(steep, y, x), np.where(steep, -x, y)
    s = num / den
    t = s * s
    u = _polynomial(
        t,
        0.00282363896258175373077393,
        -0.0159569028764963150024414,
        0.0425049886107444763183594,
        -0.0748900920152664184570312,
        0.106347933411598205566406,
        -0.142027363181114196777344,
        0.199926957488059997558594,
        -0.333331018686294555664062,
    )
    half_pi, pi = np.float32(np.pi / 2), np.float32(np.pi)
    angle = turns * half_pi + ((t * s) * u + s)
    angle = np.where(negative, -angle, angle)
    angle = np.where(den == 0, half_pi, angle)
    return np.asarray(np.where(num == 0, np.where(negative, pi, np.float32(0)), angle))


def _cosine_and_sine(angle: Array) -> tuple[Array, Array]:
    """Cosine and sine of angles in [0, pi/3] (polynomials of S. Moshier's Cephes)."""
    far = angle * np.float32(1.27323954473516) >= 1
    octants = np.where(far, np.float32(2), np.float32(0))
    r = angle
    for part in (-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8):
        r = r + octants * np.float32(part)
    z = r * r
    cosine = _polynomial(z, 2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2) * z * z
    cosine = cosine - z * np.float32(0.5) + np.float32(1)
    sine = _polynomial(z, -1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1) * z * r + r
    return np.where(far, -sine, cosine), np.where(far, cosine, sine)


def _eigen3(
    a: Float32Array,
    b: Float32Array,
    c: Float32Array,
    d: Float32Array,
    e: Float32Array,
    f: Float32Array,
    first: Float32Array,
    second: Float32Array,
    third: Float32Array,
) -> None:
    """Eigenvalues of the matrices with rows ``(a, b, c), (b, d, e), (c, e, f)``, greatest first (Eberly)."""
    one, two, half, zero = (np.float32(v) for v in (1, 2, 0.5, 0))
    inv3, root3 = np.float32(1 / 3), np.sqrt(np.float32(3))
    size = [np.abs(v) for v in (a, b, c, d, e, f)]
    most = _greater(_greater(_greater(size[0], size[1]), _greater(size[2], size[3])), _greater(size[4], size[5]))
    most = np.where(most == 0, one, most)
    a, b, c, d, e, f = (np.asarray(v / most, np.float32) for v in (a, b, c, d, e, f))
    c0 = a * d * f + two * b * c * e - a * e * e - d * c * c - f * b * b
    c1 = a * d - b * b + a * f - c * c + d * f - e * e
    c2 = a + d + f
    p = c2 * inv3
    third_a = _lesser((c1 - c2 * p) * inv3, zero)
    half_b = half * (c0 + p * (two * p * p - c1))
    q = _lesser(half_b * half_b + third_a * third_a * third_a, zero)
    magnitude = np.sqrt(-third_a)
    cs, sn = _cosine_and_sine(_arctangent(np.sqrt(-q), half_b) * inv3)
    r0 = p + two * magnitude * cs
    r1, r2 = p - magnitude * (cs + root3 * sn), p - magnitude * (cs - root3 * sn)
    low, high = _lesser(r0, r1), _greater(r0, r1)
    lowest, rest = _lesser(low, r2), _greater(low, r2)
    first[...] = _greater(high, rest) * most
    second[...] = _lesser(high, rest) * most
    third[...] = lowest * most


@np.errstate(all="ignore")
def evaluate(
    features: Float32Array,
    out: Float32Array,
    entries: Array,
    column_ends: Int32Array,
    word_ends: Int32Array,
    initial: UInt32Array,
    votes: UInt32Array,
    leaves: Float64Array,
    channels: Int32Array,
    forest_ends: Int32Array,
    nodes: Array,
    roots: Int32Array,
) -> None:
    """Write probabilities ``(pixels, channels)`` from features ``(columns, pixels)``; `BitForest` has the tables."""
    del votes  # whether leaves are pure or not, the sums are the same
    out[...] = 0
    for begin in range(0, features.shape[1], 4096):
        part = np.ascontiguousarray(features[:, begin : begin + 4096])
        if roots.size:
            found: Iterable[Array] = (_walk_tree(part, nodes, root) for root in roots.tolist())
        else:
            words = _remaining_leaves(part, entries, column_ends, initial)
            spans = zip([0, *word_ends[:-1].tolist()], word_ends.tolist(), strict=True)
            found = (_lowest_leaf(words, begin, end) for begin, end in spans)
        mean = _mean_over_trees(found, leaves, forest_ends)
        whole = ~np.isnan(part).any(axis=0)
        out[begin : begin + 4096][np.ix_(whole, channels)] = mean[whole]


def _remaining_leaves(part: Float32Array, entries: Array, ends: Int32Array, initial: UInt32Array) -> Array:
    words = np.repeat(initial[:, None], part.shape[1], axis=1)
    begin = 0
    for column, end in enumerate(ends.tolist()):
        for entry in entries[begin:end]:
            failed = ~(part[column] < entry["threshold"])
            words[entry["word"], failed] &= entry["keep"]
        begin = end
    return words


def _walk_tree(part: Float32Array, nodes: Array, root: int) -> Array:
    """Return each pixel's leaf of one tree, walking down from the root."""
    at = np.full(part.shape[1], root)
    pixels = np.flatnonzero(at >= 0)
    while pixels.size:
        here = nodes[at[pixels]]
        below = part[here["column"], pixels] < here["threshold"]
        at[pixels] = np.where(below, here["left"], here["right"])
        pixels = pixels[at[pixels] >= 0]
    return -1 - at


def _lowest_leaf(words: Array, begin: int, end: int) -> Array:
    """Return each pixel's leaf of one tree: the lowest bit that is set, in the first word that has one."""
    own = words[begin:end]
    which = (own != 0).argmax(axis=0)
    word = np.take_along_axis(own, which[None], axis=0)[0].astype(np.int64)
    bit = np.frexp(np.maximum(word & -word, 1).astype(np.float64))[1] - 1
    return np.asarray(32 * (begin + which) + bit)


def _mean_over_trees(found: Iterable[Array], leaves: Float64Array, forest_ends: Int32Array) -> Float32Array:
    """Return the mean over the forests, from the leaf of each tree for all pixels."""
    mean: Any
    sums: Any
    totals: Any
    mean, sums, totals = np.float32(0), np.float32(0), np.float64(0)  # arrays after the first tree
    ends = forest_ends.tolist()
    begin = 0
    for tree, at in enumerate(found, 1):
        leaf = leaves[at]
        sums = sums + leaf.astype(np.float32)
        for c in range(leaf.shape[1]):
            totals = totals + leaf[:, c]
        if tree in ends:
            mean = mean + sums / totals.astype(np.float32)[:, None] * np.float32(tree - begin)
            begin, sums, totals = tree, np.float32(0), np.float64(0)
    return np.asarray(mean / np.float32(ends[-1]))


_KERNELS: dict[str, Callable[..., None]] = {
    "convolve": _convolve,
    "multiply": _multiply,
    "subtract": _subtract,
    "add2": _add2,
    "add3": _add3,
    "norm2": _norm2,
    "norm3": _norm3,
    "eigen2": _eigen2,
    "eigen3": _eigen3,
}
