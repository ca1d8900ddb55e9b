"""The names of a lake's files: what stands where, and which file makes which other one obsolete."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from urllib.parse import quote

HOT = "hot/"
OBJECTS = "objects/"
MARKER = "lde.json"

_MAX_PARTITION = 120
_NAME = re.compile(
    r"^hot/(?P<table>[a-z_]+)/project=(?P<project>[^/]*)/day=(?P<day>[^/]*)/"
    r"(?P<writer>[0-9a-f-]{36})-(?P<first>\d{6,})(?:-(?P<last>\d{6,}))?\.parquet$"
)


@dataclass(frozen=True)
class HotFile:
    """A file of the hot tier: rows of one table by one writer, segments ``first`` to ``last``."""

    path: str
    table: str
    writer: str
    first: int
    last: int

    def covers(self, other: HotFile) -> bool:
        """Whether this file holds all rows of another one, as a merged file does."""
        return (
            (self.table, self.writer) == (other.table, other.writer)
            and self.first <= other.first
            and other.last <= self.last
            and self.path != other.path
            and (self.first, self.last) != (other.first, other.last)
        )


def hot_path(table: str, *, project: str, day: date, writer: str, first: int, last: int | None = None) -> str:
    """The path of a file of the hot tier.

    Args:
        table: The table's name.
        project: Any text; it is percent-encoded, and cut with a hash where it is long.
        day: The UTC day on which the writer started.
        writer: A run id, or another UUIDv7 for rows that belong to no run.
        first: The segment's number; the writer counts from zero, with one counter for all its tables.
        last: The last number where the file merges several segments.
    """
    span = f"{first:06d}" if last is None or last == first else f"{first:06d}-{last:06d}"
    return f"{table_prefix(table, project)}day={day.isoformat()}/{writer}-{span}.parquet"


def table_prefix(table: str, project: str) -> str:
    """Where the files of one table and project lie."""
    return f"{HOT}{table}/project={_partition_value(project)}/"


def parse_hot_path(path: str) -> HotFile | None:
    """The meaning of a path, or None where it is not a file of the hot tier."""
    match = _NAME.match(path)
    if match is None:
        return None
    first = int(match["first"])
    last = int(match["last"]) if match["last"] else first
    return HotFile(path, match["table"], match["writer"], first, last)


def current_files(files: Iterable[HotFile]) -> list[HotFile]:
    """Files without those that a merged file of the same writer covers, in path order."""
    groups: dict[tuple[str, str], list[HotFile]] = {}
    for file in files:
        groups.setdefault((file.table, file.writer), []).append(file)
    kept = [file for group in groups.values() for file in _uncovered(group)]
    return sorted(kept, key=lambda file: file.path)


def _uncovered(group: list[HotFile]) -> Iterator[HotFile]:
    """Files of one table and writer that no other one covers."""
    # In this order whatever covers a file stands before it, so the furthest number seen decides.
    span, before, furthest = (-1, -1), -1, -1
    for file in sorted(group, key=lambda file: (file.first, -file.last)):
        if (file.first, file.last) != span:
            span, before = (file.first, file.last), furthest
        if file.last > before:
            yield file
        furthest = max(furthest, file.last)


def object_path(object_id: str) -> str:
    """The path of a content-addressed object."""
    return f"{OBJECTS}{object_id[:2]}/{object_id}"


def _partition_value(text: str) -> str:
    encoded = quote(text, safe="")
    if len(encoded) <= _MAX_PARTITION:
        return encoded
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{encoded[: _MAX_PARTITION - 17]}~{digest}"
