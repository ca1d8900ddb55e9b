"""From what was asked to what is to be erased: which runs, and what only they used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_lde.lake._scan import parquet_source, quoted
from lightning_lde.lake.erase._files import Files
from lightning_lde.lake.stores import Store
from lightning_lde.schema import CONTENT_TABLES

if TYPE_CHECKING:
    import duckdb

_OF_A_RUN = {
    "dataset_configs": "dataset_config_id",
    "pipeline_configs": "pipeline_config_id",
    "environments": "environment_id",
    "code": "code_id",
}
_COLUMNS = {
    "runs": ("run_id", *_OF_A_RUN.values()),
    "episodes": ("run_id", "dataset_id", "dataset_config_id"),
    "links": ("source_id", "target_id", "run_id"),
    "embeddings": ("dataset_id", "dataset_config_id"),
    "dataset_configs": ("dataset_config_id", "dataset_id"),
    "pipeline_configs": ("pipeline_config_id", "pipeline_id"),
    "datasets": ("dataset_id",),
    "results": ("result_id",),
}

# Which ids of content a row of another table needs.
_NEEDS = (
    *(("runs", column, table) for table, column in _OF_A_RUN.items()),
    ("episodes", "dataset_id", "datasets"),
    ("episodes", "dataset_config_id", "dataset_configs"),
    *(("links", column, table) for column in ("source_id", "target_id") for table in CONTENT_TABLES),
)
_PARENTS = (("dataset_configs", "dataset_id", "datasets"), ("pipeline_configs", "pipeline_id", "pipelines"))


class Tables:
    """The columns of ids of a lake's tables, for queries. Close it after use.

    Args:
        store: Where the lake is.
        files: Its files.
    """

    def __init__(self, store: Store, files: Files) -> None:
        import duckdb

        self._connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
        for table, columns in _COLUMNS.items():
            self._connection.execute(
                f"create temp table {table} as {_query(self._connection, store, files, table, columns)}"
            )

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ids(self, query: str, *parameters: Sequence[str]) -> set[str]:
        """The first column of a query's answer."""
        return {row[0] for row in self._connection.execute(query, list(parameters)).fetchall() if row[0] is not None}

    def runs_on(self, datasets: Iterable[str]) -> set[str]:
        """Runs that were trained or evaluated on one of some data sets."""
        return self.ids(
            """with given as (select unnest($1::varchar[]) as id),
                    uses as (select dataset_config_id as id from dataset_configs where dataset_id in (from given)),
                    things as (from uses union from given)
               select run_id from runs where dataset_config_id in (from uses)
               union select run_id from episodes
                     where dataset_config_id in (from uses) or dataset_id in (from given)
               union select source_id from links
                     where target_id in (from things) and source_id in (select run_id from runs)
               union select target_id from links
                     where source_id in (from things) and target_id in (select run_id from runs)""",
            sorted(datasets),
        )

    def runs_with(self, content: Mapping[str, Iterable[str]]) -> set[str]:
        """Runs of which one of some ids of content is the environment or the code."""
        found: set[str] = set()
        for table, ids in content.items():
            if table in _OF_A_RUN:
                query = f"select run_id from runs where {_OF_A_RUN[table]} in (select unnest($1::varchar[]))"
                found |= self.ids(query, sorted(ids))
        return found

    def uses_of(self, datasets: Iterable[str]) -> set[str]:
        """Configurations of some data sets."""
        return self.ids(
            "select dataset_config_id from dataset_configs where dataset_id in (select unnest($1::varchar[]))",
            sorted(datasets),
        )

    def results_of(self, things: Iterable[str]) -> set[str]:
        """Results that were computed from one of some runs or data sets: their figures hold it."""
        return self.ids(
            """select source_id from links
               where target_id in (select unnest($1::varchar[])) and source_id in (select result_id from results)""",
            sorted(things),
        )

    def only_of(self, runs: Iterable[str]) -> dict[str, frozenset[str]]:
        """By table the content that some runs used and nothing else needs."""
        self._connection.execute(
            "create or replace temp table gone as select unnest($1::varchar[]) as id", [sorted(runs)]
        )
        used: dict[str, set[str]] = {table: set() for table in CONTENT_TABLES}
        needed: dict[str, set[str]] = {table: set() for table in CONTENT_TABLES}
        is_gone = "run_id in (from gone)"
        touches = (
            "(run_id is not null and run_id in (from gone)) or source_id in (from gone) or target_id in (from gone)"
        )
        for table, column, needs in _NEEDS:
            theirs = touches if table == "links" else is_gone
            used[needs] |= self.ids(f"select distinct {column} from {table} where {theirs}")
            needed[needs] |= self.ids(f"select distinct {column} from {table} where not coalesce({theirs}, false)")
        needed["datasets"] |= self.ids("select distinct dataset_id from embeddings")
        needed["dataset_configs"] |= self.ids("select distinct dataset_config_id from embeddings")
        for table, column, parent in _PARENTS:
            key = CONTENT_TABLES[table]
            gone = used[table] - needed[table]
            used[parent] |= self.ids(
                f"select {column} from {table} where {key} in (select unnest($1::varchar[]))", sorted(gone)
            )
            query = f"select distinct {column} from {table} where {key} not in (select unnest($1::varchar[]))"
            needed[parent] |= self.ids(query, sorted(gone))
        return {table: frozenset(used[table] - needed[table]) for table in CONTENT_TABLES}


def _query(
    connection: duckdb.DuckDBPyConnection, store: Store, files: Files, table: str, columns: Sequence[str]
) -> str:
    paths = files.paths(table)
    nothing = ", ".join(f"null::varchar as {column}" for column in columns)
    if not paths:
        return f"select {nothing} where false"
    source: Any = parquet_source(connection, f"files_of_{table}", store, paths)
    known = {row[0] for row in connection.execute(f"describe select * from {source}").fetchall()}
    chosen = ", ".join(quoted(one) if one in known else f"null::varchar as {one}" for one in columns)
    return f"select distinct {chosen} from {source}"
