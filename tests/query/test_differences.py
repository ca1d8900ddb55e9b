"""Typed, nested differences against recursion by hand and against canonical JSON, where equal means equal text."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lde.query import MISSING, compare_environments, compare_nested, differences
from lightning_lde.query._differences import flatten, same, typed
from lightning_lde.schema import canonical_json

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0, 2.0, 3.0])
    | st.text('ab.3["', max_size=3)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab.[]0"', max_size=3), inner, max_size=3),
)
SETTINGS = st.dictionaries(st.text('ab.[]0"', max_size=3), VALUES, max_size=4)


@given(VALUES, VALUES)
def test_values_are_the_same_if_their_canonical_json_is(first: Any, second: Any) -> None:
    assert same(first, second) == (canonical_json(first) == canonical_json(second))
    assert same(first, copy.deepcopy(first))


def n_leaves(value: Any) -> int:
    if isinstance(value, dict) and value:
        return sum(map(n_leaves, value.values()))
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return sum(map(n_leaves, value))
    return 1


@given(SETTINGS)
def test_no_two_places_have_one_key(settings: dict[str, Any]) -> None:
    assert len(flatten(settings)) == sum(map(n_leaves, settings.values()))


@given(SETTINGS, SETTINGS)
def test_differences_are_empty_only_for_equal_settings(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert (differences([first, second]) == []) == (canonical_json(first) == canonical_json(second))


@pytest.mark.parametrize(
    "values",
    [(3, 3.0), (3, "3"), (1, True), (0.0, False), (None, MISSING), ("", None), ([], {}), ([1], [1.0]), ("None", None)],
)
def test_types_are_told_apart(values: tuple[Any, Any]) -> None:
    things = [{} if value is MISSING else {"a": {"key": value}} for value in values]
    found = {fact.key: fact.values for fact in differences(things)}
    assert found["a.key"] == values
    first, second = (json.loads(json.dumps(typed(value))) for value in values)
    assert first["type"] != second["type"] or canonical_json(first) != canonical_json(second)


def test_nan_is_equal_to_nan_and_zero_to_zero() -> None:
    nan, inf = float("nan"), float("inf")
    assert same({"a": [nan]}, {"a": [float("nan")]})
    assert same(-0.0, 0.0)
    assert not same(nan, inf)
    assert not same(inf, -inf)
    assert [typed(value)["value"] for value in (nan, inf, -inf)] == ["NaN", "Infinity", "-Infinity"]


def test_three_things_and_keys_in_the_order_of_their_numbers() -> None:
    things = [{"layer": [{"n": n + (n == 10 and k)} for n in range(12)]} for k in range(3)]
    facts = compare_nested(things)
    assert [fact.key for fact in facts] == [f"layer[{n}].n" for n in range(12)]
    assert [(fact.key, fact.values) for fact in facts if fact.differs] == [("layer[10].n", (10, 11, 12))]


def test_a_mapping_against_a_number() -> None:
    found = differences([{"a": 3}, {"a": {"b": 3}}])
    assert [(fact.key, fact.values) for fact in found] == [("a", (3, MISSING)), ("a.b", (MISSING, 3))]


def test_settings_nested_deeper_than_python_calls() -> None:
    deep: dict[str, Any] = {}
    for _ in range(50_000):
        deep = {"a": deep}
    other = {"a": {"a": 1}}
    assert len(compare_nested([deep, other])) == 2
    assert same([deep], [deep])


def test_keys_as_they_are() -> None:
    [fact] = compare_nested([{"torch.num_threads": 1}, {"torch.num_threads": 2}], nested=False)
    assert (fact.key, fact.values) == ("torch.num_threads", (1, 2))


def test_missing_is_one_object() -> None:
    assert pickle.loads(pickle.dumps(MISSING)) is copy.deepcopy(MISSING) is MISSING


def test_environments_part_by_part() -> None:
    first = {
        "environment_id": "x", "python": "CPython 3.11", "gpus": '[{"name":"H100","memory_bytes":1}]',
        "packages": '{"torch":"2.13","numpy":"2.0"}', "determinism": '{"torch.num_threads":1}', "variables": "{}",
    }  # fmt: skip
    second = {
        **first, "environment_id": "y", "gpus": [], "packages": {"torch": "2.12", "scipy": "1"},
        "determinism": '{"torch.num_threads":2}', "variables": '{"OMP_NUM_THREADS":"2"}', "driver": "550",
    }  # fmt: skip
    found = compare_environments([first, second])
    parts = {name: {f.key: f.values for f in facts if f.differs} for name, facts in vars(found).items()}
    assert parts == {
        "machine": {"driver": (MISSING, "550"), "gpus": (MISSING, []), "gpus[0].name": ("H100", MISSING),
                    "gpus[0].memory_bytes": (1, MISSING)},
        "packages": {"torch": ("2.13", "2.12"), "numpy": ("2.0", MISSING), "scipy": (MISSING, "1")},
        "determinism": {"torch.num_threads": (1, 2)},
        "variables": {"OMP_NUM_THREADS": (MISSING, "2")},
    }  # fmt: skip
    assert not found.is_equal
    assert compare_environments([first, dict(first)]).is_equal
    assert compare_environments([first, {}]).packages[0].values == ("2.0", MISSING)


def environment(origin: dict[str, Any] | None, **facts: Any) -> dict[str, Any]:
    row = {"python": "3.11", "packages": {"mylib": "1.0"}, "determinism": {"torch.num_threads": 1}, "cudnn": None}
    return {**row, "package_origins": None if origin is None else {"mylib": origin}, **facts}


def differing(*rows: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    found = compare_environments(rows)
    return {fact.key: fact.values for facts in vars(found).values() for fact in facts if fact.differs}


def test_one_version_from_two_commits() -> None:
    first, second = ({"vcs": "git", "commit": commit} for commit in "ab")
    assert differing(environment(first), environment(second)) == {"mylib (commit)": ("a", "b")}
    as_text = {**environment(second), "package_origins": json.dumps({"mylib": second})}
    assert differing(environment(first), as_text) == {"mylib (commit)": ("a", "b")}
    # Of another version, that is what differs.
    assert differing(environment(first), environment(second, packages={"mylib": "2.0"})) == {"mylib": ("1.0", "2.0")}


def test_the_same_files_from_two_places_are_the_same() -> None:
    first, second = {"files_hash": "f", "url": "https://a"}, {"files_hash": "f", "archive_hash": "sha256:b"}
    assert differing(environment(first), environment(second)) == {}
    assert differing(environment(first), environment({**second, "files_hash": "g"})) == {
        "mylib (files_hash)": ("f", "g"),
        "mylib (url)": ("https://a", MISSING),
        "mylib (archive_hash)": (MISSING, "sha256:b"),
    }


def test_what_an_older_writer_did_not_know_is_no_difference() -> None:
    flags = {"torch.num_threads": 1, "torch.num_interop_threads": 4}
    new = environment({"commit": "a"}, cudnn="9.1.0", determinism=flags)
    old = environment(None)
    assert differing(old, new) == {}
    assert (
        differing({name: value for name, value in old.items() if name not in {"cudnn", "package_origins"}}, new) == {}
    )
    assert differing(environment({}), new) == {"mylib (commit)": (MISSING, "a"), "cudnn": (None, "9.1.0")}
    third = {**flags, "torch.num_interop_threads": 8}
    assert differing(old, new, environment({"commit": "a"}, cudnn="9.1.0", determinism=third)) == {
        "torch.num_interop_threads": (MISSING, 4, 8)
    }


@pytest.mark.parametrize("odd", ["{", "[1]", "null", '"text"', "NaN"])
def test_columns_that_hold_no_mapping_do_no_harm(odd: str) -> None:
    assert not compare_environments([{"packages": odd}, {"packages": '{"a":"1"}'}]).is_equal
