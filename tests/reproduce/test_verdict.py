"""The verdict, against brute force; and the ranking of causes."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lde.reproduce import Recorded, Use, compare_points, probable_causes, verdict_of
from lightning_lde.reproduce._facts import Point

RUN = {"weights_start_id": "s", "weights_end_id": "e", "seeds": {"seeded": True, "seeded_by": "seed_everything"}}
ENVIRONMENT = {
    "python": "CPython 3.11.7", "platform": "Linux", "cpu": "c", "cpu_count": 2, "gpus": [],
    "packages": {"torch": "2.5.0", "numpy": "2.0", "pip": "25"}, "determinism": {"torch.num_threads": 2},
    "variables": {},
}  # fmt: skip
DATA = {
    "dataset": "digits", "dataset_samples": 10, "fingerprint": "f", "class_counts": {"0": 5, "1": 5},
    "transforms": "Compose()", "num_workers": 0, "batch_size": 8,
}  # fmt: skip
CODE = {"commit": "c", "diff": None, "entry_point": "a.py", "entry_point_hash": "h", "untracked": []}

values = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, -0.0, 1.0, 1.0 + 2**-52])
places = st.builds(Point, st.just(0), st.sampled_from(["a", "b"]), st.none(), st.none(), st.integers(0, 3), st.just(0))
curves = st.dictionaries(places, values, max_size=8)


def recorded(points: dict[Point, float] | None = None, **changes: Any) -> Recorded:
    facts: dict[str, Any] = {"environment": ENVIRONMENT, "code": CODE, "uses": [Use("trained_on", DATA)]}
    run = {**RUN, **changes.pop("run", {})}
    return Recorded(run=run, points=points or {}, **{**facts, **changes})


def curve(*numbers: float) -> dict[Point, float]:
    return {Point(0, "loss", "train", None, step, 0): number for step, number in enumerate(numbers)}


@given(curves, curves, st.sampled_from([0.0, 1e-6, 0.5]))
def test_the_verdict_is_that_of_brute_force(
    one: dict[Point, float], other: dict[Point, float], tolerance: float
) -> None:
    verdict = verdict_of(recorded(one), recorded(other), tolerance=tolerance)

    def bits(value: float) -> bytes:
        return b"nan" if math.isnan(value) else struct.pack("<d", value)

    def far(a: float, b: float) -> bool:
        if bits(a) == bits(b) or a == b:
            return False
        if not (math.isfinite(a) and math.isfinite(b)):
            return True
        return abs(a - b) / max(abs(a), abs(b)) > tolerance

    common = set(one) & set(other)
    if any(far(one[point], other[point]) for point in common):
        assert verdict.word == "diverged"
        first = next(point for point in one if point in other and far(one[point], other[point]))
        assert (verdict.step, verdict.metric) == (first.step, first.name)
    elif set(one) != set(other):
        assert verdict.word == "incomplete"
    else:
        equal = all(bits(one[point]) == bits(other[point]) for point in common)
        assert verdict.word == ("identical" if equal else "within tolerance")
    assert verdict.n_points == len(common)


@given(curves)
def test_a_run_is_identical_to_itself(points: dict[Point, float]) -> None:
    assert all(metric.verdict == "identical" for metric in compare_points(points, points, tolerance=0.0))


@pytest.mark.parametrize(
    ("before", "now", "word"),
    [
        ("e", "e", "identical"), ("e", "other", "diverged"), ("e", None, "incomplete"), (None, "e", "incomplete"),
        (None, None, "identical"),
    ],
)  # fmt: skip
def test_the_weights_at_the_end_count(before: str | None, now: str | None, word: str) -> None:
    one, other = (recorded(curve(1.0), run={"weights_end_id": end}) for end in (before, now))
    assert verdict_of(one, other).word == word


def test_nothing_to_compare_is_not_identical() -> None:
    empty = recorded(run={"weights_end_id": None})
    assert verdict_of(empty, empty).word == "incomplete"


ROUNDING, LARGE = curve(1.0, 1.0 + 1e-9, 1.2), curve(1.3, 1.4, 1.5)
THREADS = {"environment": {**ENVIRONMENT, "determinism": {"torch.num_threads": 8}}}
TORCH = {"environment": {**ENVIRONMENT, "packages": {**ENVIRONMENT["packages"], "torch": "2.6.0"}}}
PIP = {"environment": {**ENVIRONMENT, "packages": {**ENVIRONMENT["packages"], "pip": "26"}}}
NEW = {"environment": {**ENVIRONMENT, "packages": {**ENVIRONMENT["packages"], "profiler": "1"}}}
OTHER_DATA = {"uses": [Use("trained_on", {**DATA, "fingerprint": "g"})]}
OTHER_METHOD = {"uses": [Use("trained_on", {**DATA, "fingerprint": "g", "fingerprint_method": "structure"})]}
WORKERS = {"uses": [Use("trained_on", {**DATA, "num_workers": 4})]}
OTHER_CODE = {"code": {**CODE, "commit": "d"}}
OTHER_START = {"run": {"weights_start_id": "t"}}

RANKINGS: list[tuple[dict[Point, float], dict[str, Any], list[str]]] = [
    (LARGE, {}, ["randomness"]),
    (LARGE, THREADS, ["randomness", "threads"]),
    (ROUNDING, THREADS, ["threads", "randomness"]),
    (ROUNDING, {**THREADS, **TORCH}, ["packages"]),
    (LARGE, PIP, ["packages", "randomness"]),
    (LARGE, NEW, ["randomness", "packages"]),
    (LARGE, {**THREADS, **OTHER_DATA}, ["data", "randomness", "threads"]),
    (LARGE, {**OTHER_CODE, **OTHER_DATA, **TORCH}, ["data", "code", "packages"]),
    (LARGE, {**OTHER_START, **THREADS}, ["start weights"]),
    (LARGE, WORKERS, ["data"]),
    (LARGE, OTHER_METHOD, ["randomness", "data"]),
    (LARGE, {**OTHER_METHOD, **THREADS}, ["randomness", "threads", "data"]),
    (LARGE, {"code": {**CODE, "dirty": True}}, ["code", "randomness"]),
]


@pytest.mark.parametrize(("points", "changes", "kinds"), RANKINGS)
def test_the_most_probable_cause_stands_first(
    points: dict[Point, float], changes: dict[str, Any], kinds: list[str]
) -> None:
    run = {"weights_end_id": "other", **changes.get("run", {})}
    before, now = recorded(curve(1.0, 1.0, 1.0)), recorded(points, **{**changes, "run": run})
    causes = probable_causes(before, now, verdict_of(before, now))
    assert [cause.kind for cause in causes][: len(kinds)] == kinds


def test_what_is_not_known_of_the_data_is_said_so() -> None:
    before, now = recorded(curve(1.0)), recorded(curve(2.0), run={"weights_end_id": "other"}, **OTHER_METHOD)
    randomness, data = probable_causes(before, now, verdict_of(before, now))
    assert (data.kind, data.reason) == ("data", "not known whether the data is the same")
    assert "code, packages, threads, hardware and the first weights are equal" in randomness.reason
    assert "data, code" not in randomness.reason


def test_metrics_that_measure_time_are_told_from_training() -> None:
    before, now = recorded(curve(1.0)), recorded(curve(2.0))
    causes = probable_causes(before, now, verdict_of(before, now))
    assert [cause.kind for cause in causes] == ["metrics"]


def test_identical_runs_have_no_causes() -> None:
    before, now = recorded(curve(1.0)), recorded(curve(1.0), **THREADS)
    assert probable_causes(before, now, verdict_of(before, now)) == []
