"""Adjusted p-values against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from lightning_lde.errors import DataError
from lightning_lde.statistics import benjamini_hochberg, holm


@pytest.mark.parametrize(("adjust", "method"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
@settings(max_examples=20, deadline=None)
@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_agrees_with_statsmodels(adjust: object, method: str, p_values: list[float]) -> None:
    found = adjust(p_values)
    np.testing.assert_allclose(found, multipletests(p_values, method=method)[1], rtol=1e-12)
    assert adjust(p_values[::-1]) == pytest.approx(found[::-1])


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_nothing_and_no_probability(adjust: object) -> None:
    assert adjust([]) == []
    with pytest.raises(DataError, match="expected probabilities"):
        adjust([0.1, 1.2])
    with pytest.raises(DataError, match=r"p_values\[1\] is nan"):
        adjust([0.1, float("nan")])


def test_false_findings_are_as_rare_as_promised() -> None:
    p = np.random.default_rng(0).random((600, 20))
    p[:, 10:] *= 1e-3
    families = [(holm(row), benjamini_hochberg(row)) for row in p]
    any_false = np.mean([min(adjusted[:10]) <= 0.05 for adjusted, _ in families])
    shares = [np.mean(np.flatnonzero(np.array(adjusted) <= 0.05) < 10) for _, adjusted in families]
    assert any_false <= 0.06
    # The expected share is the level times the share of true nulls: 0.05 of 10 in 20.
    assert np.mean(shares) == pytest.approx(0.025, abs=0.004)
