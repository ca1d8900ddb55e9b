"""What is known of the things in a lineage: a label for people, facts for programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lightning_lde.query._graph import HOLDS, Graph, Key
from lightning_lde.query._json import decoded_row
from lightning_lde.query._lake import Lake
from lightning_lde.schema import Relation

_SHORT_ID = 12
_MOST_EVALUATIONS = 500


@dataclass(frozen=True)
class Node:
    """One thing in a lake.

    Attributes:
        kind: ``run``, ``dataset``, ``dataset_config``, ``pipeline``, ``pipeline_config``, ``weights``, ``artifact``,
            ``evaluation``, ``embeddings``, ``probe``, ``diversity``, ``result``, ``environment``, ``code``, or what a
            link says.
        id: The id; of an evaluation the run's and the segment's number.
        label: What people call it.
        facts: What else is known, empty where the lake has no row of it.
    """

    kind: str
    id: str
    label: str
    facts: dict[str, Any] = field(default_factory=dict)


_QUERIES = {
    "run": """
        select run_id as id, name, project, experiment, status, stage, started_at, ended_at, duration_s, seed, segment
        from runs where list_contains($1, run_id)""",
    "dataset": """
        select dataset_id as id, name, version, kind, n_samples, n_classes, size_bytes, fingerprint, fingerprint_method,
               licence, diversity
        from datasets where list_contains($1, dataset_id)""",
    "dataset_config": """
        select c.dataset_config_id as id, c.dataset_id, d.name, c.split, c.n_samples, c.indices_hash, c.batch_size,
               c.sampler, c.transforms
        from dataset_configs c left join datasets d using (dataset_id) where list_contains($1, c.dataset_config_id)""",
    "pipeline": """
        select pipeline_id as id, module_class, n_parameters, n_trainable
        from pipelines where list_contains($1, pipeline_id)""",
    "pipeline_config": """
        select c.pipeline_config_id as id, p.module_class, c.hparams
        from pipeline_configs c left join pipelines p using (pipeline_id)
        where list_contains($1, c.pipeline_config_id)""",
    "environment": """
        select environment_id as id, python, platform, cpu, gpus from environments
        where list_contains($1, environment_id)""",
    "code": """
        select code_id as id, commit, branch, dirty, entry_point from code where list_contains($1, code_id)""",
    "artifact": """
        select object_id as id, any_value(path) as path, any_value(kind) as kind, any_value(size_bytes) as size_bytes,
               max(score) as score, any_value(tier) as tier
        from artifacts where list_contains($1, object_id) group by object_id""",
    "embeddings": """
        select dataset_config_id || '/' || probe_id as id, min(method) as method,
               count(distinct (task_seed, task_index)) as tasks
        from embeddings where list_contains($1, dataset_config_id || '/' || probe_id) group by all""",
    "probe": """
        select probe_id as id, max(probe_name) as name, count(distinct dataset_id) as datasets
        from stored.embeddings where list_contains($1, probe_id) group by all""",
    "result": """
        select result_id as id, kind, project, settings, recorded_at from results where list_contains($1, result_id)""",
}

_MEASURED = """
    select run_id || '/' || segment as id, name, dataloader_idx, arg_max(value, (step, time)) as value
    from stored.metrics
    where list_contains($1, run_id || '/' || segment) and context is distinct from 'system'
    group by all order by name, dataloader_idx"""

_DIVERSITIES = """
    select c.dataset_config_id || '/' || diversity_probe_id as id, d.name, diversity, diversity_low, diversity_high,
           diversity_n_tasks
    from stored.datasets d join dataset_configs c using (dataset_id)
    where diversity is not null and list_contains($1, c.dataset_config_id || '/' || diversity_probe_id)
    qualify row_number() over (partition by id order by d.recorded_at desc) = 1"""

_TASKS = """
    select run_id || '/' || segment as id, method, inner_steps, count(*) as tasks, avg(accuracy) as accuracy,
           avg(loss) as loss
    from episodes where list_contains($1, run_id || '/' || segment) group by all order by method, inner_steps"""


def describe_nodes(lake: Lake, graph: Graph, keys: Iterable[Key]) -> dict[Key, Node]:
    """The nodes of some things, in their order.

    Args:
        lake: The lake.
        graph: Its graph.
        keys: Kinds and ids.
    """
    order = list(keys)
    by_kind: dict[str, list[str]] = defaultdict(list)
    for kind, name in order:
        by_kind[kind].append(name)
    facts: dict[Key, dict[str, Any]] = {}
    for kind, query in _QUERIES.items():
        for row in _rows(lake, query, by_kind.get(kind, [])):
            facts[kind, row.pop("id")] = row
    facts |= _evaluations(lake, graph, by_kind.get("evaluation", []))
    facts |= _diversities(lake, graph, by_kind.get("diversity", []))
    facts |= {("weights", name): _weights(graph, name) for name in by_kind.get("weights", [])}
    return {key: Node(*key, label=_label(*key, facts.get(key, {})), facts=facts.get(key, {})) for key in order}


def _rows(lake: Lake, query: str, names: list[str]) -> list[dict[str, Any]]:
    if not names:
        return []
    return [decoded_row(row) for row in lake.sql(query, [names]).to_pylist()]


def _evaluations(lake: Lake, graph: Graph, names: list[str]) -> dict[Key, dict[str, Any]]:
    facts: dict[Key, dict[str, Any]] = {}
    for name in names:
        run_id, _, number = name.rpartition("/")
        segment = int(number)
        weights = [
            edge.source[1]
            for target in (("run", run_id), ("evaluation", name))
            for edge in graph.into.get(target, ())
            if edge.source[0] == "weights" and edge.segment == segment
        ]
        stage = graph.segments.stage(run_id, segment)
        facts["evaluation", name] = {
            "run_id": run_id, "segment": segment, "stage": stage, "weights_ids": weights, "metrics": [], "episodes": [],
        }  # fmt: skip
    # A table of figures for each of thousands of evaluations is no lineage; `lde sql` answers such a question.
    asked = names[:_MOST_EVALUATIONS]
    for column, query in (("metrics", _MEASURED), ("episodes", _TASKS)):
        for row in _rows(lake, query, asked):
            facts["evaluation", row.pop("id")][column].append(row)
    return facts


def _diversities(lake: Lake, graph: Graph, names: list[str]) -> dict[Key, dict[str, Any]]:
    """What data sets bear, for figures that are known by the tasks and the probe they came from."""
    figures = {}
    for name in names:
        origins = dict(edge.source for edge in graph.into.get(("diversity", name), ()))
        figures[f"{origins.get('dataset_config')}/{origins.get('probe')}"] = name
    return {("diversity", figures[row.pop("id")]): row for row in _rows(lake, _DIVERSITIES, list(figures))}


def _weights(graph: Graph, name: str) -> dict[str, Any]:
    makers = {edge.source for edge in graph.into.get(("weights", name), ()) if edge.relation in _MAKING}
    return {"is_produced_here": bool(makers)}


_MAKING = frozenset({Relation.PRODUCED, HOLDS})


def _label(kind: str, name: str, facts: dict[str, Any]) -> str:
    label: str | None = None
    if kind in {"run", "dataset"}:
        label = facts.get("name")
    elif kind == "dataset_config":
        label = " ".join(word for word in (facts.get("name"), facts.get("split")) if word)
    elif kind in {"pipeline", "pipeline_config"} and facts:
        label = str(facts["module_class"]).rpartition(".")[2]
    elif kind == "environment" and facts:
        label = f"{facts['python']} on {facts['platform'].partition('-')[0]}"
    elif kind == "code" and facts:
        label = facts["entry_point"] or facts["commit"]
    elif kind == "artifact":
        label = facts.get("path")
    elif kind == "evaluation":
        label = facts.get("stage")
    elif kind == "embeddings":
        label = facts.get("method")
    elif kind in {"probe", "diversity"}:
        label = facts.get("name")
    elif kind == "result" and facts:
        label = f"{facts['kind']} of {facts['project']}"
    return label or short_id(kind, name)


def short_id(kind: str, name: str) -> str:
    """The beginning of an id that tells things apart for people.

    Example:
        >>> short_id("weights", "0123456789abcdef0123456789abcdef")
        '0123456789ab'
    """
    # The first digits of a run's id are the time: runs of one morning have them in common.
    return name if kind in {"run", "evaluation"} else name[:_SHORT_ID]
