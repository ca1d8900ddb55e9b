"""What repetitions are worth to recommendations: learned from single runs, and from means over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lightning_lde.errors import ConfigurationError, DataError

from ._evaluation import BASELINE, evaluate, mean_interval
from ._protocol import Recommender
from ._simple import AverageRank, RandomChoice
from ._table import ResultTable

STEPS = (1, 2, 3, 5, 10)


@dataclass(frozen=True, kw_only=True)
class GainStep:
    """Mean regret on held-out data sets after some tries, in hundredths of each data set's range.

    Attributes:
        step: How many configurations were tried.
        single: Learned from one run of each configuration and data set, mean over draws.
        aggregated: Learned from means over repetitions.
        gain: Single less aggregated: above 0, repetitions helped.
        low: Lower bound of its 95 % interval, by the bootstrap over data sets, or groups of them.
        high: Upper bound of it.
        average_rank: Regret of the configuration that is best on average, learned from means.
        random: Regret of configurations at random.
    """

    step: int
    single: float
    aggregated: float
    gain: float
    low: float
    high: float
    average_rank: float
    random: float


@dataclass(frozen=True, kw_only=True)
class AggregationGain:
    """The gain of aggregation, by leaving out one data set at a time.

    Attributes:
        steps: Figures after so many tries.
        n_datasets: Data sets that were held out.
        n_draws: Draws of single runs.
        repetitions: Mean number of repetitions.
        datasets: Gain on each data set after the first try.
    """

    steps: tuple[GainStep, ...]
    n_datasets: int
    n_draws: int
    repetitions: float
    datasets: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, ready for JSON."""
        return asdict(self)


def gain_of_aggregation(
    table: ResultTable,
    *,
    recommender: Callable[[], Recommender] | None = None,
    groups: Mapping[str, str] | None = None,
    steps: Sequence[int] = STEPS,
    draws: int = 10,
    resamples: int = 9999,
    seed: int = 0,
) -> AggregationGain:
    """Recommend for each data set from the others, once from single runs and once from means, and compare the regret.

    Regret is measured, and results of the held-out data set are told, by means over repetitions both times: only what
    is learned from differs. The experiment is that of the paper that the lake is named after, with intervals.

    Args:
        table: One row for each run.
        recommender: Makes what learns; by default `AverageRank`. `ChosenByHoldout` takes minutes.
        groups: Group of each data set; related ones are held out, and drawn in the bootstrap, together.
        steps: Numbers of tries after which to look.
        draws: How often single runs are drawn.
        resamples: Resamples of data sets or groups.
        seed: Seed of draws and resamples.

    Raises:
        DataError: If no configuration was repeated, or no two data sets have results.
        ConfigurationError: If draws is below 1.
    """
    if draws < 1:
        raise ConfigurationError(f"draws is {draws}, expected at least 1 draw of single runs.")
    make = recommender or AverageRank
    truth = table.aggregated()
    if not (truth.n > 1).any():
        raise DataError("no configuration was repeated on a data set: there is nothing to aggregate")
    options: dict[str, Any] = {"groups": groups, "steps": tuple(steps), "truth": truth, "seed": seed}
    chance = {f"random {n}": RandomChoice(seed=seed + n) for n in range(draws)}
    whole = evaluate(truth, {"aggregated": make(), **chance}, **options)
    random = np.mean([whole.regret[name] for name in chance], axis=0)
    drawn = [evaluate(table.single(seed=seed + n), {"single": make()}, **options) for n in range(draws)]
    single = np.mean([one.regret["single"] for one in drawn], axis=0)
    gain = single - whole.regret["aggregated"]
    low, high = mean_interval(gain, whole.groups, resamples=resamples, seed=seed)
    return AggregationGain(
        steps=tuple(
            GainStep(
                step=step,
                single=float(single[:, at].mean()),
                aggregated=float(whole.regret["aggregated"][:, at].mean()),
                gain=float(gain[:, at].mean()),
                low=float(low[at]),
                high=float(high[at]),
                average_rank=float(whole.regret[BASELINE][:, at].mean()),
                random=float(random[:, at].mean()),
            )
            for at, step in enumerate(whole.steps)
        ),
        n_datasets=len(whole.datasets),
        n_draws=draws,
        repetitions=float(truth.n.mean()),
        datasets=dict(zip(whole.datasets, gain[:, 0].tolist(), strict=True)),
    )
