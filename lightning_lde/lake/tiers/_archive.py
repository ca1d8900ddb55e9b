"""Storage classes of S3 from which an object must be asked for before it can be read, and what a HEAD says of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

ARCHIVE_CLASSES = ("GLACIER", "DEEP_ARCHIVE")
"""Classes whose objects cannot be read at once; GLACIER_IR is none of them."""

RETRIEVALS = ("Bulk", "Standard", "Expedited")
"""How fast an object is asked for, the cheapest first; DEEP_ARCHIVE knows no Expedited."""

_RESTORE = re.compile(r'ongoing-request="(true|false)"(?:.*?expiry-date="([^"]*)")?')


class State(str, Enum):
    """Whether an object of the cold root can be read."""

    MISSING = "missing"
    """It is not there."""
    READY = "ready"
    """It can be read."""
    ARCHIVED = "archived"
    """It has to be asked for."""
    RESTORING = "restoring"
    """It was asked for, and is on its way."""
    RESTORED = "restored"
    """It can be read for some days."""


@dataclass(frozen=True)
class ObjectState:
    """An object of the cold root.

    Attributes:
        state: Whether it can be read.
        since: When it was written there.
        until: How long it can be read, where it was restored.
        size_bytes: Its size.
    """

    state: State
    since: datetime | None = None
    until: datetime | None = None
    size_bytes: int | None = None

    @property
    def is_readable(self) -> bool:
        """Whether it can be read now."""
        return self.state in {State.READY, State.RESTORED}

    def __str__(self) -> str:
        if self.state is State.RESTORED and self.until is not None:
            return f"restored until {self.until:%Y-%m-%d %H:%M} UTC"
        if self.state is State.ARCHIVED and self.since is not None:
            return f"archived since {self.since:%Y-%m-%d}"
        return self.state.value


def state_of(head: Mapping[str, Any]) -> ObjectState:
    """What the answer to a HEAD request says.

    Args:
        head: As botocore gives it.

    Source: Amazon S3 API reference, HeadObject, ``x-amz-restore`` and ``x-amz-storage-class``.

    Example:
        >>> str(state_of({"StorageClass": "GLACIER"}))
        'archived'
        >>> str(state_of({"StorageClass": "GLACIER", "Restore": 'ongoing-request="true"'}))
        'restoring'
    """
    since, size_bytes = head.get("LastModified"), head.get("ContentLength")
    is_archive = head.get("StorageClass") in ARCHIVE_CLASSES or bool(head.get("ArchiveStatus"))
    asked = _RESTORE.search(head.get("Restore") or "")
    if asked is not None and asked[1] == "true":
        return ObjectState(State.RESTORING, since, None, size_bytes)
    if not is_archive:
        return ObjectState(State.READY, since, None, size_bytes)
    if asked is not None:
        return ObjectState(State.RESTORED, since, _date(asked[2]), size_bytes)
    return ObjectState(State.ARCHIVED, since, None, size_bytes)


def _date(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text or "").astimezone(timezone.utc)
    except ValueError:
        return None
