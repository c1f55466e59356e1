"""Compiled kernels of every instruction set and numpy's give the same bits, and none reads outside of its arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omero_pixclf.pixels import kernels_numpy
from omero_pixclf.pixels.bounding_box import BoundingBox
from omero_pixclf.pixels.gaussian import gaussian_kernel, kernel_radius
from omero_pixclf.pixels.kernels import NATIVE

pytestmark = pytest.mark.skipif(NATIVE is None, reason="built without a compiler")
LEVELS = ["portable", "avx2", "avx512"]
Call = tuple[Any, ...]


@contextmanager
def level(name: str) -> Iterator[None]:
    usual = NATIVE.level()
    try:
        NATIVE.use(name)
    except ValueError:
        pytest.skip(f"this processor has no {name}")
    try:
        yield
    finally:
        NATIVE.use(usual)


def numbers(shape: tuple[int, ...], seed: int, kind: str = "") -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=shape) * 10.0 ** rng.integers(-3, 5)).astype(np.float32)
    if kind == "whole":
        return np.round(values)
    if kind == "odd":
        values[rng.random(shape) < 0.05] = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, 3e38])
    return values


@st.composite
def passes(draw: st.DrawFn) -> tuple[tuple[int, int, int], BoundingBox, BoundingBox, int, float, int]:
    """An image, a target in it, a source around that, an axis, sigma and the order of the derivative."""
    axis, sigma, order = (
        draw(st.integers(0, 2)),
        draw(st.sampled_from([0.1, 0.5, 1.0, 2.3, 9.95])),
        draw(st.integers(0, 2)),
    )
    reach = kernel_radius(sigma, 3.5)
    image = [draw(st.integers(1, 5)), draw(st.integers(1, 9)), draw(st.integers(1, 150))]
    image[axis] = draw(st.integers(reach + 1, reach + 130))
    start = [draw(st.integers(0, n - 1)) for n in image]
    stop = [draw(st.integers(a + 1, n)) for a, n in zip(start, image, strict=True)]
    target = BoundingBox((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    shape = (image[0], image[1], image[2])
    margin = [draw(st.integers(0, 3)) for _ in range(3)]
    margin[axis] += reach
    return shape, target, target.expand((margin[0], margin[1], margin[2]), shape), axis, sigma, order


@pytest.mark.parametrize("name", LEVELS)
@given(passes(), st.integers(0, 99), st.sampled_from(["", "whole", "odd"]))
@settings(max_examples=120, deadline=None)
def test_passes_agree_to_the_bit(name: str, drawn: Any, seed: int, kind: str) -> None:
    image, target, source, axis, sigma, order = drawn
    values = numbers(image, seed, kind)
    part = np.ascontiguousarray(values[tuple(slice(a, b) for a, b in zip(source.start, source.stop, strict=True))])
    offset = tuple(a - b for a, b in zip(target.start, source.start, strict=True))
    rest = (gaussian_kernel(sigma, order, 3.5), axis, order == 1, offset, target.start[axis], image[axis])
    ours, theirs = np.empty(target.shape, np.float32), np.empty(target.shape, np.float32)
    with level(name):
        NATIVE.run([("convolve", part, ours, *rest)])
    kernels_numpy.run([("convolve", part, theirs, *rest)])
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize(
    ("kernel", "inputs", "outputs"),
    [("multiply", 2, 1), ("subtract", 2, 1), ("add2", 2, 1), ("add3", 3, 1), ("norm2", 2, 1), ("norm3", 3, 1)]
    + [("eigen2", 3, 2), ("eigen3", 6, 3)],
)
@given(st.integers(0, 10_000), st.integers(1, 100), st.sampled_from(["", "whole", "odd"]))
@settings(max_examples=40, deadline=None)
def test_pointwise_kernels_agree_to_the_bit(
    name: str, kernel: str, inputs: int, outputs: int, seed: int, size: int, kind: str
) -> None:
    given_arrays = [numbers((1, 1, size), seed + i, kind) for i in range(inputs)]
    if seed % 4 == 0:
        given_arrays = [given_arrays[0]] * inputs  # degenerate matrices
    ours = [np.empty((1, 1, size), np.float32) for _ in range(outputs)]
    theirs = [np.empty((1, 1, size), np.float32) for _ in range(outputs)]
    with level(name):
        NATIVE.run([(kernel, *given_arrays, *ours)])
    kernels_numpy.run([(kernel, *given_arrays, *theirs)])
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_eigenvalues_are_eigenvalues() -> None:
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=(500, 3, 3)).astype(np.float32)
    matrices = matrices + matrices.transpose(0, 2, 1)
    entries = [np.ascontiguousarray(matrices[:, i, j]).reshape(1, 1, -1) for i in range(3) for j in range(i, 3)]
    found = [np.empty((1, 1, 500), np.float32) for _ in range(3)]
    NATIVE.run([("eigen3", *entries, *found)])
    expected = np.linalg.eigvalsh(matrices.astype(np.float64))[:, ::-1]
    np.testing.assert_allclose(np.stack(found, -1)[0, 0], expected, atol=2e-4)


SRC, DST, TAPS = np.zeros((2, 20, 30), np.float32), np.zeros((2, 10, 30), np.float32), gaussian_kernel(1.0, 0, 2.0)


@pytest.mark.parametrize(
    "call",
    [
        ("convolve", SRC, DST, TAPS, 1, False, (0, 0, 0), 2, 40),  # two rows above the source are needed
        ("convolve", SRC, DST, TAPS, 1, False, (0, 10, 0), 12, 40),  # two rows below
        ("convolve", SRC, DST, TAPS, 1, False, (0, 5, 1), 5, 20),  # one column beyond
        ("convolve", SRC, DST, TAPS, 1, False, (1, 5, 0), 5, 20),  # one plane beyond
        ("convolve", SRC, DST, TAPS, 1, False, (0, -3, 0), 0, 40),
        ("convolve", SRC, DST, TAPS, 3, False, (0, 5, 0), 5, 20),
        ("convolve", SRC, DST, TAPS, 1, False, (0, 2**62, 0), 2**62, 2**63 - 1),
        ("convolve", SRC, DST, np.zeros(0, np.float32), 1, False, (0, 5, 0), 5, 20),
        ("multiply", SRC, DST, DST),
        ("multiply", SRC, SRC.astype(np.float64), SRC),
        ("multiply", SRC.T, SRC.T, SRC.T),
    ],
)
def test_calls_that_would_read_elsewhere_are_refused(call: Call) -> None:
    with pytest.raises((ValueError, BufferError)):
        NATIVE.run([call])


@pytest.mark.parametrize("call", [(), ("explode", SRC), ("multiply", SRC), (7, SRC, SRC), "multiply"])
def test_calls_that_are_no_calls_are_refused(call: Any) -> None:
    with pytest.raises(TypeError):
        NATIVE.run([call])
