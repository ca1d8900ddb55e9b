"""A sequential test of whether batches still bring something new, with a false-alarm rate that is computed."""

from __future__ import annotations

import math

import numpy as np

from lightning_lde.errors import ConfigurationError

from ._inputs import FloatArray, fraction


class GrowthCusum:
    """Says when the share of batches that bring something new has fallen.

    A Bernoulli CUSUM: a batch with nothing new adds 1, a batch with something new takes ``step_back`` away, and
    the statistic never falls below 0. It alarms at ``threshold``. The step is the ratio of the two
    log-likelihood ratios, rounded; with that rounding the statistic is a Markov chain on whole numbers, so the
    probability of a false alarm is computed and not approximated: the threshold is the least one at which

        P(an alarm in ``horizon`` batches | new with probability ``growth``, independently) <= ``false_alarm``.

    Data that grow faster alarm more seldom still. After growth has stopped, the alarm comes ``threshold`` or
    a few more batches later.

    Args:
        growth: Share of batches with something new, from which on data count as growing.
        stopped: Share of batches that look new by chance after growth has stopped, below ``growth``.
        horizon: Number of batches that the false-alarm probability is for.
        false_alarm: Probability of an alarm within the horizon while data grow.

    Raises:
        ConfigurationError: If the shares are not fractions with ``stopped`` below ``growth``, or horizon is
            not at least 1.

    Example:
        >>> cusum = GrowthCusum(growth=0.7)
        >>> cusum.threshold, cusum.step_back, [cusum.update(new=False) for _ in range(7)][-2:]
        (7, 2, [False, True])

    Source: Reynolds and Stoumbos (1999), A CUSUM chart for monitoring a proportion when inspecting
    continuously, J. Qual. Technol. 31, 87-108; Markov chain: Brook and Evans (1972), Biometrika 59, 539-549.
    """

    def __init__(
        self, *, growth: float = 0.7, stopped: float = 0.05, horizon: int = 100, false_alarm: float = 0.05
    ) -> None:
        fraction(growth, "growth")
        fraction(stopped, "stopped")
        fraction(false_alarm, "false_alarm")
        if not stopped < growth:
            raise ConfigurationError(f"stopped={stopped!r} is not below growth={growth!r}; raise growth.")
        if horizon < 1:
            raise ConfigurationError(f"horizon={horizon!r}, expected at least 1 batch; 100 is usual.")
        ratio = math.log(growth / stopped) / math.log((1.0 - stopped) / (1.0 - growth))
        self.growth = growth
        self.step_back = max(1, round(ratio))
        self.threshold = _least_threshold(growth, self.step_back, horizon=horizon, false_alarm=false_alarm)
        self.statistic = 0

    @property
    def stopped(self) -> bool:
        """Whether the statistic stands at its threshold; something new takes it down again."""
        return self.statistic >= self.threshold

    def update(self, *, new: bool) -> bool:
        """Take the next batch.

        Args:
            new: Whether it brought something new.

        Returns:
            Whether growth counts as stopped now.
        """
        moved = self.statistic - self.step_back if new else self.statistic + 1
        self.statistic = min(max(moved, 0), self.threshold)
        return self.stopped


def alarm_probability(share: float, *, threshold: int, step_back: int, horizon: int) -> float:
    """The probability of an alarm within a number of batches, each new independently with one probability.

    Args:
        share: Probability that a batch is new.
        threshold: Where the alarm is.
        step_back: What a new batch takes away.
        horizon: Number of batches.
    """
    states = np.arange(threshold)
    stay = np.zeros((threshold, threshold))
    stay[states[:-1], states[1:]] = 1.0 - share
    np.add.at(stay, (states, np.maximum(states - step_back, 0)), share)
    silent: FloatArray = np.zeros(threshold)
    silent[0] = 1.0
    for _ in range(horizon):
        silent = silent @ stay
    return 1.0 - float(silent.sum())


def _least_threshold(growth: float, step_back: int, *, horizon: int, false_alarm: float) -> int:
    for threshold in range(1, horizon + 1):
        found = alarm_probability(growth, threshold=threshold, step_back=step_back, horizon=horizon)
        if found <= false_alarm:
            return threshold
    raise ConfigurationError(
        f"no threshold within horizon={horizon} batches keeps false_alarm={false_alarm} at growth={growth}; "
        "raise growth, horizon or false_alarm."
    )
