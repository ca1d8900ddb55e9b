"""Comparisons of curves against brute force with numpy, and by hand where NaN and infinities stand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lde.errors import ConfigurationError
from lightning_lde.query import compare_curves

NAN, INF = float("nan"), float("inf")
CURVES = st.dictionaries(st.integers(-2, 12), st.sampled_from([0.0, 0.5, 0.5000001, 1.0, 1.01, -3.0, NAN, INF, -INF]))


@given(CURVES, CURVES, st.sampled_from([0.0, 1e-6, 0.05, 0.9]), st.sampled_from([0.0, 0.02]))
def test_agrees_with_numpy(first: dict[int, float], second: dict[int, float], rel: float, atol: float) -> None:
    found = compare_curves(first, second, tolerance=rel, absolute_tolerance=atol)
    steps = np.array(sorted(first.keys() & second.keys()), dtype=int)
    a, b = (np.array([curve[step] for step in steps]) for curve in (first, second))
    with np.errstate(invalid="ignore"):
        equal = (a == b) | (np.isnan(a) & np.isnan(b))
        distance = np.where(equal, 0.0, np.abs(a - b))
        distance[np.isnan(distance)] = np.inf
        bound = np.maximum(rel * np.maximum(np.abs(a), np.abs(b)), atol)
        near = equal | (np.isfinite(a) & np.isfinite(b) & (distance <= bound))
    assert (found.n_first, found.n_second, found.n_common) == (len(first), len(second), len(steps))
    assert (found.n_different, found.n_beyond) == ((~equal).sum(), (~near).sum())
    for point, mask in ((found.first_different, ~equal), (found.first_beyond, ~near)):
        assert (point.step if point else None) == (steps[mask][0] if mask.any() else None)
    finite = distance[np.isfinite(distance)]
    assert found.n_mean == finite.size
    assert found.mean_absolute_difference == pytest.approx(finite.mean() if finite.size else NAN, nan_ok=True)
    if found.largest is None:
        assert equal.all()
    else:
        assert (found.largest.step, found.largest.difference) == (steps[distance.argmax()], distance.max())
    assert found.first_unpaired == min(first.keys() ^ second.keys(), default=None)
    assert found.is_identical == (first.keys() == second.keys() and equal.all())
    assert found.is_within_tolerance == (first.keys() == second.keys() and near.all())


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        (NAN, NAN, 0.0),
        (INF, INF, 0.0),
        (-INF, INF, INF),
        (INF, 1e308, INF),
        (NAN, 1.0, INF),
        (NAN, INF, INF),
        (0.0, -0.0, 0.0),
    ],
)
def test_what_is_no_number(first: float, second: float, difference: float) -> None:
    found = compare_curves({0: 1.0, 1: first}, {0: 1.0, 1: second}, tolerance=0.5, absolute_tolerance=1e300)
    assert found.is_identical == found.is_within_tolerance == (difference == 0.0)
    assert found.mean_absolute_difference == 0.0
    assert found.n_mean == 1 + (difference == 0.0)
    if difference:
        assert found.largest is not None
        assert (found.largest.step, found.largest.difference) == (1, INF)
        assert found.first_beyond == found.largest or math.isnan(found.largest.first)


def test_points_of_one_step_are_paired_in_their_order() -> None:
    found = compare_curves([(1, 0.1), (1, 0.2), (2, 0.3)], [(1, 0.1), (1, 0.25), (2, 0.3), (2, 0.4)])
    assert (found.n_common, found.n_different, found.first_unpaired) == (3, 1, 2)
    assert found.first_different is not None
    assert (found.first_different.first, found.first_different.second) == (0.2, 0.25)
    assert not found.has_same_points


def test_points_without_a_step_are_paired_in_their_order_and_come_last() -> None:
    found = compare_curves([(None, 1.0), (None, 2.0), (3, 1.0)], [(None, 1.0), (None, 2.5), (3, 0.0)])
    assert found.first_different is not None
    assert found.first_different.step == 3
    assert found.largest is not None
    assert (found.largest.step, found.n_common, found.n_different) == (3, 3, 2)


def test_steps_in_any_order() -> None:
    found = compare_curves([(2, 1.0), (1, 1.0)], [(1, 0.5), (2, 0.5)])
    assert found.first_different is not None
    assert found.first_different.step == 1


def test_no_common_step_is_no_agreement() -> None:
    found = compare_curves({1: 1.0}, {2: 1.0})
    assert (found.n_common, found.n_different, found.is_within_tolerance) == (0, 0, False)
    assert math.isnan(found.mean_absolute_difference)
    assert compare_curves([], []).is_identical


def test_the_mean_of_large_differences_does_not_overflow() -> None:
    found = compare_curves({0: 1.5e308, 1: 1.5e308}, {0: 0.0, 1: 0.0})
    assert found.mean_absolute_difference == pytest.approx(1.5e308)


def test_a_first_step_apart_by_rounding_and_a_later_one_by_more() -> None:
    base = {step: 1 / (step + 1) for step in range(100)}
    moved = {
        step: value * (1 + (1e-9 if 10 <= step < 50 else 1e-3 if step >= 50 else 0)) for step, value in base.items()
    }
    found = compare_curves(base, moved, tolerance=1e-6)
    assert found.first_different is not None
    assert found.first_beyond is not None
    assert (found.first_different.step, found.first_beyond.step) == (10, 50)
    assert (found.n_different, found.n_beyond) == (90, 50)


@pytest.mark.parametrize(
    "wrong", [{"tolerance": -1e-9}, {"tolerance": 1.0}, {"tolerance": NAN}, {"absolute_tolerance": INF}]
)
def test_tolerances_that_cannot_be_one(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        compare_curves({}, {}, **wrong)
