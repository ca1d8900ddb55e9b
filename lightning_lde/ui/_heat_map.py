"""The heat map of distances between tasks, data sets in the order in which they lie close to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_lde.ui._drawing import short, styled, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lightning_lde.study import TaskDistances

_MOST_TASKS = 1200


def heat_map(distances: TaskDistances) -> Figure:
    """Distances between all tasks, by data set.

    Args:
        distances: What ``lightning_lde.study.task_distances`` returned.
    """
    order = ordered_datasets(distances)
    tasks = np.concatenate([_tasks_of(distances, place) for place in order])
    shown = distances.distances[np.ix_(tasks, tasks)]
    sizes = [len(_tasks_of(distances, place)) for place in order]
    edges = np.cumsum([0, *sizes])
    off_diagonal = shown[~np.eye(len(shown), dtype=bool)]
    with styled():
        figure, (axis,) = subplots(1, 1, width=6.6, height=5.6)
        image = axis.imshow(
            shown,
            cmap="cividis",
            vmin=float(np.quantile(off_diagonal, 0.005)),
            vmax=float(np.quantile(off_diagonal, 0.995)),
            interpolation="nearest",
        )
        middles = (edges[:-1] + edges[1:]) / 2 - 0.5
        names = [short(distances.datasets[place]) for place in order]
        axis.set_yticks(middles, names, fontsize=8)
        axis.set_xticks(middles, names, rotation=90, fontsize=8)
        for edge in edges[1:-1]:
            axis.axhline(edge - 0.5, color="white", linewidth=0.5)
            axis.axvline(edge - 0.5, color="white", linewidth=0.5)
        figure.colorbar(image, ax=axis, shrink=0.8, label="distance between tasks, without noise bias")
        return figure


def ordered_datasets(distances: TaskDistances) -> list[int]:
    """Places of the data sets, those that lie close to each other side by side (average linkage)."""
    from scipy.cluster import hierarchy

    n = len(distances.datasets)
    if n < 3:
        return list(range(n))
    # Noise may make a distance negative, which linkage refuses.
    condensed = [max(distances.between[one, other].value, 0.0) for one in range(n) for other in range(one + 1, n)]
    return [int(place) for place in hierarchy.leaves_list(hierarchy.linkage(condensed, method="average"))]


def _tasks_of(distances: TaskDistances, place: int) -> Any:
    """Tasks of one data set; of very many an even selection, for no screen shows more."""
    first, last = distances.starts[place], distances.starts[place + 1]
    most = max(1, _MOST_TASKS // len(distances.datasets))
    every = np.arange(first, last)
    return every if len(every) <= most else every[np.linspace(0, len(every) - 1, most).astype(int)]
