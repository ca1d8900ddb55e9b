"""What a comparison is made of: what went into runs, their points, their evaluated tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lightning_lde.query._evaluations import Evaluation, evaluations
from lightning_lde.query._facts import Row, RunFacts, grouped, read_facts, rows_of
from lightning_lde.query._lake import Lake

SYSTEM = "system"
"""The context of the machine's own metrics."""


class MetricKey(NamedTuple):
    """What tells metrics of a run apart."""

    name: str
    context: str | None
    dataloader_idx: int | None


@dataclass(frozen=True, kw_only=True)
class RunRecords:
    """What a comparison is made of: what went into one run, its points and its evaluated tasks.

    Attributes:
        facts: What went into the run.
        curves: Steps and values of each metric in the order in which they count.
        evaluations: Evaluated few-shot tasks.
    """

    facts: RunFacts
    curves: Mapping[MetricKey, Sequence[tuple[int | None, float]]]
    evaluations: Sequence[Evaluation]


_POINTS = """
    select run_id, name, context, dataloader_idx, list(step order by segment, step, time) as steps,
           list(coalesce(value, 'nan'::double) order by segment, step, time) as points
    from metrics where run_id in ({ids}) group by all
    order by run_id, context nulls first, name, dataloader_idx nulls first"""


_EPISODES = """
    select e.run_id, e.segment, d.name as dataset, e.dataset_id, c.split, e.method, e.inner_steps, e.ways, e.shots,
           e.queries, e.episode_id, e.episode_seed, e.classes, coalesce(e.accuracy, 'nan'::double) as accuracy,
           coalesce(e.loss, 'nan'::double) as loss
    from episodes e left join datasets d using (dataset_id)
    left join dataset_configs c on c.dataset_config_id = e.dataset_config_id
    where e.run_id in ({ids})"""


def read_records(lake: Lake, run_ids: Sequence[str]) -> list[RunRecords]:
    """Read what a comparison needs of some runs; as many queries as for one.

    Args:
        lake: The lake.
        run_ids: Whole ids.

    Raises:
        RunNotFoundError: If one of the runs is not there.
    """
    facts = read_facts(lake, run_ids)
    curves = grouped(rows_of(lake, _POINTS, run_ids), "run_id")
    tasks = grouped(rows_of(lake, _EPISODES, run_ids), "run_id")
    return [
        RunRecords(
            facts=one,
            curves=dict(map(_curve, curves.get(run_id, []))),
            evaluations=evaluations(tasks.get(run_id, [])),
        )
        for run_id, one in zip(run_ids, facts, strict=True)
    ]


def _curve(row: Row) -> tuple[MetricKey, list[tuple[int | None, float]]]:
    key = MetricKey(row["name"], row["context"], row["dataloader_idx"])
    return key, list(zip(row["steps"], row["points"], strict=True))


def metric_title(key: MetricKey) -> str:
    """A metric's name with what tells it from others of that name.

    Example:
        >>> metric_title(MetricKey("loss", "val", 1))
        'loss (val, loader 1)'
    """
    where = [key.context or "", "" if key.dataloader_idx is None else f"loader {key.dataloader_idx}"]
    inside = ", ".join(part for part in where if part)
    return f"{key.name} ({inside})" if inside else key.name
