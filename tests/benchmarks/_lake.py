"""Makes a large lake, as an importer would: many runs to a file, all of them over."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa

from lightning_lde.lake import LakeStorage
from lightning_lde.schema import Dataset, DatasetConfig, Param, Run, new_run_id, records_to_arrow

METRICS = ("train_loss", "val_loss", "val_acc", "lr", "grad_norm")
N_PARAMS, N_STEPS, N_DATASETS = 50, 200, 20
RUNS_PER_FILE = 1000
START = datetime(2024, 1, 1, tzinfo=timezone.utc)
PROJECT = "large"


def make_lake(folder: Path, n_runs: int) -> None:
    """A lake of runs with 50 parameters and five metrics of 200 points each."""
    storage = LakeStorage(folder)
    storage.initialise()
    random = np.random.default_rng(0)
    sets = [f"set {number}" for number in range(N_DATASETS)]
    datasets = [Dataset(dataset_id=name, name=name, recorded_at=START) for name in sets]
    configs = [DatasetConfig(dataset_config_id=f"use of {name}", dataset_id=name, recorded_at=START) for name in sets]
    storage.add_records("datasets", datasets, project=PROJECT)
    storage.add_records("dataset_configs", configs, project=PROJECT)
    for first in range(0, n_runs, RUNS_PER_FILE):
        numbers = range(first, min(first + RUNS_PER_FILE, n_runs))
        place = {"project": PROJECT, "day": date(2024, 1, 1), "writer": new_run_id(), "first": 0}
        ids = [new_run_id() for _ in numbers]
        curves = curves_of(random, len(ids))
        storage.append("metrics", _points(ids, curves, first), **place)
        storage.append("params", _params(ids, random), **place)
        storage.append("runs", _runs(ids, curves, numbers), **place)


def curves_of(random: np.random.Generator, n_runs: int) -> np.ndarray:
    """Values of shape [runs, metrics, steps], float32 as a network logs them."""
    steps = np.arange(N_STEPS)
    noise = random.normal(0, 0.05, (n_runs, len(METRICS), N_STEPS))
    level = np.exp(-steps / (20 + 80 * random.random((n_runs, len(METRICS), 1))))
    values = level * (1 + noise)
    values[:, 2] = 1 - values[:, 2]
    values[:, 3] = 0.1 * 0.5 ** (steps // 50)
    return values.astype(np.float32)


def _points(ids: list[str], curves: np.ndarray, first: int) -> pa.Table:
    n_runs, n_metrics, n_steps = curves.shape
    n = curves.size
    # As they are logged: step by step, the metrics of a step together.
    steps = np.tile(np.repeat(np.arange(n_steps), n_metrics), n_runs)
    began = (int(START.timestamp()) + 600 * (first + np.arange(n_runs))) * 1_000_000
    times = np.repeat(began, n_metrics * n_steps) + steps * 250_000 + np.tile(np.arange(n_metrics), n_runs * n_steps)
    contexts = pa.array(["train", "val"])
    words = pa.DictionaryArray.from_arrays
    return pa.table(
        {
            "run_id": words(pa.array(np.repeat(np.arange(n_runs, dtype=np.int32), n_metrics * n_steps)), ids),
            "segment": np.zeros(n, np.int64),
            "name": words(pa.array(np.tile(np.arange(n_metrics, dtype=np.int32), n_runs * n_steps)), list(METRICS)),
            "context": words(pa.array(np.tile(np.array([0, 1, 1, 0, 0], np.int32), n_runs * n_steps)), contexts),
            "dataloader_idx": pa.nulls(n, pa.int64()),
            "step": steps,
            "global_step": steps,
            "epoch": steps // 20,
            "time": pa.array(times, pa.timestamp("us", tz="UTC")),
            "value": curves.transpose(0, 2, 1).ravel().astype(np.float64),
            "rank": np.zeros(n, np.int64),
            "source": words(pa.array(np.zeros(n, np.int32)), ["logged"]),
        }
    )


def _params(ids: list[str], random: np.random.Generator) -> pa.Table:
    values = random.random((len(ids), N_PARAMS)).round(4)
    rows = [
        Param(
            config_id=f"config of {run_id}",
            key=key,
            value_num=float(values[number, at]),
            value_text=str(values[number, at]),
            type="float",
        )
        for number, run_id in enumerate(ids)
        for at, key in enumerate(keys_of_params())
    ]
    return records_to_arrow("params", rows)


def keys_of_params() -> list[str]:
    return ["lr", "wd", *(f"group.setting_{number}" for number in range(N_PARAMS - 2))]


def _runs(ids: list[str], curves: np.ndarray, numbers: range) -> pa.Table:
    rows = []
    for at, (run_id, number) in enumerate(zip(ids, numbers, strict=True)):
        summary = {
            name: {
                "last": float(curve[-1]),
                "min": float(curve.min()),
                "max": float(curve.max()),
            }
            for name, curve in zip(METRICS, curves[at], strict=True)
        }
        rows.append(
            Run(
                run_id=run_id,
                segment=0,
                revision=3,
                project=PROJECT,
                name=f"run {number}",
                status="finished",
                started_at=START + timedelta(minutes=10 * number),
                ended_at=START + timedelta(minutes=10 * number + 9),
                heartbeat_at=START + timedelta(minutes=10 * number + 9),
                heartbeat_every_s=5.0,
                duration_s=540.0,
                dataset_config_id=f"use of set {number % N_DATASETS}",
                pipeline_config_id=f"config of {run_id}",
                summary=summary,
            )
        )
    return records_to_arrow("runs", rows)
