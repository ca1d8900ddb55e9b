"""The plan of a reproduction: from what was recorded to what will be done, and what cannot be done."""

from __future__ import annotations

import dataclasses
import os
import posixpath
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_lde.capture import REDACTED, is_recorded_variable
from lightning_lde.policy import WITHHELD, Policy
from lightning_lde.reproduce._changes import binary_changes, is_cut, redacted_changes
from lightning_lde.reproduce._data import places_of_data
from lightning_lde.reproduce._differences import (
    THREAD_VARIABLES,
    THREADS,
    Difference,
    environment_differences,
)
from lightning_lde.reproduce._environment import packages_to_install
from lightning_lde.reproduce._facts import Recorded, Row
from lightning_lde.reproduce._names import Names, unknown_in_changes

CELLS = "notebook_cells.py"
REUSE, VENV = "reuse", "venv"
_SMALL_SEED = 1 << 32
# Which of the machine's GPUs is free is a matter of today.
_OF_TODAY = {"CUDA_VISIBLE_DEVICES"}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a reproduction will do.

    Attributes:
        recorded: The run.
        lake: The address of its lake, where the new run goes, too.
        repository: Where the commit comes from, None where the code has none.
        words: The command line behind the interpreter.
        directory: Where it is started, relative to the root of the code.
        environment: ``"reuse"`` or ``"venv"``.
        differences: What this environment does not share with that of the run.
        variables: Environment variables that will be set.
        unset: Those that will be taken away.
        threads: torch's number of threads, None to leave it.
        torch_seed: What an unseeded torch began with, None where the program seeds it.
        links: Paths that are linked into the folder.
        packages: What pip is asked for, names and versions; empty where no environment is built.
        data: Where the data should be, and whether something is there.
        names: The people and machines that are known here by their pseudonyms.
        notes: What will not be as it was.
        obstacles: Why it cannot be run; empty where it can.
    """

    recorded: Recorded
    lake: str
    repository: Path | None
    words: tuple[str, ...]
    directory: str
    environment: str
    differences: tuple[Difference, ...]
    variables: Mapping[str, str]
    unset: tuple[str, ...]
    threads: int | None
    torch_seed: int | None
    links: tuple[str, ...] = ()
    packages: Mapping[str, str] = dataclasses.field(default_factory=dict)
    data: tuple[str, ...] = ()
    names: Names = dataclasses.field(default_factory=Names)
    notes: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The command line as a shell takes it."""
        return shlex.join(["python", *self.words])

    @property
    def code_words(self) -> str:
        """Where the code comes from, in words."""
        code = self.recorded.code
        parts = []
        if code.get("commit"):
            parts.append(f"commit {code['commit'][:12]} of {self.repository or 'a repository that is not found'}")
        if code.get("diff"):
            parts.append(f"{len(code['diff'].splitlines())} lines of uncommitted changes")
        if kept := _kept(code):
            parts.append(f"{len(kept)} files from the snapshot")
        return ", ".join(parts) or "nothing"

    @property
    def seed_words(self) -> str:
        """How the random numbers come back, in words."""
        seeds = self.recorded.seeds[0] if self.recorded.seeds else {}
        states = sum(bool(one.get("random_state")) for one in self.recorded.seeds)
        how = {
            "seed_everything": f"seed_everything({seeds.get('PL_GLOBAL_SEED')}), which the program calls",
            "torch.manual_seed": f"torch.manual_seed({seeds.get('torch_initial_seed')}), which the program calls",
        }.get(str(seeds.get("seeded_by")), "unseeded")
        if self.torch_seed is not None:
            how += f": torch will begin with {self.torch_seed}, as it did"
        return f"{how}; random states of {states} segment{'s' if states > 1 else ''}" if states else how


def make_plan(
    recorded: Recorded,
    *,
    lake: str,
    repository: Path | None,
    here: Row,
    environment: str = REUSE,
    keep_threads: bool = False,
    links: Sequence[str] = (),
    names: Names | None = None,
    policy: Policy | None = None,
    not_from_index: Mapping[str, str] | None = None,
    missing_modules: Sequence[str] = (),
) -> Plan:
    """What has to be done to run a run again.

    Args:
        recorded: The run.
        lake: The address of its lake.
        repository: A repository with its commit, None where there is none.
        here: The environment of this process, columns of the table ``environments``.
        environment: ``"reuse"`` runs it here, ``"venv"`` builds the recorded environment.
        keep_threads: Whether the number of threads stays as it is here.
        links: Paths that are linked into the folder.
        names: People and machines that are known here by their pseudonyms.
        policy: The lake's policy, which may have kept variables out; None where it is not known.
        not_from_index: Packages that pip must not be asked for by name, and why.
        missing_modules: Submodules that are not here at their commits.
    """
    run, code, names = recorded.run, recorded.code, names or Names()
    words, notes = _words(code, run["argv"] or [])
    variables, unset, untold = _variables(recorded, names, policy or Policy(), keep_threads=keep_threads)
    if untold:
        notes.append(f"whether {', '.join(untold)} were set is not recorded: they stay as they are here")
    if (code.get("launch") or {}).get("recorded_by"):
        called = {"LDE_PROJECT": run["project"], "LDE_EXPERIMENT": run["experiment"], "LDE_NAME": run["name"]}
        variables |= {"LDE_URI": lake, **{name: names.text(value) for name, value in called.items() if value}}
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        if (value := _seed(recorded, name)) is not None:
            variables = {**variables, name: str(value)}
        elif name in os.environ:
            unset = [*unset, name]
    initial = _seed(recorded, "torch_initial_seed")
    unseeded = not (recorded.seeds and recorded.seeds[0].get("seeded")) and (initial or 0) >= _SMALL_SEED
    differences = [] if environment == VENV else environment_differences(recorded.environment, here)
    # These are what the program and the variables make of them.
    early = {"determinism", "threads", "variable"}
    packages: Mapping[str, str] = {}
    if environment == VENV:
        packages, left_out = packages_to_install(recorded.environment, not_from_index or {})
        notes += left_out
    directory = code.get("working_directory") or "."
    return Plan(
        recorded=recorded,
        lake=lake,
        repository=repository if code.get("commit") else None,
        words=tuple(words),
        directory=directory,
        environment=environment,
        differences=tuple(one for one in differences if one.kind not in early),
        variables=variables,
        unset=tuple(unset),
        threads=None if keep_threads else (recorded.environment.get("determinism") or {}).get(THREADS),
        torch_seed=initial if unseeded else None,
        links=tuple(links),
        packages=packages,
        data=tuple(places_of_data(recorded, words, (repository or Path.cwd()) / directory)),
        names=names,
        notes=(*notes, *_notes(recorded, names)),
        obstacles=(
            *_obstacles(recorded, words, repository),
            *_hidden(recorded, words, names),
            *_modules(missing_modules),
        ),
    )


def _words(code: Row, argv: list[str]) -> tuple[list[str], list[str]]:
    """The command line behind the interpreter, and what is not sure about it."""
    launch = code.get("launch") or {}
    kind, target, arguments = launch.get("kind"), launch.get("target"), argv[1:]
    options = list(launch.get("options") or [])
    directory = code.get("working_directory")
    if kind == "module":
        return [*options, "-m", str(target), *arguments], []
    if kind == "command":
        return [*options, "-c", str(target), *arguments], []
    if kind == "installed":
        return [*options, f"<bin>/{target}", *arguments], []
    if kind == "notebook":
        return [CELLS], ["the cells of the notebook are run in the order in which they were run, magics left out"]
    notes = [] if kind == "script" else ["how the program was started is not recorded: its entry point is run"]
    script = target or code.get("entry_point")
    if script is None:
        return [], notes
    return [*options, posixpath.relpath(str(script), directory or "."), *arguments], notes


def _variables(
    recorded: Recorded, names: Names, policy: Policy, *, keep_threads: bool
) -> tuple[dict[str, str], list[str], list[str]]:
    """Variables to set and to take away, so that they are as they were; and those of which it is not known."""
    environment = recorded.environment
    told = {name: str(value) for name, value in (environment.get("variables") or {}).items()}
    left = {*_OF_TODAY, *(THREAD_VARIABLES if keep_threads else ())}
    known = {
        name: value
        for name, value in told.items()
        if is_recorded_variable(name) and name not in left and not _is_changed(value, names)
    }
    changed = {name: value for name, value in known.items() if os.environ.get(name) != value}
    others = sorted(name for name in os.environ if is_recorded_variable(name) and name not in told and name not in left)
    if not environment:
        return changed, [], []
    # Of a run at the level `minimal` there are none, whatever was set.
    may_be_told = bool(told) or _is_more_than_minimal(recorded)
    unset = [name for name in others if may_be_told and policy.takes_variable(name)]
    return changed, unset, [name for name in others if name not in unset]


def _is_changed(value: str, names: Names) -> bool:
    return any(mark in value for mark in ("<path>", REDACTED, WITHHELD)) or bool(names.unknown_in(value))


def _is_more_than_minimal(recorded: Recorded) -> bool:
    """Whether something was recorded that the level ``minimal`` leaves out."""
    code, arguments = recorded.code, (recorded.run["argv"] or [])[1:]
    values = [word for word in arguments if not word.startswith("-") and WITHHELD not in word]
    return bool(values or code.get("diff") or code.get("snapshot_object"))


def _notes(recorded: Recorded, names: Names) -> list[str]:
    run, code = recorded.run, recorded.code
    notes = [f"{row['path']} is not in the snapshot: {row['note']}" for row in _lost(code)]
    if unkept := _unkept(code):
        notes.append(f"files that no commit holds are not in the lake: {', '.join(unkept)}")
    notes += [f"{row['path']}: what looked like a secret was replaced in it" for row in _redacted(code)]
    notes += [f"the change of {name} is binary and was not recorded" for name in binary_changes(code.get("diff"))]
    for name in redacted_changes(code.get("diff")):
        notes.append(f"the change of {name}: what looked like a secret was replaced in it")
    if in_comments := unknown_in_changes(code.get("diff"), names)[1]:
        notes.append(f"comments in the uncommitted changes name {', '.join(in_comments)}, not known here")
    if code.get("commit") and code.get("dirty") is None and not code.get("diff"):
        notes.append("whether there were uncommitted changes is not recorded: the commit is run as it is")
    if code and code.get("working_directory") is None:
        notes.append("it was started outside of its code's folder, which is where it starts now")
    if run["status"] != "finished":
        notes.append(f"the run {run['status']}: only what it recorded can be compared")
    if run["resumed_from"] or recorded.went_on:
        notes.append("it went on from a checkpoint, which the program must find again: --link brings files in")
    if (run["world_size"] or 1) > 1:
        notes.append(f"it ran on {run['world_size']} processes; the program starts them again if it did so itself")
    return notes


def _obstacles(recorded: Recorded, words: list[str], repository: Path | None) -> list[str]:
    code = recorded.code
    found = []
    if not words:
        found.append("neither entry point nor command line were recorded")
    if any(REDACTED in word for word in words):
        found.append("the command line holds what looked like a secret and was replaced; start it by hand")
    if any(WITHHELD in word for word in words):
        found.append(
            "the command line has values that were not recorded, by the level of capture or the lake's policy; "
            "start it by hand"
        )
    if not code.get("commit") and not code.get("snapshot_object"):
        found.append("its code was not recorded: no commit and no snapshot")
    if code.get("commit") and repository is None:
        found.append(f"commit {code['commit']} is not in a repository here: name one with --repository")
    if code.get("commit") and code.get("dirty") and not code.get("diff"):
        found.append(
            "it had uncommitted changes that were not recorded, by the level of capture or because git was too slow"
        )
    if is_cut(code.get("diff")):
        found.append("its uncommitted changes were too large to be recorded as a whole")
    if code.get("commit") and (started := code.get("entry_point")) in _unkept(code):
        found.append(f"{started}, which was started, is in no commit, and its text was not recorded")
    return found


def _hidden(recorded: Recorded, words: list[str], names: Names) -> list[str]:
    """Names that are needed, but not known here."""
    code = recorded.code
    hidden = {
        "the command line names": _unknown(words, names),
        "the working directory names": _unknown([code.get("working_directory") or ""], names),
        "the uncommitted changes name": unknown_in_changes(code.get("diff"), names)[0],
    }
    return [
        f"{what} people or machines that are recorded as {', '.join(marks)} and not known here; start it by hand"
        for what, marks in hidden.items()
        if marks
    ]


def _unknown(texts: Iterable[str], names: Names) -> list[str]:
    return list(dict.fromkeys(mark for text in texts for mark in names.unknown_in(text)))


def _modules(missing: Sequence[str]) -> list[str]:
    if not missing:
        return []
    return [
        f"submodules are not here at their commits: {', '.join(missing)}; `git submodule update --init --recursive` "
        "in the repository brings them, --link PATH takes what is there"
    ]


def _kept(code: Row) -> list[Any]:
    return [row for row in code.get("untracked") or [] if row["in_snapshot"] and code.get("snapshot_object")]


def _unkept(code: Row) -> list[str]:
    """Files of a snapshot that was not stored."""
    rows = code.get("untracked") or []
    return [] if code.get("snapshot_object") else [row["path"] for row in rows if row["in_snapshot"]]


def _lost(code: Row) -> list[Any]:
    return [row for row in code.get("untracked") or [] if not row["in_snapshot"]]


def _redacted(code: Row) -> list[Any]:
    return [row for row in code.get("untracked") or [] if row["in_snapshot"] and row["note"] == "redacted"]


def _seed(recorded: Recorded, name: str) -> int | None:
    value = recorded.seeds[0].get(name) if recorded.seeds else None
    return value if isinstance(value, int) else None
