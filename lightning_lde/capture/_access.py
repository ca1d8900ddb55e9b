"""Careful looks at objects of others: whatever their attributes do, the answer is a value or a default."""

from __future__ import annotations

import re
from typing import Any

from lightning_lde.capture._pieces import pace_for, spans

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_REPR = 10_000


def get(thing: object, name: str, default: Any = None) -> Any:
    """An attribute, or the default where it is missing or reading it fails."""
    try:
        return getattr(thing, name, default)
    except Exception:
        return default


def own(thing: object, name: str) -> Any:
    """A value of the instance itself, None if there is none: properties of its class do not run."""
    try:
        return vars(thing).get(name)
    except Exception:
        return None


def call(thing: object, name: str) -> Any:
    """The result of a method without arguments, None if there is none or it fails."""
    try:
        return getattr(thing, name)()
    except Exception:
        return None


def length(thing: object) -> int | None:
    """The length of an object that has one, None otherwise (an ``IterableDataset`` raises TypeError)."""
    try:
        return len(thing)  # type: ignore[arg-type]
    except Exception:
        return None


def class_path(cls: type) -> str:
    """Module and qualified name of a class.

    Example:
        >>> from collections import OrderedDict
        >>> class_path(OrderedDict)
        'collections.OrderedDict'
    """
    return f"{cls.__module__}.{cls.__qualname__}"


def callable_path(function: object) -> str:
    """Module and qualified name of a function, of what a partial wraps, or of a callable object's class."""
    inner = get(function, "func")
    if callable(inner) and type(function).__name__ == "partial":
        return f"partial({callable_path(inner)})"
    module, name = get(function, "__module__"), get(function, "__qualname__")
    if isinstance(name, str):
        return f"{module}.{name}" if isinstance(module, str) else name
    return class_path(type(function))


def is_a(thing: object, *classes: type) -> bool:
    """``isinstance`` by the type alone: a proxy's ``__class__`` is not asked, since it may raise."""
    return issubclass(type(thing), classes)


def has_base(thing: object, *names: str) -> bool:
    """Whether the class of an object, or one of its bases, has one of the names."""
    return any(cls.__name__ in names for cls in type(thing).__mro__)


def stable_repr(thing: object) -> str:
    """The ``repr`` without memory addresses, which differ from one process to the next.

    Example:
        >>> stable_repr(object())
        '<object object>'
    """
    try:
        text = _ADDRESS.sub("", repr(thing))
    except Exception:
        return f"<{class_path(type(thing))}>"
    return text if len(text) <= _MAX_REPR else text[:_MAX_REPR] + " ..."


def clean_text(text: str) -> str:
    """Text that UTF-8 can hold: lone surrogates, as in odd file names, are written as escapes."""
    plain = str.__str__(text)
    if plain.isascii() or not any(_SURROGATE.search(plain, *span) for span in spans(len(plain), pace_for(plain, None))):
        return plain
    return plain.encode("utf-8", "backslashreplace").decode("utf-8")
