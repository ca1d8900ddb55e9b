"""Columns are what `pyarrow.array` would have made of the same values, and nothing of it needs pandas."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_lde.columns import column_of, numbers, repeated_words

MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(timezone.utc))
KINDS = {
    pa.string(): st.text(),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.timestamp("us", tz="UTC"): MOMENTS,
    pa.list_(pa.int64()): st.lists(st.integers(-(2**63), 2**63 - 1)),
    pa.list_(pa.float32()): st.lists(st.floats(width=32)),
}


@pytest.mark.parametrize("kind", list(KINDS), ids=str)
@settings(deadline=None)
@given(data=st.data())
def test_columns_are_those_of_pyarrow(kind: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | KINDS[kind], max_size=20))
    made, expected = column_of(values, kind), pa.array(values, kind)
    made.validate(full=True)
    assert made.type == kind
    assert str(made.to_pylist()) == str(expected.to_pylist())  # NaN is NaN
    assert made.null_count == expected.null_count


@settings(deadline=None)
@given(st.lists(st.tuples(st.none() | st.text(), st.integers(0, 4)), max_size=10))
def test_words_are_repeated(pairs: list[tuple[str | None, int]]) -> None:
    made = repeated_words([word for word, _ in pairs], np.array([times for _, times in pairs], np.int64))
    made.validate(full=True)
    assert made.to_pylist() == [word for word, times in pairs for _ in range(times)]


@pytest.mark.parametrize(
    ("value", "kind"),
    [("x", pa.int64()), (1.5, pa.int64()), (2**63, pa.int64()), ("x", pa.float64()), (7, pa.string()),
     (datetime(2026, 1, 1), pa.timestamp("us", tz="UTC")), (3, pa.list_(pa.int64()))],
)  # fmt: skip
def test_values_of_another_type_are_refused(value: Any, kind: pa.DataType) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError, AttributeError)):
        column_of([value], kind)


def test_strided_numbers_keep_their_order() -> None:
    assert numbers(np.arange(10.0)[::3], pa.float64()).to_pylist() == [0.0, 3.0, 6.0, 9.0]


def test_recording_a_run_imports_no_pandas(tmp_path: Any) -> None:
    code = f"""
import sys
from lightning_lde import Recorder
from lightning_lde.schema import Dataset, utc_now
with Recorder({str(tmp_path / "lake")!r}, project="p", flush_every_s=0.05) as run:
    run.record("datasets", Dataset(dataset_id="d", recorded_at=utc_now(), sample_shape=[1, 28, 28]))
    for step in range(100):
        run.log({{"a": 1.0}}, step=step)
print("pandas" in sys.modules, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["False", "False"]
