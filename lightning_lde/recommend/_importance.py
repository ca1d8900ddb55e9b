"""Which settings make results differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._encoding import encode_settings
from ._evidence import SimilarDataset
from ._scores import score_matrix
from ._table import ResultTable

_NEAREST = 10
_MOST_CONFIGURATIONS = 2000
_FEW = 10


def setting_importance(table: ResultTable, similar: Sequence[SimilarDataset], *, seed: int = 0) -> dict[str, float]:
    """Share of each setting in the differences between configurations on the most similar data sets.

    Extra trees predict the mean score over the ten most similar data sets from the settings; a setting's share is
    the variance that the trees' splits at it take away, over that of all splits.

    Args:
        table: Past results.
        similar: Past data sets, most similar first.
        seed: Seed of the trees.

    Returns:
        Shares that add up to 1, from large to small; empty where no setting differs, or none tells results apart.

    Source: Breiman et al. (1984), Classification and Regression Trees, section 5.3.4; Geurts et al. (2006), Machine
    Learning 63, 3-42.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    names = {one.dataset for one in similar[:_NEAREST]} or set(table.datasets)
    values = score_matrix(table.for_datasets(names)).values
    known = np.isfinite(values)
    tried = np.flatnonzero(known.any(axis=0))
    if tried.size > _MOST_CONFIGURATIONS:
        tried = np.random.default_rng(seed).choice(tried, _MOST_CONFIGURATIONS, replace=False)
    means = np.where(known, values, 0.0).sum(axis=0)[tried] / known.sum(axis=0)[tried]
    encoded = encode_settings([table.settings[place] for place in tried])
    if not encoded.names or np.ptp(means) == 0.0:
        return {}
    # Pairs of configurations show less noise; a few of them could not be told apart by it.
    leaf = 1 if tried.size < _FEW else 2
    trees = ExtraTreesRegressor(n_estimators=50, min_samples_leaf=leaf, random_state=seed).fit(encoded.matrix, means)
    shares = np.bincount(encoded.owner, weights=trees.feature_importances_, minlength=len(encoded.names))
    if not shares.any():
        return {}
    order = np.argsort(-shares, kind="stable")
    return {encoded.names[place]: float(shares[place]) for place in order}
