"""Passes noted down first and run at once: few steps for the interpreter, and planes that share memory.

A tile takes hundreds of short passes. Run one by one they would hand the interpreter's lock back and forth between
threads, and every intermediate plane would cost fresh memory. Noted in a program, they run in one call, and planes that
are not needed at the same time lie in the same place, which stays in the processor's cache.
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
    """An intermediate box that has a shape, and memory only while it is needed."""

    shape: Shape3


@dataclass(frozen=True)
class _KernelCall:
    """A kernel's name, its arrays (those that it reads, then those that it writes), and its other arguments."""

    kernel: str
    arrays: tuple[TemporaryArray | Float32Array, ...]
    rest: tuple[object, ...]


@dataclass
class BufferPool:
    """One thread's memory for planes, kept from program to program."""

    free: list[Float32Array] = field(default_factory=list)

    def allocate(self, shape: Shape3) -> tuple[Float32Array, Float32Array]:
        """Memory that is large enough, and its beginning in the shape asked for."""
        size = math.prod(shape)
        fitting = [i for i, one in enumerate(self.free) if one.size >= size]
        if not fitting and self.free:
            self.free.pop()  # too small, and replaced: the pool does not grow beyond what one program needs
        memory = self.free.pop(fitting[-1]) if fitting else np.empty(size, np.float32)
        return memory, memory[:size].reshape(shape)


@dataclass
class KernelProgram:
    """Passes in the order in which they are to run."""

    steps: list[_KernelCall] = field(default_factory=list)

    def add(self, kernel: str, *arrays: TemporaryArray | Float32Array, rest: tuple[object, ...] = ()) -> None:
        """Note a pass down: a kernel, what it reads and then writes, and its other arguments."""
        self.steps.append(_KernelCall(kernel, arrays, rest))

    def run(self, pool: BufferPool) -> None:
        """Run all passes, with memory out of a pool."""
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
