"""Finished runs with one value of a metric each, and the ids that make them repetitions of one another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.query import Lake
from lightning_lde.schema import content_id
from lightning_lde.study._queries import QueryResult, ask, quoted

FACTORS = ("dataset_config", "environment", "code", "seed")
GROUPING = ("pipeline_config", "dataset")
TAKES = ("last", "min", "max")
EPISODES = {"episodes.accuracy": "accuracy", "episodes.loss": "loss"}
UNKNOWN = "unknown"

_COLUMNS = {
    "pipeline_config": "pipeline_config_id",
    "dataset": "dataset_id",
    "dataset_config": "dataset_config_id",
    "environment": "environment_id",
    "code": "code_id",
    "seed": "seed",
    "experiment": "experiment",
    "name": "name",
}
_TAG = "tag:"


@dataclass(frozen=True)
class MeasuredRun:
    """A finished run and its value of the metric.

    Attributes:
        run_id: The run.
        name: Its name, for people.
        label: Module and data set, for people.
        part: Which of several values of that name: context and loader, or method and inner steps.
        value: The value.
        facts: What it is grouped and told apart by, under the words of ``--by`` and ``--group``.
    """

    run_id: str
    name: str | None
    label: str
    part: str
    value: float
    facts: Mapping[str, str]


def measured_runs(
    lake: Lake, *, project: str, metric: str, take: str, words: Sequence[str], ignore: Sequence[str]
) -> tuple[list[MeasuredRun], QueryResult, list[str]]:
    """Every finished run of a project that has the metric.

    Args:
        lake: The lake.
        project: The project.
        metric: The metric's name, or a word of ``EPISODES`` for the mean over evaluated tasks.
        take: Which value of a run: a word of ``TAKES``.
        words: What runs are grouped and told apart by.
        ignore: Dotted keys of hyper-parameters that do not make another pipeline configuration.

    Returns:
        The runs, the query they come from, and notes on what was left out.

    Raises:
        DataError: If no finished run has the metric.
        ConfigurationError: If one of the words is none that is known.
    """
    for word in words:
        if word not in _COLUMNS and not (word.startswith(_TAG) and len(word) > len(_TAG)):
            raise ConfigurationError(
                f"{word!r} is nothing to tell runs apart by: give {', '.join(_COLUMNS)} or tag:NAME"
            )
    if take not in TAKES:
        raise ConfigurationError(f"take is {take!r}: give one of {', '.join(TAKES)}")
    found = ask(lake, f"{metric} of each finished run", _values_sql(project, metric, take))
    if not found.rows:
        raise DataError(f"no finished run of project {project!r} has {metric!r}; there are: {_known(lake, project)}")
    finite = [row for row in found.rows if row["is_finite"]]
    notes = []
    if len(finite) < len(found.rows):
        left_out = [str(row["name"] or row["run_id"]) for row in found.rows if not row["is_finite"]]
        notes.append(f"Left out, their {metric} is no number: {_listed(left_out)}.")
    configs = _without_keys(lake, ignore) if ignore else {}
    return [_measured(row, words, configs) for row in finite], found, notes


def own_settings_note(lake: Lake, runs: Sequence[MeasuredRun]) -> list[str]:
    """A hint where runs have no repetition only because a setting, such as the seed, differs in each of them."""
    ids = sorted(
        {run.facts["pipeline_config"] for run in runs if run.facts.get("pipeline_config") not in {None, UNKNOWN}}
    )
    if len(ids) < 2:
        return []
    listed = ", ".join(map(quoted, ids))
    rows = lake.sql(f"select * from pipeline_configs where pipeline_config_id in ({listed})").to_pylist()
    by_pipeline: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_pipeline.setdefault(row["pipeline_id"], []).append(_flat(json.loads(row["hparams"] or "{}")))
    notes = []
    for configs in by_pipeline.values():
        keys = sorted(set().union(*configs))
        differ = [key for key in keys if len({config.get(key) for config in configs}) > 1]
        if len(configs) > 1 and 0 < len(differ) <= 3:
            options = " ".join(f"--ignore {key}" for key in differ)
            notes.append(
                f"{len(configs)} pipeline configurations of one pipeline have a single run; their hyper-parameters "
                f"differ in {', '.join(differ)}. If that is a repetition and no setting: {options}"
            )
    return notes


def _measured(row: Mapping[str, Any], words: Sequence[str], configs: Mapping[str, str]) -> MeasuredRun:
    facts = {word: _fact(row, word) for word in dict.fromkeys([*words, *GROUPING])}
    facts["pipeline_config"] = configs.get(facts["pipeline_config"], facts["pipeline_config"])
    module = str(row["module_class"] or "unknown pipeline").rsplit(".", 1)[-1]
    return MeasuredRun(
        run_id=row["run_id"],
        name=row["name"],
        label=f"{module} on {row['dataset'] or 'unknown data'}",
        part=row["part"],
        value=row["value"],
        facts=facts,
    )


def _fact(row: Mapping[str, Any], word: str) -> str:
    if word.startswith(_TAG):
        value = json.loads(row["tags"] or "{}").get(word.removeprefix(_TAG))
    else:
        value = row[_COLUMNS[word]]
    if value is None and word == "seed":
        # What nobody seeded differs from run to run.
        return f"unseeded {row['run_id']}"
    return UNKNOWN if value is None else str(value)


def _values_sql(project: str, metric: str, take: str) -> str:
    values = _episodes_sql(EPISODES[metric]) if metric in EPISODES else _metric_sql(metric, take)
    return f"""\
with finished as (
    select * from runs where project = {quoted(project)} and status = 'finished'),
measured as (
{values})
select run_id, r.name, r.experiment, r.tags, r.seed, r.pipeline_config_id, p.module_class, c.dataset_id,
       d.name as dataset, r.dataset_config_id, r.environment_id, r.code_id, part, value, isfinite(value) as is_finite
from measured join finished r using (run_id)
left join pipeline_configs s using (pipeline_config_id) left join pipelines p using (pipeline_id)
left join dataset_configs c using (dataset_config_id) left join datasets d using (dataset_id)
order by r.started_at, run_id, part"""


def _metric_sql(metric: str, take: str) -> str:
    value = {
        "last": "arg_max(value, (segment, step, time))",
        "min": "coalesce(min(value) filter (not isnan(value)), 'nan')",
        "max": "coalesce(max(value) filter (not isnan(value)), 'nan')",
    }[take]
    return f"""\
    select run_id, concat_ws(', ', context, 'loader ' || dataloader_idx) as part, {value} as value
    from metrics where name = {quoted(metric)} and run_id in (select run_id from finished)
    group by run_id, context, dataloader_idx"""


def _episodes_sql(column: str) -> str:
    return f"""\
    select run_id, concat_ws(', ', method, inner_steps || ' steps', ways || '-way ' || shots || '-shot') as part,
           avg({column}) as value
    from episodes where run_id in (select run_id from finished)
    group by run_id, method, inner_steps, ways, shots"""


def _known(lake: Lake, project: str) -> str:
    rows = lake.sql(
        f"""select distinct name from metrics where context is distinct from 'system' and run_id in
            (select run_id from runs where project = {quoted(project)} and status = 'finished')
            union select 'episodes.' || unnest(['accuracy', 'loss']) from episodes where run_id in
            (select run_id from runs where project = {quoted(project)} and status = 'finished')
            order by name limit 21"""
    ).to_pylist()
    return _listed([row["name"] for row in rows], most=20) or "none"


def _without_keys(lake: Lake, ignore: Sequence[str]) -> dict[str, str]:
    """For each pipeline configuration an id that does not know the ignored hyper-parameters."""
    rows = lake.sql("select * from pipeline_configs").to_pylist()
    return {row["pipeline_config_id"]: _id_without(row, ignore) for row in rows}


def _id_without(row: Mapping[str, Any], ignore: Sequence[str]) -> str:
    settings = {name: json.loads(row[name] or "null") for name in ("hparams", "optimizers", "schedulers", "trainer")}
    hparams = _flat(settings.pop("hparams") or {})
    if isinstance(settings["trainer"], dict):
        settings["trainer"].pop("loggers", None)
    kept = {key: value for key, value in hparams.items() if not any(_is_below(key, one) for one in ignore)}
    return content_id("pipeline_configs", {"pipeline_id": row["pipeline_id"], "hparams": kept, **settings})


def _is_below(key: str, ignored: str) -> bool:
    return key == ignored or key.startswith(f"{ignored}.")


def _flat(value: Any, before: str = "") -> dict[str, str]:
    """Settings by dotted key.

    Example:
        >>> _flat({"lr": 0.1, "net": {"width": 8, "seed": 1}})
        {'lr': '0.1', 'net.width': '8', 'net.seed': '1'}
    """
    if not isinstance(value, dict) or not value:
        return {before: json.dumps(value, sort_keys=True)}
    return {
        key: text for name, item in value.items() for key, text in _flat(item, f"{before}.{name}".strip(".")).items()
    }


def _listed(words: Sequence[str], *, most: int = 5) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
