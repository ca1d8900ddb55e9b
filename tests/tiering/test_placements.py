"""The table placements: readers see where a file is, also after it was stored again, and in lakes without the table."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from lightning_lde import Lake
from lightning_lde.schema import Artifact, Placement, Run

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def at(days: int) -> datetime:
    return START + timedelta(days=days)


def stored(path: str, days: int, object_id: str = "o") -> Artifact:
    return Artifact(
        run_id="r", segment=0, path=path, kind="checkpoint", size_bytes=1, object_id=object_id, recorded_at=at(days)
    )


def placed(path: str, days: int, tier: str, object_id: str = "o") -> Placement:
    return Placement(run_id="r", path=path, object_id=object_id, tier=tier, recorded_at=at(days))


@pytest.fixture
def lake(lake_path: Path) -> Lake:
    lake = Lake(lake_path).create()
    run = Run(
        run_id="r", segment=0, revision=0, project="p", status="finished", started_at=START, heartbeat_at=START,
        heartbeat_every_s=5.0,
    )  # fmt: skip
    lake.storage.add_records("runs", [run], project="p")
    return lake


def tiers(lake: Lake) -> dict[str, str]:
    rows = lake.sql("select path || ' ' || object_id as file, tier from artifacts order by all").to_pylist()
    return {row["file"]: row["tier"] for row in rows}


def test_the_newest_placement_counts_unless_the_file_was_stored_again(lake: Lake) -> None:
    files = ["never moved", "cold", "back", "deleted", "stored again", "another content"]
    lake.storage.add_records("artifacts", [stored(path, 0) for path in files], project="p")
    assert set(tiers(lake).values()) == {"hot"}, "a lake without the table"
    lake.storage.add_records("placements", [
        placed("cold", 1, "cold"), placed("back", 1, "cold"), placed("back", 2, "hot"), placed("deleted", 3, "deleted"),
        placed("deleted", 1, "cold"), placed("stored again", 1, "deleted"), placed("another content", 1, "cold"),
    ], project="p")  # fmt: skip
    lake.storage.add_records(
        "artifacts", [stored("stored again", 2), stored("another content", 0, "other")], project="p"
    )
    expected = {
        "never moved o": "hot", "cold o": "cold", "back o": "hot", "deleted o": "deleted", "stored again o": "hot",
        "another content o": "cold", "another content other": "hot",
    }  # fmt: skip
    assert tiers(lake) == expected
    lake.storage.compact(silent_for=timedelta(0), grace=timedelta(0))
    assert not list((Path(lake.url) / "hot").rglob("*.parquet"))
    assert tiers(lake) == expected, "from the cold tables"


def test_who_asks_for_artifacts_alone_sees_their_tier(lake: Lake) -> None:
    lake.storage.add_records("artifacts", [stored("x", 0)], project="p")
    lake.storage.add_records("placements", [placed("x", 1, "cold")], project="p")
    assert lake.sql("select distinct tier from artifacts").to_pylist() == [{"tier": "cold"}]
    assert lake.sql("select tier from stored.artifacts").to_pylist() == [{"tier": "hot"}]
