"""A rule of the tiers: which files of which runs go to the cold root, or away, and how it is written."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from lightning_lde.errors import ConfigurationError

TARGETS = ("cold", "delete", "stay")
"""Where a rule sends files: to the cold root, away for ever, nowhere."""

KEEPS = ("best", "last")
"""What of a run a rule can leave alone."""

AT_WORK = "running"
"""Files of a run that is at work stay, whatever the rules say."""

_LISTS = ("kind", "project", "status", "tag", "keep")
_WORDS = (*_LISTS, "older_than", "to")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_EXAMPLE = "kind=checkpoint status=finished older_than=30d keep=best,last to=cold"


@dataclass(frozen=True)
class RunFacts:
    """What a rule can ask about a run.

    Attributes:
        project: Its project.
        status: Its present status, a word of `RunStatus`.
        tags: Its tags.
    """

    project: str
    status: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """Which files go where; of several rules the first that means a file decides.

    An empty condition means everything. Globs of one condition are alternatives, conditions hold together.

    Attributes:
        to: A word of `TARGETS`.
        kind: Globs of the kind of a file, such as ``checkpoint``.
        project: Globs of the project.
        status: Words for the status of the run.
        tag: Globs of tags, ``name`` or ``name:value``.
        older_than: How long ago the run must have ended, and the file been stored.
        keep: Words of `KEEPS`: what of the files that a rule means stays, in each run.

    Example:
        >>> rule = Rule.parse("kind=checkpoint status=finished older_than=30d keep=best,last to=cold")
        >>> rule.older_than.days, rule.keep
        (30, ('best', 'last'))
        >>> print(rule)
        kind=checkpoint status=finished older_than=30d keep=best,last to=cold
    """

    to: str
    kind: tuple[str, ...] = ()
    project: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    older_than: timedelta = timedelta(0)
    keep: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Rule:
        """A rule as people write it: ``KEY=VALUE`` in any order; commas stand between alternatives.

        Raises:
            ConfigurationError: If it cannot be understood.
        """
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise ConfigurationError(f"the rule {text!r} cannot be read: {error}") from error
        found: dict[str, Any] = {}
        for word in words:
            key, equals, value = word.partition("=")
            if not equals or key not in _WORDS:
                raise ConfigurationError(
                    f"{word!r} in the rule {text!r} is none of {', '.join(_WORDS)}; a rule is such as {_EXAMPLE!r}"
                )
            if key in found:
                raise ConfigurationError(f"the rule {text!r} says {key} twice: put commas between alternatives")
            found[key] = [one.strip() for one in value.split(",") if one.strip()] if key in _LISTS else value.strip()
        return cls.from_dict(found)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Rule:
        """A rule as ``lde.json`` has it.

        Raises:
            ConfigurationError: If it cannot be understood; a condition that is not known might spare files.
        """
        if strange := sorted(set(found) - set(_WORDS)):
            raise ConfigurationError(f"a rule of the tiers has {strange[0]!r}, known are {', '.join(_WORDS)}")
        lists = {name: _texts(name, found[name]) for name in _LISTS if name in found}
        rule = cls(to=found.get("to", ""), older_than=_age(found.get("older_than", "0")), **lists)
        if rule.to not in TARGETS:
            raise ConfigurationError(f"a rule goes to {rule.to!r}: give to={'|'.join(TARGETS)}, as in {_EXAMPLE}")
        if wrong := [word for word in rule.keep if word not in KEEPS]:
            raise ConfigurationError(f"keep is {wrong[0]!r}: give one of {', '.join(KEEPS)}")
        if AT_WORK in rule.status:
            raise ConfigurationError(f"status={AT_WORK}: files of runs that are at work stay where they are")
        return rule

    def as_dict(self) -> dict[str, Any]:
        """The rule as ``lde.json`` has it."""
        age = {"older_than": _duration(self.older_than)} if self.older_than else {}
        lists = {name: list(getattr(self, name)) for name in _LISTS if getattr(self, name)}
        return {**lists, **age, "to": self.to}

    def __str__(self) -> str:
        found = self.as_dict()
        order = ("kind", "project", "status", "tag", "older_than", "keep", "to")
        words = {name: ",".join(found[name]) if name in _LISTS else found[name] for name in order if name in found}
        return " ".join(shlex.quote(f"{name}={value}") if _is_odd(value) else f"{name}={value}"
                        for name, value in words.items())  # fmt: skip

    def means(self, kind: str, run: RunFacts, age: timedelta) -> bool:
        """Whether the rule is about a file; what it keeps is another question.

        Args:
            kind: The file's kind.
            run: Its run.
            age: How long ago the run ended and the file was stored.
        """
        return (
            _any(self.kind, {kind})
            and _any(self.project, {run.project})
            and _any(self.status, {run.status})
            and _any(self.tag, {*run.tags, *(f"{name}:{value}" for name, value in run.tags.items())})
            and age >= self.older_than
        )

    def in_words(self) -> str:
        """The rule as a sentence.

        Example:
            >>> Rule.parse("kind=checkpoint status=failed,lost older_than=90d to=delete").in_words()
            'files of the kind checkpoint, of runs that are failed or lost, over for 90d, are deleted'
        """
        parts = [f"files of the kind {_or(self.kind)}" if self.kind else "all files"]
        if self.project:
            parts.append(f"of the project {_or(self.project)}")
        if self.status:
            parts.append(f"of runs that are {_or(self.status)}")
        if self.tag:
            parts.append(f"of runs with the tag {_or(self.tag)}")
        if self.older_than:
            parts.append(f"over for {_duration(self.older_than)}")
        ends = {"cold": "go to the cold root", "delete": "are deleted", "stay": "stay where they are"}
        kept = f" (but each run's {' and '.join(self.keep)})" if self.keep else ""
        return f"{', '.join(parts)}{kept}, {ends[self.to]}"


def _texts(name: str, values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not values or not all(isinstance(one, str) and one for one in values):
        raise ConfigurationError(f"{name} of a rule is {values!r}: give at least one text")
    return tuple(values)


def _age(text: Any) -> timedelta:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdwy])|0", text) if isinstance(text, str) else None
    if found is None:
        raise ConfigurationError(f"older_than is {text!r}: give a number with a unit, such as 12h, 30d, 8w, 2y")
    try:
        return timedelta(seconds=float(found[1]) * _UNITS_S[found[2]] if found[1] else 0.0)
    except OverflowError as error:
        raise ConfigurationError(f"older_than is {text!r}: that is too long") from error


def _duration(age: timedelta) -> str:
    seconds = age.total_seconds()
    for unit in ("d", "h", "m"):
        if seconds >= _UNITS_S[unit] and seconds % _UNITS_S[unit] == 0:
            return f"{seconds / _UNITS_S[unit]:.0f}{unit}"
    return f"{seconds:f}".rstrip("0").rstrip(".") + "s"


def _any(globs: tuple[str, ...], names: set[str]) -> bool:
    return not globs or any(fnmatchcase(name, glob) for name in names for glob in globs)


def _or(words: tuple[str, ...]) -> str:
    return " or ".join(words)


def _is_odd(value: str) -> bool:
    return re.fullmatch(r"[\w.,:*?@/+-]+", value) is None
