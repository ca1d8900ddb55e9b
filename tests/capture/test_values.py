"""Any object as JSON data, and settings as rows of params."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import functools
import json
import math
from collections import OrderedDict, namedtuple
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_lde.capture import flatten_params, json_safe
from lightning_lde.capture._values import hide_paths
from lightning_lde.schema import canonical_json, records_to_arrow


class Colour(enum.Enum):
    RED = "red"
    MIX = (1, 2)


@dataclasses.dataclass
class Point:
    x: int
    tags: set[str]


class Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    __hash__ = None  # type: ignore[assignment]


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Colour.RED, "red"),
        (Colour.MIX, "Colour.MIX"),
        (Path("a") / "b", "a/b"),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.arange(3), [0, 1, 2]),
        (torch.tensor(2.5), 2.5),
        (torch.tensor([[1, 2]]), [[1, 2]]),
        (torch.float16, "torch.float16"),
        (np.dtype("int8"), "int8"),
        (torch.device("cpu"), "cpu"),
        (torch.Size([2, 3]), [2, 3]),
        (Point(1, {"b", "a"}), {"x": 1, "tags": ["a", "b"]}),
        (argparse.Namespace(lr=0.1), {"lr": 0.1}),
        (OrderedDict(b=1, a=Pair(1, 2)), {"b": 1, "a": [1, 2]}),
        ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "None": "b", "<builtins.tuple>": "c"}),
        (frozenset({3, 1, 2}), [1, 2, 3]),
        (json.dumps, "json.dumps"),
        (torch.nn.ReLU, "torch.nn.modules.activation.ReLU"),
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (
            functools.partial(max, 1, key=abs),
            {"partial": "builtins.max", "args": [1], "keywords": {"key": "builtins.abs"}},
        ),
        (timedelta(seconds=90), "0:01:30"),
        (Decimal("1.50"), "1.50"),
        (1 + 2j, "(1+2j)"),
        (object(), "<builtins.object>"),
        (torch.zeros(100, 100), "<torch.Tensor torch.float32 (100, 100)>"),
        ("\ud800", "\\ud800"),
    ],
)
def test_encoding(value: object, expected: object) -> None:
    assert json_safe(value) == expected
    json.dumps(json_safe(value))


def test_hostile_objects_get_a_tag() -> None:
    assert json_safe([Hostile()]) == [f"<{__name__}.Hostile>"]


def test_iterators_are_not_consumed() -> None:
    numbers = iter([1, 2])
    json_safe({"numbers": numbers})
    assert list(numbers) == [1, 2]


def test_cycles_depth_and_size_have_limits() -> None:
    ring: dict[str, Any] = {}
    ring["self"] = ring
    assert json_safe(ring) == {"self": "<cycle>"}
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert len(json.dumps(json_safe(deep))) < 200
    assert len(json_safe(list(range(20_000)))) == 10_001
    assert len(json_safe(dict.fromkeys(range(20_000)))) == 10_001
    bomb: list[Any] = []
    for _ in range(20):
        bomb = [bomb] * 10
    assert len(json.dumps(json_safe(bomb))) < 20_000_000


def test_long_text_is_cut_but_told_apart() -> None:
    one, two = json_safe("a" * 18_000_000), json_safe("a" * 17_999_999 + "b")
    assert len(one) < 16_001_000
    assert one != two
    assert json_safe("é" * 1000) == "é" * 1000


@pytest.mark.parametrize("number", [10**400, -(10**5000), 2**200], ids=["400 digits", "5000 digits", "200 bits"])
def test_huge_integers_can_be_stored(number: int) -> None:
    canonical_json(json_safe({"n": number}))
    flatten_params("c", {"n": number})


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(object),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.integers() | st.binary(max_size=2), inner, max_size=4)
        | st.frozensets(st.integers() | st.text(max_size=3), max_size=4)
    ),
    max_leaves=15,
)


@given(value=_ANYTHING)
def test_everything_has_canonical_json_and_encoding_twice_changes_nothing(value: object) -> None:
    once = json_safe(value)
    assert canonical_json(json_safe(once)) == canonical_json(once)


@given(mapping=st.dictionaries(st.text(max_size=5), _ANYTHING, max_size=5))
def test_params_of_anything_fit_the_table(mapping: dict[str, Any]) -> None:
    rows = flatten_params("c", mapping)
    assert records_to_arrow("params", rows).num_rows == len(rows)
    assert {row.type for row in rows} <= {"int", "float", "bool", "str", "null", "json"}
    assert all(row.value_text is not None for row in rows)


def test_params() -> None:
    settings = {"a": 1, "b": {"c": True, "d": {"e": "x"}}, "f": None, "g": [1, 2], "h": 0.5, "i": {}, "j": math.inf}
    found = {row.key: (row.value_num, row.value_text, row.type) for row in flatten_params("id", settings)}
    assert found == {
        "a": (1.0, "1", "int"),
        "b.c": (1.0, "true", "bool"),
        "b.d.e": (None, "x", "str"),
        "f": (None, "null", "null"),
        "g": (None, "[1,2]", "json"),
        "h": (0.5, "0.5", "float"),
        "i": (None, "{}", "json"),
        "j": (math.inf, "inf", "float"),
    }
    assert {row.config_id for row in flatten_params("id", settings)} == {"id"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/ann/data", "<path>/data"),
        ("C:\\Users\\ann\\data", "<path>/data"),
        ("~/data", "<path>/data"),
        ("~ann/data", "<path>/data"),
        ("data/mnist", "data/mnist"),
        ("s3://bucket/home", "s3://bucket/home"),
        ("/", "/"),
        ("a / b", "a / b"),
        ("<path>/data", "<path>/data"),
    ],
)
def test_paths_are_hidden(text: str, expected: str) -> None:
    assert hide_paths({"x": [text]}) == {"x": [expected]}
