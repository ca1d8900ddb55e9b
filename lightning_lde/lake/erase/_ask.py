"""What can be asked to be erased, and how it becomes a target."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_lde.errors import ConfigurationError
from lightning_lde.lake.erase._files import Files, read_groups
from lightning_lde.lake.erase._scope import Tables
from lightning_lde.lake.erase._search import Found, search_objects
from lightning_lde.lake.erase._target import Target
from lightning_lde.lake.erase._texts import Needles, needles_of_person, needles_of_text
from lightning_lde.schema import CONTENT_TABLES

if TYPE_CHECKING:
    from lightning_lde.lake._storage import LakeStorage

KINDS = ("run", "dataset", "user", "match")
_SHORTEST = 3

# Whose rows say where and from what code a run was started.
_SAYS_WHO = ("environments", "code")


@dataclass(frozen=True)
class Request:
    """What somebody wants to be erased.

    Attributes:
        kind: ``run``, ``dataset``, ``user`` or ``match``.
        words: Ids of runs or data sets, names or addresses of one person, or one text.

    Raises:
        ConfigurationError: If it is nothing of that.
    """

    kind: str
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigurationError(f"{self.kind!r} is nothing to erase by: give one of {', '.join(KINDS)}")
        if not self.words or not all(word.strip() for word in self.words):
            raise ConfigurationError(f"erase by {self.kind} needs at least one word that is not empty")
        short = [word for word in self.words if len(word) < _SHORTEST] if self.kind in {"user", "match"} else []
        if short:
            raise ConfigurationError(f"{short[0]!r} stands in too much: give at least {_SHORTEST} characters")
        if self.kind == "match" and len(self.words) > 1:
            raise ConfigurationError("erase one text at a time")

    @property
    def needle(self) -> bytes | None:
        """The bytes that no file may hold in the end."""
        return os.fsencode(self.words[0]) if self.kind == "match" else None


@dataclass(frozen=True)
class Scope:
    """What is to be erased, and files of objects that are to go besides those that rows name.

    Attributes:
        target: The question to rows.
        paths: Files below ``objects/`` and ``chunks/``.
        unread: Files of objects that nobody could look into.
    """

    target: Target
    paths: frozenset[str] = frozenset()
    unread: tuple[str, ...] = ()


def scope_of(storage: LakeStorage, files: Files, request: Request) -> Scope:
    """What a request comes to in a lake.

    Args:
        storage: The lake.
        files: Its files.
        request: What was asked.
    """
    needles = hidden = Needles()
    found = Found()
    with Tables(storage.store, files) as tables:
        content: dict[str, frozenset[str]] = {}
        if request.kind == "run":
            runs = set(request.words)
        elif request.kind == "dataset":
            runs = tables.runs_on(request.words)
            content = {
                "datasets": frozenset(request.words),
                "dataset_configs": frozenset(tables.uses_of(request.words)),
            }
        elif request.kind == "user":
            policy = storage.policy()
            every = [needles_of_person(word, policy) for word in request.words]
            hidden = Needles(*(tuple(dict.fromkeys(sum(parts, ()))) for parts in zip(*map(_parts, every), strict=True)))
            runs = _runs_of_person(storage, files, tables, hidden)
        else:
            needles = needles_of_text(request.words[0])
            found = search_objects(storage, request.needle or b"", Target(needles=needles))
            runs = _ids_with(storage, files, ("runs",), needles)["run_id"]
        results = tables.results_of(runs.union(*content.values()))
        content["results"] = frozenset(results)
        # What a result was computed from is needed by nothing else if the result goes.
        only = tables.only_of(runs | results)
    merged = {table: only.get(table, frozenset()) | content.get(table, frozenset()) for table in CONTENT_TABLES}
    target = Target(frozenset(runs), merged, frozenset(found.objects), needles, hidden)
    return Scope(target, frozenset(found.paths), tuple(found.unread))


def _parts(needles: Needles) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return needles.anywhere, needles.of_people


def _runs_of_person(storage: LakeStorage, files: Files, tables: Tables, needles: Needles) -> set[str]:
    """Runs whose own rows name the person, or whose code or environment does."""
    own = [table for table in _tables(files) if table not in CONTENT_TABLES and table != "links"]
    runs = _ids_with(storage, files, own, needles)["run_id"]
    content = _ids_with(storage, files, _SAYS_WHO, needles)
    return runs | tables.runs_with({table: content[CONTENT_TABLES[table]] for table in _SAYS_WHO})


def _ids_with(storage: LakeStorage, files: Files, tables: Iterable[str], needles: Needles) -> dict[str, set[str]]:
    """Ids, by the column that holds them, of the rows in which a text stands."""
    found: dict[str, set[str]] = defaultdict(set)
    question = Target(needles=needles)
    for table in tables:
        key = CONTENT_TABLES.get(table, "run_id")
        for file in (one for one in files.every if one.table == table):
            for rows in read_groups(storage.store, file, texts_only=True):
                if key in rows.column_names:
                    matching = rows.filter(question.goes(table, rows)).column(key).to_pylist()
                    found[key].update(value for value in matching if value is not None)
    return found


def _tables(files: Files) -> Sequence[str]:
    return sorted({one.table for one in files.hot} | set(files.manifest.tables))
