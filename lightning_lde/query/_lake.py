"""The lake as its readers see it: SQL over tables, runs by id, artifacts by path."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_lde.errors import LakeNotFoundError, QueryError, RunNotFoundError, StoreError
from lightning_lde.lake import LakeStorage
from lightning_lde.query._views import create_views, tables_of

if TYPE_CHECKING:
    import pyarrow as pa

_ATTEMPTS = 5


class Lake:
    """A lake of experiments, opened for reading.

    Making the object reads nothing; every query sees the lake as it is at that moment.

    Args:
        url: A folder, ``s3://bucket/prefix``, or any URL that fsspec knows.
        storage_options: fsspec's options for the protocol, for S3 as s3fs spells them
            (``key``, ``secret``, ``token``, ``endpoint_url``, ``region``, ``anon``).

    Raises:
        LakeURLError: If the address or the options cannot be understood.

    Example:
        >>> import tempfile
        >>> lake = Lake(tempfile.mkdtemp()).create()
        >>> lake.sql("select count(*) as n from runs").to_pylist()
        [{'n': 0}]
    """

    def __init__(self, url: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> None:
        self.storage = LakeStorage(url, storage_options)

    @property
    def url(self) -> str:
        """The lake's address."""
        return self.storage.url

    def __repr__(self) -> str:
        return f"Lake({self.url!r})"

    def create(self) -> Lake:
        """Make this address a lake if it is none yet.

        Returns:
            The lake itself.
        """
        self.storage.initialise()
        return self

    def sql(self, query: str, parameters: Sequence[object] = ()) -> pa.Table:
        """Run a query in DuckDB's SQL.

        The tables of docs/format.md are views: ``runs`` holds the present state of each run,
        ``stored.runs`` every state; ``to_pandas()`` or ``polars.from_arrow`` turn the result.

        Args:
            query: One statement; ``?`` stands for a parameter.
            parameters: Values for the ``?``.

        Returns:
            The result as a pyarrow Table.

        Raises:
            LakeNotFoundError: If there is no lake at the address.
            QueryError: If the query is not valid or fails.
        """
        self.storage.require()
        for attempt in range(_ATTEMPTS):
            try:
                return self._sql_once(query, parameters)
            except _FileVanishedError as error:
                # A run that ended just now replaced its segments by one file: look again.
                if attempt == _ATTEMPTS - 1:
                    raise StoreError(f"a file of the lake at {self.url} cannot be read: {error}") from error
        raise AssertionError

    def _sql_once(self, query: str, parameters: Sequence[object]) -> pa.Table:
        import duckdb
        import pyarrow as pa

        snapshot = self.storage.snapshot()
        with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
            connection.execute("set TimeZone = 'UTC'")
            try:
                create_views(connection, self.storage, snapshot, tables_of(query))
                result = connection.sql(query, params=list(parameters) or None)
                return pa.table({}) if result is None else result.to_arrow_table()
            except (duckdb.IOException, FileNotFoundError) as error:
                raise _FileVanishedError(str(error)) from error
            except (duckdb.Error, pa.ArrowInvalid) as error:
                raise QueryError(_first_lines(str(error))) from error

    def runs(self, where: str = "true", parameters: Sequence[object] = ()) -> pa.Table:
        """Present states of runs, newest first.

        Args:
            where: A condition in SQL over the columns of ``runs``.
            parameters: Values for the ``?`` in the condition.
        """
        return self.sql(f"select * from runs where {where} order by started_at desc, run_id desc", parameters)

    def resolve_run(self, run: str) -> str:
        """The id of the run that an id, the beginning of one, or a unique name means.

        Raises:
            RunNotFoundError: If none or several runs answer to it.
        """
        rows = self.sql(
            "select run_id, name from runs where starts_with(run_id, ?) or name = ? order by started_at desc",
            [run.lower(), run],
        ).to_pylist()
        if not rows:
            raise RunNotFoundError(f"no run {run!r} in {self.url}: `lde runs {self.url}` lists them")
        if len(rows) > 1:
            few = ", ".join(row["run_id"] for row in rows[:3])
            raise RunNotFoundError(f"{run!r} means {len(rows)} runs ({few}, …): give more of the id")
        return str(rows[0]["run_id"])

    def read_artifact(self, run: str, path: str) -> bytes:
        """The verified content of a run's file.

        Args:
            run: The run's id, the beginning of one, or a unique name.
            path: The file's path as the table ``artifacts`` has it.

        Raises:
            RunNotFoundError: If there is no such run.
            LakeNotFoundError: If the run has no file of that path.
        """
        run_id = self.resolve_run(run)
        rows = self.sql(
            "select object_id from artifacts where run_id = ? and path = ? order by recorded_at desc limit 1",
            [run_id, path],
        ).to_pylist()
        if not rows:
            raise LakeNotFoundError(f"run {run_id} has no file {path!r}: `lde show {self.url} {run_id}` lists them")
        return self.storage.get_object(rows[0]["object_id"])


class _FileVanishedError(Exception):
    """A file that a listing named could not be opened."""


def _first_lines(message: str) -> str:
    """A DuckDB message without the echo of the query, on one line."""
    head = message.split("\n\nLINE", 1)[0]
    return " ".join(part.strip() for part in head.splitlines() if part.strip())
