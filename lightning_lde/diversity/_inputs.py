"""Checks of embeddings, halves and settings, with messages that name the wrong value."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from lightning_lde.errors import ConfigurationError, DataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Names = Sequence[Hashable] | npt.NDArray[np.generic]


def finite_rows(values: npt.ArrayLike, name: str, *, minimum: int = 1) -> FloatArray:
    """A float64 matrix of at least ``minimum`` rows, all finite.

    Args:
        values: Numbers, (n, D).
        name: What the message calls them.
        minimum: The least n.

    Raises:
        DataError: If the shape is another, the rows are too few, or a value is not finite.
    """
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise DataError(f"{name} has shape {matrix.shape}, expected (n, D) with D >= 1; stack one vector a row.")
    if matrix.shape[0] < minimum:
        raise DataError(f"{name} has {matrix.shape[0]} rows, expected at least {minimum}; gather more.")
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{name}[{int(np.argmin(finite))}] holds nan or infinity, expected finite values; leave it out."
        )
    return matrix


def halves_of_rows(
    first: npt.ArrayLike, second: npt.ArrayLike, *, minimum: int = 1, name: str = ""
) -> tuple[FloatArray, FloatArray]:
    """Two finite matrices of one shape, row i of both from the same task.

    Args:
        first: Profiles from the first half of each task, (n, D).
        second: Profiles from the second half, (n, D).
        minimum: The least n.
        name: What the message puts before ``first`` and ``second``.

    Raises:
        DataError: If one is unfit or the shapes differ.
    """
    prefix = f"{name}." if name else ""
    one = finite_rows(first, f"{prefix}first", minimum=minimum)
    two = finite_rows(second, f"{prefix}second", minimum=minimum)
    if one.shape != two.shape:
        raise DataError(
            f"{prefix}first and {prefix}second have shapes {one.shape} and {two.shape}, expected the same; "
            "row i of both must be the two halves of task i."
        )
    return one, two


def same_dimension(one: int, two: int) -> None:
    """Refuse vectors of different probes.

    Raises:
        DataError: If the dimensions differ.
    """
    if one != two:
        raise DataError(f"vectors have {one} and {two} dimensions, expected the same; embed both with one probe.")


def listed(values: Names) -> list[Hashable]:
    """Names as a list of plain Python values, so that those of a tensor or array compare by value."""
    found = values.tolist() if hasattr(values, "tolist") else list(values)
    return [tuple(item) if isinstance(item, list) else item for item in found]


def whole_numbers(values: npt.ArrayLike, name: str, *, n: int, minimum: int = 1) -> IntArray:
    """Whole numbers, one for each of n rows; a single one stands for all.

    Raises:
        DataError: If there is another number of them, or one is below ``minimum`` or not whole.
    """
    numbers = np.asarray(values)
    if numbers.ndim == 0:
        numbers = np.full(n, numbers)
    if numbers.shape != (n,):
        raise DataError(f"{name} has shape {numbers.shape}, expected ({n},) or one number for all.")
    if not np.issubdtype(numbers.dtype, np.integer) or (numbers < minimum).any():
        raise DataError(f"{name} holds {numbers.tolist()[:5]}, expected whole numbers of at least {minimum}.")
    return numbers.astype(np.int64)


def fraction(value: float, name: str) -> float:
    """A number strictly between 0 and 1.

    Raises:
        ConfigurationError: If it is not.
    """
    if not 0.0 < value < 1.0:
        raise ConfigurationError(f"{name}={value!r}, expected a fraction between 0 and 1 such as 0.95.")
    return float(value)


def positive(value: float, name: str) -> float:
    """A finite number above 0.

    Raises:
        ConfigurationError: If it is not.
    """
    if not (value > 0.0 and np.isfinite(value)):
        raise ConfigurationError(f"{name}={value!r}, expected a finite number above 0.")
    return float(value)
