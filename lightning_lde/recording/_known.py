"""Secrets that a process knows by the name under which it got them, and how they are remembered without being kept."""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_lde.capture import is_secret_key

# Of every shell: where it is, and was. They differ from one to the next and stand in every path.
_WORKING_DIRECTORIES = {"PWD", "OLDPWD"}
_SHORTEST = 8
_ROUNDS = 50_000


def secrets_around(storage_options: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Values that are secrets because of the name under which this process got them.

    Args:
        storage_options: Options of the lake's storage.

    Returns:
        The name of each value.
    """
    variables = sorted(os.environ.items(), reverse=True)
    found = {value: name for name, value in variables if is_secret_key(name) and name not in _WORKING_DIRECTORIES}
    for name, value in (storage_options or {}).items():
        if isinstance(value, str) and (name == "key" or is_secret_key(str(name))):
            found.setdefault(value, f"storage option {name}")
    return found


def can_be_known(value: str) -> bool:
    """Whether a secret is so rare a word that it can be replaced wherever it stands.

    Example:
        >>> can_be_known("correcthorse42battery"), can_be_known("password")
        (True, False)
    """
    mixed = any(char.isdigit() for char in value) and any(char.isalpha() for char in value)
    return len(value) >= _SHORTEST and (mixed or len(value) >= 2 * _SHORTEST) and "\n" not in value


@dataclass(frozen=True)
class Remembered:
    """Which secrets a process knew, without the secrets.

    Attributes:
        salt: Makes the hashes those of one process.
        hashes: By the name of each secret, a slow salted hash of it.

    Example:
        >>> then = remember({"correcthorse42battery": "DB_PASSWORD"})
        >>> then.missing(["another1word"]), then.missing(["correcthorse42battery"])
        (['DB_PASSWORD'], [])
    """

    salt: str = ""
    hashes: dict[str, str] = field(default_factory=dict)

    def missing(self, known: Iterable[str]) -> list[str]:
        """The names whose secrets are not among those that are known now.

        Args:
            known: The secrets that are known now.
        """
        if not self.hashes:
            return []
        here = {slow_hash(value, self.salt) for value in known}
        return sorted(name for name, digest in self.hashes.items() if digest not in here)


def remember(known: Mapping[str, str]) -> Remembered:
    """Remember secrets.

    Args:
        known: The name of each secret.
    """
    salt = secrets.token_hex(16)
    return Remembered(salt, {name: slow_hash(value, salt) for value, name in known.items()})


@functools.lru_cache(maxsize=1000)
def slow_hash(value: str, salt: str) -> str:
    """A hash for a disk, of what may be short; it takes some hundredths of a second.

    Args:
        value: The text.
        salt: Makes it a hash of one process.
    """
    return hashlib.pbkdf2_hmac("sha256", value.encode("utf-8", "surrogatepass"), salt.encode(), _ROUNDS).hex()
