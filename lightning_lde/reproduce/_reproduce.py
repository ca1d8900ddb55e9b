"""Does what a plan says, in a process of its own, and judges what came out."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lightning_lde import capture, reproducing
from lightning_lde.errors import ReproductionError, StoreError
from lightning_lde.query import DEFAULT_TOLERANCE, Lake, Manifests
from lightning_lde.reproduce._causes import Cause, probable_causes
from lightning_lde.reproduce._differences import CompareSamples, Difference, data_differences
from lightning_lde.reproduce._environment import build_environment, packages_of_elsewhere
from lightning_lde.reproduce._facts import Recorded, read_recorded
from lightning_lde.reproduce._folder import write_code
from lightning_lde.reproduce._git import find_repository
from lightning_lde.reproduce._modules import missing_modules, modules_of
from lightning_lde.reproduce._names import names_known_here, with_names
from lightning_lde.reproduce._plan import REUSE, VENV, Plan, make_plan
from lightning_lde.reproduce._verdict import Verdict, verdict_of
from lightning_lde.schema import canonical_json

CODE, OUTPUT, START = "code", "output.txt", "start"
_LINES_SHOWN = 12
_PATIENCE_S = 20.0

_SITECUSTOMIZE = '''"""Begins the reproduction of a run before the program's first line."""

import sys

sys.path[:] = [place for place in sys.path if place != {place!r}]
sys.modules.pop("sitecustomize", None)
try:
    import sitecustomize
except ImportError:
    pass
try:
    from lightning_lde.reproducing import prepare_process

    prepare_process()
except Exception as error:
    print("lde reproduce:", error, file=sys.stderr)
'''


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a reproduction.

    Attributes:
        run_id: The new run.
        verdict: How it compares with the one that it reproduces.
        causes: Why it is not the same, the most probable first.
        data: What differs between the data of the two, also where they are identical otherwise.
        notes: What was not as it was, and what was restored.
        exit_code: The program's.
    """

    run_id: str
    verdict: Verdict
    causes: tuple[Cause, ...]
    notes: tuple[str, ...]
    exit_code: int
    data: tuple[Difference, ...] = ()


def plan_reproduction(
    lake: Lake,
    run: str,
    *,
    repository: Path | None = None,
    environment: str = REUSE,
    keep_threads: bool = False,
    links: Sequence[str] = (),
) -> Plan:
    """Find out what has to be done to run a run again; nothing is run or written.

    Args:
        lake: The lake.
        run: The run's id, the beginning of one, or a unique name.
        repository: A repository with the run's commit; None for the one around the working directory.
        environment: ``"reuse"`` runs it with this Python, ``"venv"`` builds the recorded environment.
        keep_threads: Whether the number of threads stays as it is here.
        links: Paths below the repository that are linked into the folder, such as data that no commit holds.

    Raises:
        RunNotFoundError: If none or several runs answer to the name.
    """
    with contextlib.suppress(ImportError):
        import torch  # noqa: F401  # what is known of GPUs and threads comes from it

    recorded = read_recorded(lake, run)
    commit, policy = recorded.code.get("commit"), lake.storage.policy()
    found = None if commit is None else find_repository(repository or Path.cwd(), commit)
    names = names_known_here(policy, repository=found, places=[lake.storage.absolute_url, str(found or "")])
    recorded = with_names(recorded, names, found)
    origins = recorded.environment.get("package_origins")
    modules = () if found is None or commit is None else modules_of(found, commit, recorded.code.get("diff"))
    return make_plan(
        recorded,
        lake=lake.storage.absolute_url,
        repository=found,
        here=_as_recorded(dataclasses.asdict(capture.capture_environment())),
        environment=environment,
        keep_threads=keep_threads,
        links=links,
        names=names,
        policy=policy,
        not_from_index={} if environment != VENV else packages_of_elsewhere(found, commit, origins),
        missing_modules=missing_modules(modules, links),
    )


def _as_recorded(row: dict[str, Any]) -> dict[str, Any]:
    """A row with the values that it would have in a lake."""
    return {name: value if name == "recorded_at" else json.loads(canonical_json(value)) for name, value in row.items()}


def reproduce(
    lake: Lake, plan: Plan, folder: Path, *, timeout_s: float | None = None, tolerance: float = DEFAULT_TOLERANCE
) -> Outcome:
    """Run a run again and compare.

    Args:
        lake: The lake of the run.
        plan: What to do.
        folder: Where code, environment and output go; empty or not there yet.
        timeout_s: Seconds after which the program is ended, None to wait for it.
        tolerance: The largest relative difference that counts as the same.

    Raises:
        ReproductionError: If it cannot be run, or recorded no run to compare.
    """
    if plan.obstacles:
        raise ReproductionError(f"run {plan.recorded.run['run_id']} cannot be run again: {'; '.join(plan.obstacles)}")
    if folder.exists() and any(folder.iterdir()):
        raise ReproductionError(f"{folder} is not empty: name a folder that is, or one that does not exist")
    code = folder / CODE
    snapshot = _object(lake, plan.recorded.code.get("snapshot_object"))
    notes = write_code(
        code,
        plan.recorded.code,
        repository=plan.repository,
        snapshot=snapshot,
        links=plan.links,
        restore=plan.names.text,
    )
    python = Path(sys.executable)
    if plan.environment == VENV:
        environment = {**plan.recorded.environment, "packages": plan.packages}
        python, missing = build_environment(folder / "venv", environment)
        notes += missing
    before = _reproductions(lake, plan)
    exit_code = _start(plan, folder, python, _wanted(lake, plan, notes), timeout_s)
    new = sorted(_reproductions(lake, plan) - before)
    if not new:
        raise ReproductionError(_why_nothing(folder, exit_code, timeout_s))
    if exit_code:
        notes.append(f"the program ended with code {exit_code}, its output is in {folder / OUTPUT}")
    recorded, again = read_recorded(lake, plan.recorded.run["run_id"]), read_recorded(lake, new[-1])
    notes += [event["message"] for event in again.events if event["kind"] == "reproduction"]
    samples = Manifests(lake).compare
    verdict, causes = judge(recorded, again, tolerance=tolerance, samples=samples)
    data = tuple(data_differences(recorded.uses, again.uses, samples=samples))
    return Outcome(new[-1], verdict, tuple(causes), tuple(notes), exit_code, data)


def judge(
    before: Recorded, now: Recorded, *, tolerance: float = DEFAULT_TOLERANCE, samples: CompareSamples | None = None
) -> tuple[Verdict, list[Cause]]:
    """Compare two runs as a run and its reproduction.

    Args:
        before: The run.
        now: Its reproduction.
        tolerance: The largest relative difference that counts as the same.
        samples: Compares the samples of two data sets, such as `Manifests.compare`; None to leave that out.
    """
    verdict = verdict_of(before, now, tolerance=tolerance)
    return verdict, probable_causes(before, now, verdict, samples=samples)


def _reproductions(lake: Lake, plan: Plan) -> set[str]:
    rows = lake.sql("select run_id from runs where reproduces = ?", [plan.recorded.run["run_id"]])
    return set(rows.column("run_id").to_pylist())


def _object(lake: Lake, object_id: str | None) -> bytes | None:
    if object_id is None:
        return None
    try:
        return lake.storage.get_object(object_id)
    except FileNotFoundError as error:
        raise ReproductionError(
            f"the snapshot {object_id} is not in the lake: its run could not send it; `lde sync` on its machine may"
        ) from error


def _wanted(lake: Lake, plan: Plan, notes: list[str]) -> reproducing.Wanted:
    run = plan.recorded.run
    states: list[dict[str, Any] | None] = []
    for number, seeds in enumerate(plan.recorded.seeds):
        state = None
        if object_id := seeds.get("random_state"):
            try:
                state = json.loads(lake.storage.get_object(object_id))
            except (FileNotFoundError, StoreError) as error:
                notes.append(f"the random state of segment {number} is not in the lake: {error}")
        states.append(state)
    return reproducing.Wanted(
        run_id=run["run_id"],
        lake=plan.lake,
        identity=plan.recorded.identity,
        number=run["number_in_process"] or 0,
        random_states=states,
        torch_seed=plan.torch_seed,
        torch_threads=plan.threads,
        salt=plan.names.salt if plan.names.holds_names(json.dumps(plan.recorded.identity)) else "",
    )


def _start(plan: Plan, folder: Path, python: Path, wanted: reproducing.Wanted, timeout_s: float | None) -> int:
    """Run the program to its end and return its exit code."""
    file = folder / "reproduce.json"
    file.touch(mode=0o600)  # with the salt of the lake's pseudonyms
    file.write_text(wanted.as_json(), encoding="utf-8")
    code = folder / CODE
    directory = code / plan.directory
    if not directory.is_dir():
        raise ReproductionError(f"the working directory {plan.directory} is not part of the recorded code")
    words = [word.replace("<bin>", str(python.parent), 1) if word.startswith("<bin>/") else word for word in plan.words]
    with (folder / OUTPUT).open("wb") as output:
        process = subprocess.Popen(
            [str(python), *words],
            cwd=directory,
            env=_variables(plan, folder, file),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            _end(process)
            return process.returncode
        except BaseException:
            _end(process)
            raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and what it started: asked first, so that its run is closed."""
    for sign in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
            return


def _variables(plan: Plan, folder: Path, file: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {*plan.unset, "LDE_URI"}}
    start = folder / START
    start.mkdir()
    (start / "sitecustomize.py").write_text(_SITECUSTOMIZE.format(place=str(start)), encoding="utf-8")
    elsewhere = folder / CODE / capture.ELSEWHERE
    kept_places = [str(elsewhere)] if elsewhere.is_dir() else []
    places = [str(start), *kept_places, *_places(plan.repository, folder / CODE)]
    return {**kept, **plan.variables, reproducing.VARIABLE: str(file), "PYTHONPATH": os.pathsep.join(places)}


def _places(repository: Path | None, code: Path) -> list[str]:
    """Where modules are looked for: what lies in the repository is taken from the recorded code instead."""
    given = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    if repository is None:
        return given
    inside = [_moved(Path(place), repository, code) or place for place in given]
    editable = [place for path in _editable() if (place := _moved(path, repository, code))]
    return list(dict.fromkeys([*editable, *inside]))


def _moved(place: Path, repository: Path, code: Path) -> str | None:
    root, place = repository.resolve(), place.resolve()
    return str(code / place.relative_to(root)) if place.is_relative_to(root) else None


def _editable() -> list[Path]:
    """Folders that packages are installed from for editing."""
    found = []
    for distribution in metadata.distributions():
        with contextlib.suppress(Exception):
            origin = json.loads(distribution.read_text("direct_url.json") or "{}")
            if origin.get("dir_info", {}).get("editable"):
                found.append(Path(unquote(urlsplit(origin["url"]).path)))
    return found


def _why_nothing(folder: Path, exit_code: int, timeout_s: float | None) -> str:
    text = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace")
    last = [line for line in text.splitlines() if line.strip()][-_LINES_SHOWN:]
    late = f" after {timeout_s:g} s" if timeout_s is not None and exit_code < 0 else ""
    hint = "; bring files that no commit holds in with --link" if "No such file" in text else ""
    return (
        f"the program ended with code {exit_code}{late} and recorded no run of the same project, experiment, name "
        f"and tags{hint}. Its last words, all of them are in {folder / OUTPUT}: {' | '.join(last)}"
    )
