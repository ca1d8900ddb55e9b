"""The per-task outcome of an evaluation, in the columns that an experiment database stores."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_lde.errors import DataError

__all__ = ["EpisodeResults"]


@dataclass(frozen=True)
class EpisodeResults:
    """One entry per evaluated task and inner-step setting; all lists have the same length.

    Args:
        method: "maml-first-order", "maml-higher-order" or "pretraining+logistic-regression".
        index: Index of the task in its episode set.
        classes: Indices of the task's classes in the original data set.
        ways: Classes of a task.
        shots: Support images per class.
        queries: Query images per class.
        inner_steps: Adaptation steps taken, None where the method has none.
        loss: Mean cross-entropy on the query set, in nats.
        accuracy: Share of query images classified rightly, 0 to 1.

    Raises:
        DataError: The lists differ in length.
    """

    method: str
    index: list[int]
    classes: list[list[int]]
    ways: int
    shots: int
    queries: int
    inner_steps: list[int | None]
    loss: list[float]
    accuracy: list[float]

    def __post_init__(self) -> None:
        columns = ("index", "classes", "inner_steps", "loss", "accuracy")
        lengths = {name: len(getattr(self, name)) for name in columns}
        if len(set(lengths.values())) > 1:
            raise DataError(f"columns of episode results have the lengths {lengths}: they must be equal.")

    def __len__(self) -> int:
        return len(self.index)
