"""The same correlations with diversity as other probes and methods measured it: whether the answer rests on one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from lightning_lde.errors import DataError
from lightning_lde.query import Lake
from lightning_lde.statistics import holm
from lightning_lde.study._answer import MeasureResult
from lightning_lde.study._comparisons import comparisons_of
from lightning_lde.study._diversities import DatasetDiversity
from lightning_lde.study._labels import Rows
from lightning_lde.study._results import ConfigurationResult
from lightning_lde.study._sensitivity import probe_sensitivity, rank_correlation
from lightning_lde.study._slopes import slope_of

_LEVEL = 0.05
_DIGITS = 12

# Other figures of the same embeddings, which the probe that was taken gives beside its coefficient.
_BESIDE: dict[str, Callable[[DatasetDiversity], float | None]] = {
    "published cosine distance, with noise": lambda one: one.cosine.value,
    "standardised coefficient": lambda one: one.standardised.value,
    "Vendi score": lambda one: one.vendi,
    "mean features": lambda one: None if one.mean_features is None else one.mean_features.value,
}


@dataclass(frozen=True)
class Measure:
    """A way in which diversity was measured.

    Attributes:
        label: Probe and method, for people.
        probe_id: The probe.
        method: The method.
        values: By id of the data set.
    """

    label: str
    probe_id: str | None
    method: str | None
    values: dict[str, float]


def stored_measures(rows: Rows) -> list[Measure]:
    """The diversities that data sets bear.

    Args:
        rows: Rows of the query for all measures, ordered by probe and method.
    """
    found = []
    for (probe_id, method), group in groupby(rows, key=_key):
        values = {row["dataset_id"]: rounded(row["diversity"]) for row in group}
        found.append(Measure(_label(method, None, probe_id), probe_id, method, values))
    return found


def embedded_measures(lake: Lake, project: str, datasets: Sequence[dict[str, Any]]) -> list[Measure]:
    """The diversities that follow from stored embeddings: by each probe, and other figures of the one that was taken.

    Args:
        lake: The lake.
        project: The project.
        datasets: Data sets with the diversity that was taken.
    """
    found = probe_sensitivity(lake, project=project)
    taken = datasets[0]["diversity_probe_id"]
    measures = []
    for place, probe_id in enumerate(found.probes):
        column = [row[place] for row in found.diversities]
        measured = [one for one in column if one is not None]
        for method, values in _figures_of(measured, with_others=probe_id == taken):
            known = _by_dataset(values, measured, datasets)
            measures.append(Measure(_label(method, found.names[place], probe_id), probe_id, method, known))
    return measures


def measures_of(
    measures: Sequence[Measure],
    datasets: Sequence[dict[str, Any]],
    configurations: Sequence[ConfigurationResult],
    families: Mapping[str, str],
) -> tuple[MeasureResult, ...]:
    """The correlation of each configuration with each diversity, the one that was taken first.

    Args:
        measures: All of them; of those with equal probe and method the first counts.
        datasets: Data sets with the diversity that was taken.
        configurations: The results with it.
        families: By data set its family; empty where each is its own.
    """
    main = {row["dataset_id"]: row["diversity"] for row in datasets}
    taken = _key(datasets[0])
    labels = {(one.probe_id, one.method): one.label for one in measures}
    found: dict[tuple[str | None, str | None], MeasureResult] = {}
    for one in measures:
        key = (one.probe_id, one.method)
        with_it = _with_measure(one, configurations, families)
        if with_it and key not in found:
            compared = comparisons_of(with_it, families, [])
            found[key] = MeasureResult(
                label=labels[key],
                probe_id=one.probe_id,
                method=one.method,
                is_taken=key == taken,
                n=max(result.correlation.n for result in with_it),
                rank_correlation=_rank_correlation(main, one.values),
                correlations={result.label: result.correlation for result in with_it},
                n_correlated=sum(result.p_holm < _LEVEL for result in with_it),
                n_slopes_differ=sum(comparison.p_slope_holm < _LEVEL for comparison in compared),
                values=one.values,
            )
    return tuple(sorted(found.values(), key=lambda one: not one.is_taken))


def _with_measure(
    measure: Measure, configurations: Sequence[ConfigurationResult], families: Mapping[str, str]
) -> list[ConfigurationResult]:
    """The configurations as they would be with another diversity, without what does not exist then."""
    found = []
    for result in configurations:
        points = tuple(
            replace(point, diversity=measure.values[point.dataset_id])
            for point in result.points
            if point.dataset_id in measure.values
        )
        try:
            slope = slope_of(points, families)
        except DataError:
            continue
        found.append(
            replace(result, points=points, correlation=slope.correlation, regression=slope.regression, adjusted=())
        )
    corrected = holm([one.p for one in found])
    return [replace(one, p_holm=p) for one, p in zip(found, corrected, strict=True)]


def rounded(value: float) -> float:
    """A figure without its last digits, in which machines differ that add up in another order.

    Example:
        >>> rounded(0.1 + 0.2)
        0.3
    """
    return float(f"{value:.{_DIGITS}g}")


def _key(row: dict[str, Any]) -> tuple[str | None, str | None]:
    return row["diversity_probe_id"], row["diversity_method"]


def _figures_of(measured: Sequence[DatasetDiversity], *, with_others: bool) -> Iterator[tuple[str, list[float]]]:
    if not measured:
        return
    yield measured[0].method, [one.coefficient.value for one in measured]
    for method, figure in _BESIDE.items() if with_others else ():
        values = [figure(one) for one in measured]
        if all(value is not None for value in values):
            yield method, [float(value) for value in values if value is not None]


def _by_dataset(
    values: Sequence[float], measured: Sequence[DatasetDiversity], datasets: Sequence[dict[str, Any]]
) -> dict[str, float]:
    """By id of the evaluated data set; a probe of another size or colour measured a prepared one of the same name."""
    ids = {row["dataset_id"] for row in datasets}
    names: dict[str, list[str]] = {}
    for row in datasets:
        names.setdefault(row["dataset"], []).append(row["dataset_id"])
    found = {}
    for one, value in zip(measured, values, strict=True):
        of_name = names.get(one.dataset, [])
        if one.dataset_id in ids or len(of_name) == 1:
            found[one.dataset_id if one.dataset_id in ids else of_name[0]] = rounded(value)
    return found


def _label(method: str | None, probe: str | None, probe_id: str | None) -> str:
    # Methods begin with what they are; how their interval is made follows.
    return f"{(method or 'unknown method').partition(', jackknife')[0]}, probe {probe or (probe_id or 'unknown')[:8]}"


def _rank_correlation(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    shared = [one for one in first if one in second]
    return rank_correlation([first[one] for one in shared], [second[one] for one in shared])[0]
