"""Redaction: what looks like a secret is replaced before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from lightning_lde.capture._access import clean_text
from lightning_lde.capture._pace import Pace
from lightning_lde.capture._secrets import (
    REDACTED,
    find_secrets,
    find_shapes,
    is_secret_key,
    looks_like_chance,
    may_be_secret_key,
    replace,
)

_MAX_DEPTH = 64
_USER_FLAGS = {"u", "user"}
_KINDS: Mapping[type, type] = {set: set, frozenset: frozenset}


def redact(value: object, *, key: str = "") -> Any:
    """A copy in which secrets are replaced; the structure stays.

    Below a key that names a secret (``password``, ``apiKey``, ``hf-token`` ...) every string, byte
    string and number is replaced; None, booleans and empty strings say nothing and stay. Everywhere
    else strings lose what ``redact_text`` finds.

    Args:
        value: Mappings, sequences, sets, strings and scalars, nested; other objects come back as they are.
        key: The name under which the value stands.

    Returns:
        The copy: dicts for mappings, lists and tuples as they were.

    Example:
        >>> redact({"lr": 0.1, "api_key": "abc", "max_tokens": 5, "url": "s3://user:pw@host/x"})
        {'lr': 0.1, 'api_key': '<redacted>', 'max_tokens': 5, 'url': 's3://<redacted>@host/x'}
    """
    return _walk(value, is_secret_key(key), frozenset())


def _walk(value: object, secret: bool, above: frozenset[int]) -> Any:
    if isinstance(value, (str, bytes)):
        return _leaf(value, secret)
    if len(above) > _MAX_DEPTH or id(value) in above:
        return REDACTED
    if isinstance(value, Mapping):
        inside = above | {id(value)}
        named = _named_secret(value)
        return {_key(key): _walk(item, secret or _hides(key, item, named), inside) for key, item in value.items()}
    if isinstance(value, (Sequence, Set)) and not isinstance(value, (range, bytearray, memoryview)):
        inside = above | {id(value)}
        items = [_walk(item, secret or _is_paired(value, at), inside) for at, item in enumerate(value)]
        return _KINDS.get(type(value), tuple if isinstance(value, tuple) else list)(items)
    return REDACTED if secret and value is not None and not isinstance(value, bool) else value


def _hides(key: object, item: object, named: bool) -> bool:
    name = str(key)
    if is_secret_key(name) or (named and name.lower() == "value"):
        return True
    return isinstance(item, str) and may_be_secret_key(name) and looks_like_chance(item)


def _named_secret(mapping: Mapping[Any, Any]) -> bool:
    """Whether it is an entry of a list of settings: ``{"name": "HF_TOKEN", "value": ...}``."""
    return any(isinstance(name := mapping.get(word), str) and is_secret_key(name) for word in ("name", "key", "Name"))


def _is_paired(items: object, at: int) -> bool:
    """Whether an item is the second one of ``("password", "x1")``."""
    if at != 1 or not isinstance(items, (list, tuple)) or len(items) != 2:
        return False
    name, value = items
    return isinstance(name, str) and is_secret_key(name) and isinstance(value, str) and not is_secret_key(value)


def _key(key: object) -> object:
    if not isinstance(key, str):
        return key
    name = clean_text(key)
    return replace(name, find_shapes(name))


def _leaf(value: str | bytes, secret: bool) -> str | bytes:
    if isinstance(value, bytes):
        return REDACTED if secret and value else redact_text(value.decode("latin-1")).encode("latin-1")
    return REDACTED if secret and value else redact_text(value)


def redact_text(text: str, pace: Pace | None = None) -> str:
    """Text without credentials in URLs, known shapes of tokens, and values assigned to secret names.

    Args:
        text: Any text: a message, a URL, a diff.
        pace: How to go on; None gives way to other threads where the text is long.

    Example:
        >>> redact_text("login failed: password='hunter2' at https://ann:pw@host/repo")
        "login failed: password='<redacted>' at https://<redacted>@host/repo"
    """
    clean = clean_text(text)
    return replace(clean, find_secrets(clean, pace))


def redact_argv(argv: Sequence[str]) -> list[str]:
    """A command line without secrets: ``--api-key VALUE``, ``--api-key=VALUE`` and ``api.key=VALUE``.

    Args:
        argv: The words, as in ``sys.argv``.

    Example:
        >>> redact_argv(["train.py", "--api-key", "abc", "--lr=0.1", "--db-password=xyz"])
        ['train.py', '--api-key', '<redacted>', '--lr=0.1', '--db-password=<redacted>']
    """
    safe: list[str] = []
    expects: str | None = None
    for word in map(str, argv):
        is_flag = word.startswith("--") or (word.startswith("-") and len(word) == 2)
        name, equals, value = word.partition("=")
        if expects is not None and not is_flag:
            safe.append(_argument(expects, word))
            # Of several values after a flag, `--api-keys a b`, each is one.
            expects = expects if expects.endswith("s") else None
            continue
        if equals and value and is_secret_key(name.lstrip("-+~")):
            safe.append(f"{clean_text(name)}={REDACTED}")
        else:
            safe.append(redact_text(word))
        named = word.lstrip("-")
        expects = named if is_flag and not equals and (is_secret_key(named) or named in _USER_FLAGS) else None
    return safe


def _argument(flag: str, word: str) -> str:
    if flag not in _USER_FLAGS:
        return REDACTED
    user, colon, password = word.partition(":")
    return f"{clean_text(user)}:{REDACTED}" if colon and not password.isdigit() else redact_text(word)
