"""People and machines in text: e-mail addresses, user and host names become pseudonyms or go."""

from __future__ import annotations

import functools
import getpass
import hashlib
import hmac
import re
import socket
from collections.abc import Callable

_EMAIL = re.compile(
    r"(?<![\w.+@/-])(?!(?:git|hg|svn)@)[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,24}(?![\w(\[.]*[(\[])"
)
_HOME = re.compile(r"(?:(?<=/home/)|(?<=/Users/)|(?<=\\Users\\))[^/\s\"'<>:\\]+")
# Accounts and machines that say nothing of a person.
_NOBODY = {
    *{"root", "user", "users", "admin", "administrator", "ubuntu", "debian", "centos", "fedora", "ec2-user", "runner"},
    *{"jovyan", "docker", "container", "default", "nobody", "test", "tests", "work", "data", "home", "host", "server"},
    *{
        "localhost",
        "localdomain",
        "shared",
        "public",
        "python",
        "torch",
        "train",
        "training",
        "model",
        "models",
        "lake",
    },
    *{"sagemaker", "azureuser", "vscode", "coder", "guest", "worker", "slurm", "node", "main", "master", "code"},
}
_SHORTEST_NAME = 4


@functools.cache
def people_here() -> tuple[tuple[str, str], ...]:
    """Kind and name of the user and the machine of this process, without names that many share."""
    found: list[tuple[str, str]] = []
    for kind, read in (("user", getpass.getuser), ("host", socket.gethostname)):
        name = _attempt(read)
        found.extend((kind, each) for each in {name, name.split(".")[0]} if _names_somebody(each))
    return tuple(sorted(found, key=lambda one: -len(one[1])))


def _names_somebody(name: str) -> bool:
    return len(name) >= _SHORTEST_NAME and name.lower() not in _NOBODY and not name.isdigit()


def hide_emails(text: str, how: str, salt: str) -> str:
    """A text without e-mail addresses.

    Args:
        text: Any text.
        how: ``"keep"``, ``"pseudonymise"`` or ``"drop"``.
        salt: Makes the pseudonyms those of one lake; without one there are none, and addresses go.

    Example:
        >>> hide_emails("ask ann@example.org", "drop", "")
        'ask <email>'
    """
    if how == "keep" or "@" not in text:
        return text
    return _EMAIL.sub(lambda match: _pseudonym("email", match[0], how, salt), text)


def hide_names(text: str, how: str, salt: str, people: tuple[tuple[str, str], ...] | None = None) -> str:
    """A text without the names of the user and the machine, and of the owners of home folders.

    Args:
        text: Any text.
        how: As for `hide_emails`.
        salt: As for `hide_emails`.
        people: Kinds and names; None for those of this process.

    Example:
        >>> hide_names("/home/ann/x on annes-laptop", "drop", "", (("host", "annes-laptop"),))
        '/home/<user>/x on <host>'
    """
    if how == "keep":
        return text
    for kind, name in people_here() if people is None else people:
        if name in text:
            pattern = rf"(?<![A-Za-z0-9<]){re.escape(name)}(?![A-Za-z0-9])"
            text = re.sub(pattern, _pseudonym(kind, name, how, salt), text)
    if "/home/" in text or "Users" in text:
        text = _HOME.sub(lambda match: _of_home(match[0], how, salt), text)
    return text


def _of_home(name: str, how: str, salt: str) -> str:
    return name if name.startswith("<") or name.lower() in _NOBODY else _pseudonym("user", name, how, salt)


def _pseudonym(kind: str, name: str, how: str, salt: str) -> str:
    if how == "drop" or not salt:
        return f"<{kind}>"
    digest = hmac.new(salt.encode(), f"{kind}:{name.lower()}".encode(), hashlib.sha256).hexdigest()
    return f"<{kind}-{digest[:12]}>"


def _attempt(read: Callable[[], str]) -> str:
    try:
        return read()
    except Exception:
        return ""
