"""A lake's results as a table that recommenders learn from: data set, settings, metric over repetitions."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.query._descriptors import DESCRIPTORS, descriptors_of
from lightning_lde.query._ranking import MODES
from lightning_lde.query._results_sql import CONTENT, OF_TASKS, cells_sql, settings_sql

if TYPE_CHECKING:
    import pyarrow as pa

    from lightning_lde.query._lake import Lake
    from lightning_lde.recommend import ResultTable

_BESIDE = {"module_class": "module", "batch_size": "data.batch_size", "method": "method", "inner_steps": "inner_steps"}
"""Columns that are settings where they differ on one data set, and the names of these."""

_TASK = ("ways", "shots")


@dataclass(frozen=True, kw_only=True)
class PastResults:
    """What a lake knows about a metric, for recommenders, with the way back to its runs.

    Attributes:
        table: Results, settings and descriptors; it knows no lake.
        datasets: The ids of each data set of the lake, with runs or without: equal content under several ids is one.
        descriptors: What is known of each of these data sets, by name.
        runs: Ids of the finished runs behind a data set and a configuration, by these two.
        n_runs: How many runs there are behind the table.
        n_lost: How many of their values were no finite number: they count as the worst of their data set.
        notes: What was left out, in sentences.
    """

    table: ResultTable
    datasets: Mapping[str, tuple[str, ...]]
    descriptors: Mapping[str, Mapping[str, float | None]]
    runs: Mapping[tuple[str, str], tuple[str, ...]]
    n_runs: int
    n_lost: int
    notes: tuple[str, ...]

    def dataset_named(self, word: str) -> str | None:
        """The data set of the lake that a name, an id or the beginning of an id means; None if it is not there.

        Raises:
            DataError: If several answer to it.
        """
        exact = [name for name, ids in self.datasets.items() if word == name or word in ids]
        begun = [name for name, ids in self.datasets.items() if any(one.startswith(word.lower()) for one in ids)]
        found = exact or begun
        if len(found) > 1:
            raise DataError(f"{word!r} means {len(found)} data sets ({', '.join(found[:3])}): give the whole id")
        return found[0] if found else None


def results_for_recommendation(
    lake: Lake,
    metric: str,
    *,
    mode: str = "max",
    of_run: str = "last",
    project: str | None = None,
    aggregate: bool = True,
    ignore: Sequence[str] = (),
    descriptors: Sequence[str] = DESCRIPTORS,
    landmarks: Sequence[int] = (),
) -> PastResults:
    """Everything that finished runs of a lake reached in a metric, with the settings that somebody chose.

    A configuration is what differs between runs of one module on one data set: hyper-parameters, batch size, optimizer,
    some flags of the Trainer, and the module itself. Seeds and places of files are no settings, and what never differs
    on a data set, such as its number of classes, is a fact of the data. Data sets with the same fingerprint are one.

    Args:
        lake: The lake.
        metric: The metric's name, or ``"episodes.accuracy"`` or ``"episodes.loss"`` for the mean over evaluated tasks;
            then method and inner steps are settings too.
        mode: ``"max"`` where more is better, else ``"min"``.
        of_run: What counts of a run: its ``"last"`` value, its ``"min"`` or its ``"max"``.
        project: Only runs of this project.
        aggregate: Whether repetitions come as their mean, which is quicker; else each run is a row of the table, which
            ``table.aggregated()`` brings together and ``table.single()`` draws from.
        ignore: Dotted keys of hyper-parameters that are no settings.
        descriptors: What describes a data set, words of ``DESCRIPTORS``.
        landmarks: Epochs, from 0, at which the median value of the metric over the runs on a data set describes it. A
            data set without runs has none.

    Raises:
        ConfigurationError: If a word is not known.
        DataError: If no finished run has the metric, or nothing differs between runs.
    """
    if mode not in MODES:
        raise ConfigurationError(f"mode={mode!r}: expected one of {', '.join(MODES)}")
    cells = lake.sql(cells_sql(metric, of_run, aggregate=aggregate), [project, mode == "max"]).to_pylist()
    if not cells:
        raise DataError(
            f"no finished run of {lake.url if project is None else f'project {project!r}'} has {metric!r} and a data "
            f"set; there are: {known_metrics(lake, project=project)}"
        )
    cells, notes = _of_one_task(cells)
    settings = _settings(lake.sql(settings_sql(), [project, list(ignore)]), cells)
    if not settings:
        raise DataError(
            f"all {sum(cell['n'] for cell in cells)} finished runs with {metric!r} have the same settings on each data "
            "set: there is nothing to choose from"
        )
    known = lake.sql(
        f"select datasets.*, content from datasets join ({CONTENT}) content using (dataset_id)"
    ).to_pylist()
    names, ids = _names(known), _ids_of_settings(settings)
    described = descriptors_of(lake, metric, known, names, kinds=descriptors, landmarks=landmarks)
    table = _table(cells, settings, ids, names, described, metric=metric, maximize=mode == "max")
    return PastResults(
        table=table.aggregated() if aggregate else table,
        datasets={
            name: tuple(sorted(row["dataset_id"] for row in known if row["content"] == content))
            for content, name in names.items()
        },
        descriptors=described,
        runs=_runs_of_cells(cells, ids, names),
        n_runs=len({run for cell in cells for run in cell["runs"]}),
        n_lost=sum(cell["n_lost"] for cell in cells),
        notes=tuple(notes),
    )


def known_metrics(lake: Lake, *, project: str | None = None, most: int = 20) -> str:
    """Names of metrics that finished runs have, as a list in words."""
    finished = "from runs where status = 'finished' and ($1::varchar is null or project = $1)"
    names = f"select distinct unnest(json_keys(summary)) as name {finished} order by name limit $2"
    rows = lake.sql(names, [project, most])
    tasks = (
        lake.sql(f"select count(*) as n from episodes where run_id in (select run_id {finished})", [project])
        .column("n")[0]
        .as_py()
    )
    return ", ".join([*rows.column("name").to_pylist(), *(OF_TASKS if tasks else ())]) or "none"


def _of_one_task(cells: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Cells of the kind of task that most have: accuracies of 5 and of 20 classes do not compare."""
    counts = Counter(tuple(cell[name] for name in _TASK) for cell in cells)
    if len(counts) == 1:
        return cells, []
    chosen = max(counts, key=lambda task: (counts[task], str(task)))
    ways, shots = chosen
    left = sum(counts.values()) - counts[chosen]
    note = f"Only tasks of {ways} ways and {shots} shots count; {left} results of other tasks were left out."
    return [cell for cell in cells if tuple(cell[name] for name in _TASK) == chosen], [note]


def _settings(chosen: pa.Table, cells: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The settings of each cell, column by column; None where a cell has none."""
    columns = _columns(chosen, [cell["config_id"] for cell in cells])
    beside = {name: [cell[column] for cell in cells] for column, name in _BESIDE.items()}
    contents = [cell["content"] for cell in cells]
    modules = list(zip(contents, beside["module"], strict=True))
    differing = {
        name: values for name, values in beside.items() if _differs(contents if name == "module" else modules, values)
    }
    # The runs that differ in a setting may be those without the metric.
    return differing | {key: values for key, values in columns.items() if _differs(modules, values)}


def _columns(chosen: pa.Table, configs: Sequence[str]) -> dict[str, list[Any]]:
    """The value of each key for each of the configurations, by key; searches have tens of thousands of them."""
    import numpy as np

    texts, kinds = chosen.column("value_text").to_pylist(), chosen.column("type").to_pylist()
    values = np.empty(len(texts), dtype=object)
    values[:] = list(map(_value, texts, kinds))
    keys, owners = (chosen.column(name).combine_chunks().dictionary_encode() for name in ("key", "config_id"))
    place = {config: number for number, config in enumerate(dict.fromkeys(configs))}
    wanted = [place[config] for config in configs]
    # What no cell has goes to a place behind them all.
    places = np.array([place.get(one, len(place)) for one in owners.dictionary.to_pylist()], dtype=np.int64)
    owner, key = places[owners.indices.to_numpy()], keys.indices.to_numpy()
    columns = {}
    for number, name in sorted(enumerate(keys.dictionary.to_pylist()), key=lambda one: one[1]):
        column = np.full(len(place) + 1, None, dtype=object)
        column[owner[key == number]] = values[key == number]
        columns[name] = column[wanted].tolist()
    return columns


_READERS: Mapping[str, Callable[[str], Any]] = {"str": str, "float": float, "int": int}


def _value(text: str, kind: str) -> Any:
    """A setting as a number, a truth value or a text; lists and mappings stay text, so that they can be compared."""
    try:
        value = _READERS.get(kind, json.loads)(text)
    except ValueError:
        return text
    return text if isinstance(value, (list, dict)) else value


def _differs(groups: Sequence[Any], values: Sequence[Any]) -> bool:
    """Whether values differ within a group."""
    seen = dict(zip(groups, values, strict=True))
    return any(seen[group] != value for group, value in zip(groups, values, strict=True))


def _names(known: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A name for each content, for people; of two with the same name each has the end of its fingerprint behind it."""
    named = {row["content"]: row["name"] or row["content"][-12:] for row in known}
    counts = Counter(named.values())
    return {content: f"{name} ({content[-8:]})" if counts[name] > 1 else name for content, name in named.items()}


def _table(
    cells: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Sequence[Any]],
    ids: Sequence[str],
    names: Mapping[str, str],
    descriptors: Mapping[str, Mapping[str, float | None]],
    *,
    metric: str,
    maximize: bool,
) -> ResultTable:
    from lightning_lde.recommend import ResultTable

    table = ResultTable.from_columns(
        dataset=[names[cell["content"]] for cell in cells],
        metric=[cell["mean"] for cell in cells],
        sd=[math.nan if cell["sd"] is None else cell["sd"] for cell in cells],
        n=[cell["n"] for cell in cells],
        configuration=ids,
        descriptors=descriptors,
        metric_name=metric,
        maximize=maximize,
    )
    # The ids come from the settings, so nobody has to compare the settings of each row with those of its id.
    by_id: dict[str, dict[str, Any]] = {}
    for number, one in enumerate(ids):
        if one not in by_id:
            by_id[one] = {name: column[number] for name, column in settings.items() if column[number] is not None}
    return replace(table, settings=tuple(by_id[one] for one in table.configurations))


def _ids_of_settings(settings: Mapping[str, Sequence[Any]]) -> list[str]:
    """A short id for the settings of each cell: equal settings have equal ids, in whatever lake."""
    words = [
        ["" if value is None else f"{name}={value!r}" for value in values] for name, values in sorted(settings.items())
    ]
    return [hashlib.sha256("\n".join(filter(None, row)).encode()).hexdigest()[:12] for row in zip(*words, strict=True)]


def _runs_of_cells(
    cells: Sequence[Mapping[str, Any]], ids: Sequence[str], names: Mapping[str, str]
) -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], list[str]] = {}
    for cell, configuration in zip(cells, ids, strict=True):
        found.setdefault((names[cell["content"]], configuration), []).extend(cell["runs"])
    return {key: tuple(dict.fromkeys(runs)) for key, runs in found.items()}
