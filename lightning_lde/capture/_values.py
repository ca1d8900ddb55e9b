"""Any object as data that JSON can hold, equal for equal objects in every process."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import math
import re
import sys
from collections.abc import Mapping, Set
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any

from lightning_lde.capture._access import call, callable_path, class_path, clean_text, get
from lightning_lde.schema import Param, canonical_json

_MAX_DEPTH = 24
_MAX_ITEMS = 10_000
_MAX_NODES = 200_000
_MAX_TEXT = 16_000_000
_MAX_BITS = 1000
_MAX_ELEMENTS = 1024
_AS_TEXT = {"complex", "Decimal", "Fraction", "UUID", "datetime", "date", "time", "timedelta", "range", "slice"}
_SEED_NAMES = {"seed", "seeds", "seed_everything", "random_seed", "random_state", "global_seed", "manual_seed"}
_ABSOLUTE_PATH = re.compile(r"(?:[A-Za-z]:[\\/]|~[^/\\\s]{0,64}[\\/]|/)[^\n]*[^\n/\\]")


def json_safe(value: object) -> Any:
    """Turn any object into None, booleans, numbers, strings, lists and dicts; never raises.

    Enumerations become their value, paths text, sets sorted lists, functions and classes their
    qualified name, modules of a network the name of their class, small arrays nested lists, and what
    nothing is known of a tag ``<module.Class>``. Iterators are not consumed. What is nested deeper
    than 24, longer than 10,000 items or 16,000,000 characters is cut with a mark that says so.

    Args:
        value: Any object.

    Example:
        >>> json_safe({"act": len, "size": (1, 2), "names": {"b", "a"}, "x": object()})
        {'act': 'builtins.len', 'size': [1, 2], 'names': ['a', 'b'], 'x': '<builtins.object>'}
    """
    return _Encoder().encode(value)


class _Encoder:
    """One walk over an object: knows the objects it is inside of, and how much it may still write."""

    def __init__(self) -> None:
        self.inside: set[int] = set()
        self.nodes_left = _MAX_NODES

    def encode(self, value: object) -> Any:
        self.nodes_left -= 1
        if self.nodes_left < 0:
            return "<truncated>"
        try:
            return self._encode(value)
        except Exception:
            return f"<{class_path(type(value))}>"

    def _encode(self, value: object) -> Any:
        scalar = _scalar(value)
        if scalar is not _NOT_SCALAR:
            return scalar
        if id(value) in self.inside:
            return "<cycle>"
        if len(self.inside) >= _MAX_DEPTH:
            return f"<{class_path(type(value))}>"
        self.inside.add(id(value))
        try:
            return self._container(value)
        finally:
            self.inside.discard(id(value))

    def _container(self, value: object) -> Any:
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, Set):
            return sorted(self._items(list(value)), key=canonical_json)
        if isinstance(value, (list, tuple)):
            return self._items(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._mapping({field.name: get(value, field.name) for field in dataclasses.fields(value)})
        if type(value).__name__ == "Namespace" or isinstance(value, SimpleNamespace):
            return self._mapping(vars(value))
        if type(value).__name__ == "partial":
            parts = {"partial": get(value, "func"), "args": get(value, "args"), "keywords": get(value, "keywords")}
            return self._mapping(parts)
        return _opaque(value)

    def _mapping(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        safe: dict[str, Any] = {}
        for number, (key, item) in enumerate(value.items()):
            if number == _MAX_ITEMS:
                safe["<truncated>"] = f"{len(value) - _MAX_ITEMS} more"
                break
            safe[_key(key)] = self.encode(item)
        return safe

    def _items(self, value: list[Any] | tuple[Any, ...]) -> list[Any]:
        items = [self.encode(item) for item in value[:_MAX_ITEMS]]
        if len(value) > _MAX_ITEMS:
            items.append(f"<truncated: {len(value) - _MAX_ITEMS} more>")
        return items


_NOT_SCALAR = object()


def _scalar(value: object) -> Any:
    if isinstance(value, enum.Enum):
        simple = isinstance(value.value, (str, int, float))
        return _scalar(value.value) if simple else f"{type(value).__name__}.{value.name}"
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() <= _MAX_BITS else hex(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, PurePath):
        return _text(value.as_posix())
    if isinstance(value, (bytes, bytearray)):
        return f"<bytes {len(value)} sha256:{hashlib.sha256(value).hexdigest()[:32]}>"
    if type(value).__name__ in _AS_TEXT:
        return _text(str(value))
    return _NOT_SCALAR


def _text(value: str) -> str:
    text = clean_text(value)
    if len(text) <= _MAX_TEXT:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return f"{text[:_MAX_TEXT]}<truncated: {len(text)} characters, sha256:{digest}>"


def _key(key: object) -> str:
    scalar = _scalar(key)
    return str(scalar) if scalar is not _NOT_SCALAR else clean_text(str(_opaque(key)))


def _opaque(value: object) -> Any:
    if isinstance(value, type):
        return class_path(value)
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None:
        if isinstance(value, torch.Tensor):
            return _array(value, str(value.dtype), value.numel())
        if isinstance(value, (torch.dtype, torch.device, torch.layout, torch.memory_format)):
            return str(value)
        if isinstance(value, torch.nn.Module):
            return class_path(type(value))
    if numpy is not None:
        if isinstance(value, numpy.dtype):
            return str(value)
        if isinstance(value, (numpy.ndarray, numpy.generic)):
            return _array(value, str(value.dtype), value.size)
    if isinstance(get(value, "__qualname__"), str) and callable(value):
        return callable_path(value)
    return f"<{class_path(type(value))}>"


def _array(value: Any, dtype: str, n_elements: int) -> Any:
    data = call(value, "tolist") if n_elements <= _MAX_ELEMENTS else None
    if data is None:
        return f"<{class_path(type(value))} {dtype} {tuple(value.shape)}>"
    return json_safe(data)


def hide_paths(value: Any) -> Any:
    """JSON data with absolute paths cut to their last part: folders name machines and people.

    Example:
        >>> hide_paths({"data": "/home/ann/mnist", "text": "a/b", "url": "s3://bucket/x"})
        {'data': '<path>/mnist', 'text': 'a/b', 'url': 's3://bucket/x'}
    """
    if isinstance(value, dict):
        return {key: hide_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hide_paths(item) for item in value]
    if is_absolute_path(value):
        return "<path>/" + re.split(r"[\\/]", value)[-1]
    return value


def without_seeds(value: Any) -> Any:
    """JSON data without what is named a seed: seeds belong to a run and not to a configuration.

    Example:
        >>> without_seeds({"lr": 0.1, "data": {"seed": 3, "size": 2}})
        {'lr': 0.1, 'data': {'size': 2}}
    """
    if isinstance(value, dict):
        return {
            key: without_seeds(item)
            for key, item in value.items()
            if str(key).lower() not in _SEED_NAMES and key != "_instantiator"
        }
    return [without_seeds(item) for item in value] if isinstance(value, list) else value


def is_absolute_path(value: object) -> bool:
    """Whether a text is nothing but an absolute path."""
    return isinstance(value, str) and len(value) < 4096 and _ABSOLUTE_PATH.fullmatch(value) is not None


def flatten_params(config_id: str, mapping: Mapping[str, Any]) -> list[Param]:
    """Rows of the table ``params``: one per setting, nested mappings under dotted keys.

    Args:
        config_id: The configuration that the settings belong to.
        mapping: Names and values; values other than scalars and mappings become JSON text.

    Example:
        >>> [(row.key, row.value_num, row.value_text, row.type) for row in flatten_params("c", {"a": {"b": True}})]
        [('a.b', 1.0, 'true', 'bool')]
    """
    return [_param(config_id, key, value) for key, value in _leaves(json_safe(mapping), "")]


def _leaves(mapping: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in mapping.items():
        if isinstance(value, dict) and value:
            leaves.extend(_leaves(value, f"{prefix}{key}."))
        else:
            leaves.append((prefix + key, value))
    return leaves


def _param(config_id: str, key: str, value: Any) -> Param:
    if isinstance(value, str):
        return Param(config_id=config_id, key=key, value_text=value, type="str")
    name = {bool: "bool", int: "int", float: "float", type(None): "null"}.get(type(value), "json")
    number = float(value) if name in {"bool", "int", "float"} else None
    text = str(value) if name == "float" and not math.isfinite(value) else canonical_json(value)
    return Param(config_id=config_id, key=key, value_num=number, value_text=text, type=name)
