"""Tables of past results: what each configuration reached on each data set, how often it was tried, and descriptors."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from lightning_lde.errors import ConfigurationError, DataError

from ._columns import comparable, descriptor_matrix, filled, numbered, numbers, same_settings, settings_of_rows

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Settings = Mapping[str, Any]
Descriptors = Mapping[str, float | None]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ResultTable:
    """Results of configurations on data sets, as a long table, with settings and descriptors.

    A row is one run, or the mean of several runs of one configuration on one data set. Make one with
    [from_columns][] or [from_file][]; the constructor is for what these made.

    Args:
        metric: What was measured.
        maximize: Whether a larger value is better.
        datasets: Names, sorted.
        configurations: Ids, sorted.
        settings: Settings of each configuration, in the order of the ids; empty where none are known.
        dataset_index: Position of each row's data set, shape (rows,).
        configuration_index: Position of each row's configuration, shape (rows,).
        mean: Metric of each row, shape (rows,), finite.
        sd: Standard deviation between the repetitions of a row, shape (rows,); nan for one run.
        n: Repetitions behind each row, shape (rows,).
        descriptor_names: What is known of data sets.
        descriptors: Their values, shape (data sets, names); nan where unknown.
        n_without_value: Rows that were left out because their metric was no finite number.

    Example:
        >>> table = ResultTable.from_columns(
        ...     dataset=["a", "a", "a", "b"], metric=[0.7, 0.8, 0.6, 0.5], settings={"lr": [0.1, 0.1, 0.2, 0.1]},
        ... ).aggregated()
        >>> table.configurations, table.mean.round(2).tolist(), table.n.tolist()
        (('{"lr": 0.1}', '{"lr": 0.2}'), [0.75, 0.6, 0.5], [2, 1, 1])
    """

    metric: str
    maximize: bool
    datasets: tuple[str, ...]
    configurations: tuple[str, ...]
    settings: tuple[Settings, ...]
    dataset_index: IntArray
    configuration_index: IntArray
    mean: FloatArray
    sd: FloatArray
    n: IntArray
    descriptor_names: tuple[str, ...] = ()
    descriptors: FloatArray
    n_without_value: int = 0

    def __post_init__(self) -> None:
        if not self.mean.size:
            raise DataError("the table has no row with a finite metric; record runs, or look at the metric's name.")

    @classmethod
    def from_columns(
        cls,
        *,
        dataset: Sequence[str],
        metric: npt.ArrayLike,
        settings: Mapping[str, Sequence[Any]] | None = None,
        configuration: Sequence[str] | None = None,
        sd: npt.ArrayLike | None = None,
        n: npt.ArrayLike | None = None,
        descriptors: Mapping[str, Descriptors] | None = None,
        metric_name: str = "metric",
        maximize: bool = True,
    ) -> ResultTable:
        """Make a table of columns of one length.

        Args:
            dataset: Data set of each row.
            metric: Value of each row; rows without a finite one are counted and left out.
            settings: Columns of settings by name; None in a column says that a row has no such setting. Lists and
                mappings become JSON text.
            configuration: Id of each row's configuration; by default its settings as JSON.
            sd: Standard deviation between the repetitions behind a row; nan where there is one.
            n: Repetitions behind each row; by default 1.
            descriptors: Numbers that describe each data set, by data set and name; each may miss some.
            metric_name: What was measured.
            maximize: Whether a larger value is better.

        Raises:
            DataError: If lengths differ, no row has a finite metric, or one id stands for different settings.
            ConfigurationError: If there is neither a configuration nor a setting.
        """
        values = numbers(metric, "metric")
        rows = values.size
        columns = {name: comparable(column) for name, column in (settings or {}).items()}
        if configuration is None and not columns:
            raise ConfigurationError("the table names no configuration; pass configuration= or settings=.")
        for name, column in (("dataset", dataset), ("configuration", configuration), *columns.items()):
            if column is not None and len(column) != rows:
                raise DataError(f"column {name!r} has {len(column)} rows and the metric {rows}; pass one value a row.")
        kept = np.flatnonzero(np.isfinite(values)).tolist()
        described = settings_of_rows(columns, rows)
        ids = [str(one) for one in configuration] if configuration is not None else described.ids
        datasets, dataset_index = numbered([str(dataset[row]) for row in kept])
        names, configuration_index = numbered([ids[row] for row in kept])
        first = dict(zip(configuration_index[::-1].tolist(), kept[::-1], strict=True))
        same_settings(described.ids, kept, configuration_index, [first[i] for i in range(len(names))], names)
        descriptor_names, matrix = descriptor_matrix(datasets, descriptors or {})
        return cls(
            metric=metric_name,
            maximize=maximize,
            datasets=datasets,
            configurations=names,
            settings=tuple(described.of_row(first[i]) for i in range(len(names))),
            dataset_index=dataset_index,
            configuration_index=configuration_index,
            mean=values[kept],
            sd=filled(sd, rows, math.nan, "sd")[kept],
            n=filled(n, rows, 1, "n")[kept].astype(np.int64),
            descriptor_names=descriptor_names,
            descriptors=matrix,
            n_without_value=rows - len(kept),
        )

    @classmethod
    def from_file(cls, path: str | Path, **options: Any) -> ResultTable:
        """Read a table of results from a CSV, TSV or Parquet file; see [read_results][]."""
        from ._reading import read_results

        return read_results(path, **options)

    def aggregated(self) -> ResultTable:
        """One row for each data set and configuration: mean and standard deviation over its repetitions."""
        cell = self.dataset_index * len(self.configurations) + self.configuration_index
        cells, group = np.unique(cell, return_inverse=True)
        if cells.size == cell.size:
            order = np.argsort(cell)
            return self._rows(order)
        n = np.bincount(group, weights=self.n)
        mean = np.bincount(group, weights=self.n * self.mean) / n
        within = np.where(self.n > 1, (self.n - 1) * np.nan_to_num(self.sd) ** 2, 0.0)
        squares = np.bincount(group, weights=within + self.n * (self.mean - mean[group]) ** 2)
        sd = np.sqrt(squares / np.maximum(n - 1, 1))
        return dataclasses.replace(
            self,
            dataset_index=cells // len(self.configurations),
            configuration_index=cells % len(self.configurations),
            mean=mean,
            sd=np.where(n > 1, sd, math.nan),
            n=n.astype(np.int64),
        )

    def single(self, *, seed: int = 0) -> ResultTable:
        """One run for each data set and configuration, drawn at random: what one would know without repetitions.

        Args:
            seed: Seed of the draw.

        Raises:
            DataError: If a row is the mean of several runs, so that no single one is known.
        """
        if (self.n > 1).any():
            row = int(np.argmax(self.n > 1))
            raise DataError(f"row {row} is a mean of {self.n[row]} runs; pass a table with one row for each run.")
        shuffled = np.random.default_rng(seed).permutation(self.mean.size)
        cell = self.dataset_index * len(self.configurations) + self.configuration_index
        _, first = np.unique(cell[shuffled], return_index=True)
        return self._rows(shuffled[first])

    def for_datasets(self, datasets: Iterable[str]) -> ResultTable:
        """The rows of some data sets; all configurations stay known.

        Raises:
            DataError: If none of them has a row.
        """
        wanted = set(datasets)
        kept = np.array([name in wanted for name in self.datasets], dtype=bool)
        table = self._rows(np.flatnonzero(kept[self.dataset_index]))
        position = np.cumsum(kept) - 1
        return dataclasses.replace(
            table,
            datasets=tuple(name for name in self.datasets if name in wanted),
            dataset_index=position[table.dataset_index],
            descriptors=self.descriptors[kept],
        )

    def descriptors_of(self, dataset: str) -> dict[str, float]:
        """What is known of a data set of the table, by name; what is not known is left out."""
        values = self.descriptors[self.datasets.index(dataset)]
        return {name: float(v) for name, v in zip(self.descriptor_names, values, strict=True) if math.isfinite(v)}

    def values_on(self, dataset: str | None) -> dict[str, float]:
        """What each configuration reached on a data set, the last row of each; empty where the table has none of it."""
        if dataset not in self.datasets:
            return {}
        here = self.dataset_index == self.datasets.index(dataset)
        named = (self.configurations[number] for number in self.configuration_index[here])
        return dict(zip(named, self.mean[here].tolist(), strict=True))

    def settings_of(self, configuration: str) -> Settings:
        """The settings of a configuration.

        Raises:
            ConfigurationError: If the table does not know it.
        """
        place: int = self.places_of([configuration])[0]
        return self.settings[place]

    def places_of(self, configurations: Iterable[str]) -> IntArray:
        """Where configurations stand among those of the table.

        Raises:
            ConfigurationError: If the table does not know one.
        """
        try:
            return np.array([self._place[name] for name in configurations], dtype=np.int64)
        except KeyError as missing:
            raise ConfigurationError(
                f"configuration {missing.args[0]!r} is not one of the {len(self._place)} that are known; "
                "pass one of the table's."
            ) from missing

    @functools.cached_property
    def _place(self) -> Mapping[str, int]:
        return {name: number for number, name in enumerate(self.configurations)}

    @property
    def pooled_sd(self) -> float:
        """Standard deviation between repetitions, pooled over all cells; nan where nothing was repeated."""
        cells = self.aggregated()
        repeated = (cells.n > 1) & np.isfinite(cells.sd)
        degrees = (cells.n - 1)[repeated]
        return float(np.sqrt((degrees * cells.sd[repeated] ** 2).sum() / degrees.sum())) if degrees.sum() else math.nan

    def intervals(self, *, confidence: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Student's interval of the mean of each row over its repetitions; nan for a single run.

        Args:
            confidence: Coverage aimed at, a fraction.

        Returns:
            Lower and upper bounds, each of shape (rows,).
        """
        degrees = np.maximum(self.n - 1, 1)
        margin = stats.t.ppf(0.5 + confidence / 2.0, degrees) * self.sd / np.sqrt(self.n)
        margin = np.where(self.n > 1, margin, math.nan)
        return self.mean - margin, self.mean + margin

    def _rows(self, rows: IntArray) -> ResultTable:
        return dataclasses.replace(
            self,
            dataset_index=self.dataset_index[rows],
            configuration_index=self.configuration_index[rows],
            mean=self.mean[rows],
            sd=self.sd[rows],
            n=self.n[rows],
        )
