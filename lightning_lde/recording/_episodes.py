"""Evaluated few-shot tasks as rows of the table ``episodes``."""

from __future__ import annotations

from typing import Any

from lightning_lde.schema import DatasetConfig, Episode, Run


def episode_rows(
    run: Run, results: Any, dataset: object, config: DatasetConfig | None, *, weights_id: str | None
) -> list[Episode]:
    """Rows of the table, one per task and number of inner steps.

    Args:
        run: The run's present state.
        results: Columns of equal length: ``index``, ``classes``, ``inner_steps``, ``loss``, ``accuracy``, and the
            numbers ``ways``, ``shots``, ``queries`` that hold for all, as may ``method``, or it is one more column.
        dataset: What the tasks were drawn from; its ``episode_id(index)`` names a task by content.
        config: The use of the data set that the tasks belong to.
        weights_id: The fingerprint of the weights that were evaluated, None where it is not known.
    """
    name_of = getattr(dataset, "episode_id", str)
    methods = [results.method] * len(results.index) if isinstance(results.method, str) else results.method
    return [
        Episode(
            run_id=run.run_id,
            segment=run.segment,
            episode_id=name_of(index),
            method=method,
            weights_id=weights_id,
            dataset_config_id=config.dataset_config_id if config else None,
            dataset_id=config.dataset_id if config else None,
            episode_seed=int(getattr(dataset, "seed", 0)),
            episode_index=index,
            classes=classes,
            ways=results.ways,
            shots=results.shots,
            queries=results.queries,
            inner_steps=inner_steps,
            loss=loss,
            accuracy=accuracy,
        )
        for method, index, classes, inner_steps, loss, accuracy in zip(
            methods, results.index, results.classes, results.inner_steps, results.loss, results.accuracy, strict=True
        )
    ]
