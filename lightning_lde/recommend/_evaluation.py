"""Held-out proof: what recommenders would have reached on data sets that they had not seen."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lightning_lde.errors import ConfigurationError, DataError

from ._folds import fold_numbers
from ._held_out import HeldOut, held_out_rows, regret_curve
from ._protocol import Recommender, Session
from ._simple import AverageRank
from ._table import FloatArray, ResultTable

STEPS = (1, 3, 5, 10, 20)
BASELINE = "average rank"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """Regret of the baseline less that of a recommender: above 0, the recommender is better.

    Args:
        recommender: Its name.
        step: Recommendations that were tried.
        mean: Mean difference over data sets, in hundredths of each data set's range.
        low: Lower bound of its interval, by the bootstrap over data sets or groups.
        high: Upper bound of it.
        wins: Share of data sets on which the recommender is better.
        losses: Share on which it is worse.
    """

    recommender: str
    step: int
    mean: float
    low: float
    high: float
    wins: float
    losses: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Regret of recommenders on held-out data sets.

    The regret after k recommendations is (best possible - best found) / (best - worst) of the data set, times 100.

    Args:
        datasets: Data sets held out; constant ones are left out.
        groups: Group of each; the bootstrap draws groups.
        steps: Numbers of recommendations.
        regret: Of each recommender, shape (data sets, steps).
        ndcg: Normalised discounted cumulative gain of the first ten before anything was told, shape (data sets,).
        fit_s: Seconds of learning, mean over folds.
        ask_s: Seconds of one proposal and its answer, mean.
        chosen: What an automatic recommender chose in each fold.
    """

    datasets: tuple[str, ...]
    groups: tuple[str, ...]
    steps: tuple[int, ...]
    regret: Mapping[str, FloatArray]
    ndcg: Mapping[str, FloatArray]
    fit_s: Mapping[str, float]
    ask_s: Mapping[str, float]
    chosen: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def differences(
        self, *, baseline: str = BASELINE, confidence: float = 0.95, resamples: int = 9999, seed: int = 0
    ) -> list[Difference]:
        """Each recommender against a baseline, paired over data sets.

        Args:
            baseline: Name of what is compared with.
            confidence: Coverage of the intervals, a fraction.
            resamples: Resamples of groups.
            seed: Seed of the resamples.

        Raises:
            ConfigurationError: If the baseline was not evaluated.
        """
        if baseline not in self.regret:
            raise ConfigurationError(f"{baseline!r} was not evaluated; there are {', '.join(self.regret)}.")
        found = []
        for name, regret in self.regret.items():
            if name == baseline:
                continue
            gain = self.regret[baseline] - regret
            low, high = mean_interval(gain, self.groups, confidence=confidence, resamples=resamples, seed=seed)
            for place, step in enumerate(self.steps):
                column = gain[:, place]
                found.append(
                    Difference(
                        recommender=name,
                        step=step,
                        mean=float(column.mean()),
                        low=float(low[place]),
                        high=float(high[place]),
                        wins=float((column > 0).mean()),
                        losses=float((column < 0).mean()),
                    )
                )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Means, medians and differences, ready for JSON."""
        summary = {
            name: {
                "regret_mean": _by_step(self.steps, regret.mean(axis=0)),
                "regret_median": _by_step(self.steps, np.median(regret, axis=0)),
                "ndcg_at_10": round(float(self.ndcg[name].mean()), 4),
                "fit_s": round(self.fit_s[name], 4),
                "ask_s": round(self.ask_s[name], 6),
                **({"chosen": list(self.chosen[name])} if name in self.chosen else {}),
            }
            for name, regret in self.regret.items()
        }
        differences = [dataclasses.asdict(one) for one in self.differences()] if BASELINE in self.regret else []
        counts = {"n_datasets": len(self.datasets), "n_groups": len(set(self.groups))}
        return {**counts, "steps": list(self.steps), "recommenders": summary, "against_average_rank": differences}


def evaluate(
    table: ResultTable,
    recommenders: Mapping[str, Recommender],
    *,
    folds: int | None = None,
    groups: Mapping[str, str] | None = None,
    steps: Sequence[int] = STEPS,
    min_range: float = 0.0,
    truth: ResultTable | None = None,
    seed: int = 0,
) -> Evaluation:
    """Hold out data sets, recommend for each, tell what was reached, and measure the regret.

    A recommender proposes one configuration among those tried on the held-out data set, is told the raw metric and
    proposes the next. Average rank is evaluated too where it is missing, as the baseline.

    Args:
        table: Results to learn from.
        recommenders: Recommenders by name; each is copied before it learns.
        folds: Number of folds over data sets; None leaves out one group at a time.
        groups: Group of each data set, such as [families][] finds; a group is held out as a whole.
        steps: Numbers of recommendations after which to look.
        min_range: Data sets whose best and worst differ by no more are left out, in units of the metric.
        truth: Results that are told and that regret is measured by; by default those of the table.
        seed: Seed of the folds.

    Raises:
        DataError: If no data set can be held out.
        ConfigurationError: If folds or groups do not fit the table, or a step is below 1.
    """
    if not steps or min(steps) < 1:
        raise ConfigurationError(f"steps are {list(steps)}, expected numbers of recommendations from 1 on.")
    asked = {**({} if BASELINE in recommenders else {BASELINE: AverageRank()}), **recommenders}
    fold = fold_numbers(table, folds, groups, seed=seed)
    rows = held_out_rows((truth or table).aggregated(), min_range)
    if not rows:
        raise DataError("no data set has results that differ; nothing can be evaluated.")
    notes: dict[str, _Notes] = {name: _Notes() for name in asked}
    order: list[str] = []
    for number in range(int(fold.max()) + 1):
        inside = [name for name, at in zip(table.datasets, fold, strict=True) if at == number]
        held_out = [name for name in inside if name in rows]
        if held_out:
            learned_from = table.for_datasets(set(table.datasets) - set(inside))
            for name, recommender in asked.items():
                _run_fold(recommender, learned_from, table, held_out, rows, tuple(steps), notes[name])
            order += held_out
    return Evaluation(
        datasets=tuple(order),
        groups=tuple(groups[name] if groups is not None else name for name in order),
        steps=tuple(steps),
        regret={name: np.array(one.regret) for name, one in notes.items()},
        ndcg={name: np.array(one.ndcg) for name, one in notes.items()},
        fit_s={name: float(np.mean(one.fit_s)) for name, one in notes.items()},
        ask_s={name: float(np.mean(one.ask_s)) for name, one in notes.items()},
        chosen={name: tuple(one.chosen) for name, one in notes.items() if one.chosen},
    )


@dataclasses.dataclass(kw_only=True)
class _Notes:
    regret: list[FloatArray] = dataclasses.field(default_factory=list)
    ndcg: list[float] = dataclasses.field(default_factory=list)
    fit_s: list[float] = dataclasses.field(default_factory=list)
    ask_s: list[float] = dataclasses.field(default_factory=list)
    chosen: list[str] = dataclasses.field(default_factory=list)


def _run_fold(
    recommender: Recommender,
    learned_from: ResultTable,
    table: ResultTable,
    held_out: list[str],
    rows: Mapping[str, HeldOut],
    steps: tuple[int, ...],
    notes: _Notes,
) -> None:
    began = time.perf_counter()
    fitted = copy.deepcopy(recommender).fit(learned_from)
    notes.fit_s.append(time.perf_counter() - began)
    if hasattr(fitted, "chosen"):
        notes.chosen.append(str(fitted.chosen))
    for name in held_out:
        row = rows[name]
        session = fitted.start(table.descriptors_of(name), candidates=row.ids)
        notes.ndcg.append(ndcg_at_10(session, row))
        began = time.perf_counter()
        found = regret_curve(session, row, max(steps))
        notes.ask_s.append((time.perf_counter() - began) / min(max(steps), row.values.size))
        notes.regret.append(100.0 * found[np.array(steps) - 1])


def ndcg_at_10(session: Session, row: HeldOut) -> float:
    """How well a session orders the candidates before it is told anything (Järvelin and Kekäläinen, 2002)."""
    from sklearn.metrics import ndcg_score

    predicted = row.sign * session.predict().mean
    return float(ndcg_score(row.scores[None, :], predicted[None, :], k=10))


def mean_interval(
    values: FloatArray, groups: Sequence[str], *, confidence: float = 0.95, resamples: int, seed: int
) -> FloatArray:
    """Percentile interval of the mean over data sets, by the bootstrap over groups, shape (2, steps).

    Args:
        values: Shape (data sets, steps).
        groups: Group of each data set, drawn as a whole.
        confidence: Coverage aimed at, a fraction.
        resamples: Resamples of groups.
        seed: Seed of the resamples: the same groups are drawn for the same seed.
    """
    _, labels = np.unique(np.array(groups, dtype=str), return_inverse=True)
    count = int(labels.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1.0 / count), size=resamples)
    weights = np.asarray(drawn[:, labels], dtype=np.float64)
    bounds = [50.0 * (1.0 - confidence), 50.0 * (1.0 + confidence)]
    return np.asarray(np.percentile(weights @ values / weights.sum(axis=1, keepdims=True), bounds, axis=0))


def _by_step(steps: tuple[int, ...], values: FloatArray) -> dict[str, float]:
    return {str(step): round(float(value), 3) for step, value in zip(steps, values, strict=True)}
