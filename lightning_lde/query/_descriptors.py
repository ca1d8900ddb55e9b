"""Numbers that describe a data set, so that one can be told how like another it is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_lde.errors import ConfigurationError
from lightning_lde.query._results_sql import CONTENT

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from lightning_lde.query._lake import Lake

DESCRIPTORS = ("size", "classes", "shape", "diversity", "complexity", "embedding")
"""What can describe a data set."""

MOST_COMPONENTS = 5
"""Principal components that a mean embedding is reduced to."""

_MOST_TASKS = 100


def descriptors_of(
    lake: Lake,
    metric: str,
    known: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
    *,
    kinds: Sequence[str] = DESCRIPTORS,
    landmarks: Sequence[int] = (),
) -> dict[str, dict[str, float | None]]:
    """What is known of the data sets of a lake, as numbers.

    Sizes are logarithms, since 1,000 samples are to 10,000 as these to 100,000. The mean Task2Vec embedding over tasks,
    scaled to length 1, is reduced to principal components over the data sets.

    Args:
        lake: The lake.
        metric: The metric of landmarks.
        known: The rows of ``datasets``, each with its ``content``.
        names: The name of each content.
        kinds: Words of ``DESCRIPTORS``.
        landmarks: Epochs at which the median of the metric over runs is a descriptor.

    Raises:
        ConfigurationError: If a kind is not known.
    """
    if unknown := [kind for kind in kinds if kind not in DESCRIPTORS]:
        raise ConfigurationError(f"descriptors has {unknown[0]!r}: expected some of {', '.join(DESCRIPTORS)}")
    found: dict[str, dict[str, float | None]] = {name: {} for name in names.values()}
    for row in known:
        facts = _facts(row, kinds)
        found[names[row["content"]]].update({name: value for name, value in facts.items() if value is not None})
    if {"complexity", "embedding"} & set(kinds):
        _add_embeddings(lake, names, kinds, found)
    for epoch in landmarks:
        for content, value in _landmark(lake, metric, epoch):
            found[names[content]][f"{metric} at epoch {epoch}"] = value
    return found


def _facts(row: Mapping[str, Any], kinds: Sequence[str]) -> dict[str, float | None]:
    counts = [count for count in json.loads(row["class_counts"] or "{}").values() if count]
    total, shape = sum(counts), row["sample_shape"] or []
    shares = [count / total for count in counts]
    samples, classes = row["n_samples"], row["n_classes"]
    found: dict[str, dict[str, float | None]] = {
        "size": {"log samples": _log(samples), "log bytes": _log(row["size_bytes"])},
        "classes": {
            "log classes": _log(classes),
            "log samples per class": _log(samples / classes) if samples and classes else None,
            # 1 where all classes are equally frequent.
            "class balance": -sum(p * math.log(p) for p in shares) / math.log(len(shares)) if len(shares) > 1 else None,
        },
        "shape": {
            "log values per sample": _log(math.prod(shape)) if shape else None,
            "channels": float(shape[0]) if len(shape) == 3 else None,
        },
        "diversity": {"diversity": row["diversity"]},
    }
    return {name: value for kind in kinds for name, value in found.get(kind, {}).items()}


def _log(value: float | None) -> float | None:
    return math.log(value) if value else None


def _add_embeddings(
    lake: Lake, names: Mapping[str, str], kinds: Sequence[str], found: dict[str, dict[str, float | None]]
) -> None:
    rows = _embeddings(lake, with_vectors="embedding" in kinds)
    means = {}
    for row in rows.to_pylist() if "complexity" in kinds else ():
        found[names[row["content"]]]["complexity"] = row["complexity"]
    if "embedding" in kinds and rows.num_rows:
        means = _mean_vectors(rows)
    for content, place in _reduced(means).items():
        found[names[content]].update({f"embedding {number + 1}": float(value) for number, value in enumerate(place)})


def _embeddings(lake: Lake, *, with_vectors: bool) -> pa.Table:
    """Tasks of each data set by the one probe that embedded most of them: others' vectors do not compare."""
    vectors = "list(vector order by task_index)" if with_vectors else "null"
    return lake.sql(
        f"""
        with content as ({CONTENT}),
        task as (select * from embeddings join content using (dataset_id)),
        chosen as (
            select probe_id, method from task group by all
            order by count(distinct content) desc, max(recorded_at) desc limit 1)
        select content, avg(complexity) as complexity, {vectors} as vectors
        from (select * from task semi join chosen using (probe_id, method)
              qualify row_number() over (partition by content order by recorded_at desc, task_index) <= {_MOST_TASKS})
        group by content order by content"""
    )


def _mean_vectors(rows: pa.Table) -> dict[str, np.ndarray]:
    import numpy as np

    found = {}
    for content, vectors in zip(rows.column("content").to_pylist(), rows.column("vectors"), strict=True):
        flat = vectors.values.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
        mean = flat.reshape(len(vectors), -1).mean(axis=0)
        found[content] = mean / max(float(np.linalg.norm(mean)), 1e-300)
    return found


def _reduced(means: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The places of mean vectors on their principal components, each as far apart as its share of the variance."""
    import numpy as np

    if len(means) < 2:
        return {}
    matrix = np.stack(list(means.values()))
    left, sizes, _ = np.linalg.svd(matrix - matrix.mean(axis=0), full_matrices=False)
    kept = min(MOST_COMPONENTS, len(means) - 1, int((sizes > 1e-9 * max(sizes[0], 1e-300)).sum()))
    # The sign of a component is arbitrary: the data set that is furthest out is on the positive side.
    places = left[:, :kept] * sizes[:kept]
    places *= np.sign(places[np.abs(places).argmax(axis=0), np.arange(kept)])
    return dict(zip(means, places, strict=True))


def _landmark(lake: Lake, metric: str, epoch: int) -> list[tuple[str, float]]:
    rows = lake.sql(
        f"""
        with content as ({CONTENT}),
        early as (
            select run_id, arg_max(value, step) as value from metrics
            where name = $1 and epoch = $2 and isfinite(value) group by run_id)
        select content, median(value) as value
        from early join runs using (run_id) join dataset_configs using (dataset_config_id)
             join content using (dataset_id)
        group by content""",
        [metric, epoch],
    )
    return list(zip(rows.column("content").to_pylist(), rows.column("value").to_pylist(), strict=True))
