"""A sampler for Optuna that begins where past data sets ended; imported by `warm_start`, since Optuna is an extra."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.samplers import BaseSampler, TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import TrialState

from ._cube import Cube
from ._past import Observation, PastTrials
from ._posterior import expectation, with_chances
from ._prior import Prior, learn_prior
from ._table import FloatArray

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_N_RANDOM = 1000
_N_BEST = 5
_N_NEAR_EACH = 60
_N_PAST_EACH = 20
_LOG_STEPS = (math.log(0.02), math.log(0.3))


class PastSampler(BaseSampler):
    """Chooses by expected improvement under a prior that was learned from other data sets.

    Before the first result it proposes what the past expects most of; the more is known of the data set itself, the
    less the past counts, and where it misleads, it is left aside. Without results on two other data sets in which the
    parameters occur, or where the search space changes from trial to trial, Optuna's own TPE samples.

    Args:
        past: Past trials on other data sets, and on this one.
        space: The study's search space; without it what all finished trials have in common.
        seed: Seed of candidates and of the trees.
    """

    def __init__(
        self, past: PastTrials, *, space: Mapping[str, BaseDistribution] | None = None, seed: int | None = None
    ) -> None:
        self._past = past
        self._space = None if space is None else dict(space)
        self._common = IntersectionSearchSpace()
        self._random = np.random.default_rng(seed)
        self._fallback = TPESampler(seed=seed)
        self._learned: dict[tuple[Any, ...], tuple[Cube, Prior | None, FloatArray, list[Observation]]] = {}

    def reseed_rng(self) -> None:
        """Draw other candidates, as parallel workers do."""
        self._random = np.random.default_rng()
        self._fallback.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that are sampled together."""
        space = self._space if self._space is not None else self._common.calculate(study)
        # A parameter with one value is no choice.
        return {name: one for name, one in space.items() if not one.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The settings of which the most improvement is expected."""
        if not search_space:
            return {}
        cube, prior, past_best, own = self._prior_over(search_space)
        if prior is None:
            return self._fallback.sample_relative(
                study, trial, self._fallback.infer_relative_search_space(study, trial)
            )
        told, values = _results(study, trial, cube, own)
        running = _running(study, trial, cube)
        if running.size:
            # What runs already is taken to come out as expected, so that parallel trials spread.
            expected = expectation(prior, running, told, values).mean()
            told, values = np.concatenate([told, running]), np.concatenate([values, expected])
        candidates = self._candidates(cube, told, values, past_best)
        found = expectation(prior, candidates, told, values)
        score = found.improvement(float(values.max())) if values.size else found.mean()
        return cube.decoded(candidates[int(np.argmax(score))])

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A parameter that is not sampled with others, by TPE."""
        return self._fallback.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Nothing is kept between trials: what is known is read from the study."""

    def _prior_over(
        self, space: Mapping[str, BaseDistribution]
    ) -> tuple[Cube, Prior | None, FloatArray, list[Observation]]:
        key = tuple(sorted((name, repr(one)) for name, one in space.items()))
        if key not in self._learned:
            cube = Cube(space)
            surfaces, columns, own = self._past.over(cube)
            prior = with_chances(learn_prior(surfaces, columns), surfaces) if len(surfaces) > 1 else None
            best = [one.points[np.argsort(-one.values, kind="stable")[:_N_PAST_EACH]] for one in surfaces]
            self._learned[key] = cube, prior, np.concatenate([np.empty((0, cube.width)), *best]), own
        return self._learned[key]

    def _candidates(self, cube: Cube, told: FloatArray, values: FloatArray, past_best: FloatArray) -> FloatArray:
        """Points at random, the best of past data sets, and points near the best of this one."""
        best = told[np.argsort(-values, kind="stable")[:_N_BEST]]
        near = np.repeat(best, _N_NEAR_EACH, axis=0)
        # Some coordinates only: a step in all of many is a step too far.
        sizes = np.exp(self._random.uniform(*_LOG_STEPS, (near.shape[0], 1)))
        moved = self._random.normal(0, sizes, near.shape) * (self._random.random(near.shape) < 0.5)
        flipped = np.where(self._random.random(near.shape) < 0.1, self._random.random(near.shape), near + moved)
        drawn = cube.drawn(_N_RANDOM, self._random)
        return np.concatenate([drawn, cube.snapped(past_best), cube.snapped(flipped)])


def _results(study: Study, trial: FrozenTrial, cube: Cube, own: Sequence[Observation]) -> tuple[FloatArray, FloatArray]:
    """Points and values of what is known of the data set, larger is better; what failed counts as the worst."""
    sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
    points = [one.point for one in own]
    values = [one.value for one in own]
    lost = []
    for one in study.get_trials(deepcopy=False):
        point = cube.encoded(one.params) if one.number != trial.number else None
        if point is None or not one.state.is_finished():
            continue
        if one.state == TrialState.COMPLETE and one.value is not None and np.isfinite(one.value):
            points.append(point)
            values.append(sign * one.value)
        elif one.state in {TrialState.FAIL, TrialState.PRUNED}:
            lost.append(point)
    if values:
        points += lost
        values += [min(values)] * len(lost)
    return np.array(points).reshape(len(points), cube.width), np.array(values, dtype=np.float64)


def _running(study: Study, trial: FrozenTrial, cube: Cube) -> FloatArray:
    trials = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    points = [cube.encoded(one.params) for one in trials if one.number != trial.number]
    found = [point for point in points if point is not None]
    return np.array(found).reshape(len(found), cube.width)
