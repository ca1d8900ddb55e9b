"""Texts of pickles and the names they stand below: what goes with a secret's name, and what has to stay."""

from __future__ import annotations

import argparse
import datetime
import decimal
import enum
import pathlib
import pickle
import re
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lightning_lde.capture import pickled_values

SECRET, SECOND = "hunter2abc", "second9xyz"


class Kind(enum.Enum):
    """An enumeration is called with its value again when it is loaded."""

    BASIC = "basic"


class Word(str):
    """A text of a class of its own."""


def named(value: object, protocol: int = 4) -> dict[str, str]:
    return {each.text: each.name for each in pickled_values(pickle.dumps(value, protocol)) if each.name}


SHAPES: dict[str, Callable[[Any], Any]] = {
    "list": lambda value: [1, value, None],
    "tuple": lambda value: (value, 2, 3, 4),
    "dict": lambda value: {"db": value, "port": 80},
    "set": lambda value: {value},
    "frozenset": lambda value: frozenset([value]),
    "ordered": lambda value: OrderedDict(db=value),
    "default": lambda value: defaultdict(list, db=[value]),
    "deque": lambda value: deque([value], maxlen=3),
    "object": lambda value: argparse.Namespace(db=value),
    "state": lambda value: types.SimpleNamespace(db=value),
    "path": lambda value: pathlib.PurePosixPath("/", value) if isinstance(value, str) else [value],
    "word": lambda value: [Word(value)] if isinstance(value, str) else [value],
    "deep": lambda value: [{"a": ({"b": [[value]]},)}],
}


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("secret", [SECRET, SECRET.encode()])
def test_below_a_name_is_whatever_its_value_holds(protocol: int, shape: str, secret: str | bytes) -> None:
    value = {"before": ["kept"], "passwords": SHAPES[shape](secret), "after": {"x": "kept too"}}
    assert named(value, protocol) == {SECRET: "passwords"}


def test_bytearrays_and_numbers() -> None:
    assert named({"token": bytearray(b"x9y8z7w6")}, 5) == {"x9y8z7w6": "token"}
    assert named({"token": bytearray(b"x9y8z7w6")}, 2) == {"x9y8z7w6": "token"}
    assert named({"password": 12345678, "pins": 12345678}) == {"12345678": "password"}
    # Small numbers are counts, and those of a vocabulary are called tokens.
    assert named({"auth": {"retries": 3}, "sep2_token": 50256, "password": True}) == {}


def test_a_text_that_is_referred_to_twice_is_one_text() -> None:
    text = "".join(["hunter2", "abc"])
    assert named({"note": text, "passwords": [text]}) == {SECRET: "passwords"}
    shared = [text]
    assert named({"note": shared, "passwords": shared}) == {SECRET: "passwords"}
    # An equal text elsewhere is the same secret.
    twice = pickled_values(pickle.dumps(["hunter2abc ".strip(), {"password": text}]))
    assert [each.text for each in twice if each.name] == [SECRET, SECRET]


def test_what_only_refers_to_its_parent_does_not_hold_it() -> None:
    root = types.SimpleNamespace(user="ann-1234", password=None)
    root.password = types.SimpleNamespace(value=SECRET, parent=root)
    assert named(root) == {SECRET: "password"}
    ring: dict[str, Any] = {"user": "ann-1234"}
    ring["password"] = [SECRET, ring]
    assert named(ring) == {SECRET: "password"}


def test_pairs_flags_and_settings() -> None:
    assert named([("password", SECRET), ("lr", "0.1")]) == {SECRET: "password"}
    assert named(["train.py", "--password", SECRET, "--lr", "0.1"]) == {SECRET: "--password"}
    assert named({"name": "HF_TOKEN", "value": SECRET}) == {SECRET: "value"}
    assert named({"key": "Zm9v4TqX81bLpQr7vNw2", "sha": "Zm9v4TqX81bLpQr7vNw3"}) == {"Zm9v4TqX81bLpQr7vNw2": "key"}


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "password", "note": "kept", "fields": ["password", "email", "age"]},
        {"lr": 0.1, "tokenizer": ["bert-base-2"], "max_tokens": {"a": "b1c2d3"}},
        {"password": "hunter", "hunter": 1},
        ("password", "api_key"),
    ],
)
def test_what_is_no_secret_has_no_name(value: object) -> None:
    if isinstance(value, dict) and "hunter" in value:
        # The value and the key are one object: without its key the dictionary would be another one.
        key = next(key for key in value if key == "hunter")
        value = {"password": key, key: 1}
    assert named(value) == {}


def test_what_is_made_of_words_of_its_own_stays() -> None:
    pattern = re.compile(r"\w+a1")
    value = {
        "auth": {
            "array": np.arange(4.0),
            "words": np.array(["hunter2abc"]),
            "dtype": np.dtype("float32"),
            "when": datetime.datetime(2026, 11, 25, tzinfo=datetime.timezone.utc),
            "pattern": pattern,
            "amount": decimal.Decimal("12345.6"),
            "kind": Kind.BASIC,
            "method": Kind.BASIC.name.lower,
        }
    }
    for protocol in range(2, 6):
        assert named(value, protocol) == {}


def test_names_of_classes_stay() -> None:
    for protocol in range(2, 6):
        found = pickled_values(pickle.dumps({"secret": [OrderedDict, Kind.BASIC, "collections2"]}, protocol))
        assert [each.text for each in found if each.name] == ["collections2"]
        assert "collections" not in {each.text for each in found}


def test_several_pickles_and_half_a_pickle() -> None:
    data = pickle.dumps({"lr": 1}) + pickle.dumps({"passwords": [SECRET]}) + b"\0rest"
    assert [each.text for each in pickled_values(data) if each.name] == [SECRET]
    whole = pickle.dumps({"a": {"password": SECRET, "lr": "kept"}}, 2)
    for end in range(len(whole)):
        found = {each.text: each.name for each in pickled_values(whole[:end])}
        assert found.get(SECRET, "password") == "password"


def test_places_are_exact() -> None:
    value = {"größe": "\ud800 lone", "passwords": ["ünïcode-9", b"raw\xff9", "x" * 300], "n": {"secret": 123456}}
    for protocol in range(2, 6):
        data = pickle.dumps(value, protocol)
        for each in pickled_values(data):
            inside = data[each.begin : each.end]
            if each.kind == "text":
                assert inside.decode("utf-8", "surrogatepass") == each.text
            elif each.kind == "bytes":
                assert inside.decode("latin-1") == each.text
            else:
                assert int.from_bytes(inside, "little") == int(each.text)


def test_binary_data_is_not_looked_at() -> None:
    found = pickled_values(pickle.dumps({"raw": b"\0\1\2", "picture": bytes(range(128, 256)), "text": b"words"}))
    assert [each.text for each in found] == ["raw", "picture", "text", "words"]


@pytest.mark.slow
def test_hostile_pickles_take_no_more_than_linear_time() -> None:
    import time

    started = time.process_time()
    many = b"\x80\x04}\x94" + b"h\x00" * 200_000
    nested = b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b"."
    shared: list[Any] = [SECRET] * 50_000
    names = pickle.dumps({f"password{number}": shared for number in range(2_000)})
    for data in (many, nested, names, b"\x80\x04" + b"(" * 200_000, b"\x80" * 100):
        pickled_values(data)
    assert time.process_time() - started < 10
