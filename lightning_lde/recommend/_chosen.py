"""The recommender that does best on held-out data sets of the table itself, and the average where none does."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from lightning_lde.errors import ConfigurationError

from ._agreement import agreement_p
from ._empirical_bayes import EmpiricalBayes
from ._experience import Experience, experience_of
from ._folds import families, fold_numbers
from ._held_out import HeldOut, held_out_rows, regret_curve
from ._protocol import Session
from ._simple import AverageRank, GreedyPortfolio, RandomChoice
from ._table import FloatArray, ResultTable

_LEAST_DATASETS = 4
_MOST_CANDIDATES = 500
_MOST_DATASETS = 80
_TRIAL_TREES = 50
_LENGTH = 20
_SURE = 0.01
_ERRORS = 4.0
_AVERAGE = "average rank"
_CHANCE = "random"
_BAYES = "empirical Bayes"


class Learner(Protocol):
    """A recommender that can share its experience with others."""

    def learn(self, experience: Experience) -> Learner:
        """Learn from experience."""
        ...

    def start(
        self, descriptors: Mapping[str, float | None] | None = None, *, candidates: Sequence[str] | None = None
    ) -> Session:
        """Begin with a data set."""
        ...


MEMBERS: Mapping[str, Callable[[], Learner]] = {
    _AVERAGE: AverageRank,
    "greedy portfolio": GreedyPortfolio,
    # Its trees are pulled towards the average by what they are worth, so that no form without descriptors is needed.
    _BAYES: EmpiricalBayes,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOutRegret:
    """Regret of a recommender on held-out data sets of the table it learns from.

    Args:
        recommender: Its name.
        regret: Mean regret after 1, 2, … recommendations, in hundredths of each data set's range.
        standard_error: Of each of them, over families of data sets.
        gain: The average rank's regret less its own, mean over the steps with weights 1, 1/2, 1/3, …: each doubling of
            what one is ready to try counts about the same.
        gain_error: Standard error of the gain, over families of data sets.
    """

    recommender: str
    regret: tuple[float, ...]
    standard_error: tuple[float, ...]
    gain: float
    gain_error: float


class ChosenByHoldout:
    """Learns, on the table itself, which recommender to trust; the default of [recommend][].

    Families of data sets are held out in turn. Average rank stays unless another has less regret over the first 20
    recommendations, early ones weighing most, by more than the standard error of the difference over families. Of those
    that have, empirical Bayes, which learns from what is told, stays unless another is better by as much.
    ``reason`` says that nothing can be learned where data sets do not agree on configurations (p of 0.01 or more), and
    the chosen one is better by four standard errors neither than chance nor than the average rank: folds share most of
    what they learn from, so that two standard errors are exceeded too often.

    Args:
        folds: Parts into which the families are divided; each recommender learns that often.
        seed: Seed of the folds, of random proposals, and of which candidates stand for many.

    Attributes:
        chosen: Name of the recommender in use.
        reason: Why it is only the average, or chance; None where it is better.
        held_out: What was measured, for each recommender.
        expected_regret: Mean held-out regret of the chosen one after 1, 2, … recommendations.
    """

    def __init__(self, *, folds: int = 5, seed: int = 0) -> None:
        self.folds, self.seed = folds, seed
        self.chosen = _AVERAGE
        self.reason: str | None = None
        self.held_out: tuple[HeldOutRegret, ...] = ()
        self.expected_regret: tuple[float, ...] = ()
        self._learner: Learner | None = None

    def fit(self, table: ResultTable) -> ChosenByHoldout:
        """Compare the recommenders, choose one, and let it learn from the whole table."""
        return self.learn(experience_of(table))

    def learn(self, experience: Experience) -> ChosenByHoldout:
        """The same from experience."""
        groups = families(experience.table)
        rows = held_out_rows(experience.table, 0.0)
        if len(set(groups.values())) < _LEAST_DATASETS:
            few = f"{len(set(groups.values()))} different data sets"
            self.chosen, self.reason = _AVERAGE, f"{few} are too few to compare recommenders on; at least 4 are needed."
        elif not rows:
            self.chosen = _AVERAGE
            self.reason = "no data set has two configurations with different results: there is nothing to compare."
        else:
            self._choose(*self._held_out(experience, groups, rows), agreement=_agreement(experience, groups))
        self._learner = MEMBERS[self.chosen]().learn(experience)
        return self

    def start(
        self, descriptors: Mapping[str, float | None] | None = None, *, candidates: Sequence[str] | None = None
    ) -> Session:
        """Begin with a data set."""
        if self._learner is None:
            raise ConfigurationError("the recommender has learned nothing; call fit(table) first.")
        return self._learner.start(descriptors, candidates=candidates)

    def _held_out(
        self, experience: Experience, groups: Mapping[str, str], rows: Mapping[str, HeldOut]
    ) -> tuple[dict[str, FloatArray], list[str]]:
        """Regret of each recommender, shape (data sets, steps), and the family of each data set."""
        table = experience.table
        trials: dict[str, Callable[[], Learner]] = {**MEMBERS, _BAYES: lambda: EmpiricalBayes(n_trees=_TRIAL_TREES)}
        fold = fold_numbers(table, self.folds, groups, seed=self.seed)
        rng = np.random.default_rng(self.seed)
        if len(rows) > _MOST_DATASETS:
            rows = {name: rows[name] for name in rng.choice(sorted(rows), _MOST_DATASETS, replace=False).tolist()}
        regrets: dict[str, list[FloatArray]] = {name: [] for name in (_CHANCE, *MEMBERS)}
        order: list[str] = []
        for number in range(int(fold.max()) + 1):
            inside = {name for name, at in zip(table.datasets, fold, strict=True) if at == number}
            tried = sorted(inside & set(rows))
            if not tried:
                continue
            past = experience.without(inside)
            members = {name: make().learn(past) for name, make in trials.items()}
            members[_CHANCE] = RandomChoice(seed=self.seed + number).learn(past)
            for dataset in tried:
                row = rows[dataset].sample(_MOST_CANDIDATES, rng)
                order.append(groups[dataset])
                for name, member in members.items():
                    session = member.start(table.descriptors_of(dataset), candidates=row.ids)
                    regrets[name].append(100.0 * regret_curve(session, row, _LENGTH))
        return {name: np.array(curves) for name, curves in regrets.items()}, order

    def _choose(self, regrets: Mapping[str, FloatArray], groups: Sequence[str], *, agreement: float) -> None:
        self.held_out = tuple(_summary(name, regrets[name], regrets[_AVERAGE], groups) for name in regrets)
        found = {one.recommender: one for one in self.held_out}
        able = [name for name in MEMBERS if found[name].gain > found[name].gain_error]
        self.chosen = max(able, key=lambda name: found[name].gain, default=_AVERAGE)
        over_bayes = _summary(self.chosen, regrets[self.chosen], regrets[_BAYES], groups)
        if _BAYES in able and over_bayes.gain <= over_bayes.gain_error:
            self.chosen = _BAYES
        best, chance = found[self.chosen], found[_CHANCE]
        over_chance = _summary(self.chosen, regrets[self.chosen], regrets[_CHANCE], groups)
        self.expected_regret = best.regret
        sure = over_chance.gain > _ERRORS * over_chance.gain_error or best.gain > _ERRORS * best.gain_error
        if agreement >= _SURE and not sure:
            self.chosen = _AVERAGE
            self.reason = (
                f"nothing can be learned: data sets do not agree on configurations (p {agreement:.2f}); on held-out "
                f"data sets {best.recommender} misses "
                f"{np.mean(best.regret):.1f} % of the range and chance {np.mean(chance.regret):.1f} % "
                f"(difference {over_chance.gain:.1f}, standard error {over_chance.gain_error:.1f}); tell more results."
            )
        elif self.chosen == _AVERAGE:
            self.reason = "no recommender is better on held-out data sets than the average rank by a standard error."
        else:
            self.reason = None


def _agreement(experience: Experience, groups: Mapping[str, str]) -> float:
    """The p of agreement; 1 where data sets share no configurations, and neighbours on a surface agree anyway."""
    if not experience.shares_configurations:
        return 1.0
    return agreement_p(experience.scores.values, [groups[name] for name in experience.table.datasets])


def _summary(name: str, regret: FloatArray, baseline: FloatArray, groups: Sequence[str]) -> HeldOutRegret:
    weights = 1.0 / np.arange(1, regret.shape[1] + 1)
    gains = (baseline - regret) @ (weights / weights.sum())
    return HeldOutRegret(
        recommender=name,
        regret=tuple(float(value) for value in regret.mean(axis=0)),
        standard_error=tuple(_clustered_error(column, groups) for column in regret.T),
        gain=float(gains.mean()),
        gain_error=_clustered_error(gains, groups),
    )


def _clustered_error(values: FloatArray, groups: Sequence[str]) -> float:
    """Standard error of a mean whose values come in groups (Liang and Zeger, 1986, Biometrika 73, 13-22)."""
    _, labels = np.unique(np.array(groups, dtype=str), return_inverse=True)
    sums = np.bincount(labels, weights=values - values.mean())
    count = sums.size
    return float(math.sqrt(count / (count - 1) * (sums**2).sum()) / values.size) if count > 1 else math.inf
