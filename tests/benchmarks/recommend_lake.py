"""How long a recommendation from a large lake takes: from its files to the configurations to try."""

from __future__ import annotations

import argparse
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import _bench as bench
import numpy as np

from lightning_lde.capture import flatten_params
from lightning_lde.lake import LakeStorage
from lightning_lde.schema import (
    Dataset,
    DatasetConfig,
    Pipeline,
    PipelineConfig,
    Run,
    new_run_id,
    records_to_arrow,
)

# Names that begin alike would be taken for copies of one data set.
NAMES = [chr(letter) * 3 + " images" for letter in range(ord("a"), ord("u"))]
N_SETTINGS, RUNS_PER_FILE = 12, 5000
START = datetime(2024, 1, 1, tzinfo=timezone.utc)
PROJECT, METRIC = "large", "val/acc"
KINDS = {
    "repeated": "500 configurations, each repeated on each other data set",
    "searched": "as many configurations as fit 5 repetitions on one data set each, as searches make them",
}


def main(arguments: list[str] | None = None) -> None:
    parser = bench.parser(__doc__, "recommend-lake")
    parser.add_argument("--runs", type=int, default=100_000, help="runs")
    parser.add_argument("--rounds", type=int, default=3, help="processes that ask")
    options = parser.parse_args(arguments)
    with bench.work_folder(options.folder) as work:
        result: dict[str, Any] = {"benchmark": "recommend_lake", **bench.setting(work), "runs": options.runs}
        asked = [one for kind in KINDS for one in _asked(kind, work, options)]
    rows = []
    for kind, words in KINDS.items():
        good = [one for one in asked if one["kind"] == kind and "error" not in one]
        names = ("first_all_s", "again_all_s", "again_table_s", "again_all_processor_s", "again_rows")
        rows.append((words, *(bench.median(one[name] for one in good) for name in names)))
    columns = ("first in a process", "again", "of it the table", "again, processor", "rows")
    bench.show(f"{options.runs:,} runs, seconds, medians", ("lake", *columns), rows)
    bench.write(options.output, result | {"asked": asked})


def _asked(kind: str, work: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    lake = work / kind
    make_lake(lake, options.runs, kind)
    LakeStorage(lake).compact(silent_for=timedelta(0), grace=timedelta(0))
    words = ("_ask_recommendation.py", lake, METRIC, NAMES[7])
    return [
        {"kind": kind, "round": number, **bench.measure(*words, work=work, timeout_s=600)}
        for number in range(options.rounds)
    ]


def make_lake(folder: Path, n_runs: int, kind: str) -> None:
    """A lake of finished runs with twelve settings and a metric that depends on two of them and on the data set.

    Args:
        folder: Where.
        n_runs: How many runs; the eighth data set, which is asked about, has a tenth of what the others have.
        kind: A word of ``KINDS``.
    """
    storage = LakeStorage(folder)
    storage.initialise()
    random = np.random.default_rng(0)
    storage.add_records(
        "datasets",
        [
            Dataset(dataset_id=name, name=name, recorded_at=START, n_samples=1000 + 500 * number, n_classes=2 + number)
            for number, name in enumerate(NAMES)
        ],
        project=PROJECT,
    )
    uses = [DatasetConfig(dataset_config_id=f"use of {one}", dataset_id=one, recorded_at=START) for one in NAMES]
    storage.add_records("dataset_configs", uses, project=PROJECT)
    storage.add_records(
        "pipelines", [Pipeline(pipeline_id="net", recorded_at=START, module_class="m.Net")], project=PROJECT
    )
    n_configs = 500 if kind == "repeated" else n_runs // 5
    settings = random.random((n_configs, N_SETTINGS)).round(4)
    for first in range(0, n_configs, RUNS_PER_FILE):
        numbers = range(first, min(first + RUNS_PER_FILE, n_configs))
        hparams = [{f"group.setting_{at}": float(value) for at, value in enumerate(settings[n])} for n in numbers]
        place = {"project": PROJECT, "day": date(2024, 1, 1), "writer": new_run_id(), "first": 0}
        configs = [
            PipelineConfig(pipeline_config_id=f"c{n}", recorded_at=START, pipeline_id="net", hparams=one)
            for n, one in zip(numbers, hparams, strict=True)
        ]
        params = [row for n, one in zip(numbers, hparams, strict=True) for row in flatten_params(f"c{n}", one)]
        storage.append("pipeline_configs", records_to_arrow("pipeline_configs", configs), **place)
        storage.append("params", records_to_arrow("params", params), **place)
    for first in range(0, n_runs, RUNS_PER_FILE):
        place = {"project": PROJECT, "day": date(2024, 1, 1), "writer": new_run_id(), "first": 0}
        rows = [_run(n, kind, settings, random) for n in range(first, min(first + RUNS_PER_FILE, n_runs))]
        storage.append("runs", records_to_arrow("runs", rows), **place)


def _run(number: int, kind: str, settings: np.ndarray, random: np.random.Generator) -> Run:
    if kind == "repeated":
        config, dataset = (number // len(NAMES)) % len(settings), number % len(NAMES)
        # The data set that is asked about is young: a tenth of the configurations was tried on it.
        dataset = dataset if dataset != 7 or config % 10 == 0 else 8
    else:
        config = number % len(settings)
        dataset = config % len(NAMES)
    a, b = settings[config, :2]
    value = 0.7 - (a - 0.5) ** 2 - 0.1 * (b - dataset / len(NAMES)) ** 2 + float(random.normal(0, 0.01))
    started = START + timedelta(minutes=number)
    return Run(
        run_id=new_run_id(), segment=0, revision=3, project=PROJECT, name=f"run {number}", status="finished",
        started_at=started, ended_at=started, heartbeat_at=started, heartbeat_every_s=5.0, duration_s=540.0,
        dataset_config_id=f"use of {NAMES[dataset]}", pipeline_config_id=f"c{config}", seed=number,
        summary={name: {"last": value, "min": value, "max": value} for name in (METRIC, "val/loss", "train/loss")},
    )  # fmt: skip


if __name__ == "__main__":
    main()
