"""How much was erased of each table, and a hash of it that says nothing of what it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lightning_lde.schema import canonical_json

if TYPE_CHECKING:
    import pyarrow as pa

_MODULUS = 1 << 256


@dataclass(frozen=True)
class Digest:
    """Rows of one table, or objects: how many, and the sum of their hashes modulo 2**256, in whatever order they came.

    Attributes:
        count: How many they are.
        total: The sum.
    """

    count: int = 0
    total: int = 0

    def __add__(self, other: Digest) -> Digest:
        return Digest(self.count + other.count, (self.total + other.total) % _MODULUS)

    @property
    def sha256(self) -> str:
        """The sum as 64 hexadecimal digits."""
        return f"{self.total:064x}"

    @classmethod
    def from_words(cls, words: Mapping[str, Any]) -> Digest:
        """The one that a plan or a receipt holds."""
        return cls(int(words["count"]), int(words["sha256"], 16))

    def as_words(self) -> dict[str, Any]:
        """Plain words."""
        return {"count": self.count, "sha256": self.sha256}


def digest_of_rows(rows: pa.Table) -> Digest:
    """Of each row the SHA-256 of the canonical JSON of its columns that are not null; times as ISO 8601."""
    return _sum(
        canonical_json({name: _plain(value) for name, value in row.items() if value is not None})
        for row in rows.to_pylist()
    )


def digest_of_names(names: Iterable[str]) -> Digest:
    """Of each name the SHA-256 of its text. An object's name is a hash already, and is hashed once more."""
    return _sum(names)


def _sum(texts: Iterable[str]) -> Digest:
    count = total = 0
    for text in texts:
        count += 1
        total += int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), "big")
    return Digest(count, total % _MODULUS)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
