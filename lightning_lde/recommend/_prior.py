"""What past data sets say about a surface over settings: its mean, how it varies, and how data sets differ.

The surface of each past data set is a Gaussian process that is conditioned on its results; the kernel is fitted to all
of them together. The surface of a new data set is another one: its mean is that of the past surfaces, its covariance a
mixture of how these depart from the mean together and of the smooth kernel. Sources: Wang et al. 2024, "Pre-trained
Gaussian processes for Bayesian optimization" (a prior learned over tasks); Feurer et al. 2018, "Scalable meta-learning
for Bayesian optimization using ranking-weighted Gaussian process ensembles" (past processes as directions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg, optimize

from ._cube import CENTRE
from ._table import FloatArray

MOST_POINTS = 200
"""Results of a past data set that its process is conditioned on."""

_MOST_FOR_KERNEL = 50
_MOST_TASKS_FOR_KERNEL = 12
_JITTER = 1e-8
_USUAL_LENGTH = 0.5

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class PastSurface:
    """Results on one past data set.

    Attributes:
        points: Settings in the unit cube, shape (results, width).
        values: Metric, larger is better, shape (results,).
    """

    points: FloatArray
    values: FloatArray


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A Matérn kernel of smoothness 5/2 with a length for each column.

    Attributes:
        lengths: Shape (width,).
        variance: Of the process.
        noise: Variance of a result about it.
    """

    lengths: FloatArray
    variance: float
    noise: float

    def __call__(self, a: FloatArray, b: FloatArray) -> FloatArray:
        """Covariances of points of shapes (n, width) and (m, width), shape (n, m)."""
        a, b = a / self.lengths, b / self.lengths
        squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
        root = np.sqrt(5 * np.maximum(squares, 0.0))
        return np.asarray(self.variance * (1 + root + root**2 / 3) * np.exp(-root))


@dataclass(frozen=True, kw_only=True)
class Prior:
    """A Gaussian process over settings, learned from past data sets, in units of a data set's standard deviation.

    Attributes:
        kernel: The smooth part.
        columns: Columns of which the past knows something, shape (width,).
        surfaces: Points and weights of each past process: it expects ``kernel(x, points) @ weights`` at x.
        unexplained: Variance of results about the mean of the other data sets' surfaces.
        location: Mean of the past data sets' means, and its standard deviation between them.
        log_scale: Mean of the logarithms of their standard deviations, and its standard deviation.
        chances: How likely each hypothesis about the covariance is beforehand; see `_posterior`.
    """

    kernel: Kernel
    columns: Mask
    surfaces: tuple[tuple[FloatArray, FloatArray], ...]
    unexplained: float
    location: tuple[float, float]
    log_scale: tuple[float, float]
    chances: tuple[float, ...] = (0.225, 0.225, 0.225, 0.225, 0.1)

    def past(self, points: FloatArray) -> FloatArray:
        """What each past surface is expected to be at points of shape (n, width), shape (n, past data sets)."""
        # What no past run has is put where all of them stand.
        seen = np.where(self.columns, points, CENTRE)
        return np.stack([self.kernel(seen, own) @ weights for own, weights in self.surfaces], axis=1)


def learn_prior(surfaces: Sequence[PastSurface], columns: Mask, *, seed: int = 0) -> Prior:
    """Learn from past data sets what the surface of another one looks like.

    Args:
        surfaces: Two or more, each with two different values or more.
        columns: Columns of which they know something, shape (width,).
        seed: For which results are kept of many.
    """
    random = np.random.default_rng(seed)
    tamed = [PastSurface(points=one.points, values=tame(one.values)) for one in surfaces]
    places = np.array([one.values.mean() for one in tamed])
    scales = np.array([max(float(one.values.std()), 1e-12) for one in tamed])
    few = [
        _some(PastSurface(points=one.points, values=(one.values - place) / scale), random)
        for one, place, scale in zip(tamed, places, scales, strict=True)
    ]
    kernel = fit_kernel(few, columns, random)
    learned = tuple((one.points, _weights(kernel, one)) for one in few)
    logs = np.log(scales)
    found = Prior(
        kernel=kernel,
        columns=columns,
        surfaces=learned,
        unexplained=1.0,
        location=(float(places.mean()), float(places.std())),
        log_scale=(float(logs.mean()), float(logs.std())),
    )
    return replace(found, unexplained=_unexplained(found, few))


def _unexplained(prior: Prior, surfaces: Sequence[PastSurface]) -> float:
    """How far results lie from the mean surface of the other data sets, as a variance."""
    squares = []
    for number, one in enumerate(surfaces):
        others = np.delete(prior.past(one.points), number, axis=1).mean(axis=1)
        squares.append(float((one.values - others).var()))
    return float(np.mean(squares))


def tame(values: FloatArray) -> FloatArray:
    """Values without the far end of the bad ones: what diverged says nothing about how good others are."""
    if values.size < 3:
        return values
    middle = float(np.median(values))
    return np.maximum(values, middle - 2 * (float(values.max()) - middle))


def _some(surface: PastSurface, random: np.random.Generator) -> PastSurface:
    """The best third and others at random: near the best it matters how the surface looks."""
    n, most = surface.values.size, MOST_POINTS
    if n <= most:
        return surface
    order = np.argsort(-surface.values, kind="stable")
    kept = np.concatenate([order[: most // 3], random.choice(order[most // 3 :], most - most // 3, replace=False)])
    return PastSurface(points=surface.points[kept], values=surface.values[kept])


def fit_kernel(surfaces: Sequence[PastSurface], columns: Mask, random: np.random.Generator) -> Kernel:
    """The kernel under which the results of all data sets together are most likely.

    Args:
        surfaces: Results in units of each data set's standard deviation.
        columns: Columns that vary; the length of others is 1/2.
        random: Chooses some of many results.
    """
    tasks = []
    for one in surfaces[:_MOST_TASKS_FOR_KERNEL]:
        kept = random.permutation(one.values.size)[:_MOST_FOR_KERNEL]
        tasks.append(PastSurface(points=one.points[kept], values=one.values[kept]))
    free = int(columns.sum())

    def kernel_of(numbers: FloatArray) -> Kernel:
        lengths = np.full(columns.size, _USUAL_LENGTH)
        lengths[columns] = np.exp(numbers[:free])
        return Kernel(lengths=lengths, variance=float(np.exp(numbers[free])), noise=float(np.exp(numbers[free + 1])))

    def surprise(numbers: FloatArray) -> float:
        # Lengths about one half are likely beforehand: few results should not say that one setting is all.
        beforehand = float(((numbers[:free] - np.log(_USUAL_LENGTH)) ** 2).sum() / 2)
        return beforehand + sum(_surprise(kernel_of(numbers), one) for one in tasks)

    start = np.concatenate([np.full(free, np.log(_USUAL_LENGTH)), np.log([0.8, 0.1])])
    bounds = [(np.log(0.03), np.log(10.0))] * free + [(np.log(1e-2), np.log(10)), (np.log(1e-4), np.log(2))]
    found = optimize.minimize(surprise, start, method="L-BFGS-B", bounds=bounds, options={"maxiter": 20})
    return kernel_of(found.x)


def _surprise(kernel: Kernel, surface: PastSurface) -> float:
    """The negative logarithm of the likelihood of results, without its constant."""
    factor = _factor(kernel, surface.points)
    left = linalg.solve_triangular(factor, surface.values, lower=True)
    return float(left @ left / 2 + np.log(np.diag(factor)).sum())


def _factor(kernel: Kernel, points: FloatArray) -> FloatArray:
    covariance = kernel(points, points)
    covariance[np.diag_indices_from(covariance)] += kernel.noise + _JITTER * kernel.variance
    return np.asarray(linalg.cholesky(covariance, lower=True))


def _weights(kernel: Kernel, surface: PastSurface) -> FloatArray:
    return np.asarray(linalg.cho_solve((_factor(kernel, surface.points), True), surface.values))
