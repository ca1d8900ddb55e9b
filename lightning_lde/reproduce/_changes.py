"""The uncommitted changes that were recorded with a run: a diff, taken to pieces."""

from __future__ import annotations

import re

from lightning_lde.capture import REDACTED

_BINARY = re.compile(r"^Binary files .* differ$", re.MULTILINE)
_CUT = re.compile(r"^<diff cut here after \d+ characters>$", re.MULTILINE)
_MODULE = re.compile(r"^\+Subproject commit ([0-9a-f]{40,64})", re.MULTILINE)
_MODULE_GONE = re.compile(r"^deleted file mode 160000$", re.MULTILINE)
_BEFORE = re.compile(r"^(?:--- a/|rename from )([^\t\n]+)", re.MULTILINE)


def parts_of(diff: str | None) -> list[str]:
    """The pieces of a diff, one for each file."""
    return [part for part in re.split(r"(?m)^(?=diff --git )", diff or "") if part.startswith("diff --git ")]


def name_of(part: str) -> str:
    """The file that a piece of a diff is about."""
    return part.splitlines()[0].rpartition(" b/")[2]


def names_before(diff: str | None) -> list[str]:
    """The files of the commit that a diff changes, by their names there."""
    return list(dict.fromkeys(name for part in parts_of(diff) for name in _BEFORE.findall(part)))


def is_binary(part: str) -> bool:
    """Whether a piece of a diff names a change without holding it."""
    return _BINARY.search(part) is not None


def binary_changes(diff: str | None) -> list[str]:
    """Files whose changes a diff names without holding them."""
    return [name_of(part) for part in parts_of(diff) if is_binary(part)]


def redacted_changes(diff: str | None) -> list[str]:
    """Files in whose new lines stands what stands in place of a secret."""
    return [
        name_of(part)
        for part in parts_of(diff)
        if any(line.startswith("+") and REDACTED in line for line in part.splitlines())
    ]


def is_cut(diff: str | None) -> bool:
    """Whether a diff was too large to be kept as a whole."""
    return diff is not None and _CUT.search(diff) is not None


def module_changes(diff: str | None) -> dict[str, str | None]:
    r"""Submodules that a diff moves to another commit, or takes away.

    Example:
        >>> module_changes("diff --git a/lib b/lib\n+Subproject commit " + 40 * "a")["lib"][:3]
        'aaa'
    """
    found: dict[str, str | None] = {}
    for part in parts_of(diff):
        if moved := _MODULE.search(part):
            found[name_of(part)] = moved[1]
        elif _MODULE_GONE.search(part):
            found[name_of(part)] = None
    return found
