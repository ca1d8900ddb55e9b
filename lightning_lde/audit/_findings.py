"""What an audit found, in words that do not say what it was, and what it could not look at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from lightning_lde.capture import REDACTED
from lightning_lde.policy import WITHHELD

LOOKS = "secret"
POLICY = "policy"

_MASKS = {REDACTED, WITHHELD}
_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """One place where something stands that should not.

    Attributes:
        table: The table, ``objects`` or ``lde.json``.
        run_id: The run whose row or file it is, None where none is named.
        column: The column, and the key inside JSON.
        kind: What it looks like, or what it is that the policy does not take.
        fingerprint: The first 16 digits of the SHA-256 of what was found: what is equal has equal ones.
        preview: Its first characters and its length.
        file: The file in the lake or of the spool.
        reason: ``"secret"``, or ``"policy"`` where only the lake's policy is against it.
    """

    table: str
    run_id: str | None
    column: str
    kind: str
    fingerprint: str
    preview: str
    file: str
    reason: str = LOOKS

    def as_dict(self) -> dict[str, Any]:
        """The finding as names and values."""
        return asdict(self)


@dataclass(frozen=True)
class Skipped:
    """A file, or a part of one, that was not looked at.

    Attributes:
        file: The file in the lake or of the spool.
        reason: Why, in words that are the same for all such files.
    """

    file: str
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """The file and the reason as names and values."""
        return asdict(self)


def finding(
    table: str, run_id: str | None, column: str, kind: str, found: str, file: str, reason: str = LOOKS
) -> Finding:
    """A finding that does not show what was found.

    Args:
        table: The table.
        run_id: The run.
        column: The column.
        kind: What it looks like.
        found: What was found.
        file: Where.
        reason: ``LOOKS`` or ``POLICY``.
    """
    digest = hashlib.sha256(found.encode("utf-8", "replace")).hexdigest()[:16]
    shown = found[: min(_SHOWN, len(found) // 4)]
    visible = "".join(char if char.isprintable() else "?" for char in shown)
    return Finding(table, run_id, column, kind, digest, f"{visible}… ({len(found)} characters)", file, reason)


def says(value: str) -> bool:
    """Whether a value is more than a mask or an empty word."""
    plain = value.strip('"')
    return bool(plain.strip("*")) and plain not in _MASKS and plain not in {"null", "true", "false"}


def distinct(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Each finding once."""
    known: set[Finding] = set()
    for found in findings:
        if found not in known:
            known.add(found)
            yield found
