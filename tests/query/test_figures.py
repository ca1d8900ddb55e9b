"""The last figures of a curve, against scipy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lightning_lde.query._figures import better, curve_figures, interval_of

NAN, INF = float("nan"), float("inf")


def test_the_mean_of_the_last_points_agrees_with_scipy() -> None:
    values = np.random.default_rng(0).normal(size=50)
    found = curve_figures(list(enumerate(values.tolist())), window=12)
    expected = stats.ttest_1samp(values[-12:], 0.0).confidence_interval(0.95)
    assert found.window is not None
    assert (found.window.low, found.window.high) == pytest.approx((expected.low, expected.high))
    assert (found.window.mean, found.window.n, found.n_window, found.n) == (
        pytest.approx(values[-12:].mean()),
        12,
        12,
        50,
    )
    assert found.lowest == (values.argmin(), values.min())
    assert found.highest == (values.argmax(), values.max())
    assert found.last == (49, values[-1])


def test_few_points_and_none_that_is_finite() -> None:
    one = curve_figures([(None, 2.0)], window=10)
    assert one.window is not None
    assert (one.window.mean, one.window.n, one.n_window, one.last) == (2.0, 1, 1, (None, 2.0))
    assert math.isnan(one.window.high)
    nothing = curve_figures([(0, NAN), (1, NAN)], window=10)
    assert (nothing.lowest, nothing.highest, nothing.window, nothing.n_window) == (None, None, None, 2)
    endless = curve_figures([(0, INF), (1, 1.0), (2, -INF)], window=10)
    assert (endless.lowest, endless.highest) == ((2, -INF), (0, INF))
    assert endless.window is not None
    assert (endless.window.mean, endless.window.n, endless.n_window) == (1.0, 1, 3)
    assert interval_of([]) is None


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("train/loss_step", "lowest"),
        ("val_acc", "highest"),
        ("Accuracy", "highest"),
        ("test/F1", "highest"),
        ("lr-Adam", None),
        ("loss_of_accuracy", None),
        ("glossary", None),
        ("accumulated", None),
        ("", None),
    ],
)
def test_what_is_better_is_said_only_by_whole_words(name: str, word: str | None) -> None:
    assert better(name) == word
