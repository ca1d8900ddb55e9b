"""The cross-validated coefficient against all pairs, and on planted families with known diversity."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lightning_lde.diversity import (
    coefficient_difference,
    crossvalidated_coefficient,
    crossvalidated_distances,
    diversity_coefficient,
    log_profiles,
    log_ratio_distances,
    per_sample_spread,
    standardised_coefficient,
)
from lightning_lde.errors import ConfigurationError, DataError

FILTERS = 120


def family(diversity: float, *, images: int, n: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Fisher profiles whose logarithms have variance ``diversity`` over tasks, from halves of noisy images."""
    rng = np.random.default_rng(seed)
    profile = rng.normal(size=FILTERS)
    tasks = profile + np.sqrt(diversity) * rng.normal(size=(n, FILTERS))
    noise = rng.normal(size=(2, n, FILTERS)) * np.sqrt(2.0 / images)
    first, second = (log_profiles(np.exp(tasks + part), offset=1e-12) for part in noise)
    return first, second


def test_equals_the_coefficient_of_all_pairs_with_its_interval() -> None:
    first, second = family(0.2, images=10)
    pairs = diversity_coefficient(crossvalidated_distances(first, second), confidence=0.9)
    found = crossvalidated_coefficient(first, second, confidence=0.9)
    assert found.value == pytest.approx(pairs.value, rel=1e-12)
    assert found.standard_error == pytest.approx(pairs.standard_error, rel=1e-10)
    assert (found.low, found.high) == pytest.approx((pairs.low, pairs.high), rel=1e-10)


def test_value_and_noise_make_the_plain_coefficient_of_the_mean_of_both_halves() -> None:
    first, second = family(0.2, images=10)
    plain = diversity_coefficient(log_ratio_distances((first + second) / 2.0)).value
    found = crossvalidated_coefficient(first, second)
    assert found.plain == pytest.approx(plain, rel=1e-12)
    assert found.noise == pytest.approx(plain - found.value, rel=1e-10)
    assert found.noise == pytest.approx(1.0 / 10, rel=0.1)


def test_identical_tasks_read_as_zero_where_the_plain_coefficient_reads_noise() -> None:
    first, second = family(0.0, images=10)
    found = crossvalidated_coefficient(first, second)
    assert found.low < 0.0 < found.high
    plain = diversity_coefficient(log_ratio_distances((first + second) / 2.0))
    assert plain.low > 10 * found.standard_error


def test_images_of_a_task_drive_the_plain_coefficient_alone() -> None:
    few = crossvalidated_coefficient(*family(0.1, images=4))
    many = crossvalidated_coefficient(*family(0.1, images=400))
    assert few.low < 0.1 < few.high
    assert many.low < 0.1 < many.high
    assert few.plain > 3 * many.plain


def test_planted_families_are_ordered_even_where_noise_orders_the_plain_one_the_other_way() -> None:
    planted = [(0.0, 6), (0.02, 12), (0.05, 24), (0.1, 60), (0.2, 200)]
    found = [crossvalidated_coefficient(*family(d, images=images, seed=9)) for d, images in planted]
    values, plain = [one.value for one in found], [one.plain for one in found]
    assert values == sorted(values)
    assert plain != sorted(plain)
    for (diversity, _), one in zip(planted, found, strict=True):
        assert one.value == pytest.approx(diversity, abs=4 * one.standard_error)


def test_difference_has_welchs_interval() -> None:
    one = crossvalidated_coefficient(*family(0.3, images=20, n=30))
    other = crossvalidated_coefficient(*family(0.1, images=20, n=50, seed=1))
    found = coefficient_difference(one, other)
    reference = stats.ttest_ind_from_stats(
        one.value, one.standard_error * np.sqrt(30), 30, other.value, other.standard_error * np.sqrt(50), 50,
        equal_var=False,
    )  # fmt: skip
    assert found.p == pytest.approx(reference.pvalue)
    margin = stats.t.ppf(0.975, found.df) * np.hypot(one.standard_error, other.standard_error)
    assert (found.low, found.high) == pytest.approx((found.value - margin, found.value + margin))
    assert found.low < 0.2 < found.high
    assert found.note is None


def test_difference_of_sets_that_do_not_vary() -> None:
    same = crossvalidated_coefficient(np.zeros((3, 2)), np.zeros((3, 2)))
    found = coefficient_difference(same, same)
    assert (found.value, found.p) == (0.0, 1.0)
    assert "3 tasks; below 30" in str(found.note)


def test_spread_is_that_of_single_images_whatever_the_size_of_tasks() -> None:
    small, large = family(0.3, images=8), family(0.3, images=80)
    for halves, images in ((small, 8), (large, 80)):
        spread = per_sample_spread(*halves, images=images)
        # Centring each profile over its filters takes one degree of freedom.
        assert spread.value == pytest.approx(1.0 - 1.0 / FILTERS, rel=0.05)
        assert standardised_coefficient(*halves, images=images).value == pytest.approx(0.3 / 1.3, rel=0.1)


def test_standardised_coefficient_does_not_see_the_unit_of_a_probe() -> None:
    first, second = family(0.3, images=8)
    one = standardised_coefficient(first, second, images=8)
    other = standardised_coefficient(7.0 * first, 7.0 * second, images=np.full(40, 8))
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    spread = per_sample_spread(first, second, images=8).value
    value = crossvalidated_coefficient(first, second).value
    assert one.value == pytest.approx(value / (value + spread))
    assert standardised_coefficient(np.zeros((3, 2)), np.zeros((3, 2)), images=2).value == 0.0


def test_few_tasks_are_noted_and_fewer_refused() -> None:
    assert "29 tasks; below 30" in str(crossvalidated_coefficient(*family(0.1, images=4, n=29)).note)
    assert crossvalidated_coefficient(*family(0.1, images=4, n=30)).note is None
    with pytest.raises(DataError, match="2 rows, expected at least 3"):
        crossvalidated_coefficient(*family(0.1, images=4, n=2))
    with pytest.raises(ConfigurationError, match="confidence=2"):
        crossvalidated_coefficient(*family(0.1, images=4), confidence=2)
    with pytest.raises(DataError, match="images holds"):
        per_sample_spread(*family(0.1, images=4), images=1)
