"""Whether a metric rises more with diversity under MAML than under pretraining."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lightning_lde.errors import DataError
from lightning_lde.statistics import DependentDifference, compare_dependent, holm
from lightning_lde.study._power import n_for
from lightning_lde.study._results import Comparison, ConfigurationResult, is_finite, p_of

_Found = tuple[str, str, DependentDifference, float]


def comparisons_of(
    configurations: Sequence[ConfigurationResult], families: Mapping[str, str], notes: list[str]
) -> tuple[Comparison, ...]:
    """Each MAML configuration against pretraining on tasks of the same size.

    Args:
        configurations: The correlation of each.
        families: By data set its family; empty where each is its own.
        notes: What is left out is added to them.
    """
    found: list[_Found] = []
    for base in (one for one in configurations if one.method.startswith("pretraining")):
        for result in (one for one in configurations if one.method.startswith("maml")):
            if (base.ways, base.shots) == (result.ways, result.shots):
                try:
                    found.append((result.label, base.label, *_difference(result, base, families)))
                except DataError as error:
                    notes.append(f"{result.label} against {base.label} is left out: {error}")
    of_r = holm([p_of(difference) for _, _, difference, _ in found])
    of_slopes = holm([difference.p_slope_difference for _, _, difference, _ in found])
    return tuple(
        Comparison(*one, p_holm, p_slope_holm, n_for(one[3]))
        for one, p_holm, p_slope_holm in zip(found, of_r, of_slopes, strict=True)
    )


def _difference(
    result: ConfigurationResult, base: ConfigurationResult, families: Mapping[str, str]
) -> tuple[DependentDifference, float]:
    """Both relations over the data sets that both have, and the correlation of their difference with diversity."""
    values = {point.dataset_id: point.value for point in base.points}
    shared = [point for point in result.points if point.dataset_id in values]
    x, first = [point.diversity for point in shared], [point.value for point in shared]
    second = [values[point.dataset_id] for point in shared]
    clusters = [families[point.dataset_id] for point in shared] if families else None
    found = compare_dependent(x, first, second, clusters=clusters)
    if not is_finite(p_of(found)):
        raise DataError(f"the p of equal correlations is {p_of(found)}, they are perfect; measure more data sets.")
    differences = np.subtract(first, second)
    varies = np.ptp(differences) > 1e-12 * np.abs(first).max()
    return found, float(np.corrcoef(x, differences)[0, 1]) if varies else 0.0
