"""Functions and callable objects, such as transforms, as data: what they are, their source, their settings."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from lightning_lde.capture import _arrays
from lightning_lde.capture._access import callable_path, class_path, get, is_a
from lightning_lde.capture._redaction import redact, redact_text
from lightning_lde.capture._source import is_library, source_hash
from lightning_lde.capture._values import hide_paths, json_safe, without_seeds

_MAX_DEPTH = 12
_MAX_TEXT = 10_000
_MAX_LISTED = 64
_MAX_HASHED_BYTES = 16 * 2**20
_CAPTURED_TYPES = (bool, int, float, str, type(None))


def describe_callable(thing: object) -> Any:
    """What a function or a callable object is, as data that JSON can hold; it is not called.

    Functions are their name and, unless they are a library's, a hash of their source and the simple values that
    they captured. Objects are their class, their public attributes, and the callables inside them, in order, so a
    ``Compose`` becomes a tree. Seeds and memory addresses are left out, absolute paths are cut to their last part.

    Args:
        thing: The function or object.

    Returns:
        A dict with the key ``function``, ``partial`` or ``class``.

    Example:
        >>> describe_callable(len)
        {'function': 'builtins.len'}
    """
    return redact(hide_paths(json_safe(_describe(thing, frozenset()))))


def is_callable(value: object) -> bool:
    """Whether a value is a function or an object to be called: no class, no array."""
    return callable(value) and not is_a(value, type) and not _arrays.is_array(value)


def _describe(thing: Any, above: frozenset[int]) -> Any:
    if id(thing) in above or len(above) >= _MAX_DEPTH:
        return f"<{class_path(type(thing))}>"
    above = above | {id(thing)}
    if type(thing).__name__ == "partial" and callable(get(thing, "func")):
        bound = {"args": list(thing.args), "keywords": dict(thing.keywords)}
        return {
            "partial": _describe(thing.func, above),
            **{name: _value(value, above) for name, value in bound.items() if value},
        }
    if isinstance(get(thing, "__qualname__"), str):
        return _function(thing)
    described: dict[str, Any] = {"class": class_path(type(thing))}
    if not is_library(type(thing)):
        described["source_hash"] = source_hash(type(thing))
    settings = settings_of(thing, above)
    return {**described, **({"settings": settings} if settings else {})}


def _function(function: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"function": callable_path(function)}
    if is_library(function):
        return described
    described["source_hash"] = source_hash(function)
    captured = _captured(function)
    return {**described, **({"captured": captured} if captured else {})}


def _captured(function: Any) -> dict[str, Any]:
    """Simple values that a function took with it, from around it or as defaults."""
    found: dict[str, Any] = {}
    try:
        names = function.__code__.co_freevars
        found |= {name: cell.cell_contents for name, cell in zip(names, function.__closure__ or (), strict=True)}
        parameters = inspect.signature(function).parameters.values()
        found |= {each.name: each.default for each in parameters if each.default is not each.empty}
    except Exception:
        return {}
    kept = {name: value for name, value in found.items() if isinstance(value, _CAPTURED_TYPES)}
    return dict(without_seeds(kept))


def settings_of(thing: object, above: frozenset[int] = frozenset()) -> dict[str, Any]:
    """The public attributes of an object, those that its constructor names also where they are private.

    Args:
        thing: Any object; its properties do not run.
        above: What it stands inside of.
    """
    own = get(thing, "__dict__") or {}
    found = {name: value for name, value in own.items() if not str(name).startswith("_") and name != "training"}
    for name in parameter_names(type(thing)):
        if name not in found and f"_{name}" in own:
            found[name] = own[f"_{name}"]
    for registry in ("_modules", "_parameters", "_buffers"):
        if isinstance(own.get(registry), Mapping):
            found |= {name: value for name, value in own[registry].items() if value is not None}
    above = above | {id(thing)}
    return dict(without_seeds({str(name): _value(value, above) for name, value in found.items()}))


def parameter_names(cls: type) -> list[str]:
    """The names of a constructor's arguments, none where they cannot be known."""
    try:
        return list(inspect.signature(cls.__init__).parameters)[1:]  # type: ignore[misc]
    except Exception:
        return []


def _value(value: Any, above: frozenset[int]) -> Any:
    if is_callable(value):
        return _describe(value, above)
    if _arrays.is_array(value):
        return _array(value)
    if is_a(value, list, tuple) and len(value) <= _MAX_TEXT:
        return [_value(item, above) for item in value]
    if is_a(value, dict) and len(value) <= _MAX_TEXT:
        return {str(key): _value(item, above) for key, item in value.items()}
    return json_safe(value)


def _array(value: Any) -> Any:
    n_elements = value.numel() if hasattr(value, "numel") else value.size
    if n_elements <= _MAX_LISTED:
        return json_safe(value)
    facts = {"dtype": _arrays.dtype_name(value), "shape": list(value.shape)}
    if _arrays.size_bytes(value) <= _MAX_HASHED_BYTES:
        facts["sha256"] = hashlib.sha256(_arrays.raw_bytes(value)).hexdigest()[:32]
    return facts


def words_for(described: Any) -> str:
    """One line for people from what `describe_callable` returned.

    Example:
        >>> words_for({"class": "torchvision.transforms.RandomCrop", "settings": {"size": [32, 32], "padding": 4}})
        'RandomCrop(size=[32, 32], padding=4)'
    """
    text = _words(described)
    return redact_text(text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + " ...")


def _words(described: Any) -> str:
    if isinstance(described, Mapping):
        if "class" in described:
            return f"{described['class'].rpartition('.')[2]}({_pairs(described.get('settings', {}).items())})"
        if "function" in described:
            name = described["function"]
            hashed = described.get("source_hash") if "<" in name else None
            return f"{name} {hashed[:8]}" if hashed else str(name)
        if "partial" in described:
            args = [_words(item) for item in described.get("args", [])]
            pairs = _pairs(described.get("keywords", {}).items())
            return f"partial({', '.join(filter(None, [_words(described['partial']), *args, pairs]))})"
        return "{" + ", ".join(f"{key}: {_words(item)}" for key, item in described.items()) + "}"
    if isinstance(described, list):
        return f"[{', '.join(map(_words, described))}]"
    return repr(described)


def _pairs(items: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(f"{name}={_words(value)}" for name, value in items)
