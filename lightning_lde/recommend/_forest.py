"""A forest of extra trees, without what scikit-learn's does around each tree: for small tables that takes longer."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._table import FloatArray

__all__ = ["Forest"]

_LARGEST_SEED = np.iinfo(np.int32).max


class Forest:
    """What ``ExtraTreesRegressor(bootstrap=True, oob_score=True)`` of scikit-learn comes to, number for number.

    Args:
        rows: What is known, shape (n, features).
        targets: What is to be expected, shape (n, outputs).
        n_trees: Number of trees.
        seed: Of the draws.

    Attributes:
        out_of_bag: What the trees that did not draw a row expect of it, 0 where each tree drew it, shape (n, outputs).

    Source: Geurts et al. (2006), Machine Learning 63, 3-42; Breiman (1996), Out-of-bag estimation.
    """

    def __init__(self, rows: FloatArray, targets: FloatArray, *, n_trees: int, seed: int) -> None:
        from sklearn import config_context
        from sklearn.tree import ExtraTreeRegressor

        rows, targets = np.ascontiguousarray(rows, dtype=np.float32), np.ascontiguousarray(targets, dtype=np.float64)
        self._trees: list[Any] = []
        total, judges = np.zeros(targets.shape), np.zeros(len(rows))
        random = np.random.RandomState(seed)
        with config_context(skip_parameter_validation=True):
            for _ in range(n_trees):
                seed_of_tree = random.randint(_LARGEST_SEED)
                drawn = np.random.RandomState(seed_of_tree).randint(0, len(rows), len(rows), dtype=np.int32)
                times = np.bincount(drawn, minlength=len(rows))
                tree = ExtraTreeRegressor(random_state=seed_of_tree)
                tree.fit(rows, targets, sample_weight=times.astype(np.float64), check_input=False)
                self._trees.append(tree.tree_)
                left_out = times == 0
                total[left_out] += tree.tree_.predict(rows[left_out]).reshape(-1, targets.shape[1])
                judges += left_out
        self.out_of_bag: FloatArray = total / np.maximum(judges, 1.0)[:, None]

    def predict(self, row: FloatArray) -> FloatArray:
        """Return what is expected of one row of features, shape (outputs,)."""
        place = row[None, :].astype(np.float32)
        return np.asarray(np.mean([tree.predict(place) for tree in self._trees], axis=0).reshape(-1))
