"""What a comparison is made of: the rows of one run, its points, its evaluated tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lightning_lde.query._details import RunDetails, run_details
from lightning_lde.query._evaluations import Evaluation, evaluations
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
    """What a comparison is made of: the rows of one run, its points and its evaluated tasks.

    Attributes:
        details: The rows of the run.
        curves: Steps and values of each metric in the order in which they count.
        evaluations: Evaluated few-shot tasks.
    """

    details: RunDetails
    curves: Mapping[MetricKey, Sequence[tuple[int | None, float]]]
    evaluations: Sequence[Evaluation]


_POINTS = """
    select name, context, dataloader_idx, list(step order by segment, step, time) as steps,
           list(coalesce(value, 'nan'::double) order by segment, step, time) as points
    from metrics where run_id = $1 group by all order by context nulls first, name, dataloader_idx nulls first"""


_EPISODES = """
    select e.segment, d.name as dataset, e.dataset_id, c.split, e.method, e.inner_steps, e.ways, e.shots, e.queries,
           e.episode_id, e.episode_seed, e.classes, coalesce(e.accuracy, 'nan'::double) as accuracy,
           coalesce(e.loss, 'nan'::double) as loss
    from episodes e left join datasets d using (dataset_id)
    left join dataset_configs c on c.dataset_config_id = e.dataset_config_id
    where e.run_id = $1"""


def read_records(lake: Lake, run_id: str) -> RunRecords:
    """Read what a comparison needs of one run.

    Args:
        lake: The lake.
        run_id: The run's id, the beginning of one, or a unique name.
    """
    details = run_details(lake, run_id)
    run_id = details.run["run_id"]
    curves = {
        MetricKey(row["name"], row["context"], row["dataloader_idx"]): list(
            zip(row["steps"], row["points"], strict=True)
        )
        for row in lake.sql(_POINTS, [run_id]).to_pylist()
    }
    return RunRecords(
        details=details, curves=curves, evaluations=evaluations(lake.sql(_EPISODES, [run_id]).to_pylist())
    )


def metric_title(key: MetricKey) -> str:
    """A metric's name with what tells it from others of that name.

    Example:
        >>> metric_title(MetricKey("loss", "val", 1))
        'loss (val, loader 1)'
    """
    where = [key.context or "", "" if key.dataloader_idx is None else f"loader {key.dataloader_idx}"]
    inside = ", ".join(part for part in where if part)
    return f"{key.name} ({inside})" if inside else key.name
