"""A lake of a study that was never trained: runs, evaluated tasks and diversities written row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

from lightning_lde import Lake
from lightning_lde.schema import Dataset, Episode, Run
from lightning_lde.study import AnalysisOptions, StudyAnalysis, analyse

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
PRETRAINING, MAML = "pretraining+logistic-regression", "maml-first-order"
TASKS = 3

Value = Callable[[str, int, int], float]


class SyntheticLake:
    """Writes runs with evaluated tasks, and data sets with a diversity."""

    def __init__(self, folder: Path) -> None:
        self.lake = Lake(folder).create()
        self.hours = 0

    @classmethod
    def of(cls, lake: Lake) -> SyntheticLake:
        """Further rows for a lake that is there."""
        return cls(Path(lake.url))

    def add_datasets(
        self,
        diversity: Mapping[str, float | None],
        *,
        probe: str = "P1",
        method: str = "m",
        names: Mapping[str, str] | None = None,
        classes: Mapping[str, int] | None = None,
    ) -> None:
        self.hours += 1
        rows = [
            Dataset(
                dataset_id=dataset, name=(names or {}).get(dataset, dataset), recorded_at=self.now,
                n_classes=(classes or {}).get(dataset, 9), n_samples=90,
                diversity=value, diversity_low=value, diversity_high=value, diversity_n_tasks=5,
                diversity_method=method, diversity_probe_id=probe,
            )
            for dataset, value in diversity.items()
        ]  # fmt: skip
        self.lake.storage.add_records("datasets", rows, project="p")

    def add_runs(
        self,
        datasets: list[str],
        method: str,
        value: Value,
        *,
        settings: str | None = "aaaa",
        seeds: int = 1,
        shots: int = 1,
        tasks: int = TASKS,
    ) -> None:
        """One run per data set and seed; value is of (data set, seed, task), both as accuracy and as loss."""
        self.hours += 1
        names = [(dataset, seed) for dataset in datasets for seed in range(seeds)]
        ids = {name: f"{name[0]}-{method}-{settings}-{shots}-{name[1]}" for name in names}
        runs = [
            Run(
                run_id=ids[dataset, seed], segment=0, revision=0, project="p", status="finished", seed=seed,
                tags={} if settings is None else {"settings": settings},
                started_at=self.now, heartbeat_at=self.now, heartbeat_every_s=5.0,
            )
            for dataset, seed in names
        ]  # fmt: skip
        episodes = [
            Episode(
                run_id=ids[dataset, seed], segment=0, episode_id=f"task {task} of {shots}", method=method,
                dataset_id=dataset, episode_seed=0, episode_index=task, classes=[0, 1], ways=2, shots=shots,
                queries=1, inner_steps=5 if method.startswith("maml") else None,
                loss=value(dataset, seed, task), accuracy=value(dataset, seed, task),
            )
            for dataset, seed in names
            for task in range(tasks)
        ]  # fmt: skip
        self.lake.storage.add_records("runs", runs, project="p")
        self.lake.storage.add_records("episodes", episodes, project="p")

    @property
    def now(self) -> datetime:
        return START + timedelta(hours=self.hours)

    def analyse(
        self, metric: str = "accuracy", settings_id: str | None = None, options: AnalysisOptions | None = None
    ) -> StudyAnalysis:
        return analyse(self.lake, project="p", metric=metric, settings_id=settings_id, options=options)
