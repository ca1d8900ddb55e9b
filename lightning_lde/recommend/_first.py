"""Which past configurations a study tries first, and the space in which it looks when it names none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._cube import Cube
from ._past import PastTrials
from ._portfolio import portfolio
from ._prior import learn_prior
from ._recommendation import recommend
from ._table import FloatArray, ResultTable

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def box(past: PastTrials) -> dict[str, BaseDistribution]:
    """The box around past values, on a logarithmic scale where they are positive and span a hundredfold."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    renamed = {key: name for name, key in past.names.items()}
    for key in sorted({name for settings in past.table.settings for name in settings}):
        values = [settings[key] for settings in past.table.settings if settings.get(key) is not None]
        name = renamed.get(key, key)
        numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
        if len(numbers) < len(values):
            found[name] = CategoricalDistribution(sorted(set(values), key=lambda one: (str(type(one)), str(one))))
            continue
        low, high = min(numbers), max(numbers)
        log = low > 0 and high >= 100 * low
        if all(isinstance(value, int) for value in numbers):
            found[name] = IntDistribution(int(low), int(high), log=log)
        else:
            found[name] = FloatDistribution(float(low), float(high), log=log)
    return found


def first_configurations(
    past: PastTrials, space: Mapping[str, BaseDistribution], descriptors: Mapping[str, float | None], k: int
) -> tuple[list[dict[str, Any]], str | None]:
    """The configurations of the past to try first, as settings of the study; or why there are none.

    Args:
        past: Past results.
        space: The search space: what lies outside is not proposed.
        descriptors: What is known of the data set.
        k: How many.
    """
    cube = Cube(space)
    parameters = [axis.name for axis in cube.axes]
    keys = past.keys(parameters)
    settings = past.settings(parameters)
    points = [cube.encoded(one) if keys else None for one in settings]
    inside = [number for number, one in enumerate(points) if one is not None and cube.contains(one[None])[0]]
    others = [name for name in past.table.datasets if name != past.dataset]
    if not others:
        return [], "there are no results on other data sets"
    if not inside:
        missing = [name for name in parameters if name not in keys]
        why = f"no past run has {', '.join(missing)}" if missing else "all past configurations lie outside of the space"
        return [], f"{why}: nothing is enqueued"
    if k < 1:
        return [], None
    if _is_dense(past.table, others):
        return _recommended(past, others, inside, settings, descriptors, k), None
    return _covering(past, cube, inside, points, settings, k)


def _is_dense(table: ResultTable, others: Sequence[str]) -> bool:
    """Whether a configuration was tried on half of the data sets on average: then results compare as they are."""
    cells = table.for_datasets(others)
    tried = len(set(cells.configuration_index.tolist()))
    return 2 * cells.mean.size >= tried * len(others) and len(others) > 1


def _recommended(
    past: PastTrials,
    others: Sequence[str],
    inside: Sequence[int],
    settings: Sequence[dict[str, Any]],
    descriptors: Mapping[str, float | None],
    k: int,
) -> list[dict[str, Any]]:
    table = past.table.for_datasets(others)
    tried = set(table.configuration_index.tolist())
    places = {past.table.configurations[number]: number for number in inside if number in tried}
    found = recommend(
        table, descriptors, k, candidates=list(places),
        told={name: value for name, value in past.table.values_on(past.dataset).items() if name in places},
    )  # fmt: skip
    return _distinct([settings[places[one.configuration]] for one in found.proposals])


def _covering(
    past: PastTrials,
    cube: Cube,
    inside: Sequence[int],
    points: Sequence[FloatArray | None],
    settings: Sequence[dict[str, Any]],
    k: int,
) -> tuple[list[dict[str, Any]], str | None]:
    """Each data set tried configurations of its own: what its surface expects of those of others stands in."""
    surfaces, columns, own = past.over(cube)
    if len(surfaces) < 2:
        return [], "fewer than two other data sets have three different results in this space: nothing is enqueued"
    prior = learn_prior(surfaces, columns)
    tried = {tuple(one.point) for one in own}
    left = [(number, point) for number in inside if (point := points[number]) is not None and tuple(point) not in tried]
    if not left:
        return [], "all past configurations in the space were tried on this data set"
    candidates = np.array([point for _, point in left])
    chosen = portfolio(prior.past(candidates), k)
    return _distinct([settings[left[number][0]] for number in chosen]), None


def _distinct(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for number, one in enumerate(found) if one not in found[:number]]
