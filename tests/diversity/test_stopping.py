"""The computed false-alarm probability against simulation, and the threshold's definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lightning_lde.diversity import GrowthCusum
from lightning_lde.diversity._stopping import alarm_probability
from lightning_lde.errors import ConfigurationError


@pytest.mark.parametrize("growth", [0.4, 0.7, 0.9])
def test_false_alarms_are_as_often_as_computed(growth: float) -> None:
    cusum = GrowthCusum(growth=growth, horizon=60, false_alarm=0.2)
    computed = alarm_probability(growth, threshold=cusum.threshold, step_back=cusum.step_back, horizon=60)
    assert computed <= 0.2
    assert alarm_probability(growth, threshold=cusum.threshold - 1, step_back=cusum.step_back, horizon=60) > 0.2
    news = np.random.default_rng(0).random((4000, 60)) < growth
    statistic, alarmed = np.zeros(4000, dtype=int), np.zeros(4000, dtype=bool)
    for batch in news.T:
        statistic = np.maximum(np.where(batch, statistic - cusum.step_back, statistic + 1), 0)
        alarmed |= statistic >= cusum.threshold
    assert stats.binomtest(int(alarmed.sum()), 4000, computed).pvalue > 0.01


def test_the_class_follows_its_recursion() -> None:
    rng = np.random.default_rng(1)
    cusum = GrowthCusum(growth=0.5)
    statistic = 0
    for new in rng.random(300) < 0.2:
        statistic = min(max(statistic + (-cusum.step_back if new else 1), 0), cusum.threshold)
        assert cusum.update(new=bool(new)) == (statistic == cusum.threshold) == cusum.stopped


def test_faster_growth_alarms_more_seldom_and_a_lower_rate_needs_more_batches() -> None:
    cusum = GrowthCusum()
    chances = [alarm_probability(share, threshold=7, step_back=2, horizon=100) for share in (0.5, 0.7, 0.9, 1.0)]
    assert chances == sorted(chances, reverse=True)
    assert chances[-1] == 0.0
    assert GrowthCusum(false_alarm=0.001).threshold > cusum.threshold
    assert GrowthCusum(growth=0.4).threshold > cusum.threshold


def test_something_new_ends_the_alarm() -> None:
    cusum = GrowthCusum()
    for _ in range(50):
        cusum.update(new=False)
    assert cusum.stopped
    assert not cusum.update(new=True)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"growth": 70}, "growth=70"),
        ({"growth": 0.05, "stopped": 0.05}, "not below growth"),
        ({"horizon": 0}, "horizon=0"),
        ({"growth": 0.1, "horizon": 5, "false_alarm": 1e-6}, "no threshold within horizon=5"),
    ],
)
def test_unfit_settings_are_refused(options: dict, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        GrowthCusum(**options)
