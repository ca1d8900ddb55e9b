"""Ids, canonical JSON and Arrow schemas."""

from __future__ import annotations

import json
import math
import time
import uuid
from datetime import timezone

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lde.schema import (
    TABLES,
    Event,
    Run,
    arrow_schema,
    canonical_json,
    content_id,
    new_run_id,
    records_to_arrow,
    utc_now,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=15,
)


def test_run_ids_are_version_7_and_sort_by_time() -> None:
    ids = []
    for _ in range(5):
        ids.append(new_run_id())
        time.sleep(0.002)
    assert ids == sorted(ids)
    assert {uuid.UUID(one).version for one in ids} == {7}
    assert {uuid.UUID(one).variant for one in ids} == {uuid.RFC_4122}
    stamp_ms = uuid.UUID(ids[-1]).int >> 80
    assert abs(stamp_ms / 1000 - time.time()) < 1


@given(json_values)
def test_canonical_json_reads_back_equal(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_content_id_ignores_the_order_of_keys(facts: dict[str, int]) -> None:
    backwards = dict(reversed(facts.items()))
    assert content_id("x", facts) == content_id("x", backwards)
    assert content_id("x", facts) != content_id("y", facts)


def test_content_id_is_pinned_by_the_format() -> None:
    # sha256 of '["pipelines",{"a":1,"b":[true,null]}]', computed with sha256sum
    assert content_id("pipelines", {"b": [True, None], "a": 1}) == "281764b69e9fa919bd6980bbcbcc9608"


def test_canonical_json_names_what_json_lacks() -> None:
    assert canonical_json([math.nan, math.inf, -math.inf]) == '["NaN","Infinity","-Infinity"]'
    with pytest.raises(TypeError):
        canonical_json(object())


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_a_schema_that_parquet_can_hold(table: str, tmp_path) -> None:
    import pyarrow.parquet as pq

    schema = arrow_schema(table)
    pq.write_table(schema.empty_table(), tmp_path / "t.parquet")
    assert pq.read_schema(tmp_path / "t.parquet").equals(schema)


def test_records_become_rows() -> None:
    now = utc_now()
    run = Run(
        run_id="r", segment=0, revision=1, project="p", status="running", tags={"b": 1, "a": "é"},
        started_at=now, heartbeat_at=now, heartbeat_every_s=5.0,
    )  # fmt: skip
    row = records_to_arrow("runs", [run]).to_pylist()[0]
    assert row["tags"] == '{"a":"é","b":1}'
    assert row["started_at"] == now
    assert row["started_at"].utcoffset() == timezone.utc.utcoffset(None)
    assert row["seed"] is None


def test_no_records_make_an_empty_table() -> None:
    table = records_to_arrow("events", [])
    assert table.num_rows == 0
    assert table.schema.equals(arrow_schema("events"))
    assert isinstance(table, pa.Table)
    assert Event.__dataclass_params__.frozen
