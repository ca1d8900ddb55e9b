"""The per-task outcome of an evaluation, in the columns that an experiment database stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lightning_lde.errors import DataError
from lightning_lde.fewshot.data._episodes import Episode

__all__ = ["EpisodeResults", "TaskScore", "results_of"]


class TaskScore(NamedTuple):
    """How well one task went in one setting of the evaluation.

    Attributes:
        method: The method's name in the database.
        label: What distinguishes the setting in names of metrics, such as ``"5_steps"``; empty where there is one.
        inner_steps: Adaptation steps taken, None where the method has none.
        loss: Mean cross-entropy on the query set, in nats.
        accuracy: Share of query images classified rightly, 0 to 1.
    """

    method: str
    label: str
    inner_steps: int | None
    loss: float
    accuracy: float


@dataclass(frozen=True)
class EpisodeResults:
    """One entry per evaluated task and setting; all lists have the same length.

    Args:
        method: Name of the method, such as "maml-first-order", "protonet" or "pretraining+logistic-regression"; a list
            with one name per entry where a module evaluates several.
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

    method: str | list[str]
    index: list[int]
    classes: list[list[int]]
    ways: int
    shots: int
    queries: int
    inner_steps: list[int | None]
    loss: list[float]
    accuracy: list[float]

    def __post_init__(self) -> None:
        columns = ["index", "classes", "inner_steps", "loss", "accuracy"]
        columns += [] if isinstance(self.method, str) else ["method"]
        lengths = {name: len(getattr(self, name)) for name in columns}
        if len(set(lengths.values())) > 1:
            raise DataError(f"columns of episode results have the lengths {lengths}: they must be equal.")

    def __len__(self) -> int:
        return len(self.index)


def results_of(batch: Episode, scores: Sequence[Sequence[TaskScore]]) -> EpisodeResults:
    """Put the scores of a batch of tasks into columns: the first task's settings first.

    Args:
        batch: Episodes stacked along a leading task dimension.
        scores: For each task its scores, one per setting.
    """
    flat = [score for task in scores for score in task]
    settings, ways = len(scores[0]), batch.classes.shape[1]
    methods = [score.method for score in flat]
    return EpisodeResults(
        method=methods[0] if len(set(methods)) == 1 else methods,
        index=[index for index in batch.index.tolist() for _ in range(settings)],
        classes=[list(classes) for classes in batch.classes.tolist() for _ in range(settings)],
        ways=ways,
        shots=batch.support_labels.shape[1] // ways,
        queries=batch.query_labels.shape[1] // ways,
        inner_steps=[score.inner_steps for score in flat],
        loss=[score.loss for score in flat],
        accuracy=[score.accuracy for score in flat],
    )
