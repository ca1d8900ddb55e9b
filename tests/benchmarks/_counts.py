"""How many values of the benchmark a tracker kept, read from its files.

W&B's offline files have no public reader, and Aim shows a run only after its repository was indexed: None for these.
"""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable
from pathlib import Path


def count_values(setup: str, folder: Path) -> int | None:
    """Values whose names begin with ``metric_``.

    Args:
        setup: A set-up's or store's name.
        folder: What the measurement left.
    """
    counter = _COUNTERS.get(setup.split("-")[0])
    return None if counter is None else counter(folder)


def _lde(folder: Path) -> int:
    from lightning_lde import Lake

    rows = Lake(folder / "lake").sql("select count(*) as n from metrics where starts_with(name, 'metric_')")
    return int(rows.to_pylist()[0]["n"])


def _csv(folder: Path) -> int:
    found = 0
    for path in folder.rglob("metrics.csv"):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                found += sum(1 for name, value in row.items() if name.startswith("metric_") and value)
    return found


def _tensorboard(folder: Path) -> int:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found = 0
    for path in folder.rglob("events.out.tfevents.*"):
        for event in EventFileLoader(str(path)).Load():
            found += sum(value.tag.startswith("metric_") for value in event.summary.value)
    return found


def _mlflow(folder: Path) -> int:
    with sqlite3.connect(folder / "mlflow.db") as database:
        return int(database.execute("select count(*) from metrics where key like 'metric@_%' escape '@'").fetchone()[0])


def _trackio(folder: Path) -> int:
    found = 0
    for path in (folder / "trackio").glob("*.db"):
        with sqlite3.connect(path) as database:
            rows = database.execute("select cast(metrics as text) from metrics").fetchall()
            found += sum(text.count('"metric_') for (text,) in rows)
    return found


_COUNTERS: dict[str, Callable[[Path], int]] = {
    "lde": _lde,
    "csv": _csv,
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "trackio": _trackio,
}
