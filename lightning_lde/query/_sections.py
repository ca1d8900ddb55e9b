"""What was recorded of runs, kind by kind, side by side: settings, data, environment, code, weights, outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_lde.query._differences import MISSING, Fact, compare_nested, flatten
from lightning_lde.query._environments import compare_environments
from lightning_lde.query._facts import RunFacts
from lightning_lde.query._json import decoded, mapping_of
from lightning_lde.query._uses import placed_uses

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Section:
    """Facts of one kind.

    Attributes:
        title: The kind.
        facts: All of them, those that are equal included.
        unrecorded: Positions of runs of which nothing of the kind was recorded.
    """

    title: str
    facts: tuple[Fact, ...]
    unrecorded: tuple[int, ...]

    @property
    def differences(self) -> tuple[Fact, ...]:
        """The facts that differ."""
        return tuple(fact for fact in self.facts if fact.differs)


_OUTCOME = (
    *("status", "stage", "stop_reason", "exception", "duration_s"),
    *("world_size", "resumed_from", "reproduces", "parent_run_id"),
)
_PIPELINE = ("module_class", "source_hash", "n_parameters", "n_trainable", "hparams_source")
_WEIGHTS = ("weights_start_id", "weights_end_id")
_NOT_CODE = {"code_id", "recorded_at", "diff"}


def sections_of(facts: Sequence[RunFacts]) -> Iterator[Section]:
    """What went in and how it ended, kind by kind."""
    runs, pipelines = [one.run for one in facts], [one.pipeline for one in facts]
    environments = compare_environments([one.environment for one in facts])
    yield _flat("outcome", [{name: run[name] for name in _OUTCOME} for run in runs])
    yield _flat("seeds", [{"seed": run["seed"], **flatten(mapping_of(run["seeds"]))} for run in runs])
    yield _flat("parameters", [_parameters(one) for one in facts])
    yield _nested("pipeline", [_pipeline(row) for row in pipelines])
    for name in ("optimizers", "schedulers"):
        yield _nested(name, [_listed(row.get(name), name.removesuffix("s")) for row in pipelines])
    yield _nested("trainer", [mapping_of(row.get("trainer")) for row in pipelines])
    yield _nested("data", _uses([one.data for one in facts]))
    for name, found in vars(environments).items():
        yield _section(name, found, len(facts))
    yield _flat("code", [{name: value for name, value in one.code.items() if name not in _NOT_CODE} for one in facts])
    yield _flat("weights", [{name: run[name] for name in _WEIGHTS} for run in runs])
    yield _nested("command and tags", [_command(run) for run in runs])


def _flat(title: str, things: Sequence[Row]) -> Section:
    return _section(title, compare_nested(things, nested=False), len(things))


def _nested(title: str, things: Sequence[Row]) -> Section:
    return _section(title, compare_nested(things), len(things))


def _section(title: str, facts: Sequence[Fact], n_runs: int) -> Section:
    unrecorded = [number for number in range(n_runs) if facts and all(fact.values[number] is MISSING for fact in facts)]
    return Section(title=title, facts=tuple(facts), unrecorded=tuple(unrecorded))


def _parameters(facts: RunFacts) -> dict[str, Any]:
    """Hyper-parameters by dotted key, with the types that the table ``params`` knows and JSON does not."""
    rows = {row["key"]: row for row in facts.params}
    saved = mapping_of(facts.pipeline.get("hparams"))
    if not saved:
        return {key: _value(row) for key, row in rows.items()}
    leaves = flatten(saved)
    for key, value in leaves.items():
        if isinstance(value, str) and rows.get(key, {}).get("type") == "float":
            leaves[key] = _value(rows[key])
    return leaves


def _value(row: Row) -> Any:
    """The value of a row of ``params``."""
    text = row["value_text"]
    if row["type"] == "str" or text is None:
        return text
    try:
        return float(text) if row["type"] == "float" else decoded(text)
    except ValueError:
        return text


def _pipeline(row: Row) -> dict[str, Any]:
    if not row:
        return {}
    layers = decoded(row.get("layers"))
    return {**{name: row.get(name) for name in _PIPELINE}, "layers": _by_name(layers)}


def _by_name(items: Any) -> Any:
    """A list of named things as a mapping, so that one more in the middle does not shift the others."""
    if not isinstance(items, list) or not all(
        isinstance(item, dict) and isinstance(item.get("name"), str) for item in items
    ):
        return items
    named = {str(item["name"]): {key: value for key, value in item.items() if key != "name"} for item in items}
    return named if len(named) == len(items) else items


def _listed(value: Any, name: str) -> dict[str, Any]:
    """A list of optimizers or schedulers under a word; one alone needs no number."""
    items = decoded(value)
    if not items:
        return {}
    return {name: items[0] if isinstance(items, list) and len(items) == 1 else items}


def _command(run: Row) -> dict[str, Any]:
    names = ("project", "experiment")
    argv = decoded(run["argv"])
    return {**{name: run[name] for name in names}, "tags": mapping_of(run["tags"]), "argv": argv if argv else None}


_NOT_DATA = {
    *("relation", "first_met", "dataset_config_id", "dataset_id", "recorded_at", "settings", "class_counts"),
    *("diversity", "diversity_low", "diversity_high"),
}


def _uses(data: Sequence[Sequence[Row]]) -> list[dict[str, Any]]:
    """The data of each run by what they were used for; what is likely the same use has the same place in each."""
    return [{title.replace(" ", "_"): _use(row) for title, row in uses.items()} for uses in placed_uses(data)]


def _use(row: Row) -> dict[str, Any]:
    facts = {name: value for name, value in row.items() if name not in _NOT_DATA}
    settings = mapping_of(row["settings"])
    return {**facts, "settings": settings} if settings else facts
