"""DuckDB for the queries of one lake: one instance for all of them, and a catalog for each alone."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

# A name in a query means the lake's, never a Python variable that happens to be there.
_SETTINGS = {"autoinstall_known_extensions": False, "python_enable_replacements": False}

_LOOKS_AROUND = re.compile(
    r"\b(show|information_schema|pg_\w+|sqlite_\w+)\b"
    r'|\b((duckdb|pragma|enable|disable|truncate|json_execute)_\w+|query|\w*checkpoint|\w+_external_resource\w*)"?\s*\(',
    re.IGNORECASE,
)
"""What sees the catalogs of other queries, or changes a setting of all of them though it is a ``select``."""


class Engine:
    """Connections for queries, each of which sees nothing of another one.

    To start DuckDB takes longer than most queries, and one that goes on knows the footers of the files that it has
    read. So statements that only read share an instance; any other one has its own.
    """

    def __init__(self) -> None:
        self._begin()
        _ENGINES.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._instance: duckdb.DuckDBPyConnection | None = None
        self._numbers = itertools.count()

    def __reduce__(self) -> tuple[type[Engine], tuple[()]]:
        return Engine, ()

    @contextlib.contextmanager
    def connection(self, query: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with an empty catalog, in UTC.

        Args:
            query: What is to be run in it.
        """
        if _LOOKS_AROUND.search(query) or not _only_reads(cursor := self._cursor(), query):
            with _new_instance() as own:
                yield own
            return
        name = f"query_{next(self._numbers)}"
        with cursor:
            cursor.execute(f"attach ':memory:' as {name}")
            try:
                cursor.execute(f"use {name}")
                yield cursor
            finally:
                cursor.execute("use memory")
                cursor.execute(f"detach {name}")

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._instance is None:
                self._instance = _new_instance()
            return self._instance.cursor()

    def leave_behind(self) -> None:
        """Begin anew in a forked process: an instance without its threads can be neither used nor closed."""
        if self._instance is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._instance))
        self._begin()


_ENGINES: weakref.WeakSet[Engine] = weakref.WeakSet()


def _leave_all_behind() -> None:
    for engine in list(_ENGINES):
        engine.leave_behind()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all_behind)


def _new_instance() -> duckdb.DuckDBPyConnection:
    import duckdb

    instance = duckdb.connect(config=_SETTINGS)
    instance.execute("set global TimeZone = 'UTC'")
    with contextlib.suppress(duckdb.Error):  # versions before 1.3 do not know it
        instance.execute("set global parquet_metadata_cache = true")
    return instance


def _only_reads(cursor: duckdb.DuckDBPyConnection, query: str) -> bool:
    """Whether a query is one ``select``, which leaves everything as it is."""
    import duckdb

    try:
        statements = cursor.extract_statements(query)
    except duckdb.Error:
        return False
    return len(statements) == 1 and statements[0].type == duckdb.StatementType.SELECT
