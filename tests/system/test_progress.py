from __future__ import annotations

import gc
import threading
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lightning_lde.system import StepClock


class Hands:
    """A clock that is put by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def clock(hands: Hands) -> StepClock:
    return StepClock(now=hands)


def step(clock: StepClock, hands: Hands, *, wait: float, work: float, batch: object = None) -> None:
    hands.time += wait
    clock.batch_starts(batch)
    hands.time += work
    clock.batch_ends()


def test_throughput_and_waiting_are_shares_of_the_training_time(clock: StepClock, hands: Hands) -> None:
    clock.resumes()
    for _ in range(4):
        step(clock, hands, wait=0.5, work=1.5, batch=torch.zeros(16, 3))
    assert clock.reading() == {
        "throughput.batches_per_s": pytest.approx(0.5),
        "throughput.samples_per_s": pytest.approx(8.0),
        "data.wait_percent": pytest.approx(25.0),
    }


def test_each_reading_is_about_the_time_since_the_one_before(clock: StepClock, hands: Hands) -> None:
    clock.resumes()
    step(clock, hands, wait=1, work=1, batch=torch.zeros(2))
    clock.reading()
    step(clock, hands, wait=0, work=4, batch=torch.zeros(8))
    assert clock.reading() == {
        "throughput.batches_per_s": 0.25,
        "throughput.samples_per_s": 2.0,
        "data.wait_percent": 0.0,
    }


def test_the_first_batch_begins_the_time_where_nothing_else_did(clock: StepClock, hands: Hands) -> None:
    assert clock.reading() == {}
    step(clock, hands, wait=50, work=2)
    assert clock.reading() == {"throughput.batches_per_s": 0.5, "data.wait_percent": 0.0}


def test_validation_is_no_waiting(clock: StepClock, hands: Hands) -> None:
    clock.resumes()
    step(clock, hands, wait=1, work=1)
    clock.pauses()
    hands.time += 1000
    clock.resumes()
    step(clock, hands, wait=1, work=1)
    assert clock.reading() == {"throughput.batches_per_s": 0.5, "data.wait_percent": 50.0}


def test_time_until_a_pause_and_after_it_counts(clock: StepClock, hands: Hands) -> None:
    clock.resumes()
    step(clock, hands, wait=0, work=2)
    hands.time += 3
    clock.pauses()
    clock.pauses()
    hands.time += 1000
    clock.resumes()
    clock.resumes()
    hands.time += 5
    assert clock.reading() == {"throughput.batches_per_s": 0.1, "data.wait_percent": 80.0}


def test_nothing_is_said_of_a_time_without_training(clock: StepClock, hands: Hands) -> None:
    step(clock, hands, wait=0, work=2)
    clock.pauses()
    clock.reading()
    hands.time += 10
    assert clock.reading() == {}


def test_a_loader_that_hangs_is_seen_while_it_hangs(clock: StepClock, hands: Hands) -> None:
    step(clock, hands, wait=0, work=1, batch=torch.zeros(4))
    clock.reading()
    hands.time += 10
    assert clock.reading() == {
        "throughput.batches_per_s": 0.0,
        "throughput.samples_per_s": 0.0,
        "data.wait_percent": 100.0,
    }
    hands.time += 10
    clock.batch_starts(torch.zeros(4))
    hands.time += 30
    assert clock.reading()["data.wait_percent"] == 25.0


def test_a_batch_that_never_ended_is_no_batch(clock: StepClock, hands: Hands) -> None:
    clock.batch_starts(None)
    hands.time += 1
    step(clock, hands, wait=0, work=1)
    clock.batch_ends()
    assert clock.reading()["throughput.batches_per_s"] == 0.5


X, Y = torch.zeros(6, 2), torch.zeros(9)


@pytest.mark.parametrize(
    ("batch", "samples"),
    [
        (X, 6),
        (np.zeros((7, 2)), 7),
        ([X, Y], 6),
        ((Y, X), 9),
        ({"input": X, "label": Y}, 6),
        ({"weight": torch.tensor(1.0), "label": Y}, 9),
        ({"a": {"b": [X]}}, 6),
        (["text", X], 6),
        ([[X, Y], 3], 6),
    ],
    ids=str,
)
def test_samples_are_the_length_of_the_first_tensor(
    clock: StepClock, hands: Hands, batch: object, samples: int
) -> None:
    step(clock, hands, wait=0, work=1, batch=batch)
    assert clock.reading()["throughput.samples_per_s"] == samples


@pytest.mark.parametrize("batch", [None, "text", [], {}, torch.tensor(1.0), 5, [["a"], "b"], SimpleNamespace(shape=3)])
def test_a_batch_without_tensors_has_no_samples(clock: StepClock, hands: Hands, batch: object) -> None:
    for _ in range(2):
        step(clock, hands, wait=0, work=1, batch=batch)
    assert set(clock.reading()) == {"throughput.batches_per_s", "data.wait_percent"}


def test_batches_of_different_size_and_form_are_counted_one_by_one(clock: StepClock, hands: Hands) -> None:
    for batch in ([X, Y], [Y, X], {"a": X}, {"b": Y}, X, [X]):
        step(clock, hands, wait=0, work=1, batch=batch)
    assert clock.reading()["throughput.samples_per_s"] == pytest.approx((6 + 9 + 6 + 9 + 6 + 6) / 6)


def test_a_list_that_holds_itself_ends_the_search(clock: StepClock, hands: Hands) -> None:
    endless: list[object] = []
    endless += [endless] * 3
    step(clock, hands, wait=0, work=1, batch=endless)
    assert "throughput.samples_per_s" not in clock.reading()


def test_the_batch_is_not_kept() -> None:
    clock = StepClock()
    tensor = torch.zeros(4)
    there = weakref.ref(tensor)
    clock.batch_starts({"x": [tensor]})
    del tensor
    gc.collect()
    assert there() is None
    clock.batch_ends()


def test_readings_of_another_thread_add_up_to_what_was_done() -> None:
    clock, batches = StepClock(), 30_000
    ticks = iter(range(10**9))
    clock._now = lambda: float(next(ticks))  # every look at the clock is one second, whoever looks
    total = 0.0
    done = threading.Event()
    shares: list[float] = []

    def read() -> None:
        nonlocal total
        last = False
        while not last:
            last = done.is_set()
            before = clock._read
            values = clock.reading()
            if values:
                after = clock._read
                total += values["throughput.batches_per_s"] * (sum(after[2:]) - sum(before[2:]))
                shares.append(values["data.wait_percent"])

    reader = threading.Thread(target=read)
    reader.start()
    batch = torch.zeros(3)
    for _ in range(batches):
        clock.batch_starts(batch)
        clock.batch_ends()
    done.set()
    reader.join(60)
    assert round(total) == batches
    assert clock._read[1] == 3 * batches
    assert all(0 <= share <= 100 for share in shares)
