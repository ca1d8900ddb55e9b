"""How soon a search of hyper-parameters finds something good, cold and from the results of other data sets."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import _bench as bench
import numpy as np
import optuna
import pandas as pd
from scipy.spatial import cKDTree
from sklearn.ensemble import ExtraTreesRegressor

from lightning_lde.recommend import ResultTable, warm_start

FILE = Path("recommend") / "xgboost_hpo.csv.zip"
STEPS = (1, 3, 5, 10, 15, 25)
METHODS = {
    "random": "random",
    "TPE": "Optuna's TPE, cold",
    "TPE multivariate": "the same, parameters together",
    "TPE + enqueued": "TPE after 5 recommended configurations",
    "warm start": "warm_start: 5 recommended configurations, then its sampler",
    "sampler alone": "the sampler of warm_start, nothing enqueued",
}
PAST = 500
"""Results of each past data set: more than a search makes, fewer than the file has."""


def main(arguments: list[str] | None = None) -> None:
    parser = bench.parser(__doc__, "warm-start")
    parser.add_argument("--seeds", type=int, default=5, help="searches on each data set")
    parser.add_argument("--objective", choices=("nearest", "surrogate"), nargs="+", default=["nearest", "surrogate"])
    parser.add_argument("--data-sets", type=int, help="only the first so many")
    options = parser.parse_args(arguments)
    if not (bench.PACKS / FILE).exists():
        bench.console.print(f"left out: it needs {FILE} below the folder that LDE_DATA_DIR names")
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    table = _table(bench.PACKS / FILE)
    names = sorted({name for one in table.settings for name in one})
    with bench.work_folder(options.folder) as work:
        result: dict[str, Any] = {"benchmark": "warm_start", **bench.setting(work), "seeds": options.seeds}
    for kind in options.objective:
        searches = _searches(OBJECTIVES[kind], table, names, options)
        result[kind] = {"summary": _summary(kind, searches), "searches": searches}
    bench.write(options.output, result)


def _searches(
    objective: type[_Stored], table: ResultTable, names: list[str], options: argparse.Namespace
) -> list[dict[str, Any]]:
    space = _space(table, names)
    searches = []
    for dataset in table.datasets[: options.data_sets]:
        stored = objective(table, dataset, names, space)
        past = _thinned(table.for_datasets(set(table.datasets) - {dataset}))
        for seed in range(options.seeds):
            for method in METHODS:
                began = time.perf_counter()
                found = _search(method, stored, past, space, seed)
                searches.append(
                    {"data_set": dataset, "seed": seed, "method": method, "s": time.perf_counter() - began, **found}
                )
        bench.console.print(dataset)
    return searches


def _table(path: Path) -> ResultTable:
    frame = pd.read_csv(path)
    settings = {name: frame[name].tolist() for name in frame if name.startswith("hp_")}
    return ResultTable.from_columns(
        dataset=frame["task"].tolist(), metric=frame["metric_error"], settings=settings, maximize=False
    )


def _space(table: ResultTable, names: list[str]) -> dict[str, optuna.distributions.BaseDistribution]:
    found: dict[str, optuna.distributions.BaseDistribution] = {}
    for name in names:
        values = [one[name] for one in table.settings]
        whole = all(float(value).is_integer() for value in values)
        kind: Any = optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution
        low, high = min(values), max(values)
        found[name] = kind(int(low), int(high)) if whole else kind(low, high)
    return found


def _thinned(table: ResultTable) -> ResultTable:
    random = np.random.default_rng(0)
    rows = [
        random.choice(np.flatnonzero(table.dataset_index == number), PAST, replace=False)
        for number in range(len(table.datasets))
    ]
    kept = np.concatenate(rows)
    settings = [table.settings[number] for number in table.configuration_index[kept]]
    return ResultTable.from_columns(
        dataset=[table.datasets[number] for number in table.dataset_index[kept]],
        metric=table.mean[kept],
        settings={name: [one[name] for one in settings] for name in settings[0]},
        maximize=False,
    )


Result = tuple[Mapping[str, Any], float, float, float]
"""Settings that were run, error, regret in hundredths of the range, per cent of configurations that are better."""


class _Stored:
    """The stored configurations of a data set: what a search proposes becomes the nearest one that it has not tried."""

    def __init__(self, table: ResultTable, dataset: str, names: list[str], space: Mapping[str, Any]) -> None:
        rows = np.flatnonzero(table.dataset_index == table.datasets.index(dataset))
        self._names = names
        self._low = np.array([space[name].low for name in names], dtype=float)
        self._size = np.array([space[name].high for name in names], dtype=float) - self._low
        self._settings = [table.settings[number] for number in table.configuration_index[rows]]
        self._tree = cKDTree([self._place(one) for one in self._settings])
        self._values = table.mean[rows]

    def _place(self, settings: Mapping[str, Any]) -> Any:
        return (np.array([settings[name] for name in self._names], dtype=float) - self._low) / self._size

    def run(self, settings: Mapping[str, Any], tried: set[int]) -> Result:
        """Run the nearest configuration that was not tried yet."""
        _, found = self._tree.query(self._place(settings), k=len(tried) + 1)
        number = next(int(one) for one in np.atleast_1d(found) if int(one) not in tried)
        tried.add(number)
        return self._result(self._settings[number], float(self._values[number]))

    def _result(self, settings: Mapping[str, Any], value: float) -> Result:
        best, worst = self._values.min(), self._values.max()
        better = 100 * float((self._values < value).mean())
        return settings, value, float(100 * (value - best) / (worst - best)), better


class _Surrogate(_Stored):
    """Extra trees that learned all stored configurations of a data set: any settings can be run."""

    def __init__(self, table: ResultTable, dataset: str, names: list[str], space: Mapping[str, Any]) -> None:
        super().__init__(table, dataset, names, space)
        places = [self._place(one) for one in self._settings]
        self._trees = ExtraTreesRegressor(n_estimators=100, min_samples_leaf=2, random_state=0)
        self._trees.fit(places, self._values)
        self._values = self._trees.predict(places)

    def run(self, settings: Mapping[str, Any], tried: set[int]) -> Result:
        """What the trees expect of the settings."""
        return self._result(settings, float(self._trees.predict([self._place(settings)])[0]))


OBJECTIVES = {"nearest": _Stored, "surrogate": _Surrogate}


def _search(
    method: str, stored: _Stored, past: ResultTable, space: Mapping[str, Any], seed: int
) -> dict[str, list[float]]:
    samplers: dict[str, Any] = {"random": optuna.samplers.RandomSampler(seed=seed)}
    tpe = optuna.samplers.TPESampler(seed=seed, multivariate="multivariate" in method)
    study = optuna.create_study(direction="minimize", sampler=samplers.get(method, tpe))
    if method in {"TPE + enqueued", "warm start", "sampler alone"}:
        warm_start(study, past, space=space, seed=seed, k=0 if method == "sampler alone" else 5)
        if method == "TPE + enqueued":
            study.sampler = tpe
    regret, rank, tried = [], [], set[int]()
    for _ in range(STEPS[-1]):
        trial = study.ask(dict(space))
        settings, value, far, behind = stored.run(trial.params, tried)
        for name, one in space.items():
            # The study learns what was run, not what it asked for.
            study._storage.set_trial_param(trial._trial_id, name, one.to_internal_repr(settings[name]), one)
        study.tell(trial, value)
        regret.append(far)
        rank.append(behind)
    best = [np.minimum.accumulate(one) for one in (regret, rank)]
    return {name: [float(one[step - 1]) for step in STEPS] for name, one in zip(("regret", "rank"), best, strict=True)}


def _summary(kind: str, searches: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over searches, and intervals over data sets of what each method gains on cold TPE."""
    sets = sorted({one["data_set"] for one in searches})
    found: dict[str, Any] = {}
    random = np.random.default_rng(0)
    drawn = random.integers(0, len(sets), (9999, len(sets)))
    for figure in ("regret", "rank"):
        of = {
            method: np.array([
                np.mean([one[figure] for one in searches if (one["method"], one["data_set"]) == (method, name)], axis=0)
                for name in sets
            ])
            for method in METHODS
        }  # fmt: skip
        rows = []
        for method, values in of.items():
            gain = of["TPE"] - values
            low, high = np.percentile(gain[drawn].mean(axis=1), [2.5, 97.5], axis=0)
            rows.append((method, *values.mean(axis=0)))
            found.setdefault(figure, {})[method] = {
                "what": METHODS[method],
                **{name: dict(zip(map(str, STEPS), map(float, row), strict=True)) for name, row in (
                    ("mean", values.mean(axis=0)), ("gain_on_tpe", gain.mean(axis=0)), ("low", low), ("high", high),
                )},
            }  # fmt: skip
        words = {"regret": "regret, hundredths of the range", "rank": "per cent of configurations that are better"}
        bench.show(f"{kind}: {words[figure]}, {len(sets)} data sets", ("method", *map(str, STEPS)), rows)
    return found | {
        "seconds_a_search": {m: bench.median(s["s"] for s in searches if s["method"] == m) for m in METHODS}
    }


if __name__ == "__main__":
    main()
