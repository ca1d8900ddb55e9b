"""The covariance of configurations: what settings share, against dense kernels of scikit-learn."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.gaussian_process.kernels import RBF

from lightning_lde.recommend import EmpiricalBayes, ResultTable
from lightning_lde.recommend._covariance import covariance, settings_factors

Points = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def kernel(points: Points) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """As long as two configurations are apart, by root mean square."""
    squares = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    return np.asarray(RBF(max(np.sqrt(squares.mean()), 1e-6))(points))


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 80), width=st.integers(1, 6))
@hypothesis_settings(max_examples=40)
def test_factors_of_settings_are_the_kernel_but_for_the_rest(seed: int, n: int, width: int) -> None:
    points = np.random.default_rng(seed).integers(-1, 3, size=(n, width)).astype(np.float32)
    factors, rest = settings_factors(points)
    left = kernel(points) - factors.T @ factors
    np.testing.assert_allclose(np.diagonal(left), rest, atol=1e-5)
    assert np.linalg.eigvalsh(left).min() > -1e-4
    assert rest.max() < 1e-3 or len(factors) == 50


def test_nine_tenths_of_what_is_left_to_one_configuration_go_by_settings() -> None:
    rng = np.random.default_rng(0)
    residuals, points = rng.normal(size=(6, 30)), rng.random((30, 2)).astype(np.float32)
    plain, by_settings = covariance(residuals), covariance(residuals, points=points)
    added = by_settings.factors.T @ by_settings.factors - plain.factors.T @ plain.factors
    np.testing.assert_allclose(added, 0.9 * plain.own[0] * kernel(points), atol=2e-3)
    variance = (by_settings.factors**2).sum(axis=0) + by_settings.own
    np.testing.assert_allclose(variance, (plain.factors**2).sum(axis=0) + plain.own)


def test_configurations_without_settings_share_nothing_more() -> None:
    residuals = np.random.default_rng(0).normal(size=(6, 30))
    plain = covariance(residuals)
    nothing = covariance(residuals, points=np.zeros((30, 0), dtype=np.float32))
    np.testing.assert_array_equal(plain.factors, nothing.factors)
    np.testing.assert_array_equal(plain.own, nothing.own)


def test_some_configurations_have_the_covariance_that_they_have_among_all() -> None:
    rng = np.random.default_rng(0)
    whole = covariance(rng.normal(size=(6, 30)), points=rng.random((30, 2)).astype(np.float32))
    some = whole.of(np.array([3, 1, 20]))
    dense = whole.factors.T @ whole.factors + np.diag(whole.own)
    expected = dense[np.ix_([3, 1, 20], [3, 1, 20])]
    np.testing.assert_allclose(some.factors.T @ some.factors + np.diag(some.own), expected)


def test_a_result_says_something_of_configurations_with_like_settings() -> None:
    """Past data sets say little of where on a grid the best lies; with settings fewer tries come near it."""
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 1, 15), np.linspace(0, 1, 15)))
    by_settings, by_name = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        *past, hidden = (np.exp(-2.0 * ((x - a) ** 2 + (y - b) ** 2)) for a, b in rng.random((6, 2)))
        metric, dataset = np.concatenate(past), np.repeat(list("abcde"), x.size).tolist()
        columns = {"x": np.tile(x, 5).tolist(), "y": np.tile(y, 5).tolist()}
        with_settings = ResultTable.from_columns(dataset=dataset, metric=metric, settings=columns)
        names = [str(number) for number in range(x.size)] * 5
        without = ResultTable.from_columns(dataset=dataset, metric=metric, configuration=names)
        by_settings.append(best_after(8, with_settings, hidden))
        by_name.append(best_after(8, without, hidden))
    assert np.mean(by_settings) > np.mean(by_name) + 0.05


def best_after(tries: int, table: ResultTable, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """What the best of the first proposals reaches, each told before the next."""
    session = EmpiricalBayes().fit(table).start()
    found = []
    for _ in range(tries):
        name = session.ask()[0]
        found.append(float(values[table.configurations.index(name)]))
        session.tell(name, found[-1])
    return max(found)
