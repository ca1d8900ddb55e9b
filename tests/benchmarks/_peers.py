"""Stores of other trackers with the runs of `_lake.py`, filled and asked in the quickest way that each offers."""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _bench import report
from _lake import METRICS, N_DATASETS, N_PARAMS, N_STEPS, PROJECT, RUNS_PER_FILE, curves_of, keys_of_params

RUNS = {"mlflow": 10_000, "trackio": 10_000, "tensorboard": 500, "aim": 100}
"""Runs of each by default: as many as are filled within a minute or three."""

DATASET, RANKED_BY, CURVE = "set 7", "val_acc", "val_loss"
_AGAIN = 3


class OneRun(NamedTuple):
    """A run of the benchmark."""

    number: int
    dataset: str
    curves: np.ndarray
    params: dict[str, float]

    @property
    def name(self) -> str:
        return f"run {self.number}"


def runs(n_runs: int) -> Iterator[OneRun]:
    """The runs that `make_lake` writes."""
    random, keys = np.random.default_rng(0), keys_of_params()
    for first in range(0, n_runs, RUNS_PER_FILE):
        numbers = range(first, min(first + RUNS_PER_FILE, n_runs))
        curves = curves_of(random, len(numbers))
        settings = random.random((len(numbers), N_PARAMS)).round(4)
        for at, number in enumerate(numbers):
            params = dict(zip(keys, settings[at].tolist(), strict=True))
            yield OneRun(number, f"set {number % N_DATASETS}", curves[at], params)


def expected(n_runs: int) -> dict[str, float]:
    """What the answers add up to: the best value, the sum of a curve of run 0, the sum of all of these curves."""
    all_of_it = list(runs(n_runs))
    at = METRICS.index(CURVE)
    best = max(one.curves[METRICS.index(RANKED_BY), -1] for one in all_of_it if one.dataset == DATASET)
    sums = [float(one.curves[at].astype(np.float64).sum()) for one in all_of_it]
    return {"ranking": float(best), "curve": sums[0], "bulk": sum(sums)}


class MLflow:
    """MLflow's own SQLite schema with its indexes; rows by SQL, questions by its client, the last one by SQL."""

    def __init__(self, folder: Path) -> None:
        from mlflow.tracking import MlflowClient

        self._file = folder / "mlflow.db"
        self._client = MlflowClient(f"sqlite:///{self._file}")

    def fill(self, n_runs: int) -> None:
        experiment = self._client.create_experiment(PROJECT)
        states = "run_uuid, name, user_id, status, start_time, end_time, lifecycle_stage, artifact_uri, experiment_id"
        with sqlite3.connect(self._file) as database:
            for one in runs(n_runs):
                run, began = f"{one.number:032x}", 1_704_067_200_000 + 600_000 * one.number
                values = (run, one.name, "", "FINISHED", began, began + 540_000, "active", "", experiment)
                database.execute(f"insert into runs ({states}) values (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
                tags = [("dataset", one.dataset, run), ("mlflow.runName", one.name, run)]
                database.executemany("insert into tags (key, value, run_uuid) values (?, ?, ?)", tags)
                params = [(key, str(value), run) for key, value in one.params.items()]
                database.executemany("insert into params (key, value, run_uuid) values (?, ?, ?)", params)
                points = [
                    (name, value, began + 250 * step, run, step)
                    for name, curve in zip(METRICS, one.curves.tolist(), strict=True)
                    for step, value in enumerate(curve)
                ]
                for table, rows in (("metrics", points), ("latest_metrics", points[N_STEPS - 1 :: N_STEPS])):
                    columns = "key, value, timestamp, run_uuid, step, is_nan"
                    database.executemany(f"insert into {table} ({columns}) values (?, ?, ?, ?, ?, 0)", rows)

    def ranking(self) -> list[Any]:
        found = self._client.search_runs(
            [self._client.get_experiment_by_name(PROJECT).experiment_id],
            filter_string=f"tags.dataset = '{DATASET}'",
            order_by=[f"metrics.{RANKED_BY} DESC"],
            max_results=10,
        )
        return [(run.data.metrics[RANKED_BY], run.data.params["lr"], run.data.params["wd"]) for run in found]

    def curve(self) -> list[float]:
        return [point.value for point in self._client.get_metric_history(f"{0:032x}", CURVE)]

    def bulk(self) -> list[float]:
        with sqlite3.connect(self._file) as database:
            rows = database.execute("select run_uuid, step, value from metrics where key = ?", [CURVE]).fetchall()
        return [row[2] for row in rows]


class Trackio:
    """Trackio's SQLite file through its bulk_log; questions by SQL, as it keeps a step's values in JSON."""

    def __init__(self, folder: Path) -> None:
        os.environ["TRACKIO_DIR"] = str(folder)
        from trackio.sqlite_storage import SQLiteStorage

        self._storage = SQLiteStorage
        self._file = SQLiteStorage.init_db(PROJECT)

    def fill(self, n_runs: int) -> None:
        for one in runs(n_runs):
            steps = [dict(zip(METRICS, values, strict=True)) for values in one.curves.T.tolist()]
            config = {**one.params, "dataset": one.dataset}
            self._storage.bulk_log(PROJECT, one.name, steps, steps=list(range(N_STEPS)), config=config)

    def _ask(self, query: str, *values: object) -> list[Any]:
        with sqlite3.connect(self._file) as database:
            return database.execute(query, values).fetchall()

    def ranking(self) -> list[Any]:
        return self._ask(
            f"""select json_extract(cast(m.metrics as text), '$.{RANKED_BY}') as value,
                       json_extract(cast(c.config as text), '$.lr'), json_extract(cast(c.config as text), '$.wd')
                from configs c join metrics m on m.run_id = c.run_id and m.step = ?
                where json_extract(cast(c.config as text), '$.dataset') = ? order by value desc limit 10""",
            N_STEPS - 1,
            DATASET,
        )

    def curve(self) -> list[float]:
        query = f"select json_extract(cast(metrics as text), '$.{CURVE}') from metrics where run_id = ? order by step"
        return [row[0] for row in self._ask(query, "run 0")]

    def bulk(self) -> list[float]:
        value = f"json_extract(cast(metrics as text), '$.{CURVE}')"
        return [row[2] for row in self._ask(f"select run_id, step, {value} from metrics")]


class TensorBoard:
    """Event files by SummaryWriter, a folder for each run; questions by EventAccumulator."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "events"

    def fill(self, n_runs: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        for one in runs(n_runs):
            with SummaryWriter(self._folder / one.dataset / one.name) as writer:
                writer.add_text("params", json.dumps(one.params))
                for name, curve in zip(METRICS, one.curves.tolist(), strict=True):
                    for step, value in enumerate(curve):
                        writer.add_scalar(name, value, step)

    def _read(self, folder: Path) -> Any:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        return EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()

    def ranking(self) -> list[Any]:
        found = []
        for folder in (self._folder / DATASET).iterdir():
            read = self._read(folder)
            params = json.loads(read.Tensors("params/text_summary")[0].tensor_proto.string_val[0])
            found.append((read.Scalars(RANKED_BY)[-1].value, params["lr"], params["wd"]))
        return sorted(found, reverse=True)[:10]

    def curve(self) -> list[float]:
        return [point.value for point in self._read(self._folder / "set 0" / "run 0").Scalars(CURVE)]

    def bulk(self) -> list[float]:
        folders = [folder for dataset in self._folder.iterdir() for folder in dataset.iterdir()]
        return [point.value for folder in folders for point in self._read(folder).Scalars(CURVE)]


class Aim:
    """An Aim repository by Run.track, indexed as its server does; questions by its query language."""

    def __init__(self, folder: Path) -> None:
        from aim import Repo

        self._repo = Repo.from_path(str(folder), init=True)

    def fill(self, n_runs: int) -> None:
        from aim import Run
        from aim.sdk.index_manager import RepoIndexManager

        quiet = {"system_tracking_interval": None, "log_system_params": False, "capture_terminal_logs": False}
        for one in runs(n_runs):
            run = Run(repo=self._repo, experiment=PROJECT, **quiet)
            run.name, run["params"], run["dataset"] = one.name, one.params, one.dataset
            for step, values in enumerate(one.curves.T.tolist()):
                for name, value in zip(METRICS, values, strict=True):
                    run.track(value, name=name, step=step)
            run.close()
        index = RepoIndexManager.get_index_manager(self._repo)
        for key in self._repo.list_all_runs():
            index.index(key)

    def ranking(self) -> list[Any]:
        from aim.storage.context import Context

        found = []
        for one in self._repo.query_runs(f"run.dataset == '{DATASET}'", report_mode=0).iter_runs():
            _, (values, *_) = one.run.get_metric(RANKED_BY, Context({})).data.numpy()
            found.append((float(values[-1]), one.run["params", "lr"], one.run["params", "wd"]))
        return sorted(found, reverse=True)[:10]

    def curve(self) -> list[float]:
        return self._values(f"metric.name == '{CURVE}' and run.name == 'run 0'")

    def bulk(self) -> list[float]:
        return self._values(f"metric.name == '{CURVE}'")

    def _values(self, query: str) -> list[float]:
        found = self._repo.query_metrics(query, report_mode=0)
        return [value for run in found.iter_runs() for one in run for value in one.data.numpy()[1][0].tolist()]


PEERS: dict[str, Callable[[Path], Any]] = {
    "mlflow": MLflow,
    "trackio": Trackio,
    "tensorboard": TensorBoard,
    "aim": Aim,
}


def main() -> None:
    verb, peer, place, *rest = sys.argv[1:]
    Path(place).mkdir(exist_ok=True)
    store = PEERS[peer](Path(place))
    if verb == "fill":
        began = time.perf_counter()
        store.fill(int(rest[0]))
        report({"filled_s": time.perf_counter() - began})
        return
    took = []
    for _ in range(1 + _AGAIN):
        began = time.perf_counter()
        rows = getattr(store, verb)()
        took.append((time.perf_counter() - began) * 1e3)
    answer = rows[0][0] if verb == "ranking" else sum(rows)
    report({"first_ms": took[0], "again_ms": statistics.median(took[1:]), "rows": len(rows), "answer": answer})


if __name__ == "__main__":
    main()
