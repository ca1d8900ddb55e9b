"""Studies that begin where past data sets ended: planted surfaces, real trainings, and results that flow back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy import stats

from lightning_lde import Lake
from lightning_lde.errors import ConfigurationError
from lightning_lde.recommend import ResultTable, warm_start
from lightning_lde.recommend._posterior import expectation
from lightning_lde.recommend._prior import PastSurface, learn_prior, tame

SPACE: dict[str, BaseDistribution] = {"lr": FloatDistribution(1e-4, 1.0, log=True), "wd": FloatDistribution(0.0, 1.0)}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
    optuna.logging.set_verbosity(before)


def score(lr: float, wd: float, *, best: float = 1e-2) -> float:
    """A bump in the logarithm of lr; wd matters less."""
    return -((np.log10(lr) - np.log10(best)) ** 2) - 0.5 * (wd - 0.5) ** 2


def past_of(
    function: Callable[[int, float, float], float], *, n_sets: int = 5, n: int = 30, maximize: bool = True
) -> ResultTable:
    """Each data set tried settings of its own, as searches do."""
    random = np.random.default_rng(0)
    columns: dict[str, list[Any]] = {"dataset": [], "metric": [], "lr": [], "wd": []}
    for number in range(n_sets):
        for _ in range(n):
            lr, wd = float(10 ** random.uniform(-4, 0)), float(random.random())
            columns["dataset"].append(f"set {number}")
            columns["metric"].append(function(number, lr, wd) * (1 if maximize else -1))
            columns["lr"].append(lr)
            columns["wd"].append(wd)
    return ResultTable.from_columns(
        dataset=columns["dataset"], metric=columns["metric"], maximize=maximize,
        settings={"optimizer.lr": columns["lr"], "wd": columns["wd"]},
    )  # fmt: skip


def values_of(study: optuna.Study) -> list[float]:
    return [float(trial.value) for trial in study.trials if trial.value is not None]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_optimum_of_others_is_found_at_once(direction: str) -> None:
    sign = 1 if direction == "maximize" else -1
    past = past_of(lambda number, lr, wd: 10**number * score(lr, wd), maximize=direction == "maximize")
    study = optuna.create_study(direction=direction)
    told = warm_start(study, past, space=SPACE, seed=0)
    assert (len(told.enqueued), told.n_datasets, told.n_results, told.reason) == (5, 5, 150, None)
    assert told.parameters == {"lr": "optimizer.lr", "wd": "wd"}
    study.optimize(
        lambda trial: sign * score(trial.suggest_float("lr", 1e-4, 1.0, log=True), trial.suggest_float("wd", 0.0, 1.0)),
        n_trials=8,
    )
    assert study.trials[0].params == told.enqueued[0]
    assert study.trials[0].user_attrs == {"lde": "recommended"}
    values = [sign * value for value in values_of(study)]
    # A random setting misses by 1.7 on average.
    assert values[0] > -0.3
    assert max(values) > -0.02


def test_the_sampler_alone_begins_with_what_the_past_expects() -> None:
    study = optuna.create_study(direction="maximize")
    told = warm_start(study, past_of(lambda number, lr, wd: score(lr, wd)), space=SPACE, k=0, seed=1)
    assert told.enqueued == ()
    trial = study.ask(SPACE)
    assert abs(np.log10(trial.params["lr"]) + 2) < 0.5


def test_a_past_that_misleads_is_left_aside() -> None:
    study = optuna.create_study(direction="maximize")
    warm_start(study, past_of(lambda number, lr, wd: score(lr, wd, best=1e-4)), space=SPACE, k=3, seed=0)
    for _ in range(20):
        trial = study.ask(SPACE)
        study.tell(trial, score(trial.params["lr"], trial.params["wd"], best=0.3))
    assert study.best_value > -0.05


def test_failed_and_running_trials() -> None:
    study = optuna.create_study(direction="maximize")
    warm_start(study, past_of(lambda number, lr, wd: score(lr, wd)), space=SPACE, k=0, seed=0)
    asked = [study.ask(SPACE) for _ in range(4)]
    places = np.array([[np.log10(trial.params["lr"]) / 4, trial.params["wd"]] for trial in asked])
    assert min(np.linalg.norm(a - b) for i, a in enumerate(places) for b in places[:i]) > 1e-3
    study.tell(asked[0], 0.0)
    study.tell(asked[1], state=optuna.trial.TrialState.FAIL)
    assert study.ask(SPACE).params.keys() == SPACE.keys()


def test_all_kinds_of_parameters_and_one_that_is_new() -> None:
    random = np.random.default_rng(0)
    width = [int(one) for one in random.integers(8, 64, 60)]
    act = [str(one) for one in random.choice(["relu", "gelu"], 60)]
    past = ResultTable.from_columns(
        dataset=[f"set {n % 3}" for n in range(60)], settings={"width": width, "act": act},
        metric=[w / 64 + (a == "gelu") for w, a in zip(width, act, strict=True)],
    )  # fmt: skip
    space = {
        "width": IntDistribution(8, 64), "act": CategoricalDistribution(["relu", "gelu", "new"]),
        "depth": IntDistribution(1, 3),
    }  # fmt: skip
    study = optuna.create_study(direction="maximize")
    told = warm_start(study, past, space=space, seed=0)
    assert told.reason == "no past run has depth: nothing is enqueued"
    trials = [study.ask(space) for _ in range(2)]
    assert trials[0].params["act"] == "gelu"
    assert trials[0].params["width"] > 50
    assert {trial.params["depth"] for trial in trials} <= {1, 2, 3}


def test_settings_outside_of_the_space_are_not_enqueued() -> None:
    narrow = {"lr": FloatDistribution(1e-4, 1e-3, log=True), "wd": SPACE["wd"]}
    study = optuna.create_study(direction="maximize")
    told = warm_start(study, past_of(lambda number, lr, wd: score(lr, wd)), space=narrow, seed=0)
    assert all(1e-4 <= one["lr"] <= 1e-3 for one in told.enqueued)
    assert told.enqueued[0]["lr"] > 3e-4


def test_without_a_space_trials_say_what_it_is() -> None:
    study = optuna.create_study(direction="maximize")
    past = past_of(lambda number, lr, wd: score(lr, wd))
    told = warm_start(study, past, seed=0, k=2, names={"rate": "optimizer.lr"})
    assert set(told.enqueued[0]) == {"rate", "wd"}
    study.optimize(
        lambda trial: score(trial.suggest_float("rate", 1e-4, 1.0, log=True), trial.suggest_float("wd", 0.0, 1.0)),
        n_trials=4,
    )
    assert study.trials[0].params == told.enqueued[0]
    assert max(values_of(study)) > -0.02


@pytest.mark.parametrize(("setting", "reason"), [("other", "no past run has lr"), ("lr", "three different results")])
def test_too_little_past_is_said_and_tpe_samples(setting: str, reason: str) -> None:
    past = ResultTable.from_columns(
        dataset=["a", "b", "c"], metric=[1.0, 2.0, 3.0], settings={setting: [0.1, 0.2, 0.3]}
    )
    study = optuna.create_study(direction="maximize")
    told = warm_start(study, past, space={"lr": SPACE["lr"]}, seed=0, k=1)
    assert told.enqueued == ()
    assert reason in str(told.reason)
    study.optimize(lambda trial: trial.suggest_float("lr", 1e-4, 1.0, log=True), n_trials=3)
    assert len(values_of(study)) == 3


def test_several_objectives_and_directions_that_do_not_fit() -> None:
    past = past_of(lambda number, lr, wd: score(lr, wd))
    with pytest.raises(ConfigurationError, match="2 objectives"):
        warm_start(optuna.create_study(directions=["minimize", "maximize"]), past)
    with pytest.raises(ConfigurationError, match="minimum"):
        warm_start(optuna.create_study(direction="minimize"), past)


def test_no_metric_of_a_lake(lake_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="which metric"):
        warm_start(optuna.create_study(), Lake(lake_path).create(), "a")


def test_the_posterior_of_one_hypothesis_is_a_gaussian_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a past that counts and with one scale: scikit-learn's process with the same kernel."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    from lightning_lde.recommend import _posterior

    random = np.random.default_rng(0)
    surfaces = [PastSurface(points=random.random((20, 2)), values=random.normal(size=20)) for _ in range(3)]
    prior = learn_prior(surfaces, np.ones(2, dtype=bool))
    monkeypatch.setattr(_posterior, "SHARES", ())
    monkeypatch.setattr(_posterior, "N_SCALES", 1)
    prior = replace(prior, chances=(1.0,))
    told, values, points = random.random((6, 2)), random.normal(size=6), random.random((9, 2))
    values = tame(values)
    found = expectation(prior, points, told, values)
    (scales, _), kernel = _posterior._scales(prior), prior.kernel
    place, uncertain = _posterior._location(prior, scales[0])
    reference = GaussianProcessRegressor(
        ConstantKernel(scales[0] ** 2) * Matern(kernel.lengths, nu=2.5) + ConstantKernel(uncertain)
        + WhiteKernel(scales[0] ** 2 * kernel.noise), optimizer=None, alpha=1e-12,
    ).fit(told, values - place)  # fmt: skip
    mean, sd = reference.predict(points, return_std=True)
    assert found.mean() == pytest.approx(mean + place, rel=1e-3, abs=1e-3)
    latent = np.sqrt(sd**2 - scales[0] ** 2 * kernel.noise)
    assert found.sd() == pytest.approx(latent, rel=1e-3)
    best = float(values.max())
    drawn = stats.norm(mean[0] + place, latent[0]).rvs(200_000, random_state=1)
    assert found.improvement(best)[0] == pytest.approx(np.maximum(drawn - best, 0).mean(), abs=0.01)


def test_values_that_diverged_are_cut() -> None:
    values = np.array([0.9, 0.8, 0.85, 0.7, -1e9])
    assert tame(values).tolist() == pytest.approx([0.9, 0.8, 0.85, 0.7, 0.6])
    assert tame(np.array([1.0, -1e9])).tolist() == [1.0, -1e9]
