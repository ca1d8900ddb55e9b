"""Settings as points of a unit cube, by the distributions of an Optuna search space."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_lde.errors import ConfigurationError

from ._table import FloatArray

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

CENTRE = 0.5
"""Where a setting stands of which nothing is known."""


@dataclass(frozen=True)
class Axis:
    """One parameter: a column of the cube, or one for each choice.

    Attributes:
        name: The parameter.
        low: Lower bound.
        high: Upper bound.
        is_log: Whether equal steps are equal ratios.
        is_whole: Whether values are whole numbers.
        step: Distance of values, None where all between the bounds are possible.
        choices: The values of a categorical parameter, else None.
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    is_log: bool = False
    is_whole: bool = False
    step: float | None = None
    choices: tuple[Any, ...] | None = None

    @property
    def width(self) -> int:
        """How many columns of the cube it takes."""
        return 1 if self.choices is None else len(self.choices)

    def encoded(self, value: Any) -> list[float] | None:
        """The coordinates of a value, beyond 0 and 1 where it is beyond the bounds; None if it is none of this axis."""
        if self.choices is not None:
            return [float(value == choice) for choice in self.choices]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or (self.is_log and value <= 0):
            return None
        if not math.isfinite(value):
            return None
        low, high = self._place(self.low), self._place(self.high)
        return [(self._place(value) - low) / (high - low) if high > low else CENTRE]

    def decoded(self, coordinates: FloatArray) -> Any:
        """The value of the axis that is nearest to some coordinates."""
        if self.choices is not None:
            return self.choices[int(np.argmax(coordinates))]
        low, high = self._place(self.low), self._place(self.high)
        place = low + float(np.clip(coordinates[0], 0.0, 1.0)) * (high - low)
        value = math.exp(place) if self.is_log else place
        if self.step is not None:
            value = self.low + round((value - self.low) / self.step) * self.step
        value = min(max(value, self.low), self.high)
        return round(value) if self.is_whole else value

    def _place(self, value: float) -> float:
        return math.log(value) if self.is_log else float(value)


class Cube:
    """The search space of a study as a unit cube.

    Args:
        space: Distributions by the names of the parameters.

    Raises:
        ConfigurationError: If a distribution is of a kind that is not known.
    """

    def __init__(self, space: Mapping[str, BaseDistribution]) -> None:
        self.axes = tuple(_axis(name, distribution) for name, distribution in space.items())
        ends = np.cumsum([0, *(axis.width for axis in self.axes)])
        self._columns = [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]
        self.width = int(ends[-1])

    def encoded(self, settings: Mapping[str, Any], *, known: Sequence[bool] | None = None) -> FloatArray | None:
        """The point of some settings, shape (width,); None where one is missing or is no value of its axis.

        Args:
            settings: Values by the names of the parameters.
            known: For each axis whether the value counts; the others stand in the centre.
        """
        point = np.full(self.width, CENTRE)
        for number, (axis, columns) in enumerate(zip(self.axes, self._columns, strict=True)):
            if known is not None and not known[number]:
                continue
            coordinates = axis.encoded(settings[axis.name]) if axis.name in settings else None
            if coordinates is None:
                return None
            point[columns] = coordinates
        return point

    def decoded(self, point: FloatArray) -> dict[str, Any]:
        """The settings that are nearest to a point of shape (width,)."""
        return {axis.name: axis.decoded(point[columns]) for axis, columns in zip(self.axes, self._columns, strict=True)}

    def contains(self, points: FloatArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which points of shape (points, width) lie in the space; a choice that it lacks does not."""
        inside = ((points >= -1e-9) & (points <= 1 + 1e-9)).all(axis=1)
        for axis, columns in zip(self.axes, self._columns, strict=True):
            if axis.choices is not None:
                inside &= points[:, columns].any(axis=1)
        return np.asarray(inside)

    def snapped(self, points: FloatArray) -> FloatArray:
        """The points of the space that are nearest to points of shape (points, width)."""
        found = np.clip(points, 0.0, 1.0)
        for axis, columns in zip(self.axes, self._columns, strict=True):
            if axis.choices is not None:
                found[:, columns] = np.eye(axis.width)[found[:, columns].argmax(axis=1)]
        return found

    def drawn(self, n: int, random: np.random.Generator) -> FloatArray:
        """Points at random, shape (n, width)."""
        return self.snapped(random.random((n, self.width)))

    def columns_of(self, known: Sequence[bool]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which columns belong to the axes that are known, shape (width,)."""
        found = np.zeros(self.width, dtype=bool)
        for flag, columns in zip(known, self._columns, strict=True):
            found[columns] = flag
        return found


def _axis(name: str, distribution: BaseDistribution) -> Axis:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return Axis(name, choices=tuple(distribution.choices))
    if isinstance(distribution, (FloatDistribution, IntDistribution)):
        low, high = float(distribution.low), float(distribution.high)
        whole = isinstance(distribution, IntDistribution)
        # The step of 1 that a whole number has anyway is seen to by rounding.
        step = None if distribution.step is None or (whole and distribution.step == 1) else float(distribution.step)
        return Axis(name, low, high, distribution.log, whole, step)
    raise ConfigurationError(
        f"parameter {name!r} has the distribution {distribution!r}, expected a float, int or categorical one"
    )
