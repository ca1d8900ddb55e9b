"""What descriptors say about a data set's scores: extra trees, pulled towards the average as far as they err."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ._experience import Experience
from ._neighbours import DescriptorSpace
from ._table import FloatArray, IntArray

_MANY = 10
_COMPONENTS = 20
_LEAST_DATASETS = 6


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DescribedMean:
    """Expected scores of a data set, and what past data sets left unexplained.

    Args:
        mean: Expected score of each candidate, shape (candidates,).
        residuals: Past scores less what was expected of them without seeing them, shape (data sets, candidates).
    """

    mean: FloatArray
    residuals: FloatArray


class DescribedScores:
    """Extra trees from descriptors to scores.

    The trees predict the first principal components of the scores. Each data set's expectation for itself comes from
    the trees that did not draw it; the share of the trees in the prediction, beside the average, is what fits these
    out-of-bag expectations best.

    Args:
        experience: Past results.
        descriptors: Whether to use descriptors; else the average is expected.
        n_trees: Number of trees.
        seed: Seed of the trees.

    Source: Geurts et al. (2006), Machine Learning 63, 3-42; Breiman (1996), Out-of-bag estimation.
    """

    def __init__(self, experience: Experience, *, descriptors: bool = True, n_trees: int, seed: int = 0) -> None:
        self.space = DescriptorSpace(experience.table)
        self.use = descriptors and bool(self.space.names) and len(experience.table.datasets) >= _LEAST_DATASETS
        self._experience, self._n_trees, self._seed = experience, n_trees, seed
        self._all: _Learned | None = None

    def expect(self, columns: IntArray, descriptors: Mapping[str, float | None] | None) -> DescribedMean:
        """Expected scores of a data set with these descriptors.

        Args:
            columns: Candidates among the table's configurations.
            descriptors: What is known of the new data set; without any, the average is expected.
        """
        learned, inside = self._learned_for(columns)
        if not self.use or not descriptors:
            return DescribedMean(mean=learned.average[inside], residuals=learned.centred[:, inside])
        place = self.space.rank(descriptors)
        directions = learned.share * learned.directions[:, inside]
        return DescribedMean(
            mean=learned.average[inside] + _predicted(learned.trees, place) @ directions,
            residuals=learned.centred[:, inside] - learned.out_of_bag @ directions,
        )

    def _learned_for(self, columns: IntArray) -> tuple[_Learned, IntArray | slice]:
        """Trees for all configurations where data sets share them, else for these candidates."""
        if not self._experience.shares_configurations:
            return self._learn(self._experience.filled(columns)), slice(None)
        if self._all is None:
            self._all = self._learn(self._experience.filled(np.arange(len(self._experience.table.configurations))))
        return self._all, columns

    def _learn(self, filled: FloatArray) -> _Learned:
        average = filled.mean(axis=0)
        centred = filled - average
        if not self.use:
            return _Learned(average=average, centred=centred)
        from sklearn.ensemble import ExtraTreesRegressor

        directions = np.linalg.svd(centred, full_matrices=False)[2][:_COMPONENTS]
        components = centred @ directions.T
        trees = ExtraTreesRegressor(
            self._n_trees,
            bootstrap=True,
            oob_score=_no_score,
            max_features=_share_tried(len(self.space.names)),
            random_state=self._seed,
        ).fit(self.space.ranks, components)
        out_of_bag = trees.oob_prediction_.reshape(components.shape)
        square = float((out_of_bag**2).sum())
        return _Learned(
            average=average,
            centred=centred,
            directions=directions,
            trees=trees,
            out_of_bag=out_of_bag,
            share=float(np.clip((out_of_bag * components).sum() / square, 0.0, 1.0)) if square > 0.0 else 0.0,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Learned:
    average: FloatArray
    centred: FloatArray
    directions: FloatArray = dataclasses.field(default_factory=lambda: np.zeros((0, 0)))
    trees: Any = None
    out_of_bag: FloatArray = dataclasses.field(default_factory=lambda: np.zeros((0, 0)))
    share: float = 0.0


def _share_tried(n_descriptors: int) -> float:
    """Share of the descriptors that a split tries: with few, half of them could be the ones that say nothing."""
    return 1.0 if n_descriptors < _MANY else 0.5


def _predicted(trees: Any, place: FloatArray) -> FloatArray:
    """The mean over the trees, without what scikit-learn does around it: that takes longer than the trees do."""
    row = place[None, :].astype(np.float32)
    return np.asarray(np.mean([tree.tree_.predict(row) for tree in trees.estimators_], axis=0).reshape(-1))


def _no_score(_truth: FloatArray, _prediction: FloatArray) -> float:
    return 0.0
