"""What tells the configurations of a study apart, and what people call them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

Key = tuple[str, int | None, int, int]
"""Method, inner steps, ways and shots."""

Rows = Sequence[dict[str, Any]]


def configuration_label(method: str, inner_steps: int | None) -> str:
    """A configuration's name for people.

    Example:
        >>> configuration_label("maml-first-order", 5)
        'MAML first order, 5 steps'
    """
    words = {
        "maml-first-order": "MAML first order",
        "maml-higher-order": "MAML higher order",
        "pretraining+logistic-regression": "Pretraining + logistic regression",
    }
    name = words.get(method, method)
    return name if inner_steps is None else f"{name}, {inner_steps} steps"


def key_of(row: dict[str, Any]) -> Key:
    """The configuration of a row."""
    return row["method"], row["inner_steps"], row["ways"], row["shots"]


def by_configuration(rows: Rows) -> dict[Key, list[dict[str, Any]]]:
    """Rows that are ordered by configuration, of each of them."""
    return {key: list(group) for key, group in groupby(rows, key=key_of)}


def labels_of(rows: Iterable[dict[str, Any]]) -> dict[Key, str]:
    """Names of configurations, with the size of the tasks where it differs between them."""
    keys = {key_of(row) for row in rows}
    differ = len({key[2:] for key in keys}) > 1
    return {key: configuration_label(*key[:2]) + f" ({key[2]}-way {key[3]}-shot)" * differ for key in keys}
