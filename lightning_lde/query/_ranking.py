"""Configurations or runs in the order of a metric, from the summaries that runs carry: no curve is read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lightning_lde.errors import ConfigurationError
from lightning_lde.schema import RunStatus

if TYPE_CHECKING:
    import pyarrow as pa

    from lightning_lde.query._lake import Lake

MODES = ("max", "min")
OF_RUN = ("last", "min", "max")
"""What a run's summary says of each metric."""

_FIGURES = ("value", "low", "high")
_COLUMNS = ("n", "dataset", "module", "pipeline_config_id", "name", "runs")


def ranked(
    lake: Lake,
    metric: str,
    *,
    mode: str = "max",
    of_run: str = "last",
    dataset: str | None = None,
    project: str | None = None,
    aggregate: bool = True,
    k: int = 10,
) -> pa.Table:
    """The best of a lake by one metric.

    Args:
        lake: The lake.
        metric: The metric's name, as it was logged.
        mode: ``"max"`` where more is better, else ``"min"``.
        of_run: What counts of a run: its ``"last"`` value, its ``"min"`` or its ``"max"``.
        dataset: Only runs that were trained on the data set of this name or id.
        project: Only runs of this project.
        aggregate: Whether finished runs of one configuration on one data set count as repetitions: their mean is
            ranked, with Student's 95 % interval over runs. A single lucky run does not win then. A run whose
            configuration or data is not known repeats no other one.
        k: How many.

    Returns:
        Columns ``rank`` (from 1), ``value`` (mean, or the run's), ``low`` and ``high`` (of the interval, NaN for one
        run), ``n`` (runs), ``dataset``, ``module``, ``pipeline_config_id``, ``name`` (of the newest run) and ``runs``
        (ids, the newest first). A configuration with a NaN comes behind all others.

    Raises:
        ConfigurationError: If ``mode`` or ``of_run`` is not one of the words, or ``k`` is below 1.
    """
    if mode not in MODES or of_run not in OF_RUN or k < 1:
        raise ConfigurationError(
            f"mode={mode!r}, of_run={of_run!r}, k={k!r}: expected one of {MODES}, one of {OF_RUN}, and 1 or more"
        )
    order = "desc" if mode == "max" else "asc"
    together = "pipeline_config_id, dataset_config_id, dataset, module"
    found = lake.sql(
        f"""
        select list(value) as found, count(*) as n, dataset, module, pipeline_config_id,
               arg_max(name, started_at) as name, list(run_id order by started_at desc, run_id desc) as runs
        from ({_FINISHED})
        where value is not null and ($2 is null or project = $2) and ($3 is null or dataset = $3 or dataset_id = $3)
        group by {together}, {_ALONE if aggregate else "run_id"}
        order by isnan(avg(value)), avg(value) {order}, runs limit $4""",
        [json_pointer(metric, of_run), project, dataset, k],
    )
    return _with_intervals(found)


_ALONE = "case when pipeline_config_id is null or dataset_config_id is null then run_id end"
"""What is not known is not the same: such a run repeats no other one."""

_FINISHED = f"""
    select r.run_id, r.name, r.started_at, r.project, r.pipeline_config_id, r.dataset_config_id,
           d.dataset_id, d.name as dataset, p.module_class as module,
           json_extract_string(r.summary, $1)::double as value
    from (select * from runs where status = '{RunStatus.FINISHED}') r
    left join dataset_configs using (dataset_config_id) left join datasets d using (dataset_id)
    left join pipeline_configs using (pipeline_config_id) left join pipelines p using (pipeline_id)"""


def json_pointer(*keys: str) -> str:
    """Where a value stands in JSON, by the keys that lead to it.

    Source: RFC 6901.

    Example:
        >>> json_pointer("val/acc", "last")
        '/val~1acc/last'
    """
    return "".join(f"/{key.replace('~', '~0').replace('/', '~1')}" for key in keys)


def _with_intervals(found: pa.Table) -> pa.Table:
    import pyarrow as pa

    figures = [_mean(values) for values in found.column("found").to_pylist()]
    return pa.table(
        {
            "rank": pa.array(range(1, found.num_rows + 1), pa.int64()),
            **{name: pa.array([one[at] for one in figures], pa.float64()) for at, name in enumerate(_FIGURES)},
            **{name: found.column(name) for name in _COLUMNS},
        }
    )


def _mean(values: list[float]) -> tuple[float, float, float]:
    """A mean and its interval; NaN for the bounds of one value, and where a value is not finite."""
    if len(values) == 1 or not all(map(math.isfinite, values)):
        return sum(values) / len(values), math.nan, math.nan
    from lightning_lde.statistics import mean_interval

    found = mean_interval(values)
    return found.mean, found.low, found.high
