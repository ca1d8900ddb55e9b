"""The buffer and its blocks: every value arrives as it was, whatever it is and however many threads log."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_lde.recording._blocks import ROWS_PER_GROUP, MetricBlock, blocks_to_tables, decode_blocks, encode_blocks
from lightning_lde.recording._buffer import Buffer

VALUES = st.floats(allow_nan=True, allow_infinity=True)
CALL = st.tuples(
    st.dictionaries(st.text(min_size=1, max_size=4), VALUES, max_size=4),
    st.none() | st.integers(-(2**53), 2**53),
    st.sampled_from([None, "train", "val"]),
)


def add(buffer: Buffer, values: dict[str, object], step: int | None = None, context: str | None = None) -> int:
    return buffer.add_metrics(values, 0, step, None, None, context, "logged")


def points(blocks: list[MetricBlock]) -> Iterator[dict[str, object]]:
    for table in blocks_to_tables("run", blocks):
        yield from table.to_pylist()


@settings(deadline=None)
@given(st.lists(CALL, max_size=20))
def test_every_point_comes_out_as_it_went_in(calls: list[tuple[dict[str, float], int | None, str | None]]) -> None:
    buffer = Buffer()
    for values, step, context in calls:
        add(buffer, values, step, context)
    blocks, refused = buffer.take_metrics(), buffer.take_refused()
    assert refused == []
    through_the_disk = list(decode_blocks(b"".join(bytes(piece) for piece in encode_blocks(blocks))))
    found = [(row["name"], row["step"], row["context"], _bits(row["value"])) for row in points(through_the_disk)]
    logged = [(name, step, context, _bits(value)) for values, step, context in calls for name, value in values.items()]
    assert sorted(map(str, found)) == sorted(map(str, logged))
    assert buffer.take_metrics() == []


def _bits(value: object) -> bytes:
    return np.float64(value).tobytes()


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (True, 1.0),
        (7, 7.0),
        (2**53, 2.0**53),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.int64(-3), -3.0),
        (torch.tensor(0.1, dtype=torch.bfloat16), float(torch.tensor(0.1, dtype=torch.bfloat16))),
        (torch.tensor([2.5]), 2.5),
        (torch.tensor(3), 3.0),
        (torch.nn.Parameter(torch.tensor(1.5)), 1.5),
        (5e-324, 5e-324),
        (math.inf, math.inf),
    ],
    ids=str,
)
def test_numbers_of_every_kind(value: object, stored: float) -> None:
    buffer = Buffer()
    add(buffer, {"a": value, "b": 1.0})
    blocks, refused = buffer.take_metrics(), buffer.take_refused()
    assert refused == []
    assert [row["value"] for row in points(blocks)] == [stored, 1.0]


def test_a_number_with_too_many_digits_is_named() -> None:
    buffer = Buffer()
    add(buffer, {"a": 2**60 + 1})
    blocks, refused = buffer.take_metrics(), buffer.take_refused()
    assert [row["value"] for row in points(blocks)] == [2.0**60]
    assert [str(2**60 + 1) in sentence for sentence in refused] == [True]


def test_values_that_are_none_cost_only_themselves() -> None:
    buffer = Buffer()
    add(buffer, {"a": 1.0, "vector": torch.ones(3), "none": None, "complex": 1j, "text": "x", "b": 2.0})
    blocks, refused = buffer.take_metrics(), buffer.take_refused()
    assert [(row["name"], row["value"]) for row in points(blocks)] == [("a", 1.0), ("b", 2.0)]
    assert len(refused) == 4


def test_tensors_of_a_device_are_fetched_together() -> None:
    class OnDevice(torch.Tensor):
        """A tensor that says it is not on the CPU, as far as the buffer asks."""

        @property
        def is_cpu(self) -> bool:  # type: ignore[override]
            return False

        def item(self) -> float:
            raise AssertionError("a training would wait for the device here")

    buffer = Buffer()
    running = torch.tensor(0.0).as_subclass(OnDevice)
    for step in range(3):
        running += 1
        add(buffer, {"a": running, "b": float(step)}, step)
    blocks, refused = buffer.take_metrics(), buffer.take_refused()
    assert refused == []
    assert [(row["name"], row["value"]) for row in points(blocks)] == [
        ("a", 1.0), ("b", 0.0), ("a", 2.0), ("b", 1.0), ("a", 3.0), ("b", 2.0),
    ]  # fmt: skip


@pytest.mark.gpu
def test_tensors_of_a_gpu() -> None:
    buffer = Buffer()
    for step in range(100):
        add(buffer, {"a": torch.tensor(float(step), device="cuda"), "n": torch.tensor(step, device="cuda")}, step)
    blocks, refused = buffer.take_metrics(), buffer.take_refused()
    assert refused == []
    assert [row["value"] for row in points(blocks)] == [float(step) for step in range(100) for _ in range(2)]


def test_many_threads_log_while_another_one_takes() -> None:
    buffer, taken, logging = Buffer(), [], threading.Event()
    logging.set()

    def log(number: int) -> None:
        for step in range(3000):
            add(buffer, {f"m{number}": float(step), "shared": float(step)}, step)

    def take() -> None:
        while logging.is_set():
            taken.extend(buffer.take_metrics())

    taker = threading.Thread(target=take)
    loggers = [threading.Thread(target=log, args=(number,)) for number in range(4)]
    for thread in [taker, *loggers]:
        thread.start()
    for thread in loggers:
        thread.join()
    logging.clear()
    taker.join()
    taken += buffer.take_metrics()
    rows = [(row["name"], row["step"], row["value"]) for row in points(taken)]
    assert len(rows) == 4 * 2 * 3000
    for number in range(4):
        own = [(step, value) for name, step, value in rows if name == f"m{number}"]
        assert own == [(step, float(step)) for step in range(3000)]


def test_large_blocks_become_several_row_groups() -> None:
    buffer = Buffer()
    for step in range(ROWS_PER_GROUP):
        add(buffer, {"a": 1.0, "b": float(step)}, step)
    sizes = [table.num_rows for table in blocks_to_tables("run", buffer.take_metrics())]
    assert sum(sizes) == 2 * ROWS_PER_GROUP
    assert max(sizes) <= ROWS_PER_GROUP
