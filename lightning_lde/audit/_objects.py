"""Looks into files: texts in portions, pickles of checkpoints without their tensors, snapshots, tables."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from lightning_lde.audit._findings import Finding, Skipped, finding, says
from lightning_lde.audit._texts import EMAILS, NOBODY, OVERLAP, PEOPLE, PORTION, Texts
from lightning_lde.capture import pickled_values
from lightning_lde.lake.stores import Store, StoredFile

LARGEST_PICKLE_BYTES = 64 << 20
"""A pickle is read as a whole."""

TOO_LARGE = f"pickle above {LARGEST_PICKLE_BYTES >> 20} MiB"
DAMAGED = "damaged or encrypted"
ARCHIVED = "in an archive: `lde restore` brings it back"
UNKNOWN = "neither text, pickle, checkpoint nor table"

_HEAD = 4096
_TEXT_SUFFIXES = (".json", ".txt", ".yaml", ".yml", ".py", ".csv", ".ipynb", ".diff", ".toml", ".md", ".cfg", ".ini")
_OBJECTS = "objects"


@contextlib.contextmanager
def opened(store: Store, stored: StoredFile) -> Iterator[IO[bytes]]:
    """An object to be read piece by piece: on the local disk, small ones in memory, others where they are.

    Args:
        store: The files of the lake.
        stored: The object.

    Raises:
        FileNotFoundError: If it is gone.
    """
    local = store.local_path(stored.path)
    if local is not None:
        with Path(local).open("rb") as file:
            yield file
    elif stored.size_bytes <= LARGEST_PICKLE_BYTES:
        yield io.BytesIO(store.get(stored.path))
    else:
        filesystem, root = store.arrow_filesystem()
        with filesystem.open_input_file(f"{root}/{stored.path}") as file:
            yield file


class Objects:
    """Looks into files.

    Args:
        texts: Looks at the texts in them.
        skip: Told what is not looked at.
    """

    def __init__(self, texts: Texts, skip: Callable[[Skipped], None]) -> None:
        self._texts = texts
        self._skip = skip

    def in_file(
        self, file: IO[bytes], size_bytes: int, run_id: str | None, place: str, *, people: frozenset[str] = PEOPLE
    ) -> Iterator[Finding]:
        """What stands in a file.

        Args:
            file: The file, at its beginning.
            size_bytes: Its size.
            run_id: The run whose file it is.
            place: What it is called.
            people: Whom to look for in it: `PEOPLE`, `EMAILS` or `NOBODY`.
        """
        head = file.read(_HEAD)
        file.seek(0)
        if head.startswith(b"PK\x03\x04"):
            yield from self._in_archive(file, run_id, place)
        elif head.startswith(b"\x1f\x8b"):
            yield from self._in_sources(file, run_id, place)
        elif head.startswith(b"\x80"):
            yield from self._in_pickle(file, size_bytes, run_id, place)
        elif head.startswith(b"PAR1"):
            yield from self._in_parquet(file, place)
        elif b"\0" in head:
            self._skip(Skipped(place, UNKNOWN))
        else:
            yield from self._in_text(file, run_id, place, people=people)

    def _in_archive(self, file: IO[bytes], run_id: str | None, place: str) -> Iterator[Finding]:
        """Pickles and texts of a zip: a checkpoint's tensors are entries of their own."""
        try:
            with zipfile.ZipFile(file) as archive:
                for entry in archive.infolist():
                    if entry.filename.endswith((".pkl", *_TEXT_SUFFIXES)):
                        with archive.open(entry) as content:
                            inner = f"{place}!{entry.filename}"
                            yield from self.in_file(content, entry.file_size, run_id, inner, people=EMAILS)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error):
            self._skip(Skipped(place, DAMAGED))

    def _in_sources(self, file: IO[bytes], run_id: str | None, place: str) -> Iterator[Finding]:
        """Files of a snapshot, which is a tar, and their names. Sources keep whom they name: they are run again."""
        try:
            with tarfile.open(fileobj=file, mode="r:gz") as archive:
                for member in archive:
                    source = archive.extractfile(member)
                    yield from self._texts.in_text(
                        member.name, _OBJECTS, run_id, "name of a file", place, people=NOBODY
                    )
                    if source is not None:
                        inner = f"{place}!{member.name}"
                        yield from self.in_file(source, member.size, run_id, inner, people=NOBODY)
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error):
            self._skip(Skipped(place, DAMAGED))

    def _in_parquet(self, file: IO[bytes], place: str) -> Iterator[Finding]:
        """Texts of a manifest of a data set."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(file) as parquet:
                names = [field.name for field in parquet.schema_arrow if pa.types.is_string(field.type)]
                for number in range(parquet.num_row_groups if names else 0):
                    rows = parquet.read_row_group(number, columns=names, use_threads=False)
                    yield from self._texts.in_rows(_OBJECTS, rows, place)
        except (OSError, pa.ArrowException):
            self._skip(Skipped(place, DAMAGED))

    def _in_pickle(self, file: IO[bytes], size_bytes: int, run_id: str | None, place: str) -> Iterator[Finding]:
        if size_bytes > LARGEST_PICKLE_BYTES:
            self._skip(Skipped(place, TOO_LARGE))
            return
        for value in pickled_values(file.read()):
            if not value.name:
                yield from self._texts.in_text(value.text, _OBJECTS, run_id, "content", place, people=EMAILS)
            elif says(value.text):
                yield finding(_OBJECTS, run_id, f"content.{value.name}", "secret by name", value.text, place)

    def _in_text(self, file: IO[bytes], run_id: str | None, place: str, *, people: frozenset[str]) -> Iterator[Finding]:
        decoder, before = codecs.getincrementaldecoder("utf-8")(), ""
        while data := file.read(PORTION - OVERLAP):
            try:
                text = before + decoder.decode(data)
            except UnicodeDecodeError:
                self._skip(Skipped(place, UNKNOWN))
                return
            yield from self._texts.in_text(text, _OBJECTS, run_id, "content", place, people=people)
            before = text[-OVERLAP:]
