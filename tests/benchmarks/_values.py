"""Streams of ten metrics for the ingest benchmark, and a checksum that tells whether all of it came back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import numpy as np
import numpy.typing as npt

NAMES = [f"metric_{number}" for number in range(10)]
CHUNK = 10_000
KINDS = {
    "noisy": "noisy float32",
    "constant": "constant",
    "steps": "ten levels",
    "float64": "float64 noise",
}

Matrix = npt.NDArray[np.float64]


def chunks(kind: str, steps: int) -> Iterator[tuple[int, Matrix]]:
    """The first step and the values of consecutive steps, shape (steps, 10), as float64."""
    generator = np.random.default_rng(0)
    level = np.linspace(0.5, 5.0, len(NAMES))
    for first in range(0, steps, CHUNK):
        shape = (min(CHUNK, steps - first), len(NAMES))
        if kind == "noisy":
            walk = level + np.cumsum(generator.normal(0, 0.01, shape), axis=0)
            level = walk[-1]
            yield first, walk.astype(np.float32).astype(np.float64)
        elif kind == "constant":
            yield first, np.broadcast_to(np.linspace(0.1, 1.0, len(NAMES)), shape).copy()
        elif kind == "steps":
            decay = 0.3 ** (np.arange(first, first + shape[0]) * 10 // steps)
            yield first, np.outer(decay, np.linspace(0.1, 1.0, len(NAMES)))
        else:
            yield first, generator.normal(0, 1, shape)


def rows_of(matrix: Matrix) -> list[dict[str, float]]:
    """One dict of floats per step, as a training loop would have it."""
    return [dict(zip(names, row, strict=True)) for names, row in zip(repeat(NAMES), matrix.tolist(), strict=False)]


def checksum(first_or_steps: int | npt.NDArray[np.int64], values: Matrix) -> int:
    """The bits of each value times an odd number made of its step, added modulo 2^64; the order does not matter.

    Args:
        first_or_steps: The first of consecutive steps, or all steps, shape (n,).
        values: The values of one metric, shape (n,).
    """
    steps = (
        np.arange(first_or_steps, first_or_steps + len(values))
        if isinstance(first_or_steps, int)
        else np.asarray(first_or_steps)
    )
    factors = 2 * steps.astype(np.uint64) + np.uint64(1)
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.uint64)
    return int(np.sum(bits * factors, dtype=np.uint64))
