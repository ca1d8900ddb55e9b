"""Which data sets are held out together: folds that keep families of near copies whole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from lightning_lde.errors import ConfigurationError

from ._neighbours import varying
from ._scores import row_ranks
from ._table import IntArray, ResultTable

_LEAST_OF_A_SCHEME = 5


def families(table: ResultTable, *, distance: float = 0.05) -> dict[str, str]:
    """Name the family of each data set: near copies by their names or their descriptors belong together.

    Names are of one family if they agree up to digits, signs and what follows the first of them (monk1 and monk2,
    mfeat-pixel and mfeat-zernike); descriptors if their mean difference, in ranks from 0 to 1, is below ``distance``.
    What more than half of the data sets begin with, and at least five, says how somebody names data sets (task_1,
    task_2, …) and makes no family.

    Args:
        table: Results with descriptors; where there are none, names decide.
        distance: Largest mean difference of ranks within a family.

    Returns:
        A family's name, that of its first data set, by data set.

    Example:
        >>> columns = {"metric": [1, 2, 3], "configuration": ["a", "a", "a"]}
        >>> table = ResultTable.from_columns(dataset=["monk1", "monk2", "iris"], **columns)
        >>> families(table)
        {'iris': 'iris', 'monk1': 'monk1', 'monk2': 'monk1'}
    """
    parent = list(range(len(table.datasets)))

    def root(one: int) -> int:
        while parent[one] != one:
            one = parent[one]
        return one

    stems = [stem(name) for name in table.datasets]
    schemes = {one for one, n in Counter(stems).items() if n >= _LEAST_OF_A_SCHEME and n > len(stems) / 2}
    near = _near(table, distance)
    for one in range(len(parent)):
        for other in range(one):
            alike = stems[one] == stems[other] and stems[one] not in schemes
            if alike or near[one, other]:
                first, second = sorted((root(one), root(other)))
                parent[second] = first
    return {name: table.datasets[root(number)] for number, name in enumerate(table.datasets)}


def stem(name: str) -> str:
    """The beginning of a name that its near copies share."""
    found = re.split(r"[-_+. ]|\d", name.lower(), maxsplit=1)[0]
    return found or name.lower()


def _near(table: ResultTable, distance: float) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    n = len(table.datasets)
    if not table.descriptor_names:
        return np.zeros((n, n), dtype=bool)
    ranks = row_ranks(table.descriptors[:, varying(table.descriptors)].T).T
    differences = np.abs(ranks[:, None, :] - ranks[None, :, :])
    shared = np.isfinite(differences).sum(axis=2)
    mean = np.where(np.isfinite(differences), differences, 0.0).sum(axis=2) / np.maximum(shared, 1)
    return np.asarray((mean < distance) & (shared > 0))


def fold_numbers(table: ResultTable, folds: int | None, groups: Mapping[str, str] | None, *, seed: int = 0) -> IntArray:
    """The fold of each data set.

    Args:
        table: Results.
        folds: Number of folds; None leaves out one group at a time.
        groups: Group of each data set, kept in one fold; by default each is its own.
        seed: Seed of the division.

    Raises:
        ConfigurationError: If there are fewer than two folds or groups, or a data set has no group.
    """
    missing = [name for name in table.datasets if groups is not None and name not in groups]
    if missing:
        raise ConfigurationError(f"groups lacks {missing[0]!r}; name the group of each of the table's data sets.")
    labels = [groups[name] if groups is not None else name for name in table.datasets]
    names: Sequence[str] = sorted(set(labels))
    count = len(names) if folds is None else min(folds, len(names))
    if count < 2:
        raise ConfigurationError(
            f"{len(names)} groups of data sets in {folds} folds cannot be held out; at least 2 of each are needed."
        )
    order = np.random.default_rng(seed).permutation(len(names))
    sizes = np.array([labels.count(names[i]) for i in order])
    load = np.zeros(count)
    fold = {}
    for position in np.argsort(-sizes, kind="stable"):
        target = int(load.argmin())
        load[target] += sizes[position]
        fold[names[order[position]]] = target
    return np.array([fold[label] for label in labels], dtype=np.int64)
