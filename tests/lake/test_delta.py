"""The cold tables as other engines see them: Delta tables with the same rows, whatever happened between."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

from lightning_lde import Lake
from lightning_lde.cli import app
from lightning_lde.errors import StoreError
from lightning_lde.lake.cold import _compact, _delta, newest_manifest
from lightning_lde.schema import utc_now

from .writers import Writer

deltalake = pytest.importorskip("deltalake")
NONE = timedelta(0)


@pytest.fixture(params=["local", pytest.param("s3", marks=[pytest.mark.s3, pytest.mark.slow])])
def lake(request: pytest.FixtureRequest, lake_path: Path) -> Lake:
    if request.param == "local":
        return Lake(lake_path).create()
    return Lake(request.getfixturevalue("bucket_url"), request.getfixturevalue("s3_server").options).create()


def finished(lake: Lake) -> Writer:
    writer = Writer(lake.storage)
    for status in ("running", "finished"):
        writer.send(status=status)
    return writer


def table(lake: Lake, name: str = "metrics") -> Any:
    address = f"{lake.storage.absolute_url}/cold/{name}"
    return deltalake.DeltaTable(
        address, storage_options=_delta.client_options(lake.storage.store, lake.storage_options)
    )


def rows(lake: Lake, name: str = "metrics") -> pa.Table:
    return pa.table(table(lake, name).to_pyarrow_dataset().to_table())


def test_each_table_is_a_delta_table(lake: Lake) -> None:
    writers = [finished(lake) for _ in range(3)]
    done = lake.storage.compact(silent_for=NONE, grace=NONE)
    assert (done.is_delta, sorted(done.published)) == (True, ["metrics", "params", "runs"])
    for name in done.published:
        ours = lake.sql(f"select * from stored.{name}")
        theirs = rows(lake, name)
        assert sorted(map(str, theirs.to_pylist())) == sorted(map(str, ours.select(theirs.column_names).to_pylist()))
    assert sorted(rows(lake).column("value").to_pylist()) == sorted(sum((one.values for one in writers), []))  # noqa: RUF017


def test_it_follows_the_manifests(lake: Lake) -> None:
    expected: list[float] = []
    for _ in range(4):
        expected += finished(lake).values
        lake.storage.compact(silent_for=NONE, grace=NONE)
        assert sorted(rows(lake).column("value").to_pylist()) == sorted(expected)
    assert table(lake).transaction_version("lightning-lde") == newest_manifest(lake.storage.store).number
    assert lake.storage.compact(silent_for=NONE, grace=NONE).published == []


def test_other_engines_read_it(lake: Lake, request: pytest.FixtureRequest) -> None:
    polars = pytest.importorskip("polars")
    finished(lake)
    lake.storage.compact(silent_for=NONE, grace=NONE)
    options = _delta.client_options(lake.storage.store, lake.storage_options)
    frame = polars.scan_delta(f"{lake.storage.absolute_url}/cold/metrics", storage_options=options or None)
    theirs = frame.group_by("name").agg(polars.col("value").sum()).sort("name").collect().to_dicts()
    assert theirs == lake.sql("select name, sum(value) as value from metrics group by name order by name").to_pylist()


def test_what_was_late_is_made_up_for(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(lake)
    lake.storage.compact(silent_for=NONE, grace=NONE)
    with monkeypatch.context() as without:
        without.setattr(_compact, "can_publish", lambda _: False)
        for _ in range(2):
            finished(lake)
            done = lake.storage.compact(silent_for=NONE, grace=NONE, kept_for=NONE)
            # The old files stay for those who read by the log.
            assert (done.is_delta, done.vacuumed) == (False, 0)
    assert rows(lake).num_rows == 6
    assert lake.storage.compact(silent_for=NONE, grace=NONE).published == ["metrics", "params", "runs"]
    assert rows(lake).num_rows == 18


def test_columns_of_newer_writers_are_added(lake: Lake) -> None:
    finished(lake)
    lake.storage.compact(silent_for=NONE, grace=NONE)
    newer = Writer(lake.storage)
    newer.parcels.append([1e6])
    more = newer._rows(0, "finished", utc_now())["metrics"].append_column("unit", pa.array(["kg"]))
    lake.storage.append("metrics", more, first=0, **newer.place)  # type: ignore[arg-type]
    lake.storage.compact(silent_for=NONE, grace=NONE)
    found = rows(lake)
    assert [row["value"] for row in found.to_pylist() if row["unit"] == "kg"] == [1e6]
    assert found.num_rows == 7


def test_two_who_publish_at_once_agree(lake: Lake) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for _ in range(2):
        finished(lake)
        lake.storage.compact(silent_for=NONE, grace=NONE)
    newer = finished(lake)
    store = lake.storage.store
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_compact, "can_publish", lambda _: False)
        lake.storage.compact(silent_for=NONE, grace=NONE)
    manifest = newest_manifest(store)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: _delta.publish(store, manifest, lake.storage_options), range(4)))
    assert rows(lake).num_rows == 18
    assert set(newer.values) < set(rows(lake).column("value").to_pylist())


def test_a_log_that_cannot_be_written_is_said_and_costs_no_row(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake").create()
    writer = finished(lake)
    (tmp_path / "lake/cold/metrics").mkdir(parents=True)
    (tmp_path / "lake/cold/metrics/_delta_log").write_text("in the way")
    with pytest.raises(StoreError, match="Delta table metrics"):
        lake.storage.compact(silent_for=NONE, grace=NONE)
    assert sorted(lake.sql("select value from metrics").column("value").to_pylist()) == writer.values


def test_without_the_library_the_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compact, "can_publish", lambda _: False)
    lake = Lake(tmp_path / "lake").create()
    finished(lake)
    result = CliRunner().invoke(app, ["compact", lake.url, "--silent-for", "0"])
    assert result.exit_code == 0
    assert "pip install lightning-lde[delta]" in result.output
