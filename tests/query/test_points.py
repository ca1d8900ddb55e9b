"""Pairs of points and distances between numbers, against brute force; what is no number, missing, or met twice."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lde.query import difference, is_near, numbered, paired, relative_difference, same_bits

NAN, INF = float("nan"), float("inf")
NUMBERS = st.floats() | st.sampled_from([0.0, -0.0, 1.0, 1.0 + 2**-52, NAN, INF, -INF, 5e-324, 1.7e308])
POINTS = st.lists(st.tuples(st.none() | st.integers(0, 3), NUMBERS), max_size=8)


@given(POINTS, POINTS)
def test_each_point_meets_the_one_that_was_logged_as_often_before_it(
    first: list[tuple[int | None, float]], second: list[tuple[int | None, float]]
) -> None:
    found = paired(numbered(first), numbered(second))
    for place in (None, 0, 1, 2, 3):
        ours, theirs = ([value for step, value in points if step == place] for points in (first, second))
        pairs = [pair for (step, _), *pair in found.pairs if step == place]
        expected_pairs = list(zip(ours, theirs, strict=False))
        assert len(pairs) == len(expected_pairs)
        for pair, expected in zip(pairs, expected_pairs, strict=True):
            assert all(map(same_bits, pair, expected))
        for more, less, left in ((ours, theirs, found.only_first), (theirs, ours, found.only_second)):
            numbers = range(min(len(more), len(less)), len(more))
            assert [number for step, number in left if step == place] == list(numbers)


@given(NUMBERS, NUMBERS)
def test_distances_are_those_of_exact_arithmetic(one: float, other: float) -> None:
    assert difference(one, other) == difference(other, one)
    assert relative_difference(one, other) == relative_difference(other, one)
    assert same_bits(one, other) == (
        (math.isnan(one) and math.isnan(other)) or struct.pack("<d", one) == struct.pack("<d", other)
    )
    if not (math.isfinite(one) and math.isfinite(other)):
        expected = 0.0 if one == other or (math.isnan(one) and math.isnan(other)) else INF
        assert difference(one, other) == relative_difference(one, other) == expected
        return
    exact = abs(Fraction(one) - Fraction(other))
    if exact > Fraction(1.7976931348623157e308):
        assert difference(one, other) in (INF, 1.7976931348623157e308)
        return
    assert difference(one, other) == pytest.approx(float(exact), rel=1e-15, abs=0)
    largest = max(abs(Fraction(one)), abs(Fraction(other)))
    relative = float(exact / largest) if largest else 0.0
    assert relative_difference(one, other) == pytest.approx(relative, rel=1e-12, abs=0)


@pytest.mark.parametrize(
    ("one", "other", "tolerance", "absolute", "near"),
    [
        (1.0, 0.5, 0.5, 0.0, True),
        (1.0, 0.5, 0.4, 0.0, False),
        (1.0, 0.5, 0.0, 0.5, True),
        (0.0, -0.0, 0.0, 0.0, True),
        (NAN, NAN, 0.0, 0.0, True),
        (INF, INF, 0.0, 0.0, True),
        (NAN, 1.0, 1e9, 1e308, False),
        (INF, 1.0, 1e9, 1e308, False),
        (INF, -INF, 1e9, 1e308, False),
    ],
)
def test_near(one: float, other: float, tolerance: float, absolute: float, near: bool) -> None:
    assert is_near(one, other, tolerance=tolerance, absolute_tolerance=absolute) is near


def test_a_missing_point_shifts_no_other() -> None:
    found = paired(numbered([(0, 1.0), (1, 2.0), (3, 4.0)]), numbered([(0, 1.0), (3, 4.0), (4, 5.0)]))
    assert found.pairs == (((0, 0), 1.0, 1.0), ((3, 0), 4.0, 4.0))
    assert (found.only_first, found.only_second) == (((1, 0),), ((4, 0),))
