"""The cells of a study: data sets x algorithms x seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_lde.errors import ConfigurationError
from lightning_lde.schema import content_id
from lightning_lde.study._settings import StudySettings

if TYPE_CHECKING:
    from lightning_lde.fewshot import FewShotDataset

ALGORITHMS = ("pretraining", "maml-first-order", "maml-higher-order")


@dataclass(frozen=True)
class Cell:
    """One training of a study.

    Attributes:
        cell_id: Content id of everything that decides the result.
        dataset: The data set's name.
        algorithm: A word of ``ALGORITHMS``.
        seed: The seed of weights and training batches.
    """

    cell_id: str
    dataset: str
    algorithm: str
    seed: int

    @property
    def label(self) -> str:
        """A name for people."""
        return f"{self.dataset}/{self.algorithm}/seed {self.seed}"


def plan_cells(
    datasets: Iterable[FewShotDataset],
    settings: StudySettings,
    *,
    algorithms: Sequence[str] = ALGORITHMS,
    seeds: Sequence[int] = (0,),
) -> list[Cell]:
    """All cells of a study, data sets in the given order.

    Raises:
        ConfigurationError: If an algorithm is unknown or two data sets have the same name.
    """
    datasets = list(datasets)
    if unknown := set(algorithms) - set(ALGORITHMS):
        raise ConfigurationError(f"unknown algorithm {sorted(unknown)}: choose from {', '.join(ALGORITHMS)}")
    names = [dataset.name for dataset in datasets]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"two data sets have the same name among {names}: rename one")
    return [
        Cell(_cell_id(dataset, settings, algorithm, seed), dataset.name, algorithm, seed)
        for dataset in datasets
        for algorithm in algorithms
        for seed in seeds
    ]


def _cell_id(dataset: FewShotDataset, settings: StudySettings, algorithm: str, seed: int) -> str:
    facts = {
        "dataset": dataset.fingerprint,
        "algorithm": algorithm,
        "seed": seed,
        "settings": settings.settings_id,
    }
    return content_id("cells", facts)
