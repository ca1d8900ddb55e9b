"""What a watch has done so far, in one SQLite file: killed at any instant, it goes on where it was."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightning_lde.collecting._clusters import FloatArray
from lightning_lde.collecting._found import FoundFile
from lightning_lde.errors import ConfigurationError, DataError

FORMAT = "1"
_TABLES = """
create table if not exists meta (key text primary key, value blob);
create table if not exists files (path blob primary key, size_bytes integer, mtime_ns integer, error text);
create table if not exists features (content blob primary key, vector blob);
create table if not exists samples (
    number integer primary key, path blob, content blob, label text, batch integer);
create index if not exists samples_by_path on samples (path);
create index if not exists samples_by_batch on samples (batch);
"""


@dataclass(frozen=True)
class StoredSample:
    """A sample that was embedded.

    Attributes:
        path: Its file.
        content: Hash of its content.
        label: Its class.
    """

    path: bytes
    content: bytes
    label: str | None


class WatchState:
    """The file of a watch; it belongs to one process at a time.

    Args:
        path: The file; it is made where there is none.

    Raises:
        ConfigurationError: If another process has it, or it cannot be made there.
        DataError: If it is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._db = sqlite3.connect(path, timeout=1.0, isolation_level=None)
            self._db.execute("pragma locking_mode = exclusive")
            self._db.execute("begin exclusive")
            self._db.execute("commit")
            self._db.executescript(_TABLES)
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise ConfigurationError(
                    f"{path} is in use by another watch: wait for it, or give another --state"
                ) from error
            raise ConfigurationError(
                f"{path} cannot be opened ({error}): give a --state that can be written"
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{path} is no state of a watch ({error}): remove it, or give another --state") from error

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def get(self, key: str) -> bytes | None:
        """A stored setting."""
        row = self._db.execute("select value from meta where key = ?", [key]).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, values: dict[str, bytes]) -> None:
        """Store settings, all or none."""
        with self._transaction():
            self._db.executemany("insert or replace into meta values (?, ?)", values.items())

    def is_known(self, file: FoundFile) -> bool:
        """Whether a file was read as it is now."""
        row = self._db.execute("select size_bytes, mtime_ns from files where path = ?", [file.path]).fetchone()
        return row is not None and tuple(row) == (file.size_bytes, file.mtime_ns)

    def contents_of(self, path: bytes) -> Counter[bytes]:
        """How often each content was taken from a file already."""
        rows = self._db.execute("select content, count(*) from samples where path = ? group by content", [path])
        return Counter({bytes(content): count for content, count in rows})

    def has_vector(self, content: bytes) -> bool:
        """Whether a content was embedded."""
        return self._db.execute("select 1 from features where content = ?", [content]).fetchone() is not None

    def add(
        self, samples: Sequence[StoredSample], features: dict[bytes, FloatArray], done: Sequence[FoundFile]
    ) -> None:
        """Store samples, the features of new contents, and the files that were read to their end; all or nothing."""
        with self._transaction():
            vectors = [(content, vector.astype(np.float32).tobytes()) for content, vector in features.items()]
            self._db.executemany("insert or ignore into features values (?, ?)", vectors)
            rows = [(one.path, one.content, one.label) for one in samples]
            self._db.executemany("insert into samples (path, content, label) values (?, ?, ?)", rows)
            self._files([(*_facts(file), None) for file in done])

    def refuse(self, file: FoundFile, error: str) -> None:
        """Note that a file could not be read as it is now."""
        with self._transaction():
            self._files([(*_facts(file), error)])

    def refused(self) -> int:
        """Files that could not be read."""
        return int(self._db.execute("select count(*) from files where error is not null").fetchone()[0])

    def waiting(self) -> int:
        """Samples that are in no batch yet."""
        return int(self._db.execute("select count(*) from samples where batch is null").fetchone()[0])

    def batches(self) -> int:
        """Batches so far."""
        return int(self._db.execute("select coalesce(max(batch), 0) from samples").fetchone()[0])

    def form_batch(self, number: int, size: int) -> None:
        """Make the samples that have waited longest a batch."""
        with self._transaction():
            self._db.execute(
                """update samples set batch = ? where number in
                   (select number from samples where batch is null order by number limit ?)""",
                [number, size],
            )

    def batch(self, number: int) -> tuple[FloatArray, list[str | None]]:
        """Features (N, D) and labels of a batch, in order."""
        rows = self._db.execute(
            """select vector, label from samples join features using (content) where batch = ? order by number""",
            [number],
        ).fetchall()
        vectors = [np.frombuffer(vector, dtype=np.float32) for vector, _ in rows]
        return np.stack(vectors).astype(np.float64), [label for _, label in rows]

    def _files(self, rows: Sequence[tuple[bytes, int, int, str | None]]) -> None:
        self._db.executemany("insert or replace into files values (?, ?, ?, ?)", rows)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")


def _facts(file: FoundFile) -> tuple[bytes, int, int]:
    return file.path, file.size_bytes, file.mtime_ns
