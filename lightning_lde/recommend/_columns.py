"""Columns of a table of results as they come from files and lakes, made comparable and checked."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lightning_lde.errors import DataError

if TYPE_CHECKING:
    from ._table import Descriptors, FloatArray, IntArray


@dataclasses.dataclass(frozen=True)
class RowSettings:
    """Settings of rows.

    Args:
        columns: Values of each setting, by name.
        ids: The settings of each row as canonical JSON.
    """

    columns: Mapping[str, Sequence[Any]]
    ids: list[str]

    def of_row(self, row: int) -> dict[str, Any]:
        """The settings that a row has."""
        return {name: _plain(column[row]) for name, column in self.columns.items() if not _absent(column[row])}


def settings_of_rows(columns: Mapping[str, Sequence[Any]], rows: int) -> RowSettings:
    """The settings of each row as canonical JSON, made column by column: rows are many."""
    encoded = []
    for name in sorted(columns):
        known = {}
        words = []
        for value in columns[name]:
            key = (type(value), value)
            if key not in known:
                known[key] = "" if _absent(value) else f"{json.dumps(name)}: {json.dumps(_plain(value), default=str)}"
            words.append(known[key])
        encoded.append(words)
    ids = ["{" + ", ".join(filter(None, row)) + "}" for row in zip(*encoded, strict=True)] if encoded else ["{}"] * rows
    return RowSettings(columns, ids)


def comparable(column: Sequence[Any]) -> Sequence[Any]:
    """A column of settings whose values can be compared: lists and mappings as JSON text, as a lake has them."""
    try:
        set(column)
    except TypeError:
        return [json.dumps(one, default=str) if isinstance(one, list | dict) else one for one in column]
    return column


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def same_settings(ids: list[str], kept: list[int], index: IntArray, first: list[int], names: tuple[str, ...]) -> None:
    """Refuse an id that stands for different settings.

    Args:
        ids: Settings of each row of the input, as text.
        kept: Rows that are kept.
        index: Configuration of each of these.
        first: First row of each configuration.
        names: Id of each configuration.
    """
    for row, number in zip(kept, index.tolist(), strict=True):
        if ids[row] != ids[first[number]]:
            raise DataError(
                f"configuration {names[number]!r} stands for {ids[first[number]]} and for {ids[row]}; "
                "give each configuration an id of its own, or leave the ids out."
            )


def numbered(values: list[str]) -> tuple[tuple[str, ...], IntArray]:
    """The different values, sorted, and the place of each value among them."""
    names = sorted(set(values))
    place = {name: number for number, name in enumerate(names)}
    return tuple(names), np.array([place[value] for value in values], dtype=np.int64)


def numbers(values: npt.ArrayLike, name: str) -> FloatArray:
    """A column of numbers, shape (rows,)."""
    try:
        vector = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} holds something that is not a number ({error}); pass floats.") from error
    if vector.ndim != 1:
        raise DataError(f"{name} has shape {vector.shape}, expected one value a row; flatten or select first.")
    return vector


def filled(values: npt.ArrayLike | None, rows: int, default: float, name: str) -> FloatArray:
    """A column of numbers, or as many times the default, shape (rows,)."""
    if values is None:
        return np.full(rows, default, dtype=np.float64)
    vector = numbers(values, name)
    if vector.size != rows:
        raise DataError(f"column {name!r} has {vector.size} rows and the metric {rows}; pass one value a row.")
    if name == "n" and not (vector >= 1).all():
        raise DataError(f"n holds {vector.min()}, expected at least one repetition behind each row; leave others out.")
    return vector


def descriptor_matrix(
    datasets: tuple[str, ...], descriptors: Mapping[str, Descriptors]
) -> tuple[tuple[str, ...], FloatArray]:
    """Names of descriptors of which some are known, and their values, shape (data sets, names); nan where unknown."""
    names = tuple(sorted({name for dataset in datasets for name in descriptors.get(dataset, {})}))
    matrix = np.full((len(datasets), len(names)), math.nan)
    for row, dataset in enumerate(datasets):
        known = descriptors.get(dataset, {})
        for column, name in enumerate(names):
            value = known.get(name)
            try:
                matrix[row, column] = math.nan if value is None else float(value)
            except (TypeError, ValueError) as error:
                raise DataError(f"descriptor {name!r} of {dataset!r} is {value!r}, expected a number.") from error
    matrix[~np.isfinite(matrix)] = math.nan
    known_columns = np.isfinite(matrix).any(axis=0)
    return tuple(np.array(names, dtype=object)[known_columns]) if names else (), matrix[:, known_columns]
