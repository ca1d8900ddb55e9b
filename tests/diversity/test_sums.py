"""Sums equal all pairs, and form a commutative monoid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lde.diversity import DiversitySums, crossvalidated_distances, diversity_coefficient, log_ratio_distances
from lightning_lde.errors import DataError


def tasks(n: int, seed: int, dimension: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n, dimension)) + 2.0 * rng.normal(size=dimension)
    first, second = signal + 0.3 * rng.normal(size=(2, n, dimension))
    return first, second


@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(lambda s: sum(s) >= 3), seed=st.integers(0, 99)
)
def test_any_partition_equals_all_pairs(sizes: list[int], seed: int) -> None:
    first, second = tasks(sum(sizes), seed)
    cuts = np.cumsum(sizes)[:-1]
    merged = DiversitySums.empty(30)
    for part in zip(np.split(first, cuts), np.split(second, cuts), strict=True):
        merged = merged.add(*part) if len(part[0]) else merged.merge(DiversitySums.empty(30))
    assert merged.n_tasks == sum(sizes)
    assert merged.value == pytest.approx(
        diversity_coefficient(crossvalidated_distances(first, second)).value, rel=1e-12, abs=1e-12
    )
    plain = diversity_coefficient(log_ratio_distances((first + second) / 2.0)).value
    assert merged.plain == pytest.approx(plain, rel=1e-12, abs=1e-12)


def test_merging_is_commutative_and_associative() -> None:
    a, b, c = (DiversitySums.of(*tasks(n, seed=n)) for n in (3, 5, 9))
    left, right = a.merge(b).merge(c), c.merge(b.merge(a))
    assert left.value == pytest.approx(right.value, rel=1e-12)
    assert left.noise == pytest.approx(right.noise, rel=1e-12)


def test_adding_leaves_the_old_sums_as_they_are() -> None:
    old = DiversitySums.of(*tasks(4, seed=0))
    before = old.value, old.first.copy()
    old.add(*tasks(4, seed=1))
    assert old.value == before[0]
    np.testing.assert_array_equal(old.first, before[1])


def test_unfit_sums_are_refused() -> None:
    with pytest.raises(DataError, match="sums of 1 tasks"):
        _ = DiversitySums.of(*tasks(1, seed=0)).value
    with pytest.raises(DataError, match="30 and 4 dimensions"):
        DiversitySums.of(*tasks(2, seed=0)).merge(DiversitySums.empty(4))
