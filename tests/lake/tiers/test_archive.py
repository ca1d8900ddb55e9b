"""What is read from a HEAD: archived, restoring, restored until, ready."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from lightning_lde.lake.tiers._archive import State, state_of
from lightning_lde.lake.tiers._rows import checkpoint_mode

SINCE = datetime(2026, 3, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("head", "state", "text"),
    [
        ({}, State.READY, "ready"),
        ({"StorageClass": "STANDARD_IA"}, State.READY, "ready"),
        ({"StorageClass": "GLACIER_IR"}, State.READY, "ready"),
        ({"StorageClass": "GLACIER"}, State.ARCHIVED, "archived since 2026-03-01"),
        ({"StorageClass": "DEEP_ARCHIVE"}, State.ARCHIVED, "archived since 2026-03-01"),
        (
            {"StorageClass": "INTELLIGENT_TIERING", "ArchiveStatus": "ARCHIVE_ACCESS"},
            State.ARCHIVED,
            "archived since 2026-03-01",
        ),
        ({"StorageClass": "INTELLIGENT_TIERING"}, State.READY, "ready"),
        ({"StorageClass": "GLACIER", "Restore": 'ongoing-request="true"'}, State.RESTORING, "restoring"),
        (
            {
                "StorageClass": "GLACIER",
                "Restore": 'ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"',
            },
            State.RESTORED,
            "restored until 2012-12-21 00:00 UTC",
        ),
        (
            {"StorageClass": "GLACIER", "Restore": 'ongoing-request="false", expiry-date="soon"'},
            State.RESTORED,
            "restored",
        ),
    ],
)
def test_states(head: dict[str, str], state: State, text: str) -> None:
    found = state_of({**head, "LastModified": SINCE, "ContentLength": 5})
    assert (found.state, str(found), found.size_bytes) == (state, text, 5)
    assert found.is_readable is (state in {State.READY, State.RESTORED})


@pytest.mark.parametrize(
    ("trainer", "mode"),
    [
        (None, None),
        ("no json", None),
        ("[1]", None),
        ('{"callback_settings": 3}', None),
        (
            '{"callback_settings": [{"class": "a.ModelCheckpoint"},'
            ' {"class": "a.EarlyStopping", "settings": {"mode": "max"}}]}',
            None,
        ),
        ('{"callback_settings": [{"class": "a.ModelCheckpoint", "settings": {"mode": "max"}}]}', "max"),
        (
            '{"callback_settings": [{"class": "a.ModelCheckpoint", "settings": {"mode": "max"}},'
            ' {"class": "b.MyCheckpoint", "settings": {"mode": "min"}}]}',
            None,
        ),
    ],
)  # fmt: skip
def test_the_mode_of_checkpoints(trainer: str | None, mode: str | None) -> None:
    assert checkpoint_mode(trainer) == mode
