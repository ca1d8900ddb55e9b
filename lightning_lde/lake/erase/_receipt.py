"""Plans and receipts: what an erasure is about to do, in clear, until it is done; what it did, in hashes, for ever."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lightning_lde.errors import EraseError, StoreError
from lightning_lde.lake.erase._digest import Digest
from lightning_lde.lake.erase._objects import Ref
from lightning_lde.lake.erase._target import Target
from lightning_lde.lake.stores import Store
from lightning_lde.schema import new_run_id, utc_now

PLANS = "erasing/"
RECEIPTS = "receipts/"

_ROUNDS = 100_000
_VERSION = len("-0000.json")


def slow_hash(text: str, salt: str) -> str:
    """A hash of what was asked, which may be a short name: who knows the name can check it, trying names is slow.

    Args:
        text: What was asked.
        salt: The id of the erasure.
    """
    return hashlib.pbkdf2_hmac("sha256", text.encode("utf-8", "surrogateescape"), salt.encode(), _ROUNDS).hex()


@dataclass
class Plan:
    """An erasure that has begun.

    Attributes:
        erasure_id: Its id, a UUIDv7.
        began_at: When it began.
        asked: Kind of what was asked, and its slow hashes.
        target: What is to be erased.
        needle: Bytes that no file may hold in the end, None where only rows and their objects count.
        refs: Objects that the erased rows named.
        paths: Further files of objects that are to go.
        rows: Of each table what was erased.
        pending: Of each table what the rewriting in progress leaves out.
        tombstones: The file of hashes that the manifest of this rewriting names.
        files: By kind how many files were deleted, and their bytes.
        version: Counts how often it was written.
    """

    erasure_id: str
    began_at: datetime
    asked: Mapping[str, Any]
    target: Target
    needle: bytes | None = None
    refs: set[Ref] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    rows: dict[str, Digest] = field(default_factory=dict)
    pending: dict[str, Digest] = field(default_factory=dict)
    tombstones: str | None = None
    files: dict[str, list[int]] = field(default_factory=dict)
    version: int = 0

    @property
    def path(self) -> str:
        """Where it lies."""
        return f"{PLANS}{self.erasure_id}-{self.version:04d}.json"

    def save(self, store: Store) -> None:
        """Write it, so that somebody else can finish it: the next version beside the last one, which goes then."""
        words = {
            "began_at": self.began_at.isoformat(),
            "asked": dict(self.asked),
            "target": self.target.as_dict(),
            "needle": None if self.needle is None else self.needle.hex(),
            "refs": sorted(self.refs),
            "paths": sorted(self.paths),
            "rows": _words(self.rows),
            "pending": _words(self.pending),
            "tombstones": self.tombstones,
            "files": self.files,
        }
        before = self.path if self.version else None
        self.version += 1
        # Made at once or not at all, also where a write can leave half a file.
        while not store.create(self.path, json.dumps(words).encode()):
            self.version += 1
        if before is not None:
            store.delete(before)

    def forget(self, store: Store) -> None:
        """Delete it in all its versions."""
        for stored in list(store.list(PLANS)):
            if stored.path.startswith(f"{PLANS}{self.erasure_id}-"):
                store.delete(stored.path)

    def settle_pending(self, *, is_committed: bool) -> None:
        """Count what the last rewriting left out, if it came to be."""
        if is_committed:
            for table, digest in self.pending.items():
                self.rows[table] = self.rows.get(table, Digest()) + digest
        self.pending = {}

    def count_files(self, kind: str, n: int, size_bytes: int = 0) -> None:
        """Count files that were deleted."""
        if n:
            before = self.files.get(kind, [0, 0])
            self.files[kind] = [before[0] + n, before[1] + size_bytes]


def new_plan(kind: str, words: list[str], target: Target, needle: bytes | None) -> Plan:
    """The plan of an erasure that begins now.

    Args:
        kind: ``run``, ``dataset``, ``user`` or ``match``.
        words: What was asked.
        target: What is to be erased.
        needle: Bytes that no file may hold in the end.
    """
    erasure_id = new_run_id()
    asked = {"kind": kind, "hashes": [slow_hash(word, erasure_id) for word in words]}
    return Plan(erasure_id, utc_now(), asked, target, needle)


def unfinished(store: Store) -> list[Plan]:
    """Erasures that broke off, oldest first.

    Raises:
        StoreError: If one cannot be read.
    """
    newest: dict[str, str] = {}
    for path in sorted(stored.path for stored in store.list(PLANS)):
        newest[path[:-_VERSION]] = path
    return [_read(store, path) for path in newest.values()]


def _read(store: Store, path: str) -> Plan:
    try:
        words = json.loads(store.get(path))
        return Plan(
            erasure_id=path.removeprefix(PLANS)[:-_VERSION],
            began_at=datetime.fromisoformat(words["began_at"]),
            asked=words["asked"],
            target=Target.from_dict(words["target"]),
            needle=None if words["needle"] is None else bytes.fromhex(words["needle"]),
            refs={Ref(*ref) for ref in words["refs"]},
            paths=set(words["paths"]),
            rows=_digests(words["rows"]),
            pending=_digests(words["pending"]),
            tombstones=words["tombstones"],
            files=words["files"],
            version=int(path[-_VERSION + 1 : -len(".json")]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise EraseError(f"{path} at {store.url} is damaged: {error}; delete it, and erase the same again") from error


@dataclass(frozen=True)
class Receipt:
    """What was erased, without any of it.

    Attributes:
        erasure_id: Its id, a UUIDv7.
        began_at: When the erasure began.
        erased_at: When it was complete.
        asked: Kind of what was asked, and its slow hashes under the id.
        runs: SHA-256 of the ids of the erased runs.
        rows: Of each table how many rows, and the sum of their hashes.
        objects: How many files of objects, and the sum of the hashes of their names.
        files: By kind how many files were deleted, and their bytes.
        warnings: What could not be seen to.
    """

    erasure_id: str
    began_at: datetime
    erased_at: datetime
    asked: Mapping[str, Any]
    runs: tuple[str, ...] = ()
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    objects: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Where it lies."""
        return f"{RECEIPTS}{self.erasure_id}.json"

    def as_dict(self) -> dict[str, Any]:
        """The receipt as docs/format.md has it."""
        return {
            "began_at": self.began_at.isoformat(),
            "erased_at": self.erased_at.isoformat(),
            "asked": dict(self.asked),
            "runs": list(self.runs),
            "rows": dict(self.rows),
            "objects": dict(self.objects),
            "files": dict(self.files),
            "warnings": list(self.warnings),
        }

    def to_bytes(self) -> bytes:
        """The file."""
        return (json.dumps(self.as_dict(), indent=1) + "\n").encode()

    def is_about(self, word: str) -> bool:
        """Whether this was asked: an id, a name, a text."""
        return slow_hash(word, self.erasure_id) in self.asked["hashes"]


def read_receipts(store: Store, erasure_id: str = "") -> list[Receipt]:
    """Receipts, newest first.

    Args:
        store: Where the lake is.
        erasure_id: Only that of one erasure; without it all.

    Raises:
        StoreError: If one cannot be read.
    """
    found = []
    listed = (stored for stored in store.list(RECEIPTS) if stored.path.startswith(f"{RECEIPTS}{erasure_id}"))
    for stored in sorted(listed, key=lambda stored: stored.path, reverse=True):
        try:
            words = json.loads(store.get(stored.path))
            found.append(
                Receipt(
                    erasure_id=stored.path.removeprefix(RECEIPTS).removesuffix(".json"),
                    began_at=datetime.fromisoformat(words["began_at"]),
                    erased_at=datetime.fromisoformat(words["erased_at"]),
                    asked=words["asked"],
                    runs=tuple(words["runs"]),
                    rows=words["rows"],
                    objects=words["objects"],
                    files=words["files"],
                    warnings=tuple(words["warnings"]),
                )
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{stored.path} at {store.url} is damaged: {error}") from error
    return found


def _words(digests: Mapping[str, Digest]) -> dict[str, Any]:
    return {name: digest.as_words() for name, digest in sorted(digests.items())}


def _digests(words: Mapping[str, Any]) -> dict[str, Digest]:
    return {name: Digest.from_words(one) for name, one in words.items()}
