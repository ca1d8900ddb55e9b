"""The tables of a lake: rows are appended as files, a snapshot says which files count."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lightning_lde.errors import RowsError, StoreError
from lightning_lde.lake import _layout
from lightning_lde.lake._layout import HotFile
from lightning_lde.lake._marked import MarkedStorage
from lightning_lde.lake._parquet import DICTIONARY_COLUMNS, write_parquet
from lightning_lde.lake._snapshot import ColdState, Snapshot
from lightning_lde.lake.cold import (
    AbsorbedNumbers,
    ColdFile,
    Manifest,
    is_erased,
    newest_manifest,
    read_erased,
    still_there,
)
from lightning_lde.schema import Record, new_run_id, records_to_arrow, utc_now

if TYPE_CHECKING:
    import pyarrow as pa

PAUSES_S = (0.2, 0.8)
"""Before a write is tried again that nobody else will repeat."""


class TableStorage(MarkedStorage):
    """The second floor of `LakeStorage`: rows."""

    def __init__(self, url: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> None:
        super().__init__(url, storage_options)
        # A manifest never changes: who knows the newest need not read it again.
        self._seen = ColdState(Manifest(), frozenset(), frozenset())

    def append(
        self,
        table: str,
        rows: pa.Table | Iterable[pa.Table],
        *,
        project: str,
        day: date,
        writer: str,
        first: int,
        last: int | None = None,
        in_memory: bool = True,
    ) -> HotFile:
        """Add rows as one immutable file; when it returns they are in the lake.

        Args:
            table: The table's name.
            rows: At least one row, or tables of one schema that become a row group each.
            project: The project, a partition.
            day: The UTC day the writer started, a partition.
            writer: The run id, or another UUIDv7.
            first: The segment's number.
            last: The last number where the file merges several segments.
            in_memory: Whether the file may be put together in memory; a temporary file serves otherwise.

        Raises:
            RowsError: If the rows can never be written.
            StoreError: If the storage does not take them now.
        """
        file = self.place(table, project=project, day=day, writer=writer, first=first, last=last)
        groups = rows if isinstance(rows, Iterable) else [rows]
        if in_memory:
            buffer = io.BytesIO()
            _encode(buffer, table, groups)
            self.store.put(file.path, buffer.getvalue())
        else:
            with tempfile.NamedTemporaryFile(prefix="lde-", suffix=".parquet") as scratch:
                _encode(scratch, table, groups)
                scratch.flush()
                self.store.put_file(file.path, Path(scratch.name))
        return file

    @staticmethod
    def place(table: str, *, project: str, day: date, writer: str, first: int, last: int | None = None) -> HotFile:
        """The file that ``append`` makes for the same arguments."""
        path = _layout.hot_path(table, project=project, day=day, writer=writer, first=first, last=last)
        return HotFile(path, table, writer, first, first if last is None else last)

    def add_records(self, table: str, records: Sequence[Record], *, project: str) -> HotFile:
        """Add rows that belong to no run, as they are, under a writer id of their own.

        ``recording.add_results`` takes out first what the lake's policy does not take.

        Args:
            table: The table's name.
            records: At least one instance of the table's dataclass.
            project: The project, a partition.
        """
        return self.add_rows(table, records_to_arrow(table, records), project=project)

    def add_rows(self, table: str, rows: pa.Table, *, project: str) -> HotFile:
        """As ``add_records``, of rows that are Arrow already."""
        day, writer = utc_now().date(), new_run_id()
        for pause_s in PAUSES_S:
            with contextlib.suppress(StoreError):
                return self.append(table, rows, project=project, day=day, writer=writer, first=0)
            time.sleep(pause_s)
        return self.append(table, rows, project=project, day=day, writer=writer, first=0)

    def read(self, file: HotFile) -> pa.Table:
        """All rows of one file.

        Raises:
            FileNotFoundError: If it is gone, as after a merge.
        """
        import pyarrow.parquet as pq

        return pq.read_table(io.BytesIO(self.store.get(file.path)))

    def read_groups(self, file: HotFile | ColdFile) -> Iterator[pa.Table]:
        """The row groups of one file, one after the other; repeated words stay dictionary-encoded.

        Raises:
            FileNotFoundError: If it is gone, as after a merge.
        """
        import pyarrow.parquet as pq

        words = list(DICTIONARY_COLUMNS.get(file.table, ()))
        with pq.ParquetFile(io.BytesIO(self.store.get(file.path)), read_dictionary=words) as parquet:
            for number in range(parquet.num_row_groups):
                yield parquet.read_row_group(number, use_threads=False)

    def remove(self, file: HotFile) -> None:
        """Delete one file of the hot tier."""
        self.store.delete(file.path)

    def rows_of_run(self, table: str, run_id: str, *, project: str) -> list[dict[str, Any]]:
        """The rows of a run in one table, without a query engine.

        Args:
            table: The table's name; it has a column ``run_id``.
            run_id: The run.
            project: Its project.
        """
        import pyarrow.parquet as pq

        listed = [_layout.parse_hot_path(one.path) for one in self.store.list(_layout.table_prefix(table, project))]
        seen = self._cold()
        hot = _layout.current_files(seen.counting(listed))
        cold = (one for one in seen.manifest.tables.get(table, ()) if (one.first or "") <= run_id <= (one.last or ""))
        rows: list[dict[str, Any]] = []
        for path in [*(file.path for file in hot), *(file.path for file in cold)]:
            rows += pq.read_table(io.BytesIO(self.store.get(path)), filters=[("run_id", "=", run_id)]).to_pylist()
        return rows

    def snapshot(self) -> Snapshot:
        """The files that there are now.

        The hot tier is listed first: what goes from there into the cold tables meanwhile is said by the manifest, and
        who does not find a file that was listed looks again.
        """
        listed = [_layout.parse_hot_path(stored.path) for stored in self.store.list(_layout.HOT)]
        cold = self._cold()
        tables: dict[str, list[HotFile]] = {}
        for file in _layout.current_files(cold.counting(listed)):
            tables.setdefault(file.table, []).append(file)
        return Snapshot({table: tuple(files) for table, files in tables.items()}, cold.manifest.tables)

    def _cold(self) -> ColdState:
        """What the cold tables consist of, and the hot files that do not count because of it."""
        for pause_s in (*PAUSES_S, None):
            manifest = newest_manifest(self.store, known=self._seen.manifest)
            if manifest is self._seen.manifest:
                return self._seen
            try:
                erased = read_erased(self.store, manifest)
                self._seen = ColdState(manifest, still_there(self.store, manifest), erased)
            except FileNotFoundError:
                # A list went with an older manifest: there is a newer one.
                if pause_s is None:
                    raise
                time.sleep(pause_s)
            else:
                return self._seen
        raise AssertionError

    def absorbed_numbers(self, writer: str) -> AbsorbedNumbers:
        """What the cold tables have of one writer, for who may send it again."""
        return AbsorbedNumbers(self.store, newest_manifest(self.store), writer)

    def was_erased(self, run_id: str) -> bool:
        """Whether a run was erased: what anybody has of it still is to be given up."""
        return is_erased(self._cold().erased)(run_id)

    def vanished(self, paths: Iterable[str]) -> set[str]:
        """Those of some files of the hot tier that are no longer there.

        Args:
            paths: Relative to the lake's root.
        """
        wanted = set(paths)
        folders = {"/".join(path.split("/")[:2]) for path in wanted}
        return wanted - {stored.path for folder in folders for stored in self.store.list(f"{folder}/")}


def _encode(target: IO[bytes], table: str, groups: Iterable[pa.Table]) -> None:
    try:
        write_parquet(target, table, groups)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise RowsError(f"rows of {table} cannot be written: {type(error).__name__}: {error}") from error
