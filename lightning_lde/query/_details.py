"""Everything a lake knows of one run, gathered for a page or a terminal."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lightning_lde.query._lake import Lake
from lightning_lde.schema import TABLES, json_columns

Row = dict[str, Any]


@dataclass(frozen=True)
class RunDetails:
    """The rows that belong to one run.

    Attributes:
        run: The present state.
        data: Each data set configuration with its data set and what it was used for.
        pipeline: Pipeline and its configuration in one row, empty if unknown.
        params: Settings by dotted key.
        environment: The environment, empty if unknown.
        code: The code, empty if unknown.
        metrics: Last, lowest and highest value and the number of points by metric and data loader.
        episodes: Evaluated tasks by segment, data set and its use, weights, method and inner steps.
        artifacts: Files.
        links: Edges of the lineage graph.
        events: Noteworthy moments.
    """

    run: Row
    data: list[Row]
    pipeline: Row
    params: list[Row]
    environment: Row
    code: Row
    metrics: list[Row]
    episodes: list[Row]
    artifacts: list[Row]
    links: list[Row]
    events: list[Row]

    def as_dict(self) -> dict[str, Any]:
        """All of it as nested dicts and lists, JSON columns decoded."""
        return {name: _decoded(value) for name, value in vars(self).items()}


_DATA = """
    select l.relation, c.*, d.name as dataset, d.kind, d.n_classes, d.n_samples as dataset_samples,
           d.sample_shape, d.sample_dtype, d.size_bytes, d.fingerprint, d.fingerprint_method, d.licence,
           d.diversity, d.diversity_low, d.diversity_high
    from (select distinct relation, target_id from stored.links where run_id = $1 and target_kind = 'dataset_config') l
    join dataset_configs c on c.dataset_config_id = l.target_id
    left join datasets d using (dataset_id)
    order by case l.relation when 'trained_on' then 0 when 'validated_on' then 1 else 2 end, dataset"""

_PIPELINE = """
    select p.*, c.* exclude (pipeline_id, recorded_at)
    from pipeline_configs c join pipelines p using (pipeline_id) where c.pipeline_config_id = $1"""

_METRICS = """
    select name, context, dataloader_idx, count(*) as points, arg_max(value, (segment, step, time)) as last,
           min(value) filter (not isnan(value)) as min, max(value) filter (not isnan(value)) as max
    from metrics where run_id = $1 group by all order by context, name, dataloader_idx"""

_EPISODES = """
    select e.segment, d.name as dataset, e.dataset_id, c.split, e.dataset_config_id, e.weights_id,
           e.method, e.inner_steps, e.ways, e.shots, count(*) as tasks, avg(e.accuracy) as accuracy,
           1.96 * stddev_samp(e.accuracy) / sqrt(count(*)) as accuracy_half_interval, avg(e.loss) as loss
    from episodes e left join datasets d using (dataset_id)
    left join dataset_configs c on c.dataset_config_id = e.dataset_config_id
    where e.run_id = $1 group by all
    order by e.segment, dataset, split, e.dataset_config_id, e.weights_id, method, inner_steps, ways, shots"""

_ARTIFACTS = """
    select distinct path, kind, size_bytes, object_id, tier, score from artifacts where run_id = $1 order by path"""

_LINKS = """
    select distinct source_kind, source_id, relation, target_kind, target_id
    from stored.links where run_id = $1 order by relation, target_kind, target_id"""


def run_details(lake: Lake, run: str) -> RunDetails:
    """All rows of a run.

    Args:
        lake: The lake.
        run: The run's id, the beginning of one, or a unique name.

    Raises:
        RunNotFoundError: If none or several runs answer to it.
    """
    run_id = lake.resolve_run(run)

    def ask(sql: str, *parameters: object) -> list[Row]:
        rows: list[Row] = lake.sql(sql, parameters).to_pylist()
        return rows

    row = ask("select * from runs where run_id = $1", run_id)[0]
    config_id = row["pipeline_config_id"]
    return RunDetails(
        run=row,
        data=ask(_DATA, run_id),
        pipeline=_one(ask(_PIPELINE, config_id)),
        params=ask("select distinct key, value_text, type from params where config_id = $1 order by key", config_id),
        environment=_one(ask("select * from environments where environment_id = $1", row["environment_id"])),
        code=_one(ask("select * from code where code_id = $1", row["code_id"])),
        metrics=ask(_METRICS, run_id),
        episodes=ask(_EPISODES, run_id),
        artifacts=ask(_ARTIFACTS, run_id),
        links=ask(_LINKS, run_id),
        events=ask("select time, level, kind, message from events where run_id = $1 order by time", run_id),
    )


def _one(rows: list[Row]) -> Row:
    return rows[0] if rows else {}


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _from_json(item) if name in _JSON_COLUMNS else item for name, item in value.items()}


def _from_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


_JSON_COLUMNS = frozenset().union(*(json_columns(table) for table in TABLES))
