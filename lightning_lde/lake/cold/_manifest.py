"""Which files the cold tables consist of: numbered manifests, of which the newest counts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from lightning_lde.errors import StoreError
from lightning_lde.lake.stores import Store

COLD = "cold/"
MANIFESTS = "cold/manifests/"

_NAME = re.compile(r"^cold/manifests/(\d{12})\.json$")
_ATTEMPTS = 10
_NEVER = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class ColdFile:
    """One immutable file of a cold table.

    Attributes:
        path: Relative to the lake's root.
        table: The table's name.
        rows: Its rows.
        size_bytes: Its size.
        first: The smallest value of its first column, which it is sorted by as far as possible.
        last: The largest.
        sha256: The hash of its bytes, None in manifests of versions that did not note it.
        is_distinct: Whether it is known to hold nothing twice that readers show once, see docs/format.md.
    """

    path: str
    table: str
    rows: int
    size_bytes: int
    first: str | None = None
    last: str | None = None
    sha256: str | None = None
    is_distinct: bool = False


@dataclass(frozen=True)
class Absorbed:
    """A list of files of the hot tier whose rows are in the cold tables.

    It is kept for ever: who sends a dead run's rows once more can see that the lake has them.

    Attributes:
        path: The file that lists them.
        at: Since when they are.
        files: How many they are.
        first: The least of their writers' ids.
        last: The greatest.
        is_deleted: Whether they are gone from the hot tier.
    """

    path: str
    at: datetime
    files: int
    first: str
    last: str
    is_deleted: bool = False


@dataclass(frozen=True)
class Manifest:
    """The cold tables at one moment.

    Attributes:
        number: Counts from one; zero stands for none.
        created_at: When it was made.
        writer: Tells manifests apart that two made under one number, of which one was kept.
        tables: The files of each table.
        absorbed: Lists of the files of the hot tier whose rows are in the tables.
        erased: The file with hashes of what was erased, None for nothing.
    """

    number: int = 0
    created_at: datetime = _NEVER
    writer: str = ""
    tables: Mapping[str, tuple[ColdFile, ...]] = field(default_factory=dict)
    absorbed: tuple[Absorbed, ...] = ()
    erased: str | None = None

    @property
    def path(self) -> str:
        """Where it lies."""
        return manifest_path(self.number)

    def to_bytes(self) -> bytes:
        """The manifest as docs/format.md has it."""
        tables = {table: [_entry(one) for one in files] for table, files in sorted(self.tables.items())}
        absorbed = [
            {
                "path": one.path,
                "at": one.at.isoformat(),
                "files": one.files,
                "first": one.first,
                "last": one.last,
                "deleted": one.is_deleted,
            }
            for one in self.absorbed
        ]
        content = {
            "number": self.number,
            "created_at": self.created_at.isoformat(),
            "writer": self.writer,
            "tables": tables,
            "absorbed": absorbed,
            **({"erased": self.erased} if self.erased is not None else {}),
        }
        return json.dumps(content, separators=(",", ":")).encode()


def manifest_path(number: int) -> str:
    """The path of a manifest."""
    return f"{MANIFESTS}{number:012d}.json"


def parse_manifest_path(path: str) -> int | None:
    """The number of the manifest that lies there, None where the path is none of a manifest."""
    match = _NAME.match(path)
    return None if match is None else int(match[1])


def newest_manifest(store: Store, known: Manifest | None = None) -> Manifest:
    """The manifest that counts, number zero where nothing was compacted yet.

    Args:
        store: Where the lake is.
        known: One that was read before; it is returned itself where there is no newer one.

    Raises:
        StoreError: If it cannot be read.
    """
    for _ in range(_ATTEMPTS):
        numbers = manifest_numbers(store)
        newest = numbers[-1] if numbers else 0
        if known is not None and known.number == newest:
            return known
        if not newest:
            return Manifest()
        try:
            return read_manifest(store, newest)
        except FileNotFoundError:
            # Newer ones came, and this one was removed since the listing.
            continue
    raise StoreError(f"manifests of the lake at {store.url} were replaced at each attempt to read the newest")


def manifest_numbers(store: Store) -> list[int]:
    """The numbers of the manifests that are there, in order."""
    found = (parse_manifest_path(stored.path) for stored in store.list(MANIFESTS))
    return sorted(number for number in found if number is not None)


def read_manifest(store: Store, number: int) -> Manifest:
    """A manifest by its number.

    Raises:
        FileNotFoundError: If it is not there.
        StoreError: If it cannot be understood.
    """
    data = store.get(manifest_path(number))
    try:
        content = json.loads(data)
        return Manifest(
            number=_same(content["number"], number),
            created_at=datetime.fromisoformat(content["created_at"]),
            writer=content["writer"],
            tables={table: _files(table, files) for table, files in content["tables"].items()},
            absorbed=tuple(map(_absorbed, content["absorbed"])),
            erased=content.get("erased"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{manifest_path(number)} at {store.url} is damaged: {error}") from error


def _same(found: int, number: int) -> int:
    if found != number:
        raise ValueError(f"it says that its number is {found}")
    return number


def _absorbed(one: Mapping[str, Any]) -> Absorbed:
    at = datetime.fromisoformat(one["at"])
    return Absorbed(one["path"], at, int(one["files"]), one["first"], one["last"], bool(one["deleted"]))


def _entry(one: ColdFile) -> dict[str, Any]:
    entry = {"path": one.path, "rows": one.rows, "bytes": one.size_bytes, "first": one.first, "last": one.last}
    entry |= {"sha256": one.sha256} if one.sha256 is not None else {}
    return entry | ({"distinct": True} if one.is_distinct else {})


def _files(table: str, files: Iterable[Mapping[str, Any]]) -> tuple[ColdFile, ...]:
    return tuple(
        ColdFile(
            one["path"], table, int(one["rows"]), int(one["bytes"]), one["first"], one["last"],
            sha256=one.get("sha256"), is_distinct=one.get("distinct") is True,
        )
        for one in files
    )  # fmt: skip
