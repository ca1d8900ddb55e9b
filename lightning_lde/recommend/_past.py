"""Past results as points of a search space, whatever the past called its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._prior import PastSurface
from ._table import FloatArray, ResultTable

if TYPE_CHECKING:
    from ._cube import Cube

_FEWEST = 3


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A result on the data set itself.

    Attributes:
        point: Its settings in the unit cube, shape (width,).
        value: Its metric, larger is better.
    """

    point: FloatArray
    value: float


@dataclass(frozen=True, kw_only=True)
class PastTrials:
    """Past results, and which of them are of the data set that is searched for.

    Attributes:
        table: Results of all data sets.
        dataset: The data set's name, None where it has no results.
        names: Setting of the table for each parameter whose name differs.
    """

    table: ResultTable
    dataset: str | None
    names: Mapping[str, str]

    def keys(self, parameters: Sequence[str]) -> dict[str, str]:
        """The table's setting for each parameter that it knows.

        A parameter is the setting of its name, or the only one whose last part is its name: ``lr`` is ``optimizer.lr``.
        """
        known = sorted({name for settings in self.table.settings for name in settings})
        found = {}
        for parameter in parameters:
            wanted = self.names.get(parameter, parameter)
            last = [name for name in known if name.rpartition(".")[2] == wanted.rpartition(".")[2]]
            if wanted in known:
                found[parameter] = wanted
            elif len(last) == 1:
                found[parameter] = last[0]
        return found

    def settings(self, parameters: Sequence[str]) -> list[dict[str, Any]]:
        """The settings of each configuration of the table, by the names of the parameters."""
        keys = self.keys(parameters)
        return [
            {parameter: one[key] for parameter, key in keys.items() if one.get(key) is not None}
            for one in self.table.settings
        ]

    def over(
        self, cube: Cube
    ) -> tuple[list[PastSurface], np.ndarray[tuple[int], np.dtype[np.bool_]], list[Observation]]:
        """The surfaces of other data sets in a cube, the columns they know, and what is known of the data set itself.

        Configurations that lack a parameter that others have are left out, and so are data sets of fewer than three
        different results.
        """
        parameters = [axis.name for axis in cube.axes]
        keys = self.keys(parameters)
        known = [name in keys for name in parameters]
        points = [cube.encoded(one, known=known) for one in self.settings(parameters)] if any(known) else []
        sign = 1.0 if self.table.maximize else -1.0
        by_dataset: dict[str, list[Observation]] = {name: [] for name in self.table.datasets}
        rows = zip(self.table.dataset_index, self.table.configuration_index, self.table.mean, strict=True)
        for dataset, configuration, mean in rows if points else ():
            point = points[configuration]
            if point is not None:
                found = Observation(point=point, value=sign * float(mean))
                by_dataset[self.table.datasets[dataset]].append(found)
        surfaces = [
            PastSurface(points=np.array([one.point for one in found]), values=np.array([one.value for one in found]))
            for name, found in by_dataset.items()
            if name != self.dataset and len({one.value for one in found}) >= _FEWEST
        ]
        own = by_dataset.get(self.dataset, []) if self.dataset is not None and all(known) else []
        return surfaces, cube.columns_of(known), own
