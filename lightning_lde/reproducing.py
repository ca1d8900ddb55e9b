"""What this process reproduces, if it was started for that: read where runs are opened, by whoever opens them.

`lde reproduce` starts a program with a variable that names a file; everything else about it is in
`lightning_lde.reproduce`. Imports nothing of weight: without the variable this costs a look at the environment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.abc
import importlib.util
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from lightning_lde.errors import RecordingWarning, tell

VARIABLE = "LDE_REPRODUCE"

Identity = Mapping[str, Any]
"""Project, experiment, name and tags of a run, as they are recorded."""

AsWritten = Callable[[Identity, str], Iterable[Identity]]
"""What a lake may have made of an identity, whose people it may hide; the second is the lake's salt."""

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """A run that is to be reproduced.

    Attributes:
        run_id: The run.
        lake: The address of its lake, absolute.
        identity: Its project, experiment, name and tags.
        number: Which one it was of those with the same identity in its process.
        random_states: What `capture.random_state` gave when its segments began, None where it is not known.
        torch_seed: What an unseeded torch began with, None where the program seeds it.
        torch_threads: torch's number of threads, None to leave it.
        salt: What the pseudonyms in the identity were made with.
    """

    run_id: str
    lake: str
    identity: dict[str, Any]
    number: int = 0
    random_states: Sequence[Mapping[str, Any] | None] = ()
    torch_seed: int | None = None
    torch_threads: int | None = None
    salt: str = ""

    def as_json(self) -> str:
        """What `wanted` reads, of this version or of the one that the recorded code brings along."""
        facts = dataclasses.asdict(self)
        return json.dumps(facts if self.salt else {name: facts[name] for name in facts if name != "salt"})


@functools.cache
def wanted() -> Wanted | None:
    """The run that this process reproduces, None in any other process."""
    path = os.environ.get(VARIABLE)
    if not path:
        return None
    try:
        facts = json.loads(Path(path).read_text(encoding="utf-8"))
        known = {field.name for field in dataclasses.fields(Wanted)}
        return Wanted(**{name: value for name, value in facts.items() if name in known})
    except (AttributeError, OSError, TypeError, ValueError) as error:
        tell(f"{VARIABLE} is set, but nothing is reproduced: {type(error).__name__}: {error}", RecordingWarning)
        return None


def lake_address(given: Any) -> Any:
    """The address of a lake, or that of the reproduced run's where both are folders: the working directory is another.

    Args:
        given: What the program names.
    """
    target = wanted()
    if target is None or _SCHEME.match(target.lake) or not isinstance(given, (str, os.PathLike)):
        return given
    address = os.fspath(given)
    return given if isinstance(address, str) and _SCHEME.match(address) else target.lake


class Opened:
    """The runs that a process has begun, to tell which one is the reproduction."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        self._reproductions: dict[str, str | None] = {}
        self._places: dict[str, int] = {}
        self._segments: dict[str, int] = {}

    def begin(self, run_id: str, identity: Identity, as_written: AsWritten | None = None) -> tuple[int, str | None]:
        """Count a new run.

        Args:
            run_id: The new run.
            identity: What it is called.
            as_written: Where the lake may hide people: what it may have made of an identity.

        Returns:
            How many runs of that identity this process had begun before, and the run that the new one reproduces.
        """
        key = json.dumps(identity, sort_keys=True, default=str)
        target = wanted()
        with self._lock:
            number = self._numbers[key] = self._numbers.get(key, -1) + 1
            same = target is not None and number == target.number and _is_named_so(identity, target, as_written)
            self._reproductions[run_id] = target.run_id if target is not None and same else None
            self._places[run_id] = number
            return number, self._reproductions[run_id]

    def go_on(self, run_id: str) -> tuple[int | None, str | None]:
        """What `begin` gave for a run that goes on; no number where another process had begun it."""
        with self._lock:
            number = self._places.get(run_id)
            self._places.setdefault(run_id, 0)
            return number, self._reproductions.setdefault(run_id, None)

    def count_segment(self, run_id: str) -> int:
        """How many segments of a run this process had begun before the one that begins now."""
        with self._lock:
            number = self._segments[run_id] = self._segments.get(run_id, -1) + 1
            return number

    def may_go_on(self, run_id: str) -> bool:
        """Whether training may go on in a run: a reproduction adds nothing to runs that were there before it."""
        return wanted() is None or run_id in self._reproductions


def _is_named_so(identity: Identity, target: Wanted, as_written: AsWritten | None) -> bool:
    """Whether a run is called what the reproduced one is, as that stands in the lake."""
    wanted = dict(target.identity)
    forms = () if as_written is None else as_written(identity, target.salt)
    return dict(identity) == wanted or any(dict(form) == wanted for form in forms)


opened = Opened()


class _SeedTorch(importlib.abc.MetaPathFinder):
    """Gives torch, when it is imported, the number that an unseeded run's torch had drawn."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torch")
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_seed(module: ModuleType) -> None:
                execute(module)
                # Only the processor's generator: that of a GPU has a fixed first seed.
                with contextlib.suppress(Exception):
                    module.default_generator.manual_seed(self._seed)

            spec.loader.exec_module = execute_and_seed  # type: ignore[method-assign]
        return spec


def prepare_process() -> None:
    """Called before the first line of the program: an unseeded torch starts as it did then."""
    target = wanted()
    if target is not None and target.torch_seed is not None:
        sys.meta_path.insert(0, _SeedTorch(target.torch_seed))
