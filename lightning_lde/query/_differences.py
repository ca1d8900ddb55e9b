"""Differences between nested settings, key by key, with types told apart."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final


class _Missing:
    """The value of a key that is not there, which is not null."""

    def __repr__(self) -> str:
        return "MISSING"

    def __copy__(self) -> _Missing:
        return self

    def __deepcopy__(self, memo: object) -> _Missing:
        return self

    def __reduce__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""Stands where a key is absent; there is one such object."""


@dataclass(frozen=True)
class Fact:
    """One setting of several things side by side.

    Attributes:
        key: The dotted key.
        values: One for each thing, in their order; ``MISSING`` where it has no such key.
        differs: Whether one of them is unlike the first.
    """

    key: str
    values: tuple[Any, ...]
    differs: bool

    @classmethod
    def of(cls, key: str, values: Iterable[Any]) -> Fact:
        """Values of one key side by side, at least one."""
        listed = tuple(values)
        return cls(key, listed, any(not same(listed[0], value) for value in listed[1:]))

    def as_dict(self) -> dict[str, Any]:
        """Key and values, each with its type, so that 3, 3.0, "3", null and nothing stay apart in JSON."""
        return {"key": self.key, "differs": self.differs, "values": [typed(value) for value in self.values]}


def compare_nested(things: Sequence[Mapping[str, Any]], *, nested: bool = True) -> list[Fact]:
    """All settings of several things side by side, in the order of their keys.

    Values are equal if type and value are: ``3``, ``3.0``, ``"3"`` and ``True`` are four values. NaN equals NaN.
    A key that is absent is not the same as one that is null. Mappings are opened (``optimizer.lr``), and lists that
    hold mappings (``groups[0].lr``); other lists are one value. A part of a key that holds ``.``, ``[`` or quotes is
    quoted, so that no two different places have one key.

    Args:
        things: What JSON can hold, as ``json.loads`` gives it; two or more.
        nested: False to open nothing and to take the keys as they are.

    Example:
        >>> for fact in compare_nested([{"a": {"lr": 3, "b": None}}, {"a": {"lr": 3.0}}]):
        ...     print(fact)
        Fact(key='a.b', values=(None, MISSING), differs=True)
        Fact(key='a.lr', values=(3, 3.0), differs=True)
    """
    leaves = [flatten(thing) if nested else {str(key): value for key, value in thing.items()} for thing in things]
    keys = sorted({key for each in leaves for key in each}, key=_in_order)
    return [Fact.of(key, [each.get(key, MISSING) for each in leaves]) for key in keys]


def differences(things: Sequence[Mapping[str, Any]], *, nested: bool = True) -> list[Fact]:
    """The settings in which several things differ; see ``compare_nested``.

    Example:
        >>> [fact.key for fact in differences([{"lr": 1, "seed": 0}, {"lr": 1, "seed": 1}])]
        ['seed']
    """
    return [fact for fact in compare_nested(things, nested=nested) if fact.differs]


def flatten(thing: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of nested settings by dotted key.

    Example:
        >>> flatten({"a": {"b": [1, 2]}, "c.d": {}, "e": [{"f": None}]})
        {'a.b': [1, 2], '"c.d"': {}, 'e[0].f': None}
    """
    leaves: dict[str, Any] = {}
    # Not by recursion: what another program wrote may be nested deeper than Python calls.
    waiting: list[tuple[str, Any]] = [("", thing)]
    while waiting:
        key, value = waiting.pop()
        inner = _parts(key, value)
        if inner:
            waiting.extend(reversed(inner))
        elif key or value:
            leaves[key] = value
    return leaves


def same(first: Any, second: Any) -> bool:
    """Whether two values have the same type and content; NaN equals NaN.

    Example:
        >>> same(1, 1.0), same([float("nan")], [float("nan")]), same(None, MISSING)
        (False, True, False)
    """
    waiting = [(first, second)]
    while waiting:
        one, other = waiting.pop()
        if one is other:
            continue
        if type(one) is not type(other):
            return False
        if isinstance(one, Mapping):
            if one.keys() != other.keys():
                return False
            waiting.extend((item, other[key]) for key, item in one.items())
        elif isinstance(one, (list, tuple)):
            if len(one) != len(other):
                return False
            waiting.extend(zip(one, other, strict=True))
        elif one != other and not (isinstance(one, float) and math.isnan(one) and math.isnan(other)):
            return False
    return True


def typed(value: Any) -> dict[str, Any]:
    """A value with the word for its type, as JSON can hold it.

    Example:
        >>> typed(3.0), typed(MISSING)
        ({'type': 'float', 'value': 3.0}, {'type': 'missing'})
    """
    if value is MISSING:
        return {"type": "missing"}
    names = {bool: "bool", int: "int", float: "float", str: "str", type(None): "null"}
    if isinstance(value, float) and not math.isfinite(value):
        return {"type": "float", "value": "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")}
    return {"type": names.get(type(value), "json"), "value": value}


_QUOTED = re.compile(r'[.\[\]"\s]|^$')


def _parts(key: str, value: Any) -> list[tuple[str, Any]]:
    """What is inside a value that is to be opened."""
    if isinstance(value, Mapping):
        before = f"{key}." if key else ""
        return [(before + _quoted(str(name)), item) for name, item in value.items()]
    if isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        return [(f"{key}[{number}]", item) for number, item in enumerate(value)]
    return []


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False) if _QUOTED.search(name) else name


def _in_order(key: str) -> list[tuple[int, str]]:
    """Numbers in keys by size: ``layers[10]`` after ``layers[9]``."""
    parts = re.split(r"(\d{1,15})", key)
    return [(int(part), "") if number % 2 else (0, part) for number, part in enumerate(parts)]
