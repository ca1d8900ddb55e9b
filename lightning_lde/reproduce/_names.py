"""People and machines by the pseudonyms that a lake has for them, as far as their names are known here."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_lde.capture import hide_emails, hide_names, people_here
from lightning_lde.errors import ReproductionError
from lightning_lde.policy import Policy
from lightning_lde.reproduce._changes import names_before
from lightning_lde.reproduce._facts import Recorded, Use
from lightning_lde.reproduce._git import git

_PSEUDONYMISE = "pseudonymise"
_MARK = re.compile(r"<(?:user|host|email)(-[0-9a-f]{12})?>")
_WORDS = (re.compile(r"[A-Za-z0-9]+"), re.compile(r"[\w.-]+"))
_LONGEST_LINE = 2000
_MOST_FILES = 200
_MAIL_VARIABLES = ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL", "EMAIL")


@dataclasses.dataclass(frozen=True)
class Names:
    """Names and addresses by the pseudonyms that a lake has for them.

    Attributes:
        salt: The lake's.
        drops: Whether the lake may hold names that are gone for good, as ``<user>``.
        by_pseudonym: The names that are known.
    """

    salt: str = ""
    drops: bool = False
    by_pseudonym: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def text(self, text: str) -> str:
        """A text with names in place of their pseudonyms, as far as they are known.

        Example:
            >>> Names(by_pseudonym={"<user-0123456789ab>": "ann"}).text("/home/<user-0123456789ab>/x on <host>")
            '/home/ann/x on <host>'
        """
        return _MARK.sub(lambda mark: self.by_pseudonym.get(mark[0], mark[0]), text)

    def value(self, value: Any) -> Any:
        """The same of all texts in lists and mappings."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.value(key): self.value(item) for key, item in value.items()}
        return [self.value(item) for item in value] if isinstance(value, list) else value

    @staticmethod
    def holds_names(text: str) -> bool:
        """Whether something stands in a text in place of a name, known or not."""
        return _MARK.search(text) is not None

    def unknown_in(self, text: str) -> list[str]:
        """What stands in a text in place of names that are not known here."""
        marks = (mark for mark in _MARK.finditer(text) if mark[1] or self.drops)
        return list(dict.fromkeys(mark[0] for mark in marks if mark[0] not in self.by_pseudonym))

    def found_in(self, texts: Iterable[str], wanted: Iterable[str] = ()) -> Names:
        """With the addresses, and the owners of home folders, that stand in some texts.

        Args:
            texts: The texts.
            wanted: Pseudonyms that any word of the texts is tried for, too.
        """
        texts = list(texts) if self.salt else []
        named = (pair for text in texts for pair in self._named_in(text))
        found = {mark: name for mark, name in named if mark == _pseudonym(mark[1:].partition("-")[0], name, self.salt)}
        open_marks = set(wanted) - found.keys()
        for text in texts if open_marks else ():
            for word in {word for pattern in _WORDS for word in pattern.findall(text)}:
                for kind in ("user", "host"):
                    if (mark := _pseudonym(kind, word, self.salt)) in open_marks:
                        found[mark] = word
        return dataclasses.replace(self, by_pseudonym={**found, **self.by_pseudonym})

    def _named_in(self, text: str) -> Iterator[tuple[str, str]]:
        """What the lake would hide in a text, found by hiding it."""
        for line in (line for line in text.splitlines() if len(line) <= _LONGEST_LINE):
            hidden = hide_names(hide_emails(line, _PSEUDONYMISE, self.salt), _PSEUDONYMISE, self.salt, ())
            if hidden == line:
                continue
            marks = [mark[0] for mark in _MARK.finditer(hidden)]
            around = _MARK.sub("\0", hidden).split("\0")
            found = re.fullmatch("(.+?)".join(map(re.escape, around)), line)
            yield from zip(marks, found.groups() if found else (), strict=False)


def names_known_here(policy: Policy, *, repository: Path | None = None, places: Iterable[str] = ()) -> Names:
    """The pseudonyms that names of this machine have in a lake: its user, its host, home folders, git's address.

    Args:
        policy: The lake's policy.
        repository: A repository whose settings may name an e-mail address.
        places: Paths, such as the lake's own, whose home folders are known thereby.
    """
    hides = (policy.emails, policy.names) != ("keep", "keep")
    names = Names(policy.salt, "drop" in (policy.emails, policy.names) or (hides and not policy.salt))
    if not policy.salt:
        return names
    known = names.found_in([*_addresses(repository), *_homes(), *places])
    people = {_pseudonym(kind, name, policy.salt): name for kind, name in people_here()}
    return dataclasses.replace(known, by_pseudonym={**known.by_pseudonym, **people})


def with_names(recorded: Recorded, names: Names, repository: Path | None = None) -> Recorded:
    """What is needed to run a run again, with names in place of pseudonyms; what the run is called stays.

    Args:
        recorded: The run.
        names: Names that are known here.
        repository: The repository with its commit: the lines around an uncommitted change stand there, too.
    """
    code = names.value(recorded.code)
    if code.get("diff"):
        code["diff"] = _with_names_of_commit(code, names, repository)
    environment = {**recorded.environment}
    if "variables" in environment:
        environment["variables"] = names.value(environment["variables"])
    return dataclasses.replace(
        recorded,
        run={**recorded.run, "argv": names.value(recorded.run.get("argv"))},
        code=code,
        environment=environment,
        uses=[Use(use.relation, {**use.facts, "uri": names.value(use.facts.get("uri"))}) for use in recorded.uses],
    )


def unknown_in_changes(diff: str | None, names: Names) -> tuple[list[str], list[str]]:
    """Unknown names in a diff: those that would change what the code does, and those in comments.

    Args:
        diff: The uncommitted changes.
        names: Names that are known here.
    """
    harmful: dict[str, None] = {}
    harmless: dict[str, None] = {}
    for line in (diff or "").splitlines():
        is_comment = line.startswith("+") and line[1:].lstrip().startswith("#")
        (harmless if is_comment else harmful).update(dict.fromkeys(names.unknown_in(line)))
    return list(harmful), [mark for mark in harmless if mark not in harmful]


def _with_names_of_commit(code: Mapping[str, Any], names: Names, repository: Path | None) -> str:
    diff: str = code["diff"]
    unknown = names.unknown_in(diff)
    if not unknown or repository is None or not code.get("commit"):
        return diff
    texts = []
    for name in names_before(diff)[:_MOST_FILES]:
        with contextlib.suppress(ReproductionError):
            texts.append(git(repository, "show", f"{code['commit']}:{name}"))
    return names.found_in(texts, unknown).text(diff)


def _pseudonym(kind: str, name: str, salt: str) -> str:
    if kind == "email":
        return hide_emails(name, _PSEUDONYMISE, salt)
    return hide_names(name, _PSEUDONYMISE, salt, ((kind, name),))


def _addresses(repository: Path | None) -> Iterator[str]:
    yield from (os.environ.get(name, "") for name in _MAIL_VARIABLES)
    with contextlib.suppress(ReproductionError):
        yield git(repository or Path.cwd(), "config", "--get-all", "user.email")


def _homes() -> Iterator[str]:
    """Home folders of this machine, and folders in them that this process knows."""
    with contextlib.suppress(OSError, RuntimeError):
        yield str(Path.home())
        yield str(Path.cwd())
    for parent in ("/home", "/Users"):
        with contextlib.suppress(OSError):
            yield from (f"{parent}/{each}" for each in os.listdir(parent))  # noqa: PTH208  # names alone are asked for
