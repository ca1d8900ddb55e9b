"""The data sets of several runs side by side: which use of one stands where which use of another does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

_Use = TypeVar("_Use", bound=Mapping[str, Any])


def placed_uses(data: Sequence[Sequence[_Use]]) -> list[dict[str, _Use]]:
    """The data of each run by what they were used for, with a number where a run has several of a kind.

    What is likely the same use has the same title in each run: of one configuration first, then of one data set, then
    of one name, then what is left in its order.

    Args:
        data: For each run its rows with ``relation`` and, where they are known, ``dataset_config_id``,
            ``dataset_id`` and ``dataset``.

    Example:
        >>> one = {"relation": "trained_on", "dataset_config_id": "c", "dataset_id": "d", "dataset": "digits"}
        >>> two = {**one, "dataset_config_id": "e", "dataset_id": "f", "dataset": "letters"}
        >>> [[(title, use["dataset"]) for title, use in uses.items()] for uses in placed_uses([[one, two], [two]])]
        [[('trained_on 1', 'digits'), ('trained_on 2', 'letters')], [('trained_on 2', 'letters')]]
    """
    relations = list(dict.fromkeys(row["relation"] for rows in data for row in rows))
    found: list[dict[str, _Use]] = [{} for _ in data]
    for relation in relations:
        placed = _placed([[row for row in rows if row["relation"] == relation] for rows in data])
        several = max(max(places, default=0) for places in placed) > 0
        for uses, places in zip(found, placed, strict=True):
            uses |= {f"{relation} {place + 1}" if several else relation: row for place, row in places.items()}
    return found


def _placed(data: Sequence[Sequence[_Use]]) -> list[dict[int, _Use]]:
    """Each run's uses by place: the first run's in their order, the others' where they fit best."""
    slots: list[_Use] = []
    placed = []
    for rows in data:
        places: dict[int, _Use] = {}
        waiting = list(rows)
        for alike in ("dataset_config_id", "dataset_id", "dataset", None):
            for row in list(waiting):
                fitting = (n for n, slot in enumerate(slots) if not alike or slot.get(alike) == row.get(alike))
                free = (n for n in fitting if n not in places)
                if (place := next(free, None)) is not None:
                    places[place] = row
                    waiting.remove(row)
        for row in waiting:
            places[len(slots)] = row
            slots.append(row)
        placed.append(places)
    return placed
