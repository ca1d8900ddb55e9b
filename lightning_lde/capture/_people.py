"""People and machines in text: e-mail addresses, user and host names become pseudonyms or go."""

from __future__ import annotations

import functools
import getpass
import re
import socket
from collections.abc import Callable, Iterator

from lightning_lde.capture._pace import Pace
from lightning_lde.capture._pieces import find, pace_for
from lightning_lde.capture._shapes import Found
from lightning_lde.policy import pseudonym

_LONGEST_ACCOUNT = 64
_ACCOUNT = re.compile(rf"(?<![\w.+@/-])(?!(?:git|hg|svn)@)[A-Za-z0-9][\w.+-]{{0,{_LONGEST_ACCOUNT - 1}}}@")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,24}(?![\w(\[.]*[(\[])")
_HOMES = ("/home/", "/Users/", "\\Users\\")
_OWNER = re.compile(r"[^/\s\"'<>:\\]+")
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
    return _changed(text, _emails_in(text), lambda email: pseudonym("email", email, how, salt))


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
            mark = pseudonym(kind, name, how, salt)
            text = _changed(text, _places_of(name, text), lambda _, mark=mark: mark)  # type: ignore[misc]
    return _changed(text, _owners_in(text), lambda name: _of_home(name, how, salt))


def find_people(
    text: str,
    *,
    emails: bool,
    names: bool,
    people: tuple[tuple[str, str], ...] | None = None,
    pace: Pace | None = None,
) -> list[Found]:
    """Where people are named in a text, as `hide_emails` and `hide_names` would hide them.

    Args:
        text: Any text.
        emails: Whether to look for e-mail addresses.
        names: Whether to look for user and host names.
        people: As for `hide_names`.
        pace: How to go on; None gives way to other threads where the text is long.

    Example:
        >>> [found.kind for found in find_people("ann@example.org in /home/ann", emails=True, names=True, people=())]
        ['e-mail', 'user name']
    """
    found = [Found(start, end, "e-mail") for start, end in _emails_in(text, pace)] if emails and "@" in text else []
    if names:
        for kind, name in people_here() if people is None else people:
            found += [Found(start, end, f"{kind} name") for start, end in _places_of(name, text, pace)]
        owners = _owners_in(text, pace)
        found += [Found(*span, "user name") for span in owners if _is_owner(text[slice(*span)])]
    return sorted(set(found))


def _changed(text: str, places: Iterator[tuple[int, int]], change: Callable[[str], str]) -> str:
    """A text with stretches of it changed, which are given in order and apart from each other."""
    pieces, done = [], 0
    for start, end in places:
        pieces += [text[done:start], change(text[start:end])]
        done = end
    return "".join([*pieces, text[done:]]) if pieces else text


def _emails_in(text: str, pace: Pace | None = None) -> Iterator[tuple[int, int]]:
    pace, done = pace_for(text, pace), 0
    at = find(text, "@", 0, pace)
    while at >= 0:
        account = _ACCOUNT.search(text, max(done, at - _LONGEST_ACCOUNT), at + 1)
        domain = None if account is None else _DOMAIN.match(text, at + 1)
        done = at + 1
        if account is not None and domain is not None:
            done = domain.end()
            yield account.start(), done
        at = find(text, "@", done, pace)


def _places_of(name: str, text: str, pace: Pace | None = None) -> Iterator[tuple[int, int]]:
    """Where a name stands as a word of its own."""
    pace = pace_for(text, pace)
    at = find(text, name, 0, pace)
    while at >= 0:
        end = at + len(name)
        around = text[max(0, at - 1) : at], text[end : end + 1]
        is_word = not any(each.isascii() and each.isalnum() for each in around) and around[0] != "<"
        if is_word:
            yield at, end
        at = find(text, name, end if is_word else at + 1, pace)


def _owners_in(text: str, pace: Pace | None = None) -> Iterator[tuple[int, int]]:
    """Where the names of home folders stand."""
    pace, found = pace_for(text, pace), []
    for prefix in _HOMES:
        at = find(text, prefix, 0, pace)
        while at >= 0:
            if owner := _OWNER.match(text, at + len(prefix)):
                found.append(owner.span())
            at = find(text, prefix, at + 1, pace)
    return iter(sorted(found))


def _of_home(name: str, how: str, salt: str) -> str:
    return pseudonym("user", name, how, salt) if _is_owner(name) else name


def _is_owner(name: str) -> bool:
    return not name.startswith("<") and name.lower() not in _NOBODY


def _attempt(read: Callable[[], str]) -> str:
    try:
        return read()
    except Exception:
        return ""
