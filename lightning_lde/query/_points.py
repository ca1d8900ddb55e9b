"""Values of two runs at the same places: which have a partner, how far partners are apart, what is near."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

DEFAULT_TOLERANCE = 1e-6
"""Largest relative difference of two values that count as the same."""

Place = TypeVar("Place", bound=Hashable)


@dataclass(frozen=True)
class Pairing(Generic[Place]):
    """Points of two runs, brought together by their place.

    Attributes:
        pairs: Place, first and second value where both have one, in the first one's order.
        only_first: Places that only the first has.
        only_second: Places that only the second has.
    """

    pairs: tuple[tuple[Place, float, float], ...]
    only_first: tuple[Place, ...]
    only_second: tuple[Place, ...]


def numbered(points: Iterable[tuple[Place, float]]) -> dict[tuple[Place, int], float]:
    """Points by their place and by how many points that place had before.

    A step occurs twice where it was logged twice; such points meet their partners in their order.

    Args:
        points: Places and values in the order in which they were logged.

    Example:
        >>> numbered([(1, 0.5), (2, 0.25), (1, 0.75)])
        {(1, 0): 0.5, (2, 0): 0.25, (1, 1): 0.75}
    """
    met: Counter[Place] = Counter()
    found = {}
    for place, value in points:
        found[place, met[place]] = float(value)
        met[place] += 1
    return found


def paired(first: Mapping[Place, float], second: Mapping[Place, float]) -> Pairing[Place]:
    """Bring the points of two runs together.

    Args:
        first: Values by place.
        second: Values of the other run.
    """
    return Pairing(
        pairs=tuple((place, value, second[place]) for place, value in first.items() if place in second),
        only_first=tuple(place for place in first if place not in second),
        only_second=tuple(place for place in second if place not in first),
    )


def same_bits(one: float, other: float) -> bool:
    """Whether two numbers are equal to the last bit; all that are not a number are the same.

    Example:
        >>> same_bits(0.0, -0.0), same_bits(float("nan"), float("nan"))
        (False, True)
    """
    return (math.isnan(one) and math.isnan(other)) or struct.pack("<d", one) == struct.pack("<d", other)


def difference(one: float, other: float) -> float:
    """How far two numbers are apart, never negative.

    Equal infinities and two NaN are equal; one NaN, or an infinity against anything else, is infinitely far.

    Example:
        >>> difference(2.0, 0.5), difference(float("nan"), float("nan")), difference(float("nan"), 1.0)
        (1.5, 0.0, inf)
    """
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    apart = abs(one - other)
    return math.inf if math.isnan(apart) else apart


def relative_difference(one: float, other: float) -> float:
    """How far two numbers are apart, relative to the one that is larger without its sign.

    Example:
        >>> relative_difference(2.0, -1.0), relative_difference(float("inf"), float("inf"))
        (1.5, 0.0)
    """
    apart = difference(one, other)
    return apart / max(abs(one), abs(other)) if 0.0 < apart < math.inf else apart


def is_near(one: float, other: float, *, tolerance: float, absolute_tolerance: float = 0.0) -> bool:
    """Whether two numbers are within one of two tolerances; equal ones are within any.

    Args:
        one: A number.
        other: Another one.
        tolerance: For ``relative_difference``.
        absolute_tolerance: For ``difference``.
    """
    return relative_difference(one, other) <= tolerance or difference(one, other) <= absolute_tolerance
