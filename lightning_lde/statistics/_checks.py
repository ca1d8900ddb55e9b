"""Checks of what callers hand to the statistics, with messages that name the wrong value."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lightning_lde.errors import ConfigurationError, DataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MIN_POINTS = 4
MIN_RESAMPLES = 100


def finite_vector(values: npt.ArrayLike, name: str, *, minimum: int = 1) -> FloatArray:
    """A float64 vector of at least ``minimum`` finite values.

    Args:
        values: Numbers, shape (n,).
        name: What the message calls them.
        minimum: The least n that the method can work with.

    Raises:
        DataError: If the values have another shape, are too few, or are not all finite.
    """
    try:
        vector = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} holds something that is not a number ({error}); pass floats.") from error
    if vector.ndim != 1:
        raise DataError(f"{name} has shape {vector.shape}, expected one dimension (n,); flatten or select first.")
    if vector.size < minimum:
        raise DataError(f"{name} has {vector.size} values, expected at least {minimum}; gather more.")
    finite = np.isfinite(vector)
    if not finite.all():
        position = int(np.argmin(finite))
        raise DataError(f"{name}[{position}] is {vector[position]}, expected finite values; drop or repair that point.")
    return vector


def same_length(first: FloatArray, second: FloatArray, names: str) -> None:
    """Refuse two vectors whose points cannot be paired.

    Raises:
        DataError: If the lengths differ.
    """
    if first.size != second.size:
        raise DataError(f"{names} have {first.size} and {second.size} values, expected one pair a point; align them.")


def varying(values: FloatArray, name: str) -> None:
    """Refuse a vector whose values are all the same.

    Raises:
        DataError: If the values do not vary.
    """
    if is_constant(values):
        raise DataError(f"{name} is {values[0]} at every point, so no slope exists; choose points that differ in it.")


def is_constant(values: FloatArray) -> bool:
    """Whether the spread is nothing beside rounding: scipy's own limit for a constant input."""
    mean = float(values.mean())
    return bool(np.linalg.norm(values - mean) <= 1e-13 * abs(mean))


def fraction(value: float, name: str) -> float:
    """A number strictly between 0 and 1.

    Raises:
        ConfigurationError: If it is not.
    """
    if not 0.0 < value < 1.0:
        raise ConfigurationError(f"{name}={value!r}, expected a fraction between 0 and 1 such as 0.95.")
    return float(value)


def resample_count(resamples: int) -> int:
    """A number of resamples that can carry an interval.

    Raises:
        ConfigurationError: If there are too few.
    """
    if resamples < MIN_RESAMPLES:
        raise ConfigurationError(f"resamples={resamples!r}, expected at least {MIN_RESAMPLES}; 9999 is usual.")
    return int(resamples)
