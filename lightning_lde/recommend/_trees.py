"""What descriptors say about a data set's scores: extra trees, pulled towards the average as far as they err."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ._experience import Experience
from ._forest import Forest
from ._neighbours import DescriptorSpace
from ._table import FloatArray, IntArray

_COMPONENTS = 20
_LEAST_DATASETS = 6
_LEAST_SIZE = 1e-9
_MOST_REFERENCES = 500


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
        self._learned: _Learned | None = None

    def expect(self, columns: IntArray, descriptors: Mapping[str, float | None] | None) -> DescribedMean:
        """Expected scores of a data set with these descriptors.

        Args:
            columns: Candidates among the table's configurations.
            descriptors: What is known of the new data set; without any, the average is expected.
        """
        filled = self._experience.filled(columns)
        average = filled.mean(axis=0)
        centred = filled - average
        if not self.use or not descriptors:
            return DescribedMean(mean=average, residuals=centred)
        if self._learned is None:
            self._learned = self._learn(self._experience.filled(self._reference()))
        learned = self._learned
        directions = learned.share * learned.projection @ centred
        return DescribedMean(
            mean=average + learned.trees.predict(self.space.rank(descriptors)) @ directions,
            residuals=centred - learned.out_of_bag @ directions,
        )

    def _reference(self) -> IntArray:
        """Configurations that the components are of: all where data sets share them, else some for all."""
        count = len(self._experience.table.configurations)
        if self._experience.shares_configurations or count <= _MOST_REFERENCES:
            return np.arange(count)
        return np.sort(np.random.default_rng(self._seed).choice(count, _MOST_REFERENCES, replace=False))

    def _learn(self, filled: FloatArray) -> _Learned:
        left, sizes, _ = np.linalg.svd(filled - filled.mean(axis=0), full_matrices=False)
        kept = max(1, min(_COMPONENTS, int((sizes > _LEAST_SIZE * sizes[0]).sum())))
        left, sizes = left[:, :kept], sizes[:kept]
        components = left * sizes
        trees = Forest(self.space.ranks, components, n_trees=self._n_trees, seed=self._seed)
        out_of_bag = trees.out_of_bag
        square = float((out_of_bag**2).sum())
        return _Learned(
            projection=np.divide(left, sizes, out=np.zeros_like(left), where=sizes > 0.0).T,
            trees=trees,
            out_of_bag=out_of_bag,
            share=float(np.clip((out_of_bag * components).sum() / square, 0.0, 1.0)) if square > 0.0 else 0.0,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Learned:
    projection: FloatArray
    """From the scores of all data sets to the directions of the components, shape (components, data sets)."""
    trees: Forest
    out_of_bag: FloatArray
    share: float
