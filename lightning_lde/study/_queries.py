"""The SQL behind the study's tables and figures; anyone can run it with `lde sql`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning_lde.errors import ConfigurationError
from lightning_lde.query import Lake

METRICS = ("accuracy", "loss")


@dataclass(frozen=True)
class QueryResult:
    """A query and what it gave.

    Attributes:
        name: What it is for.
        sql: The statement, complete with its values.
        rows: The result, one dict per row.
    """

    name: str
    sql: str
    rows: list[dict[str, Any]]


def results_sql(project: str, metric: str) -> str:
    """Mean of a metric per data set and configuration, over evaluated tasks of finished runs."""
    return f"""\
select d.name as dataset, e.dataset_id, e.method, e.inner_steps,
       avg(e.{_checked(metric)}) as value, stddev_samp(e.{metric}) as sd,
       count(*) as n_tasks, count(distinct e.run_id) as n_runs, count(distinct r.seed) as n_seeds
from episodes e join runs r using (run_id) join datasets d using (dataset_id)
where r.project = {_quoted(project)} and r.status = 'finished'
group by all order by method, inner_steps, dataset"""


def diversity_sql(project: str) -> str:
    """Diversity coefficient of each data set that the project's finished runs were evaluated on."""
    return f"""\
select d.name as dataset, d.dataset_id, d.diversity, d.diversity_low, d.diversity_high,
       d.diversity_n_tasks, d.diversity_method, d.diversity_probe_id, d.n_samples, d.n_classes
from datasets d
where d.diversity is not null and d.dataset_id in
      (select e.dataset_id from episodes e join runs r using (run_id)
       where r.project = {_quoted(project)} and r.status = 'finished')
order by dataset"""


def effects_sql(project: str, metric: str) -> str:
    """MAML minus pretraining per data set: mean over tasks of the difference on the same task."""
    return f"""\
with task as (
    select e.dataset_id, e.method, e.inner_steps, e.episode_id, avg(e.{_checked(metric)}) as value
    from episodes e join runs r using (run_id)
    where r.project = {_quoted(project)} and r.status = 'finished'
    group by all)
select d.name as dataset, m.method, m.inner_steps, avg(m.value - p.value) as difference,
       var_samp(m.value - p.value) / count(*) as variance, count(*) as n_tasks
from task m join task p using (dataset_id, episode_id) join datasets d using (dataset_id)
where m.method like 'maml%' and p.method like 'pretraining%'
group by all order by method, inner_steps, dataset"""


def ask(lake: Lake, name: str, sql: str) -> QueryResult:
    """Run a query and keep it beside its result."""
    return QueryResult(name, sql, lake.sql(sql).to_pylist())


def _checked(metric: str) -> str:
    if metric not in METRICS:
        raise ConfigurationError(f"metric is {metric!r}: give one of {', '.join(METRICS)}")
    return metric


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
