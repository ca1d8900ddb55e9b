"""How much the diversity of data sets depends on the probe: coefficients by probe, and their rank correlation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from lightning_lde.query import Lake
from lightning_lde.study._diversities import DatasetDiversity, diversities_of
from lightning_lde.study._vectors import Measurement, stored_measurements, stored_tasks

_LEAST_DATASETS = 4


@dataclass(frozen=True, kw_only=True)
class ProbeAgreement:
    """How far two probes bring data sets into the same order.

    Attributes:
        first: Id of the one probe.
        second: Id of the other.
        n: Data sets that both have measured.
        rho: Spearman's rank correlation of their coefficients; nan below two data sets or without a spread.
        low: Lower bound of the interval; nan below four data sets.
        high: Upper bound of it.
        confidence: Coverage that the interval aims at.
    """

    first: str
    second: str
    n: int
    rho: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True, kw_only=True)
class ProbeSensitivity:
    """The coefficient of each data set by each probe.

    Attributes:
        probes: Ids of the probes, that of the main figures first.
        names: What they are called, for people; an id where nobody said.
        datasets: Names of the data sets, by name.
        diversities: The figures, by place of the data set and of the probe; None where one was not measured.
        agreements: One for each pair of probes.
    """

    probes: tuple[str, ...]
    names: tuple[str, ...]
    datasets: tuple[str, ...]
    diversities: tuple[tuple[DatasetDiversity | None, ...], ...]
    agreements: tuple[ProbeAgreement, ...]


def probe_sensitivity(lake: Lake, *, project: str | None = None, confidence: float = 0.95) -> ProbeSensitivity:
    """The coefficient of each data set by each probe whose embeddings the lake holds.

    Of each probe the measurement with the most data sets counts. Rank correlations are over data sets.

    Args:
        lake: The lake.
        project: Only data sets that a run of this project used; None for all.
        confidence: Coverage of the intervals.

    Returns:
        The table; without probes where the lake holds no embeddings.
    """
    measurements: dict[str, Measurement] = {}
    for one in stored_measurements(lake, project=project):
        measurements.setdefault(one.probe_id, one)
    measured = {key: diversities_of(one, stored_tasks(lake, one)) for key, one in measurements.items()}
    labels = {one.dataset_id: one.dataset for found in measured.values() for one in found}
    order = sorted(labels, key=lambda name: (labels[name], name))
    by_probe = {key: {one.dataset_id: one for one in found} for key, found in measured.items()}
    return ProbeSensitivity(
        probes=tuple(measurements),
        names=tuple(one.probe or key for key, one in measurements.items()),
        datasets=tuple(labels[name] for name in order),
        diversities=tuple(tuple(by_probe[probe].get(name) for probe in measurements) for name in order),
        agreements=tuple(
            _agreement(one, other, by_probe[one], by_probe[other], confidence)
            for one, other in itertools.combinations(measurements, 2)
        ),
    )


def sensitivity_lines(found: ProbeSensitivity) -> list[str]:
    """The table for people: a column for each probe, and how far each pair agrees."""
    width = max(len("data set"), *(len(name) for name in found.datasets))
    letters = [f"probe {number}" for number in range(1, len(found.probes) + 1)]
    lines = ["  ".join([f"{'data set':<{width}}", *(f"{letter:<24}" for letter in letters)]).rstrip()]
    for dataset, measured in zip(found.datasets, found.diversities, strict=True):
        lines.append("  ".join([f"{dataset:<{width}}", *(f"{_interval(one):<24}" for one in measured)]).rstrip())
    lines += ["", *(f"{one}: {name}, {key}" for one, name, key in zip(letters, found.names, found.probes, strict=True))]
    number = dict(zip(found.probes, letters, strict=True))
    for one in found.agreements:
        interval = f"[{one.low:.2f}, {one.high:.2f}]"
        lines.append(
            f"{number[one.first]} and {number[one.second]}: rank correlation {one.rho:.2f}, "
            f"{100 * one.confidence:g} % interval {interval}, "
            f"over {one.n} data sets"
        )
    return lines


def _interval(one: DatasetDiversity | None) -> str:
    return "" if one is None else f"{one.coefficient.value:.4f} [{one.coefficient.low:.4f}, {one.coefficient.high:.4f}]"


def rank_correlation(x: Sequence[float], y: Sequence[float], *, confidence: float = 0.95) -> tuple[float, float, float]:
    """Spearman's rank correlation with an interval.

        tanh(atanh ρ ± z sqrt((1 + ρ²/2) / (n - 3)))

    Args:
        x: Values, (n,).
        y: Values of the same things, (n,).
        confidence: Coverage of the interval.

    Returns:
        The correlation, lower and upper bound; nan where there are too few values or no spread.

    Source: Bonett and Wright (2000), Psychometrika 65, 23-28.

    Example:
        >>> [round(value, 2) for value in rank_correlation([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 6, 5])]
        [0.94, 0.38, 1.0]
    """
    if len(x) < 2 or not (np.ptp(x) and np.ptp(y)):
        return math.nan, math.nan, math.nan
    rho = float(stats.spearmanr(x, y).statistic)
    if len(x) < _LEAST_DATASETS:
        return rho, math.nan, math.nan
    error = math.sqrt((1.0 + rho**2 / 2.0) / (len(x) - 3))
    margin = float(stats.norm.ppf(0.5 + confidence / 2.0)) * error
    # All in one order has an infinite atanh, and an interval of no width whatever n: so it counts as almost so.
    centre = math.atanh(float(np.clip(rho, -_most(len(x)), _most(len(x)))))
    return rho, min(rho, math.tanh(centre - margin)), max(rho, math.tanh(centre + margin))


def _most(n: int) -> float:
    """Half-way between the correlation of equal orders and that of orders with two neighbours exchanged."""
    return 1.0 - 6.0 / (n * (n**2 - 1))


def _agreement(
    first: str,
    second: str,
    one: dict[str, DatasetDiversity],
    other: dict[str, DatasetDiversity],
    confidence: float,
) -> ProbeAgreement:
    shared = [name for name in one if name in other]
    values = [[found[name].coefficient.value for name in shared] for found in (one, other)]
    rho, low, high = rank_correlation(*values, confidence=confidence)
    return ProbeAgreement(
        first=first, second=second, n=len(shared), rho=rho, low=low, high=high, confidence=confidence
    )  # fmt: skip
