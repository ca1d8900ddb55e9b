"""How old a file is: what is young may be somebody's work, and is left alone."""

from __future__ import annotations

import contextlib
import uuid
from datetime import datetime, timedelta, timezone

from lightning_lde.lake.stores import StoredFile

OLD = timedelta(hours=24)
"""Nobody works on something for so long."""


def made_at(text: str) -> datetime | None:
    """When an id was made, which a UUIDv7 says; None where it is none.

    Args:
        text: The id, or a path whose last part begins with it.
    """
    with contextlib.suppress(ValueError):
        found = uuid.UUID(text.rpartition("/")[2][:36])
        if found.version == 7:
            return datetime.fromtimestamp((found.int >> 80) / 1000, timezone.utc)
    return None


def is_older(stored: StoredFile, age: timedelta, now: datetime) -> bool:
    """Whether a file is older than that; one whose age is not known is not.

    Args:
        stored: The file, as a listing shows it.
        age: The age.
        now: The present.
    """
    return stored.modified_at is not None and stored.modified_at <= now - age
