"""What is left of command lines and settings when the level of capture or the policy does not take all of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lightning_lde.policy import WITHHELD, Policy

_FLAG = re.compile(r"-[^\d.]")
_NAME = re.compile(r"[-+~]*[A-Za-z_][\w.-]*")


def arguments_taken(words: list[Any], policy: Policy, *, minimal: bool) -> list[Any]:
    """A command line without the values of what is not taken; with none at all at the level ``minimal``.

    Whatever follows a flag that is not taken may be a value of it, up to the next flag.

    Args:
        words: The words, the program's name first.
        policy: What the lake takes.
        minimal: Whether no value is taken.

    Example:
        >>> policy = Policy(parameters_deny=("age",))
        >>> arguments_taken(["t.py", "--age", "7", "9", "--lr", "1"], policy, minimal=False)
        ['t.py', '--age', '<withheld>', '<withheld>', '--lr', '1']
    """
    kept: list[Any] = words[:1]
    hides = False
    for word in map(str, words[1:]):
        name, equals, _ = word.partition("=")
        takes = policy.takes_flag if name.startswith("--") else policy.takes_parameter
        is_denied = minimal or not takes(name.lstrip("-+~"))
        if _FLAG.match(word):
            is_glued = not word.startswith("--") and len(name) > 2 and (minimal or _may_be_glued(name, policy))
            hides = is_denied or is_glued
            if is_glued:
                kept.append(f"{word[:2]}{WITHHELD}")
            else:
                kept.append(f"{name}={WITHHELD}" if equals and is_denied else word)
        elif hides:
            kept.append(WITHHELD)
        elif equals and is_denied and (not minimal or _NAME.fullmatch(name)):
            kept.append(f"{name}={WITHHELD}")
        else:
            kept.append(WITHHELD if minimal else word)
    return kept


def _may_be_glued(name: str, policy: Policy) -> bool:
    """Whether a flag such as ``-p17`` may be a short one that is not taken, with its value."""
    # Where only some names are taken, one of them is no letter with a value.
    takes = policy.takes_parameter
    takes_any = takes("")
    return not takes(name[1]) and (takes_any or not takes(name[1:]))


def settings_taken(value: Any, takes: Callable[[str], bool], prefix: str = "") -> Any:
    """Settings without those that are not taken, also inside lists; a group is what is left of it.

    Args:
        value: The settings: dicts, lists and scalars, nested.
        takes: Whether the policy takes a parameter of that dotted key.
        prefix: The keys that lead to the settings, with a dot behind each.

    Example:
        >>> settings_taken({"lr": 1, "sites": [{"age": 7, "n": 2}]}, lambda key: key != "sites.age")
        {'lr': 1, 'sites': [{'n': 2}]}
    """
    if isinstance(value, list):
        return [settings_taken(item, takes, prefix) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, item in value.items():
        rest = settings_taken(item, takes, f"{prefix}{key}.")
        if isinstance(item, dict) and item:
            if rest:
                kept[key] = rest
        elif takes(prefix + key):
            kept[key] = rest
    return kept


def launch_taken(launch: Any, *, minimal: bool) -> Any:
    """How a program was started, at the level ``minimal`` without the text behind ``python -c``: it is a command line.

    Args:
        launch: The column ``code.launch``.
        minimal: Whether the level is ``minimal``.

    Example:
        >>> launch_taken({"kind": "command", "target": "print(1)"}, minimal=True)
        {'kind': 'command', 'target': '<withheld>'}
    """
    is_text = minimal and isinstance(launch, dict) and launch.get("kind") == "command"
    return {**launch, "target": WITHHELD} if is_text else launch
