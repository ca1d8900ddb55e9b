"""Which configurations are worth an expectation where there are very many."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ._table import ResultTable

_MOST = 2000
_FEWEST_OF_EACH = 20


def candidates_of(table: ResultTable, told: Iterable[str] = ()) -> tuple[str, ...]:
    """All configurations of a table; of more than 2,000 the best of each data set, and those that were told.

    What did badly where it was tried is not what one tries first elsewhere, and an expectation of each of the tens of
    thousands of configurations that searches leave takes longer than all that is learned from them.

    Args:
        table: Past results, one row for each data set and configuration.
        told: Configurations that have results on the new data set.

    Example:
        >>> table = ResultTable.from_columns(dataset=["a", "b"], configuration=["x", "y"], metric=[1.0, 2.0])
        >>> candidates_of(table)
        ('x', 'y')
    """
    if len(table.configurations) <= _MOST:
        return table.configurations
    of_each = max(_FEWEST_OF_EACH, _MOST // len(table.datasets))
    order = np.lexsort((-table.mean if table.maximize else table.mean, table.dataset_index))
    dataset = table.dataset_index[order]
    rank = np.arange(dataset.size) - np.searchsorted(dataset, dataset)
    wanted = {table.configurations[place] for place in table.configuration_index[order[rank < of_each]]}
    return tuple(sorted(wanted | set(told)))
