"""Whether the Delta tables show what the manifest says, and how they are made to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from lightning_lde.errors import StoreError
from lightning_lde.lake.check._contents import Contents, one_line
from lightning_lde.lake.check._findings import Finding, Found, Kind, Severity
from lightning_lde.lake.check._mending import Mending
from lightning_lde.lake.cold import newest_manifest
from lightning_lde.lake.cold._delta import can_publish, publish, shown_files
from lightning_lde.lake.cold._lock import held, is_held
from lightning_lde.lake.cold._manifest import COLD
from lightning_lde.lake.stores import Store


class DeltaLogs:
    """The Delta tables of a lake.

    Args:
        store: Where it is.
        options: The storage options, for the client that reads and writes Delta tables.
        mending: Repairs.
    """

    def __init__(self, store: Store, options: Mapping[str, Any], mending: Mending) -> None:
        self._store = store
        self._options = options
        self._mending = mending

    def skipped(self, contents: Contents) -> str:
        """Why they are not looked at; empty where they are."""
        if not _logs(contents):
            return ""
        if not can_publish(self._store):
            return "the Delta logs: that needs pip install lightning-lde[delta]"
        return ""

    def findings(self, contents: Contents) -> Iterator[Found]:
        """Logs that are damaged, missing, or behind.

        Args:
            contents: What lies there.
        """
        logs = _logs(contents)
        # What a compaction at work has not published yet it will; and without any log nobody wants them.
        if not logs or contents.damaged or not can_publish(self._store) or is_held(self._store):
            return
        for table, files in sorted(contents.manifest.tables.items()):
            path = f"{COLD}{table}/_delta_log/"
            said = self._said(table, {file.path.rpartition("/")[2] for file in files}, is_there=table in logs)
            if said is not None and newest_manifest(self._store).number == contents.manifest.number:
                severity, words = said
                finding = Finding(severity, Kind.DELTA, path, words, "makes it anew from the manifest")
                yield Found(finding, partial(self._make_anew, table))

    def _said(self, table: str, wanted: set[str], *, is_there: bool) -> tuple[str, str] | None:
        from deltalake.exceptions import DeltaError

        if not is_there:
            return Severity.WARNING, "it is missing: other engines do not see the table"
        try:
            shown = shown_files(self._store, table, self._options)
        except (DeltaError, OSError, ValueError) as error:
            return Severity.WARNING, f"it cannot be read, and other engines do not see the table: {one_line(error)}"
        if shown == wanted:
            return None
        words = f"other engines see {len(shown & wanted)} of {len(wanted)} files"
        return Severity.WARNING, f"{words} and {len(shown - wanted)} that do not count any more"

    def _make_anew(self, table: str) -> bool:
        with held(self._store) as lock:
            if lock is None:
                return False
            manifest = newest_manifest(self._store)
            wanted = {file.path.rpartition("/")[2] for file in manifest.tables.get(table, ())}
            # One that is only late needs no more than its next entry.
            with contextlib.suppress(StoreError):
                publish(self._store, manifest, self._options)
                if self._said(table, wanted, is_there=True) is None:
                    return True
            for stored in list(self._store.list(f"{COLD}{table}/_delta_log/")):
                self._mending.move_aside(stored.path)
            publish(self._store, manifest, self._options)
        return True


def _logs(contents: Contents) -> set[str]:
    """Tables that have a log."""
    parts = (path.split("/") for path in contents.cold)
    return {each[1] for each in parts if len(each) == 4 and each[2] == "_delta_log"}
