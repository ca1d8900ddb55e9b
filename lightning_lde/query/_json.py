"""JSON columns as the values that they say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lightning_lde.schema import TABLES, json_columns


def decoded(value: Any) -> Any:
    """What JSON text says; text that is no JSON stays as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def decoded_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with what its JSON columns say.

    Example:
        >>> decoded_row({"hparams": '{"lr":0.1}', "name": "1"})
        {'hparams': {'lr': 0.1}, 'name': '1'}
    """
    return {name: decoded(value) if name in _JSON_COLUMNS else value for name, value in row.items()}


def mapping_of(value: Any) -> dict[str, Any]:
    """A JSON column as a mapping: empty for null, under the key ``value`` where it holds something else."""
    found = decoded(value)
    if isinstance(found, Mapping):
        return dict(found)
    return {} if found is None else {"value": found}


_JSON_COLUMNS = frozenset().union(*(json_columns(table) for table in TABLES))
