"""Tables whose truth is known."""

from __future__ import annotations

import numpy as np

from lightning_lde.recommend import ResultTable

CONFIGURATIONS = [f"c{number:02}" for number in range(30)]


def clusters(
    n_datasets: int = 40,
    *,
    noise: float = 0.0,
    repetitions: int = 1,
    described: bool = True,
    seed: int = 0,
    maximize: bool = True,
) -> tuple[ResultTable, dict[str, str]]:
    """Data sets of two kinds, each with a best configuration of its own that a descriptor tells; see which."""
    rng = np.random.default_rng(seed)
    profiles = rng.uniform(0.0, 0.5, size=(2, len(CONFIGURATIONS)))
    # What is best for one kind is bad for the other; a third is good for both.
    profiles[:, :3] = [[1.0, 0.0, 0.7], [0.0, 1.0, 0.7]]
    columns: dict[str, list[object]] = {"dataset": [], "configuration": [], "metric": []}
    descriptors, best = {}, {}
    for number in range(n_datasets):
        kind, name = number % 2, f"{'xyz'[number % 3]}{chr(97 + number // 26)}{chr(97 + number % 26)}"
        location, scale = rng.normal(), rng.uniform(0.5, 2.0)
        values = location + scale * (profiles[kind] + rng.normal(scale=0.02, size=len(CONFIGURATIONS)))
        for _ in range(repetitions):
            measured = values + scale * noise * rng.normal(size=values.size)
            columns["dataset"] += [name] * values.size
            columns["configuration"] += CONFIGURATIONS
            columns["metric"] += list(measured if maximize else -measured)
        told = {key: kind + rng.normal(scale=0.1) for key in ("kind", "complexity")}
        descriptors[name] = {**told, "size": rng.normal()}
        best[name] = CONFIGURATIONS[kind]
    described_as = descriptors if described else {}
    table = ResultTable.from_columns(**columns, descriptors=described_as, maximize=maximize)  # type: ignore[arg-type]
    return table, best


def pure_noise(n_datasets: int = 20, *, seed: int = 0) -> ResultTable:
    """Results that have nothing to do with the configuration, nor with descriptors."""
    rng = np.random.default_rng(seed)
    names = [f"{chr(97 + number)}set" for number in range(n_datasets)]
    return ResultTable.from_columns(
        dataset=[name for name in names for _ in CONFIGURATIONS],
        configuration=CONFIGURATIONS * n_datasets,
        metric=rng.normal(size=n_datasets * len(CONFIGURATIONS)),
        descriptors={name: {"size": rng.normal(), "classes": rng.normal()} for name in names},
    )
