"""Means over tasks with intervals: scipy's, over processes, and each task once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import sem, t

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot import MeanWithInterval

VALUES = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=50).filter(lambda one: np.std(one) > 1e-6)


@settings(max_examples=50, deadline=None)
@given(values=VALUES, confidence=st.sampled_from([0.9, 0.95, 0.99]), pieces=st.integers(1, 5))
def test_the_interval_is_scipy_s_whatever_the_batches(values: list[float], confidence: float, pieces: int) -> None:
    metric = MeanWithInterval(confidence=confidence)
    for part in torch.tensor(values).tensor_split(pieces):
        metric.update(part)
    mean, half_width = metric.compute()
    low, high = t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=sem(values))
    assert float(mean) == pytest.approx(np.mean(values), rel=1e-6)
    assert float(half_width) == pytest.approx((high - low) / 2, rel=1e-5)
    metric.reset()
    metric.update(torch.tensor([0.5]))
    assert (float(metric.compute().mean), bool(metric.compute().half_width.isnan())) == (0.5, True)


def test_a_task_that_comes_twice_counts_once() -> None:
    metric = MeanWithInterval()
    metric.update(torch.tensor([0.2, 0.4]), torch.tensor([0, 1]))
    metric.update(torch.tensor([0.9, 0.2]), torch.tensor([2, 0]))
    once = MeanWithInterval()
    once.update(torch.tensor([0.2, 0.4, 0.9]))
    assert metric.compute() == once.compute()


def test_confidence_is_a_probability() -> None:
    for wrong in (0.0, 1.0, 95):
        with pytest.raises(ConfigurationError, match="confidence="):
            MeanWithInterval(confidence=wrong)
