"""Results that are equal where they should differ, or differ where they should be equal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from lightning_lde.query import Lake
from lightning_lde.study._queries import QueryResult, ask, quoted

SAME_RESULTS = "same results, different weights"
SAME_WEIGHTS = "same weights, different results"
NOT_USED = "same results although a cause differs"
TWICE = "same in everything"

ENOUGH_VALUES = 3
"""Equal results of fewer distinct values can be chance: accuracies on a small test set are coarse."""

_CAUSES = {"seed": "seed", "dataset_config_id": "dataset configuration", "pipeline_config_id": "pipeline configuration"}
_PLACES = ("environment_id", "code_id")


@dataclass(frozen=True)
class Duplicate:
    """Runs whose results are suspiciously equal, or suspiciously not.

    Attributes:
        kind: A word of this module: ``SAME_RESULTS``, ``SAME_WEIGHTS``, ``NOT_USED`` or ``TWICE``.
        run_ids: The runs, oldest first.
        message: What was found and what it may mean.
    """

    kind: str
    run_ids: tuple[str, ...]
    message: str


def find_duplicates(lake: Lake, *, project: str) -> tuple[list[Duplicate], QueryResult, list[str]]:
    """Look for duplicates among all finished runs of a project.

    A run's results are the values of its validations and tests, evaluated tasks included, point by point; where it
    has none, those of its training. NaN equals NaN here, and results that are nothing but NaN equal none.

    Returns:
        The duplicates, the query behind them, and notes.
    """
    found = ask(lake, "results of each finished run as one hash", duplicates_sql(project))
    rows = [row for row in found.rows if row["n_distinct"] > 0]
    by_results = _grouped(rows, ("results",))
    duplicates: list[Duplicate] = []
    coarse = 0
    for group in by_results:
        strong = group[0]["n_distinct"] >= ENOUGH_VALUES
        weights = {row["weights_id"] for row in group if row["weights_id"] is not None}
        if len(weights) > 1 and strong:
            duplicates.append(_same_results(group, len(weights)))
        for same in _grouped(group, ("weights_id",)):
            known = same[0]["weights_id"] is not None
            duplicates += _same_weights_and_results(same) if known or strong else []
        coarse += 0 if strong or len(weights) == 1 else len(group)
    for group in _grouped([row for row in found.rows if row["weights_id"] and row["data"]], ("weights_id", "data")):
        duplicates += _other_results(group)
    notes = []
    if coarse:
        notes.append(
            f"{coarse} runs share all results with another run, but these are fewer than {ENOUGH_VALUES} distinct "
            "values, which chance can do: log a loss as well to tell."
        )
    if nothing := [row["run_id"] for row in found.rows if not row["n_distinct"]]:
        notes.append(f"Not looked at for duplicates, no result is a finite number: {', '.join(nothing)}.")
    return duplicates, found, notes


def duplicates_sql(project: str) -> str:
    """One row per finished run: a hash of its results, its last results, weights, data and causes."""
    return f"""\
with finished as (
    select * from runs where project = {quoted(project)} and status = 'finished'),
point as (
    select run_id, concat_ws(' ', name, context, 'loader ' || dataloader_idx) as name, segment, step, time, value,
           context is distinct from 'train' as is_evaluation
    from metrics where context is distinct from 'system' and run_id in (select run_id from finished)
    union all by name
    select run_id, concat_ws(' ', method, inner_steps, ways, shots, episode_id, 'accuracy') as name, segment,
           episode_index as step, accuracy as value, true as is_evaluation
    from episodes where run_id in (select run_id from finished)
    union all by name
    select run_id, concat_ws(' ', method, inner_steps, ways, shots, episode_id, 'loss') as name, segment,
           episode_index as step, loss as value, true as is_evaluation
    from episodes where run_id in (select run_id from finished)),
result as (
    select * from point qualify is_evaluation = bool_or(is_evaluation) over (partition by run_id)),
vector as (
    select run_id, count(*) as n_values, count(distinct value) filter (isfinite(value)) as n_distinct,
           md5(string_agg(concat_ws('|', name, coalesce(step, -1), value), chr(10) order by name, step, segment, time))
               as results
    from result group by run_id),
final as (
    select run_id, map_from_entries(list((name, value) order by name)) as final from (
        select run_id, name, arg_max(value, (segment, step, time)) as value from result
        where is_evaluation group by run_id, name)
    group by run_id),
used as (
    select run_id, string_agg(distinct target_id, ' ' order by target_id) as data
    from stored.links where relation in ('validated_on', 'evaluated_on') and target_kind = 'dataset_config'
    group by run_id)
select run_id, r.name, r.seed, r.pipeline_config_id, r.dataset_config_id, r.environment_id, r.code_id, r.reproduces,
       coalesce(r.weights_end_id, r.weights_start_id) as weights_id, coalesce(u.data, r.dataset_config_id) as data,
       n_values, n_distinct, results, final
from vector join finished r using (run_id) left join final using (run_id) left join used u using (run_id)
order by r.started_at, run_id"""


def _same_results(group: Sequence[Mapping[str, Any]], n_weights: int) -> Duplicate:
    return Duplicate(
        SAME_RESULTS,
        _ids(group),
        f"{len(group)} runs have the same {group[0]['n_values']} results but {n_weights} different final weights: "
        "does the evaluation use the trained model?",
    )


def _same_weights_and_results(group: Sequence[Mapping[str, Any]]) -> list[Duplicate]:
    if len(group) < 2:
        return []
    known = group[0]["weights_id"] is not None
    what = "final weights and results" if known else "results (final weights are not recorded)"
    begin = f"{len(group)} runs have the same {what}, {group[0]['n_values']} values"
    if differ := [word for column, word in _CAUSES.items() if len({row[column] for row in group}) > 1]:
        text = f"{begin}, but a different {' and '.join(differ)}: does it reach the training?"
        return [Duplicate(NOT_USED, _ids(group), text)]
    found = []
    for same in _grouped(group, _PLACES):
        if not {row["reproduces"] for row in same} & set(_ids(same)):
            text = f"{begin}, and nothing that is recorded tells them apart: is one run here twice?"
            found.append(Duplicate(TWICE, _ids(same), text))
    return found


def _other_results(group: Sequence[Mapping[str, Any]]) -> list[Duplicate]:
    """One warning where runs of equal weights and data end with different results, with the largest difference."""
    differences = []
    for one, other in combinations(group, 2):
        first, second = dict(one["final"] or []), dict(other["final"] or [])
        differences += [
            (_difference(first[name], second[name]), name, first[name], second[name])
            for name in first.keys() & second.keys()
            if not _equal(first[name], second[name])
        ]
    if not differences:
        return []
    _, name, first_value, second_value = max(differences, key=lambda one: one[:2])
    return [
        Duplicate(
            SAME_WEIGHTS,
            _ids(group),
            f"{len(group)} runs have the same final weights and evaluation data but different results, most of all "
            f"{name} with {first_value:.6g} and {second_value:.6g}: is the evaluation deterministic?",
        )
    ]


def _equal(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second))


def _difference(first: float, second: float) -> float:
    difference = abs(first - second)
    return math.inf if math.isnan(difference) else difference / max(abs(first), abs(second))


def _grouped(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[list[Mapping[str, Any]]]:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in columns), []).append(row)
    return [group for group in groups.values() if len(group) > 1]


def _ids(group: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(row["run_id"] for row in group)
