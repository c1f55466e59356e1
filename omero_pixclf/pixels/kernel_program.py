"""A program of kernels: hundreds of passes are collected and run in one call, with shared temporary memory.

Run one by one, the passes would hand the interpreter's lock back and forth between threads, and every intermediate
array would need fresh memory. In one call the lock is released once, and temporary arrays that are not needed at the
same time share memory, which stays in the processor's cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from omero_pixclf.image import Float32Array
from omero_pixclf.pixels.bounding_box import Shape3
from omero_pixclf.pixels.kernels import kernels

__all__ = ["BufferPool", "KernelProgram", "TemporaryArray"]


@dataclass(frozen=True, eq=False)
class TemporaryArray:
    """An intermediate result: it has a shape, and gets memory only while it is needed."""

    shape: Shape3


@dataclass(frozen=True)
class _KernelCall:
    """A kernel's name, its arrays (those that it reads, then those that it writes), and its other arguments."""

    kernel: str
    arrays: tuple[TemporaryArray | Float32Array, ...]
    rest: tuple[object, ...]


@dataclass
class BufferPool:
    """One thread's memory for temporary arrays, reused from program to program."""

    free: list[Float32Array] = field(default_factory=list)

    def allocate(self, shape: Shape3) -> tuple[Float32Array, Float32Array]:
        """Return a buffer that is large enough, and the start of it as an array of the shape."""
        size = math.prod(shape)
        fitting = [i for i, one in enumerate(self.free) if one.size >= size]
        if not fitting and self.free:
            self.free.pop()  # too small, and replaced: the pool does not grow beyond what one program needs
        memory = self.free.pop(fitting[-1]) if fitting else np.empty(size, np.float32)
        return memory, memory[:size].reshape(shape)


@dataclass
class KernelProgram:
    """Kernel calls in the order in which they run."""

    steps: list[_KernelCall] = field(default_factory=list)

    def add(self, kernel: str, *arrays: TemporaryArray | Float32Array, rest: tuple[object, ...] = ()) -> None:
        """Add a call: the kernel's name, the arrays that it reads, those that it writes, and its other arguments."""
        self.steps.append(_KernelCall(kernel, arrays, rest))

    def run(self, pool: BufferPool) -> None:
        """Run all calls, with temporary memory from a pool."""
        last = {one: i for i, step in enumerate(self.steps) for one in step.arrays if isinstance(one, TemporaryArray)}
        homes: dict[TemporaryArray, tuple[Float32Array, Float32Array]] = {}
        calls: list[tuple[object, ...]] = []
        for i, step in enumerate(self.steps):
            call: list[object] = [step.kernel]
            for one in step.arrays:
                if isinstance(one, TemporaryArray):
                    if one not in homes:
                        homes[one] = pool.allocate(one.shape)
                    call.append(homes[one][1])
                else:
                    call.append(one)
            calls.append((*call, *step.rest))
            for one in step.arrays:
                if isinstance(one, TemporaryArray) and last[one] == i and one in homes:
                    pool.free.append(homes.pop(one)[0])
        kernels.run(calls)
