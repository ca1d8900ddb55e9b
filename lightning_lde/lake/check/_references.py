"""Rows that name what is not there: configurations, data, environments, code, runs, segments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from lightning_lde.lake import _layout
from lightning_lde.lake.check._findings import Finding, Kind, Severity
from lightning_lde.lake.check._moments import made_at
from lightning_lde.lake.check._rows import REFERENCES, YOUNG, FileFacts, State

_MOST_SHOWN = 3
_CURE = "`lde sync` on the machine that recorded it sends what may be left there"


class References:
    """All that the files which count define and name.

    Args:
        facts: What is known of each, with its path.
        now: The present.
        was_erased: Whether what has an id was erased: nobody misses it.
    """

    def __init__(
        self, facts: Iterable[tuple[str, FileFacts]], now: datetime, was_erased: Callable[[str], bool]
    ) -> None:
        self._now = now
        self._was_erased = was_erased
        self._files = list(facts)
        self.states: dict[str, State] = {}
        self._segments: dict[str, set[int]] = {}
        self._defined: dict[str, set[str]] = {}
        for _, known in self._files:
            for run_id, state in known.states.items():
                if run_id not in self.states or self.states[run_id][:2] < state[:2]:
                    self.states[run_id] = state
            for run_id, segments in known.segments.items():
                self._segments.setdefault(run_id, set()).update(segments)
            self._defined.setdefault(known.table, set()).update(known.defined)

    def findings(self) -> Iterator[Finding]:
        """What is named and not there; what belongs to a run that goes on is left out, as more of it may come."""
        paths: dict[str, list[str]] = {}
        for path, message in self._missing():
            paths.setdefault(message, []).append(path)
        for message, files in paths.items():
            more = f" (in {len(files):,} files)" if len(files) > 1 else ""
            yield Finding(Severity.WARNING, Kind.REFERENCE, files[0], f"{message}{more}; {_CURE}")

    def _missing(self) -> Iterator[tuple[str, str]]:
        yield from self._of_runs()
        for path, known in self._files:
            if self.is_open(path):
                continue
            for tables, ids in known.wanted.items():
                missing = sorted(each for each in ids if not self._has(tables, each))
                if missing:
                    yield path, f"rows of {known.table} name {_some(missing)}, of which {tables[0]} has no row"
            missing = sorted(run for run in known.runs if not self._is_known(run))
            if missing:
                yield path, f"rows of {known.table} are of {_some(missing)}, of which runs has no row"
            yield from self._of_resumes(path, known)

    def _of_runs(self) -> Iterator[tuple[str, str]]:
        for path, known in self._files:
            for run_id, state in known.states.items():
                # Of each run only the newest state counts, wherever it is.
                if state != self.states[run_id] or state.is_alive(self._now) or self.is_open(path):
                    continue
                for (column, tables), named in zip(REFERENCES["runs"].items(), state.named, strict=False):
                    if named is not None and not self._has(tables, named):
                        yield path, f"the run {run_id} has {column} {named}, of which {tables[0]} has no row"

    def _of_resumes(self, path: str, known: FileFacts) -> Iterator[tuple[str, str]]:
        for run_id, segment, from_segment in known.resumes:
            if run_id in self.states and from_segment not in self._segments[run_id]:
                said = f"segment {segment} of the run {run_id} goes on from {from_segment}, of which runs has no row"
                yield path, said

    def _has(self, tables: tuple[str, ...], name: str) -> bool:
        return any(name in self._defined.get(table, ()) for table in tables) or self._was_erased(name)

    def _is_known(self, run_id: str) -> bool:
        return run_id in self.states or self._may_come(run_id) or self._was_erased(run_id)

    def is_open(self, path: str) -> bool:
        """Whether the writer of a file may go on, so that what it names is still to come."""
        file = _layout.parse_hot_path(path)
        if file is None:
            return False
        state = self.states.get(file.writer)
        return state.is_alive(self._now) if state is not None else self._may_come(file.writer)

    def _may_come(self, run_id: str) -> bool:
        began = made_at(run_id)
        return began is not None and began > self._now - YOUNG


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_SHOWN])
    return shown if len(names) <= _MOST_SHOWN else f"{shown} and {len(names) - _MOST_SHOWN:,} more"
