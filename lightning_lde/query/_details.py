"""Everything a lake knows of one run, gathered for a page or a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning_lde.query._facts import Row, RunFacts, read_facts
from lightning_lde.query._json import decoded_row
from lightning_lde.query._lake import Lake


@dataclass(frozen=True, kw_only=True)
class RunDetails(RunFacts):
    """The rows that belong to one run: what went into it, and what came out.

    Attributes:
        metrics: Last, lowest and highest value and the number of points by metric and data loader.
        episodes: Evaluated tasks by segment, data set and its use, weights, method and inner steps.
        artifacts: Files.
        links: Edges of the lineage graph.
        events: Noteworthy moments.
    """

    metrics: list[Row]
    episodes: list[Row]
    artifacts: list[Row]
    links: list[Row]
    events: list[Row]

    def as_dict(self) -> dict[str, Any]:
        """All of it as nested dicts and lists, JSON columns decoded."""
        return {
            name: [decoded_row(row) for row in value] if isinstance(value, list) else decoded_row(value)
            for name, value in vars(self).items()
        }


_METRICS = """
    select name, context, dataloader_idx, count(*) as points, arg_max(value, (segment, step, time)) as last,
           min(value) filter (not isnan(value)) as min, max(value) filter (not isnan(value)) as max
    from metrics where run_id = $1 group by all order by context, name, dataloader_idx"""

_EPISODES = """
    select e.segment, d.name as dataset, e.dataset_id, c.split, e.dataset_config_id, e.weights_id,
           e.method, e.inner_steps, e.ways, e.shots, count(*) as tasks, avg(e.accuracy) as accuracy,
           stddev_samp(e.accuracy) / sqrt(count(*)) as accuracy_error, avg(e.loss) as loss
    from episodes e left join datasets d using (dataset_id)
    left join dataset_configs c on c.dataset_config_id = e.dataset_config_id
    where e.run_id = $1 group by all
    order by e.segment, dataset, split, e.dataset_config_id, e.weights_id, method, inner_steps, ways, shots"""

_ARTIFACTS = """
    select distinct path, kind, size_bytes, object_id, tier, score from artifacts where run_id = $1 order by path"""

_LINKS = """
    select distinct source_kind, source_id, relation, target_kind, target_id
    from stored.links where run_id = $1 order by relation, target_kind, target_id"""

_EVENTS = "select time, level, kind, message from events where run_id = $1 order by time"


def run_details(lake: Lake, run: str) -> RunDetails:
    """All rows of a run.

    Args:
        lake: The lake.
        run: The run's id, the beginning of one, or a unique name.

    Raises:
        RunNotFoundError: If none or several runs answer to it.
    """
    run_ids = [lake.resolve_run(run)]
    [facts] = read_facts(lake, run_ids)

    def ask(sql: str) -> list[Row]:
        rows: list[Row] = lake.sql(sql, run_ids, of_runs=run_ids).to_pylist()
        return rows

    return RunDetails(
        **vars(facts),
        metrics=ask(_METRICS),
        episodes=[_with_interval(row) for row in ask(_EPISODES)],
        artifacts=ask(_ARTIFACTS),
        links=ask(_LINKS),
        events=ask(_EVENTS),
    )


def _with_interval(row: Row) -> Row:
    """A row of evaluated tasks, its standard error made half the 95 % interval of Student's t, as modules log it."""
    # scipy.stats takes half a second to import; this is the one function of it that is needed.
    from scipy.special import stdtrit

    error = row.pop("accuracy_error")
    half = None if error is None else float(stdtrit(row["tasks"] - 1, 0.975)) * error
    return {**row, "accuracy_half_interval": half}
