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


def settings_sql(project: str) -> str:
    """Settings of a project's evaluated runs, the newest first and runs without the tag last."""
    return f"""\
with evaluated as (
    select r.tags->>'settings' as settings_id, r.started_at from runs r
    where r.project = {quoted(project)} and r.status = 'finished' and r.run_id in (select run_id from episodes))
select settings_id, count(*) as n_runs, max(started_at) as newest from evaluated
group by settings_id order by settings_id is null, newest desc, settings_id"""


def results_sql(project: str, metric: str, settings_id: str | None) -> str:
    """Metric per data set and configuration: mean and spread over tasks of the mean over runs."""
    return f"""\
with task as (
    select e.dataset_id, e.method, e.inner_steps, e.ways, e.shots, e.episode_id,
           avg(e.{_checked(metric)} order by e.run_id) as value,
           list(distinct e.run_id) as runs, list(distinct r.seed) as seeds
    from episodes e join runs r using (run_id)
    where {_taken(project, settings_id)}
    group by all)
select d.name as dataset, dataset_id, method, inner_steps, ways, shots,
       avg(value order by episode_id) as value,
       stddev_samp(value order by episode_id) filter (isfinite(value)) as sd, count(*) as n_tasks,
       len(list_distinct(flatten(list(runs)))) as n_runs, len(list_distinct(flatten(list(seeds)))) as n_seeds
from task join datasets d using (dataset_id)
group by all order by method, inner_steps, ways, shots, dataset, dataset_id"""


def runs_sql(project: str, metric: str, settings_id: str | None) -> str:
    """Metric per run and configuration: mean over tasks."""
    return f"""\
select e.dataset_id, e.method, e.inner_steps, e.ways, e.shots, e.run_id, r.seed,
       avg(e.{_checked(metric)} order by e.episode_id) as value, count(*) as n_tasks
from episodes e join runs r using (run_id)
where {_taken(project, settings_id)}
group by all order by method, inner_steps, ways, shots, dataset_id, run_id"""


def diversity_sql(project: str, settings_id: str | None, probe_id: str | None = None) -> str:
    """Diversity of each evaluated data set by the probe and method that most of them have, the newest of equals.

    A data set without it has its newest other coefficient, and ``is_comparable`` is false. The complexity is the mean
    over the tasks that the same probe embedded.
    """
    wanted = "" if probe_id is None else f"\n    where starts_with(diversity_probe_id, {quoted(probe_id)})"
    return f"""\
with measured as (
{_measured(project, settings_id)}),
chosen as (
    select diversity_probe_id as probe_id, diversity_method as method from measured{wanted}
    group by all order by count(*) desc, max(recorded_at) desc limit 1),
embedded as (
    select dataset_id, probe_id,
           avg(complexity order by dataset_config_id, task_seed, task_index, half, method) as complexity
    from embeddings where method != 'mean-features' group by all)
select d.name as dataset, m.dataset_id, m.diversity, m.diversity_low, m.diversity_high,
       m.diversity_n_tasks, m.diversity_method, m.diversity_probe_id, d.n_samples, d.n_classes, e.complexity,
       m.diversity_probe_id is not distinct from c.probe_id
           and m.diversity_method is not distinct from c.method as is_comparable
from measured m cross join chosen c join datasets d using (dataset_id)
left join embedded e on e.dataset_id = m.dataset_id and e.probe_id = m.diversity_probe_id
qualify row_number() over (partition by m.dataset_id order by is_comparable desc, m.recorded_at desc) = 1
order by dataset, m.dataset_id"""


def measures_sql(project: str, settings_id: str | None) -> str:
    """Every stored diversity of the evaluated data sets: one row per data set, probe and method."""
    return f"""\
with measured as (
{_measured(project, settings_id)})
select m.diversity_probe_id, m.diversity_method, d.name as dataset, m.dataset_id, m.diversity
from measured m join datasets d using (dataset_id)
order by m.diversity_probe_id, m.diversity_method, dataset, m.dataset_id"""


def pairs_sql(project: str, metric: str, settings_id: str | None) -> str:
    """MAML and pretraining on the same task: the mean over runs of each, one row per task and configuration."""
    return f"""\
with task as (
    select e.dataset_id, e.method, e.inner_steps, e.ways, e.shots, e.episode_id,
           avg(e.{_checked(metric)} order by e.run_id) as value
    from episodes e join runs r using (run_id)
    where {_taken(project, settings_id)}
    group by all)
select d.name as dataset, dataset_id, m.method, m.inner_steps, ways, shots, episode_id,
       m.value as maml, p.value as pretraining
from task m join task p using (dataset_id, episode_id, ways, shots) join datasets d using (dataset_id)
where m.method like 'maml%' and p.method like 'pretraining%'
order by m.method, m.inner_steps, ways, shots, dataset, dataset_id, episode_id, p.method"""


def _measured(project: str, settings_id: str | None) -> str:
    return f"""\
    select * from stored.datasets
    where diversity is not null and dataset_id in
          (select e.dataset_id from episodes e join runs r using (run_id)
           where {_taken(project, settings_id)})
    qualify row_number() over (
        partition by dataset_id, diversity_probe_id, diversity_method order by recorded_at desc) = 1"""


def ask(lake: Lake, name: str, sql: str) -> QueryResult:
    """Run a query and keep it beside its result."""
    return QueryResult(name, sql, lake.sql(sql).to_pylist())


def _taken(project: str, settings_id: str | None) -> str:
    settings = "is null" if settings_id is None else f"= {quoted(settings_id)}"
    return f"r.project = {quoted(project)} and r.status = 'finished' and (r.tags->>'settings') {settings}"


def _checked(metric: str) -> str:
    if metric not in METRICS:
        raise ConfigurationError(f"metric is {metric!r}: give one of {', '.join(METRICS)}")
    return metric


def quoted(text: str) -> str:
    """A word as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
