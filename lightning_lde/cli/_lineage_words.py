"""Words for the things and steps of a lineage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning_lde.cli._output import text
from lightning_lde.cli._show import size
from lightning_lde.query import Node

_KINDS = {
    "dataset": "data set",
    "dataset_config": "use of data",
    "pipeline_config": "settings of",
    "artifact": "file",
    "diversity": "diversity of",
}

# What a step is called upwards, from what was made, and downwards, from what it was made of.
_RELATIONS = {
    "use_of": ("part of", "used as"),
    "trained_on": ("trained on", "trained"),
    "validated_on": ("validated on", "validated"),
    "evaluated_on": ("evaluated on", "evaluated"),
    "used_pipeline": ("used", "used by"),
    "configures": ("settings of", "set up as"),
    "ran_in": ("ran in", "ran"),
    "ran_code": ("ran", "ran as"),
    "started_with": ("started with", "start of"),
    "evaluated": ("evaluated", "evaluated by"),
    "produced": ("made by", "made"),
    "holds": ("held by", "holds"),
    "resumed_from": ("resumed from", "resumed by"),
    "reproduces": ("reproduces", "reproduced by"),
    "parent": ("child of", "parent of"),
    "derived_from": ("derived from", "became"),
    "imported_from": ("imported from", "imported as"),
    "result_of": ("result of", "gave"),
    "embedded_from": ("made from", "embedded as"),
    "embedded_by": ("made by", "embedded"),
}
_SHORT_ID = 12
_MOST_SETTINGS = 4


def kind_words(kind: str) -> str:
    """What people call a kind of thing."""
    return _KINDS.get(kind) or text(kind.replace("_", " "))


def relation_words(relation: str, *, upwards: bool) -> str:
    """What people call a step.

    Example:
        >>> relation_words("trained_on", upwards=True), relation_words("distilled_from", upwards=False)
        ('trained on', 'in turn: distilled from')
    """
    if relation in _RELATIONS:
        return _RELATIONS[relation][0 if upwards else 1]
    plain = text(relation.replace("_", " "))
    return plain if upwards else f"in turn: {plain}"


def node_words(node: Node) -> str:
    """Kind and label of a thing, on one line."""
    return f"{kind_words(node.kind)} {text(node.label)}"


def node_id(node: Node) -> str:
    """As much of an id as tells a thing apart; nothing where the label is the id already."""
    if node.kind == "evaluation":
        return ""
    shown = node.id if node.kind == "run" else node.id[:_SHORT_ID]
    return "" if shown == node.label else text(shown)


def node_facts(node: Node) -> str:
    """The few facts of a thing that tell most."""
    describe = _FACTS.get(node.kind)
    if not node.facts:
        return "not in this lake"
    return ", ".join(text(part) for part in describe(node.facts) if part) if describe else ""


def _run(facts: dict[str, Any]) -> list[str]:
    return [facts["status"], text(facts["started_at"])]


def _dataset(facts: dict[str, Any]) -> list[str]:
    version = f"version {facts['version']}" if facts["version"] else ""
    return [version, _count(facts["n_samples"], "samples"), _count(facts["n_classes"], "classes")]


def _use(facts: dict[str, Any]) -> list[str]:
    batch = "" if facts["batch_size"] is None else f"batch {facts['batch_size']}"
    return [_count(facts["n_samples"], "samples"), batch]


def _file(facts: dict[str, Any]) -> list[str]:
    return [facts["kind"], size(facts["size_bytes"])]


def _settings(facts: dict[str, Any]) -> list[str]:
    hparams = facts["hparams"] if isinstance(facts["hparams"], dict) else {}
    plain = {name: value for name, value in hparams.items() if isinstance(value, (int, float, str))}
    return [f"{name}={text(value)}" for name, value in list(plain.items())[:_MOST_SETTINGS]]


def _environment(facts: dict[str, Any]) -> list[str]:
    gpus = [text(gpu.get("name", "GPU") if isinstance(gpu, dict) else gpu) for gpu in facts["gpus"] or []]
    return [text(facts["cpu"]), *gpus]


def _code(facts: dict[str, Any]) -> list[str]:
    changed = " with uncommitted changes" if facts["dirty"] else ""
    return [f"commit {facts['commit'][:_SHORT_ID]}{changed}" if facts["commit"] else "no commit"]


def _weights(facts: dict[str, Any]) -> list[str]:
    return ["" if facts["is_produced_here"] else "no run of this lake made them"]


def _evaluation(facts: dict[str, Any]) -> list[str]:
    return [
        *(_measured(row) for row in facts["metrics"]),
        *(_tasks(row) for row in facts["episodes"]),
    ]


def _measured(row: dict[str, Any]) -> str:
    loader = "" if row["dataloader_idx"] is None else f" ({row['dataloader_idx']})"
    return f"{row['name']}{loader} {text(row['value'])}"


def _tasks(row: dict[str, Any]) -> str:
    steps = "" if row["inner_steps"] is None else f" {row['inner_steps']} steps"
    return f"{row['method']}{steps}: accuracy {row['accuracy']:.3f} of {row['tasks']} tasks"


def _embeddings(facts: dict[str, Any]) -> list[str]:
    return [_count(facts["tasks"], "tasks")]


def _probe(facts: dict[str, Any]) -> list[str]:
    return [_count(facts["datasets"], "data sets")]


def _diversity(facts: dict[str, Any]) -> list[str]:
    interval = f"[{text(facts['diversity_low'])}, {text(facts['diversity_high'])}]"
    return [f"{text(facts['diversity'])} {interval}", _count(facts["diversity_n_tasks"], "tasks")]


def _count(count: int | None, what: str) -> str:
    return "" if count is None else f"{count} {what}"


def _result(facts: dict[str, Any]) -> list[str]:
    return [text(facts["recorded_at"])]


_FACTS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "run": _run,
    "dataset": _dataset,
    "dataset_config": _use,
    "artifact": _file,
    "pipeline_config": _settings,
    "environment": _environment,
    "code": _code,
    "weights": _weights,
    "evaluation": _evaluation,
    "embeddings": _embeddings,
    "probe": _probe,
    "diversity": _diversity,
    "result": _result,
}
