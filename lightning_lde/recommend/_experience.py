"""What past data sets say about any set of candidates: a matrix of scores without gaps, however it was filled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ._encoding import encode_settings
from ._factors import fill_gaps
from ._scores import ScoreMatrix, score_matrix
from ._table import BoolArray, FloatArray, IntArray, ResultTable

_MOST_TREES, _FEWEST_TREES, _TREES_OF_ALL = 50, 10, 500
_MOST_ROWS, _FEWEST_ROWS, _ROWS_OF_ALL = 1000, 100, 10_000
_SHARED = 0.5

Points = npt.NDArray[np.float32]
Surface = Callable[[Points], FloatArray]


class Experience(Protocol):
    """Scores of past data sets for chosen configurations, and their descriptors."""

    @property
    def table(self) -> ResultTable:
        """The results behind it."""
        ...

    @property
    def scores(self) -> ScoreMatrix:
        """Scores with gaps, with the location and scale of each data set."""
        ...

    @property
    def shares_configurations(self) -> bool:
        """Whether most configurations were tried on several data sets."""
        ...

    @property
    def points(self) -> Points:
        """Encoded settings of the table's configurations, shape (configurations, width)."""
        ...

    def observed(self, columns: IntArray) -> FloatArray:
        """Scores, shape (data sets, columns); nan where nothing is known."""
        ...

    def filled(self, columns: IntArray) -> FloatArray:
        """Scores with expectations in the gaps, shape (data sets, columns)."""
        ...

    def without(self, datasets: set[str]) -> Experience:
        """The same, as if some data sets had never been seen."""
        ...


def experience_of(table: ResultTable) -> Experience:
    """Read a table as experience.

    Where most configurations were tried on one data set only, as in a random search of each data set's own, extra
    trees over the settings say for each data set what it would have given; otherwise gaps are filled from what data
    sets have in common.
    """
    table = _varying(table)
    scores = score_matrix(table)
    tried = np.isfinite(scores.values).sum(axis=0)
    shared = (tried > 1).sum() >= _SHARED * (tried > 0).sum()
    points = encode_settings(table.settings).matrix.astype(np.float32)
    if shared or not any(table.settings):
        return MatrixExperience(table, scores, points)
    return SurfaceExperience(table, scores, points, _surfaces(points, scores.values))


def _varying(table: ResultTable) -> ResultTable:
    """The table without data sets whose results are all the same: they say nothing about configurations."""
    low, high = np.full(len(table.datasets), np.inf), np.full(len(table.datasets), -np.inf)
    np.minimum.at(low, table.dataset_index, table.mean)
    np.maximum.at(high, table.dataset_index, table.mean)
    kept = {name for name, varies in zip(table.datasets, high > low, strict=True) if varies}
    return table.for_datasets(kept) if kept and len(kept) < len(table.datasets) else table


class MatrixExperience:
    """Experience with configurations that data sets share.

    Args:
        table: Past results.
        scores: The same as scores.
        points: Encoded settings of each configuration, shape (configurations, width).
    """

    shares_configurations = True

    def __init__(self, table: ResultTable, scores: ScoreMatrix, points: Points) -> None:
        self.table, self.scores, self.points = table, scores, points
        self._filled: FloatArray | None = None

    def observed(self, columns: IntArray) -> FloatArray:
        """Scores with gaps."""
        return self.scores.values[:, columns]

    def filled(self, columns: IntArray) -> FloatArray:
        """Scores, gaps filled from what data sets have in common."""
        if self._filled is None:
            self._filled = fill_gaps(self.scores.values)
        return self._filled[:, columns]

    def without(self, datasets: set[str]) -> MatrixExperience:
        """The same without some data sets; gaps are filled anew."""
        kept = kept_rows(self.table, datasets)
        table = self.table.for_datasets(set(self.table.datasets) - datasets)
        return MatrixExperience(table, rows_of(self.scores, kept), self.points)


class SurfaceExperience:
    """Experience where each data set tried configurations of its own.

    Args:
        table: Past results.
        scores: The same as scores.
        points: Encoded settings of each configuration, shape (configurations, width).
        surfaces: For each data set, what it expects of encoded settings.
    """

    shares_configurations = False

    def __init__(self, table: ResultTable, scores: ScoreMatrix, points: Points, surfaces: tuple[Surface, ...]) -> None:
        self.table, self.scores, self.points, self._surfaces = table, scores, points, surfaces
        self._latest: tuple[IntArray, FloatArray] | None = None

    def observed(self, columns: IntArray) -> FloatArray:
        """Scores as the surfaces expect them: none is without an expectation."""
        return self.filled(columns)

    def filled(self, columns: IntArray) -> FloatArray:
        """Scores as measured where they were, else as the surfaces expect them."""
        # Several recommenders ask for the same candidates one after the other.
        if self._latest is None or not np.array_equal(self._latest[0], columns):
            values = self.scores.values[:, columns]
            expected = np.stack([surface(self.points[columns]) for surface in self._surfaces])
            self._latest = columns, np.where(np.isfinite(values), values, expected)
        return self._latest[1]

    def without(self, datasets: set[str]) -> SurfaceExperience:
        """The same without some data sets; each surface knows one data set only."""
        kept = kept_rows(self.table, datasets)
        table = self.table.for_datasets(set(self.table.datasets) - datasets)
        surfaces = tuple(surface for surface, keep in zip(self._surfaces, kept, strict=True) if keep)
        return SurfaceExperience(table, rows_of(self.scores, kept), self.points, surfaces)


def kept_rows(table: ResultTable, datasets: set[str]) -> BoolArray:
    """Which data sets stay when some are left out, shape (data sets,)."""
    return np.array([name not in datasets for name in table.datasets], dtype=bool)


def rows_of(scores: ScoreMatrix, kept: BoolArray) -> ScoreMatrix:
    """Some rows of a matrix of scores."""
    fields = {one.name: getattr(scores, one.name)[kept] for one in dataclasses.fields(scores)}
    return ScoreMatrix(**fields)


def _surfaces(points: Points, values: FloatArray) -> tuple[Surface, ...]:
    """For each data set, extra trees from settings to scores: the more data sets, the less is needed of each."""
    rng = np.random.default_rng(0)
    n_trees = _share(_TREES_OF_ALL, len(values), _FEWEST_TREES, _MOST_TREES)
    n_rows = _share(_ROWS_OF_ALL, len(values), _FEWEST_ROWS, _MOST_ROWS)
    found: list[Surface] = []
    for row in values:
        tried = np.flatnonzero(np.isfinite(row))
        if tried.size > n_rows:
            tried = rng.choice(tried, n_rows, replace=False)
        found.append(_surface(points[tried], row[tried], n_trees))
    return tuple(found)


def _share(of_all: int, count: int, fewest: int, most: int) -> int:
    return max(fewest, min(most, of_all // count))


def _surface(points: Points, values: FloatArray, n_trees: int) -> Surface:
    """Extra trees without what a forest does around them: some hundred points take a third of the time to predict.

    Source: Geurts et al. (2006), Machine Learning 63, 3-42.
    """
    from sklearn import config_context
    from sklearn.tree import ExtraTreeRegressor

    trees = []
    with config_context(skip_parameter_validation=True):
        for seed in range(n_trees):
            tree = ExtraTreeRegressor(min_samples_leaf=2, max_features=1.0, random_state=seed)
            trees.append(tree.fit(points, values, check_input=False).tree_)

    def expected(wanted: Points) -> FloatArray:
        total = np.zeros(len(wanted))
        for tree in trees:
            total += tree.predict(wanted)[:, 0]
        return total / n_trees

    return expected
