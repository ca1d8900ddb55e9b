"""Evaluated few-shot tasks of two runs: the difference of their means, over pairs where both met the same tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from lightning_lde.statistics import Interval

LEAST_SHARE_PAIRED = 0.5
SCORES = ("accuracy", "loss")

_TaskKey = tuple[Any, ...]


class Setting(NamedTuple):
    """What was evaluated, and how."""

    dataset: str | None
    dataset_id: str | None
    split: str | None
    ways: int
    shots: int
    method: str
    inner_steps: int | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The tasks of one run under one setting.

    Attributes:
        setting: What was evaluated, and how.
        scores: ``accuracy`` and ``loss`` by task; of a task that was evaluated several times in a segment, the mean.
    """

    setting: Setting
    scores: Mapping[str, Mapping[_TaskKey, float]]

    @property
    def n(self) -> int:
        """Number of tasks."""
        return len(self.scores[SCORES[0]])


@dataclass(frozen=True, kw_only=True)
class ScoreDifference:
    """One score of two evaluations.

    Attributes:
        score: ``"accuracy"`` or ``"loss"``.
        first: Mean of the first run over all its tasks, with Student's t interval; None if none is finite.
        second: Mean of the second.
        difference: Second less first; None where it cannot be had.
        low: Lower bound of its 95 % interval: Student's t over pairs, Welch's where they are not paired.
        high: Upper bound of it.
        n_pairs: Pairs of tasks in the difference, 0 where it is not paired.
        n_not_finite: Values of both runs left out because they are NaN or infinite.
    """

    score: str
    first: Interval | None
    second: Interval | None
    difference: float | None
    low: float | None
    high: float | None
    n_pairs: int
    n_not_finite: int


@dataclass(frozen=True, kw_only=True)
class EvaluationDifference:
    """Two evaluations and how they differ.

    Attributes:
        first: The first run's setting.
        second: The second's; it may use another method, or other data.
        n_first: Tasks of the first.
        n_second: Tasks of the second.
        n_common: Tasks that both evaluated: same id, seed, classes, ways, shots and queries.
        is_paired: Whether the differences are over common tasks: where these are at least half of the smaller side.
        scores: Accuracy and loss.
    """

    first: Setting
    second: Setting
    n_first: int
    n_second: int
    n_common: int
    is_paired: bool
    scores: tuple[ScoreDifference, ...]

    def as_dict(self) -> dict[str, Any]:
        """All of it as nested dicts."""
        return {**asdict(self), "first": self.first._asdict(), "second": self.second._asdict()}


def evaluations(rows: Iterable[Mapping[str, Any]]) -> list[Evaluation]:
    """The evaluations of one run, of each setting those of the newest segment that has it.

    Args:
        rows: Rows of ``episodes`` of the run, with the columns ``dataset`` and ``split`` beside.
    """
    newest: dict[Setting, tuple[int, list[Mapping[str, Any]]]] = {}
    for row in rows:
        setting = Setting(*(row[name] for name in Setting._fields))
        segment, kept = newest.get(setting, (-1, []))
        if row["segment"] > segment:
            newest[setting] = (row["segment"], [row])
        elif row["segment"] == segment:
            kept.append(row)
    return [
        Evaluation(setting=setting, scores={score: _means(kept, score) for score in SCORES})
        for setting, (_, kept) in sorted(newest.items(), key=_by_setting)
    ]


def compare_evaluations(first: Sequence[Evaluation], second: Sequence[Evaluation]) -> list[EvaluationDifference]:
    """Bring together what two runs evaluated, and compare.

    An evaluation meets the one of the other run with the same data, ways, shots, method and inner steps; where there
    is none, one that differs in the method; where there is none, all with the same data, ways and shots; and where
    there is none, all with the same ways and shots.

    Args:
        first: Evaluations of the first run.
        second: Evaluations of the second.
    """
    return [compare_two(one, other) for one, other in _partners(list(first), list(second))]


def compare_two(first: Evaluation, second: Evaluation) -> EvaluationDifference:
    """The difference between two evaluations, paired by task where half of the tasks or more are common."""
    # An id that is only a number says nothing about another data set.
    same_data = first.setting.dataset_id == second.setting.dataset_id
    common = list(first.scores[SCORES[0]].keys() & second.scores[SCORES[0]].keys()) if same_data else []
    is_paired = len(common) >= max(2, math.ceil(LEAST_SHARE_PAIRED * min(first.n, second.n)))
    return EvaluationDifference(
        first=first.setting,
        second=second.setting,
        n_first=first.n,
        n_second=second.n,
        n_common=len(common),
        is_paired=is_paired,
        scores=tuple(
            _score(score, first.scores[score], second.scores[score], sorted(common, key=repr) if is_paired else None)
            for score in SCORES
        ),
    )


def _score(
    score: str, first: Mapping[_TaskKey, float], second: Mapping[_TaskKey, float], common: list[_TaskKey] | None
) -> ScoreDifference:
    from lightning_lde.query._figures import interval_of
    from lightning_lde.statistics import mean_difference

    ours, theirs = (list(filter(math.isfinite, values.values())) for values in (first, second))
    difference = low = high = None
    n_pairs = 0
    if common is not None:
        found = interval_of([second[task] - first[task] for task in common])
        if found is not None:
            difference, low, high, n_pairs = found.mean, found.low, found.high, found.n
    elif ours and theirs:
        welch = mean_difference(ours, theirs)
        difference, low, high = welch.difference, welch.low, welch.high
    return ScoreDifference(
        score=score,
        first=interval_of(ours),
        second=interval_of(theirs),
        difference=difference,
        low=low,
        high=high,
        n_pairs=n_pairs,
        n_not_finite=len(first) + len(second) - len(ours) - len(theirs),
    )


_LEVELS: tuple[tuple[Callable[[Setting], tuple[Any, ...]], bool], ...] = (
    (lambda setting: tuple(setting), False),
    (lambda setting: (*setting[:5], setting.inner_steps), False),
    (lambda setting: setting[:5], True),
    (lambda setting: (setting.ways, setting.shots), True),
)
"""What two settings must have in common, from most to least, and whether each may meet several."""


def _partners(first: list[Evaluation], second: list[Evaluation]) -> list[tuple[Evaluation, Evaluation]]:
    found: list[tuple[Evaluation, Evaluation]] = []
    for level, several in _LEVELS:
        met = [(one, other) for one in first for other in second if level(one.setting) == level(other.setting)]
        if not several:
            met = _one_each(met)
        found += met
        taken = {id(each) for pair in met for each in pair}
        first = [each for each in first if id(each) not in taken]
        second = [each for each in second if id(each) not in taken]
    return found


def _one_each(pairs: list[tuple[Evaluation, Evaluation]]) -> list[tuple[Evaluation, Evaluation]]:
    """Pairs in which both sides have no other partner."""
    ones, others = ([id(pair[side]) for pair in pairs] for side in (0, 1))
    return [pair for pair in pairs if ones.count(id(pair[0])) == 1 and others.count(id(pair[1])) == 1]


def _by_setting(item: tuple[Setting, object]) -> list[tuple[bool, Any]]:
    return [(value is not None, value) for value in item[0]]


def _means(rows: list[Mapping[str, Any]], score: str) -> dict[_TaskKey, float]:
    values: dict[_TaskKey, list[float]] = {}
    for row in rows:
        key = (row["episode_id"], row["episode_seed"], tuple(row["classes"] or ()), row["queries"])
        values.setdefault(key, []).append(row[score])
    return {key: sum(each) / len(each) for key, each in values.items()}


def evaluation_title(setting: Setting) -> str:
    """What was evaluated and how, in words."""
    steps, where, tasks = setting_words(setting)
    inside = ", ".join(part for part in (where, tasks) if part)
    return f"{', '.join(part for part in (setting.method, steps) if part)} ({inside})"


def setting_words(setting: Setting) -> tuple[str, str, str]:
    """Inner steps, data and size of the tasks in words, empty where nothing is known.

    Example:
        >>> setting_words(Setting("birds", "d", "test", 5, 1, "maml", 10))
        ('10 inner steps', 'birds test', '5-way 1-shot')
    """
    steps = "" if setting.inner_steps is None else f"{setting.inner_steps} inner steps"
    where = " ".join(part for part in (setting.dataset, setting.split) if part)
    return steps, where, f"{setting.ways}-way {setting.shots}-shot"
