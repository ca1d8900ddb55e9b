"""What is to be erased, as a question to rows: which go, and what changes in those that stay."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lightning_lde.lake._parquet import with_own_words
from lightning_lde.lake.erase._texts import ERASED, UUID, Needles, mapped, text_columns
from lightning_lde.schema import CONTENT_TABLES

if TYPE_CHECKING:
    import pyarrow as pa

# Which tables' ids a column holds.
_REFERENCES: dict[str, dict[str, tuple[str, ...]]] = {
    **{table: {key: (table,)} for table, key in CONTENT_TABLES.items()},
    "params": {"config_id": tuple(CONTENT_TABLES)},
    "embeddings": {"dataset_id": ("datasets",), "dataset_config_id": ("dataset_configs",)},
    "links": {"source_id": tuple(CONTENT_TABLES), "target_id": tuple(CONTENT_TABLES)},
}
_EDGES = ("source_id", "target_id")
_OBJECTS = ("manifest_object", "snapshot_object")
_RUN_IDS = ("parent_run_id", "resumed_from", "reproduces")


@dataclass(frozen=True)
class Target:
    """What is to be erased.

    Attributes:
        runs: Ids of runs.
        content: By table of content the ids.
        objects: Objects that go wherever they are named.
        needles: Rows with such a text go.
        hidden: Such texts are replaced in rows that stay.
    """

    runs: frozenset[str] = frozenset()
    content: Mapping[str, frozenset[str]] = field(default_factory=dict)
    objects: frozenset[str] = frozenset()
    needles: Needles = field(default_factory=Needles)
    hidden: Needles = field(default_factory=Needles)

    def as_dict(self) -> dict[str, Any]:
        """Plain words."""
        return {
            "runs": sorted(self.runs),
            "content": {table: sorted(ids) for table, ids in self.content.items() if ids},
            "objects": sorted(self.objects),
            "needles": self.needles.as_dict(),
            "hidden": self.hidden.as_dict(),
        }

    @classmethod
    def from_dict(cls, words: Mapping[str, Any]) -> Target:
        """The one that `as_dict` gave."""
        return cls(
            frozenset(words["runs"]),
            {table: frozenset(ids) for table, ids in words["content"].items()},
            frozenset(words["objects"]),
            Needles.from_dict(words["needles"]),
            Needles.from_dict(words["hidden"]),
        )

    @functools.cached_property
    def _random_runs(self) -> frozenset[str]:
        """Ids that can be found in a text; others, such as `7`, could be anything."""
        return frozenset(run for run in self.runs if re.fullmatch(UUID, run))

    def is_of_run(self, rows: pa.Table) -> Any:
        """A boolean array: which rows belong to a run that is to be erased."""
        return _is_in(rows, "run_id", self.runs)

    def goes(self, table: str, rows: pa.Table) -> Any:
        """A boolean array: which rows are to be erased."""
        masks = [_is_in(rows, "run_id", self.runs)] if "run_id" in rows.column_names else []
        for column, tables in _REFERENCES.get(table, {}).items():
            ids = frozenset().union(*(self.content.get(one, frozenset()) for one in tables))
            masks.append(_is_in(rows, column, ids))
        if table == "links":
            masks += [_is_in(rows, column, self.runs | self.objects) for column in _EDGES]
            masks += [self._names_run(rows, column) for column in _EDGES]
        if table in {"artifacts", "placements"}:
            masks.append(_is_in(rows, "object_id", self.objects))
        masks += [_matches(rows, column, self.needles.pattern(column)) for column in text_columns(rows)]
        return _any(masks, rows.num_rows)

    def changes(self, table: str, rows: pa.Table) -> Any:
        """A boolean array: in which rows something would have to be replaced, if they stay."""
        masks = []
        for column in text_columns(rows):
            masks.append(_matches(rows, column, self.hidden.pattern(column)))
            if column != "run_id":
                masks.append(self._names_run(rows, column))
        masks += [_is_in(rows, column, self.runs) for column in _RUN_IDS]
        masks += [_is_in(rows, column, self.objects) for column in _OBJECTS]
        if table == "runs" and self.objects:
            masks.append(_matches(rows, "seeds", "|".join(sorted(self.objects))))
        return _any(masks, rows.num_rows)

    def is_among_words(self, rows: pa.Table) -> bool:
        """Whether a dictionary has a word that is to go, although no row may have it."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for column, field_ in zip(rows.columns, rows.schema, strict=True):
            for chunk in column.chunks if pa.types.is_dictionary(field_.type) else ():
                words = pa.table({field_.name: chunk.dictionary})
                if pc.any(pc.or_(self.goes("", words), self.changes("", words))).as_py():
                    return True
        return False

    def kept(self, table: str, rows: pa.Table) -> pa.Table:
        """The rows that stay, as they are to stand."""
        import pyarrow as pa
        import pyarrow.compute as pc

        left = with_own_words(rows.filter(pc.invert(self.goes(table, rows))))
        if not left.num_rows or not pc.any(self.changes(table, left)).as_py():
            return left
        for column in text_columns(left):
            before = left.column(column).cast(pa.string()).to_pylist()
            after = [None if value is None else self._changed(table, column, value) for value in before]
            if after != before:
                place, kind = left.column_names.index(column), left.schema.field(column)
                left = left.set_column(place, kind, pa.array(after, pa.string()).cast(kind.type))
        return left

    def _changed(self, table: str, column: str, value: str) -> str | None:
        if (column in _RUN_IDS and value in self.runs) or (column in _OBJECTS and value in self.objects):
            return None
        if table == "runs" and column == "seeds":
            for object_id in self.objects:
                value = value.replace(f'"{object_id}"', "null")
        value = self.hidden.replaced(column, value)
        if column == "run_id" or not self._random_runs:
            return value
        return re.sub(UUID, lambda found: ERASED if found[0] in self._random_runs else found[0], value)

    def _names_run(self, rows: pa.Table, column: str) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        if column not in rows.column_names or not self._random_runs:
            return _any([], rows.num_rows)

        def found(texts: Any) -> Any:
            likely = pc.fill_null(pc.match_substring_regex(texts, UUID), False)
            if not pc.any(likely).as_py():
                return likely
            sure = [
                maybe and any(one in self._random_runs for one in re.findall(UUID, text))
                for maybe, text in zip(likely.to_pylist(), texts.to_pylist(), strict=True)
            ]
            return pa.array(sure, pa.bool_())

        return mapped(rows.column(column), found)


def _is_in(rows: pa.Table, column: str, ids: frozenset[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if column not in rows.column_names or not ids:
        return _any([], rows.num_rows)
    wanted = pa.array(sorted(ids), pa.string())
    return mapped(rows.column(column), lambda texts: pc.is_in(texts.cast(pa.string()), wanted))


def _matches(rows: pa.Table, column: str, pattern: str | None) -> Any:
    import pyarrow.compute as pc

    if pattern is None or column not in rows.column_names:
        return _any([], rows.num_rows)
    return mapped(rows.column(column), lambda texts: pc.match_substring_regex(texts, pattern))


def _any(masks: list[Any], n: int) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return functools.reduce(pc.or_, masks) if masks else pa.repeat(pa.scalar(False), n)
