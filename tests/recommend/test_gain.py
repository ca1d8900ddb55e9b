"""What repetitions are worth: planted noise that single runs fall for, and none where there is nothing to average."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.recommend import ResultTable, gain_of_aggregation


def noisy(noise: float, *, repetitions: int = 10) -> ResultTable:
    """Six configurations, the last of which is the best on each of eight data sets by a tenth."""
    random = np.random.default_rng(0)
    rows = [(d, c) for d in range(8) for c in range(6) for _ in range(repetitions)]
    return ResultTable.from_columns(
        dataset=[f"set {d}" for d, _ in rows],
        configuration=[f"c{c}" for _, c in rows],
        metric=[d + 0.1 * c + noise * random.normal() for d, c in rows],
    )


def test_means_see_through_noise() -> None:
    gain = gain_of_aggregation(noisy(0.6, repetitions=80), steps=(1, 6), draws=10)
    first, last = gain.steps
    assert (gain.n_datasets, gain.n_draws, gain.repetitions) == (8, 10, 80.0)
    assert first.aggregated < first.single < first.random
    assert first.gain == pytest.approx(first.single - first.aggregated)
    assert 0 < first.low < first.gain < first.high
    assert (last.single, last.aggregated, last.random) == (0.0, 0.0, 0.0)
    assert np.mean(list(gain.datasets.values())) == pytest.approx(first.gain)


def test_related_data_sets_count_once() -> None:
    """Four copies of each data set, held out together, make the interval no narrower."""
    table = noisy(0.6)
    copies = ResultTable.from_columns(
        dataset=[f"{table.datasets[d]} {copy}" for copy in range(4) for d in table.dataset_index],
        configuration=[table.configurations[c] for c in table.configuration_index] * 4,
        metric=np.tile(table.mean, 4),
    )
    groups = {name: name.rpartition(" ")[0] for name in copies.datasets}
    gain = gain_of_aggregation(copies, groups=groups, steps=(1,), draws=3)
    means = [np.mean([gain.datasets[f"set {d} {copy}"] for copy in range(4)]) for d in range(8)]
    expected = stats.bootstrap((means,), np.mean, method="percentile", rng=0).confidence_interval
    near = pytest.approx((expected.low, expected.high), abs=0.05 * float(np.ptp(expected)))
    assert (gain.steps[0].low, gain.steps[0].high) == near


def test_without_noise_there_is_nothing_to_gain() -> None:
    (step,) = gain_of_aggregation(noisy(0.0), steps=(1,), draws=3).steps
    assert (step.single, step.aggregated, step.gain, step.low, step.high) == (0.0, 0.0, 0.0, 0.0, 0.0)


def test_without_repetitions_there_is_nothing_to_aggregate() -> None:
    with pytest.raises(DataError, match="repeated"):
        gain_of_aggregation(noisy(0.1, repetitions=1))


def test_no_draw_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="draws is 0"):
        gain_of_aggregation(noisy(0.1), draws=0)
