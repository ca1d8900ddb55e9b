"""A normal prior over configurations from past data sets, updated by what is told; expected improvement decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lightning_lde.errors import ConfigurationError

from ._covariance import Covariance, covariance
from ._experience import Experience, experience_of
from ._gaussian import GaussianPosterior
from ._protocol import Prediction
from ._scores import ScoreMatrix
from ._sessions import Ledger, at_least_one
from ._table import FloatArray, IntArray, ResultTable
from ._trees import DescribedMean, DescribedScores

_SCALES = 7
_FEWEST_FOR_SLOPE = 4


class EmpiricalBayes:
    """Takes the scores of a new data set for one more draw from what past data sets have shown.

    Mean and covariance over configurations are those of past data sets: the covariance by Ledoit and Wolf's shrinkage
    where most cells were tried, by factors where few were; what that leaves open, configurations with like settings
    share. With ``descriptors`` the mean is what extra trees expect of the data set, pulled towards the average, and the
    covariance is that of what they leave. Location and scale of the new data set are unknown, with priors from the past
    ones. The first proposal is the highest mean, each further one the largest expected improvement by what
    configurations share: what each has of its own is luck. Several at once are proposed as if each before had reached
    its expectation.

    Args:
        descriptors: Whether to use descriptors where there are some.
        improvement: Whether to propose by expected improvement; else by the highest mean.
        n_trees: Number of extra trees.
        seed: Seed of the trees.

    Source: Ledoit and Wolf (2004), J. Multivariate Analysis 88, 365-411; Wang et al. (2024), Pre-trained Gaussian
    processes for Bayesian optimization, JMLR 25 (a prior from past tasks).
    """

    def __init__(
        self, *, descriptors: bool = True, improvement: bool = True, n_trees: int = 200, seed: int = 0
    ) -> None:
        self.descriptors, self.improvement = descriptors, improvement
        self.n_trees, self.seed = n_trees, seed
        self._experience: Experience | None = None

    def fit(self, table: ResultTable) -> EmpiricalBayes:
        """Learn the prior."""
        return self.learn(experience_of(table))

    def learn(self, experience: Experience) -> EmpiricalBayes:
        """Learn the prior from experience."""
        self._experience = experience
        self._means = DescribedScores(experience, descriptors=self.descriptors, n_trees=self.n_trees, seed=self.seed)
        self._whole: dict[bool, Covariance] = {}
        return self

    def start(
        self, descriptors: Mapping[str, float | None] | None = None, *, candidates: Sequence[str] | None = None
    ) -> GaussianSession:
        """Begin with a data set."""
        if self._experience is None:
            raise ConfigurationError("the recommender has learned nothing; call fit(table) first.")
        ledger = Ledger(self._experience.table, candidates)
        known = dict(descriptors or {}) if self.descriptors else {}
        expected = self._means.expect(ledger.columns, known)
        found = self._covariance(ledger.columns, expected, known)
        return GaussianSession.over(self._experience, ledger, expected.mean, found, improvement=self.improvement)

    def _covariance(self, columns: IntArray, expected: DescribedMean, known: Mapping[str, float | None]) -> Covariance:
        """Covariance of the candidates; it is the same for each data set, and estimated once where that is possible."""
        experience = self._experience
        if experience is None or not experience.shares_configurations:
            return covariance(expected.residuals)
        kind = bool(known)
        if kind not in self._whole:
            everything = np.arange(len(experience.table.configurations))
            residuals = self._means.expect(everything, known).residuals
            gaps = ~np.isfinite(experience.observed(everything))
            self._whole[kind] = covariance(residuals, gaps=gaps, points=experience.points)
        return self._whole[kind].of(columns)


class GaussianSession:
    """A session that learns from what is told.

    Args:
        ledger: Candidates.
        posterior: What is expected of them.
        noise: Variance of a told score by repetition.
        improvement: Whether to propose by expected improvement once something was told.
    """

    def __init__(self, ledger: Ledger, posterior: GaussianPosterior, *, noise: float, improvement: bool) -> None:
        self._ledger, self._posterior = ledger, posterior
        self._noise, self._improvement = noise, improvement
        self._taken = 0

    @classmethod
    def over(
        cls,
        experience: Experience,
        ledger: Ledger,
        mean: FloatArray,
        covariance: Covariance,
        *,
        improvement: bool,
    ) -> GaussianSession:
        """A session whose location, scale and noise are like those of past data sets.

        Args:
            experience: Past results.
            ledger: Candidates.
            mean: Expected score of each candidate, shape (candidates,).
            covariance: Of their scores.
            improvement: Whether to propose by expected improvement once something was told.
        """
        scores = experience.scores
        noise = scores.noise[np.isfinite(scores.noise)]
        scales = np.quantile(scores.scale, (np.arange(_SCALES) + 0.5) / _SCALES)
        posterior = GaussianPosterior(
            mean,
            covariance.factors,
            covariance.own,
            location=location_for_scales(scores, scales),
            scales=scales,
            weights=np.full(_SCALES, 1.0 / _SCALES),
        )
        return cls(ledger, posterior, noise=float(noise.mean()) if noise.size else 0.0, improvement=improvement)

    def ask(self, k: int = 1) -> list[str]:
        """The next k configurations to try, best first."""
        at_least_one(k)
        posterior, values = self._settled(), list(self._ledger.values)
        untried = self._ledger.untried()
        chosen: list[int] = []
        while len(chosen) < k and untried.size:
            at = int(self._utility(posterior, values, untried).argmax())
            place, untried = int(untried[at]), np.delete(untried, at)
            chosen.append(place)
            if len(chosen) < k:
                posterior = posterior.copy() if posterior is self._posterior else posterior
                values.append(float(posterior.metric()[0][place]))
                posterior.tell(place, values[-1], noise=self._noise)
        return [self._ledger.candidates[place] for place in chosen]

    def tell(self, configuration: str, value: float) -> None:
        """Take in what a configuration reached; nan for one that failed."""
        self._ledger.note(configuration, value)

    def predict(self) -> Prediction:
        """What each candidate is expected to reach."""
        return self._ledger.prediction(*self._settled().metric())

    def difference(self, first: str, second: str) -> tuple[float, float]:
        """How much more one candidate reaches than another."""
        mean, sd = self._settled().difference(self._ledger.place(first), self._ledger.place(second))
        return self._ledger.sign * mean, sd

    def _settled(self) -> GaussianPosterior:
        """The posterior after all that was told; many values at once are quicker than one after the other."""
        told = self._ledger.places[self._taken :], self._ledger.values[self._taken :]
        self._posterior.tell_all(*told, noise=self._noise)
        self._taken = len(self._ledger.places)
        return self._posterior

    def _utility(self, posterior: GaussianPosterior, values: list[float], places: IntArray) -> FloatArray:
        if values and self._improvement:
            gain = posterior.expected_improvement(max(values), places)
            if gain.max() > 0.0:
                return gain
        return posterior.metric()[0][places]


def location_for_scales(scores: ScoreMatrix, scales: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of a data set's location for each of some scales, shapes (scales,).

    They go together: where the worst lies far below the best it lies low. Less than four data sets do not say how far.

    Args:
        scores: Past results.
        scales: Shape (scales,).
    """
    count, past = scores.location.size, scores.scale - scores.scale.mean()
    spread = float((past**2).sum())
    fits = count >= _FEWEST_FOR_SLOPE and spread > 0.0
    slope = float(past @ scores.location) / spread if fits else 0.0
    mean = float(scores.location.mean())
    errors = scores.location - mean - slope * past
    variance = float((errors**2).sum()) / (count - 2 if fits else count)
    return mean + slope * (scales - scores.scale.mean()), variance + scales**2 / 100.0
