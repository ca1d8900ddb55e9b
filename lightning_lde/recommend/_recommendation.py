"""What to try first on a new data set, what to expect of it, and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from scipy import stats

from lightning_lde.errors import ConfigurationError

from ._candidates import candidates_of
from ._chosen import ChosenByHoldout
from ._evidence import Evidence, SimilarDataset, evidence_for, similar_datasets
from ._importance import setting_importance
from ._protocol import Prediction, Recommender, Session
from ._table import ResultTable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Proposal:
    """One configuration to try.

    Args:
        configuration: Its id.
        settings: Its settings.
        mean: Expected metric.
        low: Lower bound of the interval of what one would measure.
        high: Upper bound of it.
        expected_regret: What the best after this many tries is expected to miss, in hundredths of the range between
            the worst and the best configuration, as measured on held-out data sets; None where that was not measured.
        n_datasets: Past data sets on which it was tried.
        n_repetitions: Runs behind that.
        evidence: Its results on the most similar of them.
    """

    configuration: str
    settings: Mapping[str, Any]
    mean: float
    low: float
    high: float
    expected_regret: float | None
    n_datasets: int
    n_repetitions: int
    evidence: tuple[Evidence, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contrast:
    """The first proposal beside the best of the others.

    Args:
        runner_up: Id of the configuration with the highest expectation after the first proposal.
        difference: Expected metric of the first less that of the runner-up.
        probability_better: That the first is better, by a normal distribution of the difference on one data set.
        settings: Settings in which they differ: those of the first and of the runner-up, by name.
    """

    runner_up: str
    difference: float
    probability_better: float
    settings: Mapping[str, tuple[Any, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recommendation:
    """Configurations to try on a new data set, best first, with the reasons.

    Args:
        metric: What is predicted.
        maximize: Whether a larger value is better.
        confidence: Coverage that the intervals aim at.
        recommender: What was used.
        proposals: What to try, in this order.
        similar: Most similar past data sets.
        importance: Share of each setting in how much results differ between configurations, from large to small.
        contrast: The first proposal beside the runner-up; None where there is one candidate only.
        reason: Why nothing better than the average could be used, where that is so, else None.
        n_datasets: Past data sets.
        n_runs: Past runs.
    """

    metric: str
    maximize: bool
    confidence: float
    recommender: str
    proposals: tuple[Proposal, ...]
    similar: tuple[SimilarDataset, ...]
    importance: Mapping[str, float]
    contrast: Contrast | None
    reason: str | None
    n_datasets: int
    n_runs: int

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, ready for JSON."""
        return dataclasses.asdict(self)


def recommend(
    table: ResultTable,
    descriptors: Mapping[str, float | None] | None = None,
    k: int = 5,
    *,
    recommender: Recommender | None = None,
    candidates: Sequence[str] | None = None,
    told: Mapping[str, float] | None = None,
    confidence: float = 0.95,
) -> Recommendation:
    """Recommend configurations for a new data set from past results.

    Args:
        table: Past results.
        descriptors: What is known of the new data set, by the table's names.
        k: Configurations to propose.
        recommender: By default the one that does best on held-out data sets of the table.
        candidates: Configurations to choose from; by default all of the table, or of more than 2,000 the best of each
            data set.
        told: What configurations reached on the new data set so far.
        confidence: Coverage of the intervals, a fraction.

    Raises:
        ConfigurationError: If k is below 1, confidence no fraction, or a candidate not in the table.

    Example:
        >>> table = ResultTable.from_columns(
        ...     dataset=["a", "a", "b", "b"], configuration=["x", "y"] * 2, metric=[0.7, 0.8, 0.5, 0.7]
        ... )
        >>> found = recommend(table, k=1)
        >>> found.proposals[0].configuration, found.proposals[0].n_datasets
        ('y', 2)
        >>> found.reason
        '2 different data sets are too few to compare recommenders on; at least 4 are needed.'
    """
    if not 0.0 < confidence < 1.0:
        raise ConfigurationError(f"confidence is {confidence}, expected a fraction between 0 and 1, such as 0.95.")
    chosen = recommender if recommender is not None else _default()
    cells = table.aggregated()
    asked_about = candidates if candidates is not None else candidates_of(cells, told or {})
    session = chosen.fit(table).start(descriptors, candidates=asked_about)
    for configuration, value in (told or {}).items():
        session.tell(configuration, value)
    asked = session.ask(k)
    predicted = session.predict()
    similar = similar_datasets(table, descriptors)
    regrets = list(getattr(chosen, "expected_regret", ()))[len(told or {}) :]
    return Recommendation(
        metric=table.metric,
        maximize=table.maximize,
        confidence=confidence,
        recommender=str(getattr(chosen, "chosen", type(chosen).__name__)),
        proposals=tuple(
            _proposal(cells, predicted, name, similar, regrets[number] if number < len(regrets) else None, confidence)
            for number, name in enumerate(asked)
        ),
        similar=similar,
        importance=setting_importance(cells, similar),
        contrast=_contrast(table, session, predicted, asked[0], told or {}) if asked else None,
        reason=getattr(chosen, "reason", None),
        n_datasets=len(table.datasets),
        n_runs=int(table.n.sum()),
    )


def _default() -> Recommender:
    return ChosenByHoldout()


def _proposal(
    cells: ResultTable,
    predicted: Prediction,
    name: str,
    similar: Sequence[SimilarDataset],
    regret: float | None,
    confidence: float,
) -> Proposal:
    place = predicted.configurations.index(name)
    mean, sd = float(predicted.mean[place]), float(predicted.sd[place])
    margin = float(stats.norm.ppf(0.5 + confidence / 2.0)) * sd
    here = cells.configuration_index == cells.configurations.index(name)
    return Proposal(
        configuration=name,
        settings=dict(cells.settings_of(name)),
        mean=mean,
        low=mean - margin,
        high=mean + margin,
        expected_regret=regret,
        n_datasets=int(here.sum()),
        n_repetitions=int(cells.n[here].sum()),
        evidence=evidence_for(cells, name, similar),
    )


def _contrast(
    table: ResultTable, session: Session, predicted: Prediction, first: str, told: Mapping[str, float]
) -> Contrast | None:
    sign = 1.0 if table.maximize else -1.0
    others = [place for place, name in enumerate(predicted.configurations) if name != first and name not in told]
    if not others:
        return None
    runner_up = predicted.configurations[max(others, key=lambda one: sign * predicted.mean[one])]
    difference, sd = session.difference(first, runner_up)
    mine, theirs = table.settings_of(first), table.settings_of(runner_up)
    names = sorted({name for name in (*mine, *theirs) if mine.get(name) != theirs.get(name)})
    return Contrast(
        runner_up=runner_up,
        difference=difference,
        probability_better=float(stats.norm.cdf(sign * difference / sd)) if sd > 0 else float(sign * difference > 0),
        settings={name: (mine.get(name), theirs.get(name)) for name in names},
    )
