"""Recommenders on public tables of results, data sets held out: regret, intervals over data sets, and time.

    python tests/benchmarks/recommend.py [TABLE…] [--json docs/results/recommend.json]

The tables are read from $LDE_DATA_DIR/recommend; they are not part of this repository (docs/recommend.md).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import _bench as bench
import numpy as np

from lightning_lde.recommend import (
    AverageRank,
    ChosenByHoldout,
    EmpiricalBayes,
    Evaluation,
    GreedyPortfolio,
    MatrixFactorisation,
    NearestDatasets,
    RandomChoice,
    Recommender,
    ResultTable,
    SurrogateAcrossDatasets,
    evaluate,
    families,
)

ROOT = Path(__file__).parents[2]
FEW, N_FEW = (8, 16, 32), 192
XGBOOST = ["log2_min_child_weight", "subsample", "colsample_bytree", "log2_gamma", "log2_lambda", "eta"]
DEEPAR = ["num_layers", "num_cells", "dropout_rate_log", "learning_rate_log", "num_batches_per_epoch_log"]


def pmlb(folder: Path) -> ResultTable:
    """Balanced accuracy of 665 scikit-learn pipelines on 164 data sets, 45 descriptors."""
    return ResultTable.from_file(
        folder / "pmlb_results.tsv.gz",
        metric="bal_accuracy",
        settings=["algorithm", "parameters"],
        descriptors=folder / "pmlb_metafeatures.csv.gz",
    )


def xgboost(folder: Path) -> ResultTable:
    """Error of random configurations of XGBoost on 10 data sets, 500 drawn of each one's 5,000; no descriptor."""
    settings = [f"hp_{name}" for name in (*XGBOOST, "max_depth_index", "log2_alpha")]
    path = folder / "xgboost_hpo.csv.zip"
    table = ResultTable.from_file(path, dataset="task", metric="metric_error", settings=settings, maximize=False)
    return drawn(table, 500)


def drawn(table: ResultTable, most: int) -> ResultTable:
    """At most so many rows of each data set, drawn at random."""
    rng = np.random.default_rng(0)
    by_dataset = [np.flatnonzero(table.dataset_index == number) for number in range(len(table.datasets))]
    rows = np.concatenate([rng.choice(here, min(most, here.size), replace=False) for here in by_dataset])
    settings = [table.settings[number] for number in table.configuration_index[rows]]
    return ResultTable.from_columns(
        dataset=[table.datasets[number] for number in table.dataset_index[rows]],
        settings={name: [one.get(name) for one in settings] for name in table.settings[0]},
        metric=table.mean[rows],
        metric_name=table.metric,
        maximize=table.maximize,
    )


def deepar(folder: Path) -> ResultTable:
    """CRPS of some 228 configurations of DeepAR on each of 11 data sets, one descriptor."""
    return ResultTable.from_file(
        folder / "deepar_hpo.csv.zip",
        dataset="task",
        metric="metric_CRPS",
        settings=[f"hp_{name}" for name in (*DEEPAR, "context_length_ratio_log")],
        descriptors=["dataset_prediction_length"],
        maximize=False,
    )


TABLES = {"pmlb": pmlb, "xgboost": xgboost, "deepar": deepar}


def recommenders() -> dict[str, Recommender]:
    """All, by the names of the results."""
    return {
        "random": RandomChoice(),
        "average rank": AverageRank(),
        "greedy portfolio": GreedyPortfolio(),
        "nearest data sets": NearestDatasets(),
        "matrix factorisation": MatrixFactorisation(),
        "extra trees": SurrogateAcrossDatasets(),
        "empirical Bayes": EmpiricalBayes(descriptors=False),
        "empirical Bayes with descriptors": EmpiricalBayes(),
        "chosen by hold-out": ChosenByHoldout(),
    }


def measure(name: str, table: ResultTable, divisions: int) -> dict[str, Any]:
    """Hold out families of PMLB in ten folds, divided several times; of the others each data set."""
    began = time.process_time()
    if name != "pmlb":
        found = evaluate(table, recommenders())
        return {**found.to_dict(), "folds": None, "processor_s": round(time.process_time() - began, 1)}
    groups = families(table)
    several = [
        evaluate(table, recommenders(), folds=10, groups=groups, min_range=0.01, seed=seed) for seed in range(divisions)
    ]
    return {
        **several[0].to_dict(),
        "folds": 10,
        "processor_s": round(time.process_time() - began, 1),
        "divisions": divisions,
        "over_divisions": {one: over_divisions(several, one) for one in several[0].regret},
        "few_datasets": few_datasets(table, groups),
    }


def over_divisions(several: Sequence[Evaluation], recommender: str) -> dict[str, dict[str, float]]:
    """Regret by step: mean over divisions into folds, and standard deviation between them."""
    regrets = np.array([one.regret[recommender].mean(axis=0) for one in several])
    words = [str(step) for step in several[0].steps]
    spread = regrets.std(axis=0, ddof=1) if len(several) > 1 else np.full(len(words), np.nan)
    return {
        "regret_mean": dict(zip(words, regrets.mean(axis=0).round(3).tolist(), strict=True)),
        "sd": dict(zip(words, spread.round(3).tolist(), strict=True)),
    }


def few_datasets(table: ResultTable, groups: Mapping[str, str]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean regret by step where 8, 16 or 32 data sets are known: of some that are drawn a ninth is held out in turn."""
    asked: dict[str, Recommender] = {"greedy portfolio": GreedyPortfolio(), "empirical Bayes": EmpiricalBayes()}
    found = {}
    for known in FEW:
        rng = np.random.default_rng(known)
        regrets: dict[str, list[Any]] = {}
        for _ in range(N_FEW // known):
            drawn = rng.choice(table.datasets, known * 9 // 8, replace=False).tolist()
            inside = {name: groups[name] for name in drawn}
            folds = min(9, len(set(inside.values())))
            one = evaluate(table.for_datasets(drawn), asked, folds=folds, groups=inside, min_range=0.01)
            for name, regret in one.regret.items():
                regrets.setdefault(name, []).append(regret)
        means = {name: np.concatenate(several).mean(axis=0).round(3) for name, several in regrets.items()}
        found[str(known)] = {
            name: dict(zip(map(str, one.steps), mean.tolist(), strict=True)) for name, mean in means.items()
        }
    return found


def main() -> None:
    """Measure, print, and keep what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []], default=[], help="by default all")
    parser.add_argument("--divisions", type=int, default=5, help="divisions of PMLB into folds")
    parser.add_argument("--json", type=Path, help="file whose entries of these tables are replaced")
    options = parser.parse_args()
    folder = Path(os.environ.get("LDE_DATA_DIR", ROOT / "shared" / "data")) / "recommend"
    for name in options.tables or TABLES:
        found = measure(name, TABLES[name](folder), options.divisions)
        bench.console.print(
            f"\n{name}: {found['n_datasets']} data sets, {found['n_groups']} families, {found['processor_s']} s"
        )
        for recommender, row in found["recommenders"].items():
            regrets = " ".join(f"{value:6.2f}" for value in row["regret_mean"].values())
            chosen = ", ".join(sorted(set(row.get("chosen", ()))))
            bench.console.print(f"{recommender:34}{regrets}  NDCG@10 {row['ndcg_at_10']:.3f}  {chosen}")
        for recommender, row in found.get("over_divisions", {}).items():
            regrets = " ".join(f"{value:6.2f}" for value in row["regret_mean"].values())
            bench.console.print(f"mean of {found['divisions']} divisions: {recommender:34}{regrets}")
        for known, few in found.get("few_datasets", {}).items():
            for recommender, row in few.items():
                regrets = " ".join(f"{value:6.2f}" for value in row.values())
                bench.console.print(f"{known} data sets known: {recommender:34}{regrets}")
        for one in found["against_average_rank"]:
            if one["recommender"] == "chosen by hold-out":
                bench.console.print(f"  @{one['step']}: {one['mean']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}]")
        if options.json is not None:
            kept = json.loads(options.json.read_text()) if options.json.exists() else {}
            bench.write(options.json, {**kept, name: {"setting": bench.setting(folder), **found}})


if __name__ == "__main__":
    main()
