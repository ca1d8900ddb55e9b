"""The normal posterior behind empirical Bayes, against dense algebra and scikit-learn."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import covariance

from lightning_lde.recommend._covariance import ledoit_wolf_shrinkage
from lightning_lde.recommend._gaussian import GaussianPosterior


def prior(rng: np.random.Generator, n: int, rank: int, scales: int = 3) -> GaussianPosterior:
    return GaussianPosterior(
        rng.normal(size=n),
        rng.normal(size=(rank, n)),
        rng.uniform(0.05, 0.5, size=n),
        location=(np.full(scales, 5.0), np.full(scales, 30.0)),
        scales=np.linspace(0.5, 2.0, scales),
        weights=np.full(scales, 1.0 / scales),
    )


def test_a_difference_is_that_of_the_joint_normal_distribution() -> None:
    rng = np.random.default_rng(0)
    mean, factors, own = rng.normal(size=6), rng.normal(size=(3, 6)), rng.uniform(0.1, 0.5, size=6)
    posterior = GaussianPosterior(
        mean,
        factors,
        own,
        location=(np.array([5.0]), np.array([30.0])),
        scales=np.array([2.0]),
        weights=np.array([1.0]),
    )
    expected, covariance = 5.0 + 2.0 * mean, 4.0 * (factors.T @ factors + np.diag(own)) + 30.0
    told = {1: 4.0, 4: 7.0}
    for place, value in told.items():
        posterior.tell(place, value)
    inside = list(told)
    gain = covariance[:, inside] @ np.linalg.inv(covariance[np.ix_(inside, inside)])
    expected = expected + gain @ (np.array(list(told.values())) - expected[inside])
    left = covariance - gain @ covariance[inside]
    for a, b in ((0, 2), (5, 3)):
        sd = np.sqrt(left[a, a] + left[b, b] - 2.0 * left[a, b])
        assert posterior.difference(a, b) == pytest.approx((expected[a] - expected[b], sd))


@given(
    seed=st.integers(0, 2**32 - 1),
    rank=st.integers(1, 5),
    places=st.lists(st.integers(0, 19), min_size=1, max_size=30),
    noise=st.sampled_from([0.1, 0.5]),
)
@settings(max_examples=60)
def test_many_at_once_are_the_same_as_one_after_the_other(
    seed: int, rank: int, places: list[int], noise: float
) -> None:
    rng = np.random.default_rng(seed)
    one_by_one = prior(rng, 20, rank)
    at_once = copy.deepcopy(one_by_one)
    values = rng.normal(5.0, 2.0, size=len(places)).tolist()
    for place, value in zip(places, values, strict=True):
        one_by_one.tell(place, value, noise=noise)
    at_once.tell_all(places, values, noise=noise)
    for posterior in (one_by_one, at_once):
        posterior.tell(7, 6.0, noise=noise)
    np.testing.assert_allclose(at_once.metric(), one_by_one.metric(), rtol=1e-7, atol=1e-7)
    untold = np.setdiff1d(np.arange(20), [7, *places])
    for best in (6.0, 60.0):
        gains = [one.expected_improvement(best, untold) for one in (at_once, one_by_one)]
        np.testing.assert_allclose(*gains, atol=1e-7)
    np.testing.assert_allclose(at_once.difference(3, 11), one_by_one.difference(3, 11), rtol=1e-6, atol=1e-7)


def test_what_was_told_without_noise_is_known() -> None:
    posterior = prior(np.random.default_rng(0), 20, 2)
    posterior.tell_all(range(10), np.arange(10.0).tolist())
    mean, sd = posterior.metric()
    np.testing.assert_allclose(mean[:10], np.arange(10.0))
    np.testing.assert_allclose(sd[:10], 0.0, atol=1e-6)
    assert (sd[10:] > 0.01).all()


def two_with_equal_means(best: float, shared: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Improvement of one configuration that others tell of, and of one that varies as much for itself."""
    factors, own = np.sqrt([[shared, 0.0]]), np.array([1e-6, 1.0])
    location, one = (np.zeros(1), np.full(1, 1e-9)), np.ones(1)
    return GaussianPosterior(
        np.zeros(2), factors, own, location=location, scales=one, weights=one
    ).expected_improvement(best, np.arange(2))


def test_what_a_configuration_has_of_its_own_promises_nothing() -> None:
    known, lot = two_with_equal_means(0.5, shared=1.0)
    assert known == pytest.approx(0.19779, rel=1e-3)  # pdf(0.5) - 0.5 (1 - cdf(0.5)) of the standard normal
    assert lot < 1e-9


def test_lots_are_drawn_where_nothing_else_is_left() -> None:
    known, lot = two_with_equal_means(0.5, shared=1e-4)
    assert known < 1e-9
    assert lot == pytest.approx(0.19779, rel=1e-3)


def test_a_copy_that_is_told_more_leaves_the_first_alone() -> None:
    posterior = prior(np.random.default_rng(0), 20, 2)
    posterior.tell_all(range(10), np.arange(10.0).tolist())
    before = [each.copy() for each in posterior.metric()]
    posterior.copy().tell(15, 100.0)
    np.testing.assert_array_equal(posterior.metric(), before)


@pytest.mark.parametrize("shape", [(2, 7), (20, 5), (12, 300)])
@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_shrinkage_is_that_of_scikit_learn(shape: tuple[int, int], shared: float) -> None:
    rng = np.random.default_rng(shape[1])
    rows = rng.normal(size=shape) + shared * rng.normal(size=(shape[0], 1)) * rng.normal(size=shape[1])
    expected = covariance.ledoit_wolf_shrinkage(rows, assume_centered=True)
    assert ledoit_wolf_shrinkage(rows) == pytest.approx(expected)


def test_shrinkage_of_nothing_is_none() -> None:
    assert ledoit_wolf_shrinkage(np.zeros((3, 4))) == 0.0
