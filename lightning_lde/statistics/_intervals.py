"""Means with Student's t intervals, over independent values or over clusters of dependent ones."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Iterable

import numpy as np
import numpy.typing as npt
from scipy import stats

from lightning_lde.errors import DataError

from ._checks import FloatArray, finite_vector, fraction


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with its confidence interval.

    Args:
        mean: The mean.
        low: Lower bound; nan for a single value.
        high: Upper bound; nan for a single value.
        n: Number of independent values, or of clusters.
        sd: Standard deviation of them (n - 1 in the denominator); nan for a single value.
    """

    mean: float
    low: float
    high: float
    n: int
    sd: float


def mean_interval(values: npt.ArrayLike, *, confidence: float = 0.95) -> Interval:
    """The mean of independent values with its t interval.

    Args:
        values: Independent values, shape (n,).
        confidence: Coverage, a fraction.

    Returns:
        mean ± t(n - 1) sd / sqrt(n); the bounds of a single value are nan.

    Raises:
        DataError: If there is no value or one is not finite.
        ConfigurationError: If confidence is no fraction.

    Example:
        >>> found = mean_interval([0.61, 0.58, 0.64])
        >>> round(found.mean, 2), round(found.low, 3), round(found.high, 3), found.n
        (0.61, 0.535, 0.685, 3)

    Source: Student (1908), The probable error of a mean, Biometrika 6, 1-25.
    """
    vector = finite_vector(values, "values")
    return _t_interval(vector, confidence=fraction(confidence, "confidence"))


def clustered_mean_interval(
    values: npt.ArrayLike, clusters: Iterable[Hashable], *, confidence: float = 0.95
) -> Interval:
    """The mean of cluster means with its t interval over clusters.

    Values of one cluster, such as the tasks of one run or the runs of one data set, are not independent;
    the clusters are. Every cluster counts the same, however many values it has.

    Args:
        values: Values, shape (n,).
        clusters: Cluster of each value, n labels.
        confidence: Coverage, a fraction.

    Returns:
        The interval, with ``n`` and ``sd`` of the cluster means.

    Raises:
        DataError: If lengths differ, there is no value, or one is not finite.
        ConfigurationError: If confidence is no fraction.

    Example:
        >>> found = clustered_mean_interval([1.0, 3.0, 4.0, 6.0], ["a", "a", "b", "c"])
        >>> found.mean, found.n
        (4.0, 3)

    Source: Cameron and Miller (2015), A practitioner's guide to cluster-robust inference, J. Human
    Resources 50, 317-372, section II.
    """
    vector = finite_vector(values, "values")
    labels = list(clusters)
    if len(labels) != vector.size:
        raise DataError(
            f"values and clusters have {vector.size} and {len(labels)} entries, "
            "expected one cluster for each value; align them."
        )
    members: dict[Hashable, list[float]] = {}
    for value, label in zip(vector.tolist(), labels, strict=True):
        members.setdefault(label, []).append(value)
    means = np.array([math.fsum(group) / len(group) for group in members.values()])
    return _t_interval(means, confidence=fraction(confidence, "confidence"))


def _t_interval(values: FloatArray, *, confidence: float) -> Interval:
    mean = float(values.mean())
    if values.size == 1:
        return Interval(mean=mean, low=math.nan, high=math.nan, n=1, sd=math.nan)
    sd = float(values.std(ddof=1))
    margin = float(stats.t.ppf(0.5 + confidence / 2.0, values.size - 1)) * sd / math.sqrt(values.size)
    return Interval(mean=mean, low=mean - margin, high=mean + margin, n=values.size, sd=sd)
