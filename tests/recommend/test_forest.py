"""The forest beside scikit-learn's, whose numbers it must have."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from lightning_lde.recommend._forest import Forest


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("n_trees", [1, 7, 40])
def test_it_has_the_numbers_of_scikit_learn(outputs: int, n_trees: int) -> None:
    random = np.random.default_rng(outputs)
    rows, targets, place = random.random((17, 5)).round(1), random.normal(size=(17, outputs)), random.random(5)
    ours = Forest(rows, targets, n_trees=n_trees, seed=3)
    theirs = ExtraTreesRegressor(n_trees, bootstrap=True, oob_score=True, random_state=3)
    with warnings.catch_warnings():
        # That few trees leave rows without a judge.
        warnings.simplefilter("ignore")
        theirs.fit(rows, targets if outputs > 1 else targets[:, 0])
    np.testing.assert_allclose(ours.out_of_bag, theirs.oob_prediction_.reshape(17, outputs), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(ours.predict(place), theirs.predict(place[None]).reshape(-1), rtol=1e-12)
