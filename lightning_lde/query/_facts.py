"""What went into runs: their rows with data, pipeline, settings, environment and code, for all of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_lde.errors import RunNotFoundError
from lightning_lde.query._lake import Lake

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What went into one run, as the lake has it.

    Attributes:
        run: The present state.
        data: Each data set configuration with its data set and what it was used for.
        pipeline: Pipeline and its configuration in one row, empty if unknown.
        params: Settings by dotted key.
        environment: The environment, empty if unknown.
        code: The code, empty if unknown.
    """

    run: Row
    data: list[Row]
    pipeline: Row
    params: list[Row]
    environment: Row
    code: Row


_RUNS = "select * from runs where run_id in ({ids})"

_DATA = """
    select l.run_id, l.relation, l.first_met, c.*, d.name as dataset, d.kind, d.n_classes, d.class_counts,
           d.n_samples as dataset_samples, d.sample_shape, d.sample_dtype, d.size_bytes, d.fingerprint,
           d.fingerprint_method, d.licence, d.diversity, d.diversity_low, d.diversity_high
    from (select run_id, relation, target_id, min(recorded_at) as first_met from stored.links
          where run_id in ({ids}) and target_kind = 'dataset_config' group by all) l
    join dataset_configs c on c.dataset_config_id = l.target_id
    left join datasets d using (dataset_id)
    order by case l.relation when 'trained_on' then 0 when 'validated_on' then 1 else 2 end, dataset, l.first_met,
             c.dataset_config_id"""

_PIPELINES = """
    select p.*, c.* exclude (pipeline_id, recorded_at)
    from pipeline_configs c join pipelines p using (pipeline_id) where c.pipeline_config_id in ({ids})"""

_PARAMS = """
    select distinct config_id, key, value_text, type from params where config_id in ({ids}) order by config_id, key"""

_ENVIRONMENTS = "select * from environments where environment_id in ({ids})"

_CODE = "select * from code where code_id in ({ids})"


def read_facts(lake: Lake, run_ids: Sequence[str]) -> list[RunFacts]:
    """What went into some runs; as many queries as for one.

    Args:
        lake: The lake.
        run_ids: Whole ids.

    Raises:
        RunNotFoundError: If one of the runs is not there.
    """
    runs = {row["run_id"]: row for row in rows_of(lake, _RUNS, run_ids)}
    for run_id in run_ids:
        if run_id not in runs:
            raise RunNotFoundError(f"no run {run_id!r} in {lake.url}: `lde runs {lake.url}` lists them")

    def one_each(sql: str, column: str) -> dict[str | None, Row]:
        return {row[column]: row for row in rows_of(lake, sql, [row[column] for row in runs.values()])}

    data = grouped(rows_of(lake, _DATA, run_ids), "run_id")
    pipelines = one_each(_PIPELINES, "pipeline_config_id")
    params = grouped(rows_of(lake, _PARAMS, pipelines), "config_id")
    environments = one_each(_ENVIRONMENTS, "environment_id")
    code = one_each(_CODE, "code_id")
    return [
        RunFacts(
            run=run,
            data=data.get(run["run_id"], []),
            pipeline=pipelines.get(run["pipeline_config_id"], {}),
            params=params.get(run["pipeline_config_id"], []),
            environment=environments.get(run["environment_id"], {}),
            code=code.get(run["code_id"], {}),
        )
        for run in (runs[run_id] for run_id in run_ids)
    ]


def rows_of(lake: Lake, sql: str, ids: Iterable[str | None]) -> list[Row]:
    """The rows of a query over all ids; without an id nothing is asked.

    Args:
        lake: The lake.
        sql: The query; ``{ids}`` stands where the ids are listed, once.
        ids: The ids, None among them left out.
    """
    known = sorted({each for each in ids if each is not None})
    if not known:
        return []
    rows: list[Row] = lake.sql(sql.format(ids=", ".join("?" * len(known))), known).to_pylist()
    return rows


def grouped(rows: Iterable[Mapping[str, Any]], column: str) -> dict[str, list[Row]]:
    """Rows by one of their columns, without it.

    Example:
        >>> grouped([{"run_id": "a", "x": 1}, {"run_id": "b", "x": 2}, {"run_id": "a", "x": 3}], "run_id")
        {'a': [{'x': 1}, {'x': 3}], 'b': [{'x': 2}]}
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append({name: value for name, value in row.items() if name != column})
    return groups
