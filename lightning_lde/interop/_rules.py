"""What rows mean, in SQL that Polars, Daft and Spark understand alike: docs/format.md, "Rows that need a rule"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_lde.query import chain_of_attempts
from lightning_lde.schema import CONTENT_TABLES, HEARTBEATS_UNTIL_LOST, RunStatus, utc_now

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = "stored_rows"
"""What the rows of the table's files are called in a rule."""

ATTEMPTS = "known_attempts"
"""What the attempts of runs that went on are called, see `attempts`."""

ASIDE = "segments_aside"
"""What segments that only validated, tested or predicted are called: their points count whatever was given up."""

SMALL = frozenset({*CONTENT_TABLES, "artifacts", "resumes"})
"""Tables whose rows are made here, with DuckDB: there are few of them beside points."""

_SAME_ROW = {
    "embeddings": ("dataset_config_id, probe_id, method, task_seed, task_index, half", "recorded_at"),
    "links": ("source_id, relation, target_id", "recorded_at"),
    "params": ("config_id, key", "type, value_text"),
    "runs": ("run_id", "segment desc, revision desc"),
}
_NEVER = 2**63 - 1


@dataclass(frozen=True)
class Dialect:
    """Where an engine's SQL differs.

    Attributes:
        quote: What stands around a name.
        micros: The microseconds since 1970 of ``heartbeat_at``.
        is_template: Whether tables are named in braces, as in Python's format strings.
    """

    quote: str = '"'
    micros: str = "cast(heartbeat_at as bigint)"
    is_template: bool = False

    def name(self, column: str) -> str:
        """A column's name, whatever it consists of."""
        text = column.replace("{", "{{").replace("}", "}}") if self.is_template else column
        return self.quote + text.replace(self.quote, 2 * self.quote) + self.quote

    def table(self, name: str) -> str:
        """A table's name, behind ``from``."""
        return f"{{{name}}}" if self.is_template else name


def rule(table: str, columns: Sequence[str], dialect: Dialect, *, has_attempts: bool) -> dict[str, str]:
    """Queries for the rows of a table as `Lake.sql` shows them.

    They are apart because not each engine lets one name of a query be used within another one.

    Args:
        table: A table that is not `SMALL`.
        columns: All columns of its files.
        dialect: The engine's.
        has_attempts: Whether any run went on from a checkpoint.

    Returns:
        Each by the name that those behind it call its rows; the last gives the table's rows.
    """
    names = [dialect.name(column) for column in columns]
    if table == "runs":
        names = [_status(dialect) if column == "status" else dialect.name(column) for column in columns]
    rows = dialect.table(ROWS)
    if table in _SAME_ROW:
        keys, order = _SAME_ROW[table]
        # Files of older writers have no column that came later.
        same = ", ".join(dialect.name(key) for key in keys.split(", ") if key in columns)
        numbered = f"select *, row_number() over (partition by {same} order by {order}) as row_of_same from {rows}"
        return {"rows": f"select {', '.join(names)} from ({numbered}) numbered where row_of_same = 1"}
    if table == "metrics" and has_attempts:
        return _valid_points(names, dialect)
    return {"rows": f"select {', '.join(names)} from {rows}"}


def _status(dialect: Dialect) -> str:
    now = int(utc_now().timestamp() * 1e6)
    silent = f"({now} - {dialect.micros}) / 1000000.0 > {HEARTBEATS_UNTIL_LOST} * heartbeat_every_s"
    return f"case when status = '{RunStatus.RUNNING}' and {silent} then '{RunStatus.LOST}' else status end as status"


def _valid_points(names: Sequence[str], dialect: Dialect) -> dict[str, str]:
    """Points without those of attempts that were given up, as the view ``metrics`` leaves them out.

    An attempt's points count up to the checkpoint that the next one began with. Those of a step that was logged after
    the checkpoint was saved count too, unless the next attempt has a point of the same curve and step.
    """
    columns = ", ".join(f"point.{name} as {name}" for name in names)
    rows, known, aside, placed, again = map(dialect.table, (ROWS, ATTEMPTS, ASIDE, "placed", "again"))
    return {
        "placed": f"""
            select point.*, attempt_first, attempt_given_up, attempt_child, attempt_until, attempt_below_step,
                   case when aside.run_id is null then 0 else 1 end as is_aside,
                   coalesce(point.context, '') as context_key, coalesce(point.dataloader_idx, -1) as idx_key
            from {rows} point join {known} attempt on point.run_id = attempt.run_id
            left join {aside} aside on point.run_id = aside.run_id and point.segment = aside.segment
            where point.segment >= attempt_first and point.segment < attempt_following""",
        "again": f"""
            select distinct run_id as again_run, attempt_first as again_first, name as again_name,
                   context_key as again_context, idx_key as again_idx, step as again_step
            from {placed} placed where is_aside = 0 and step is not null""",
        "rows": f"""
            select {columns} from {rows} point left anti join {known} attempt on point.run_id = attempt.run_id
            union all
            select {columns} from {placed} point left join {again} again
                on point.run_id = again_run and point.attempt_child = again_first and point.name = again_name
                and point.context_key = again_context and point.idx_key = again_idx and point.step = again_step
            where is_aside = 1 or context_key = 'system' or (attempt_given_up = 0 and (attempt_until is null
                or point.time <= attempt_until or (point.step < attempt_below_step and again_run is null)))""",
    }


def attempts(resumes: pa.Table) -> pa.Table:
    """What became of each attempt of each run that went on from a checkpoint.

    Args:
        resumes: The rows of ``resumes``.

    Returns:
        A row for each attempt: ``run_id``; ``attempt_first`` and ``attempt_following``, the first of its segments and
        of those behind them; ``attempt_given_up``, 1 or 0; and, where another one went on from it, of that one
        ``attempt_child``, its first segment, and ``attempt_until`` and ``attempt_below_step`` of its row.
    """
    import duckdb

    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.register("resumes", resumes)
        return connection.sql(_ATTEMPTS).to_arrow_table()


_ATTEMPTS = f"""
    with recursive {chain_of_attempts("resumes")}
    select known.run_id, known.first as attempt_first,
           coalesce(lead(known.first) over (partition by known.run_id order by known.first), {_NEVER})
               as attempt_following,
           (chain.run_id is null)::bigint as attempt_given_up, child as attempt_child, until as attempt_until,
           step as attempt_below_step
    from known left join chain on chain.run_id = known.run_id and chain.first = known.first
    order by known.run_id, known.first"""
