"""What the children of `nursery.py` do: record runs, announce where they are, and die."""

from __future__ import annotations

import hashlib
import random
import time
from pathlib import Path
from typing import Any

import pyarrow.compute
import pyarrow.fs
import pyarrow.parquet  # noqa: F401

from lightning_lde.lake import LakeStorage, parse_hot_path
from lightning_lde.recording import Recorder, _recorder
from lightning_lde.schema import Event, utc_now
from lightning_lde.testing import Fault, FaultKind, FaultyStore

PHASE, OPERATION, SEGMENT, ACKNOWLEDGED = 0, 1, 2, 4
START, TRAINING, FINISH, PAUSE = 1, 2, 3, 4
NONE, FLUSH, REWRITE = 0, 1, 2


class Announcing:
    """A store that says on the board what it is asked for."""

    def __init__(self, store: Any, board: Any) -> None:
        self._store = store
        self._board = board

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if not callable(attribute):
            return attribute

        def announced(*arguments: Any, **options: Any) -> Any:
            path = arguments[0] if arguments and isinstance(arguments[0], str) else ""
            file = parse_hot_path(path)
            if file is not None:
                merging = name in {"get", "delete"} or file.first != file.last
                self._board.set(OPERATION, REWRITE if merging else FLUSH)
            result = attribute(*arguments, **options)
            if file is not None and not merging:
                self._board.set(OPERATION, NONE)
            return result

        return announced


def train(
    board: Any, *, url: str, options: dict[str, str], flush_every_s: float, segment_s: float, name: str, pause_s: float
) -> None:
    """Segment after segment, until it is killed: steps counted on through all of them, one small file in each."""
    board.set(PHASE, START)
    chance = random.Random(name)
    storage = LakeStorage(url, options)
    storage.store = Announcing(storage.store, board)  # type: ignore[assignment]
    recorder = Recorder(storage, project="kills", name=name, flush_every_s=flush_every_s)
    source = Path("/proc/self/fd/2").resolve().parent / "file"
    step = 0
    while True:
        recorder.start_segment("fit")
        board.set(SEGMENT, recorder.segment)
        source.write_bytes(chance.randbytes(100_000))
        recorder.save_file(source, path=f"file-{recorder.segment}", kind="other")
        ends = time.monotonic() + segment_s
        while time.monotonic() < ends:
            if step == 0:
                board.set_first(time.time())
            recorder.log({"a": time.time(), "b": -time.time(), f"segment-{recorder.segment % 2}": 1.0}, step=step)
            if step % 10 == 0:
                recorder.log({"rare": time.time()}, step=step // 10)
            step += 1
            board.set_logged(step)
            if recorder.segment > 0 or step > 5:
                board.set(PHASE, TRAINING)
            time.sleep(0.001)
        board.set(PHASE, FINISH)
        recorder.finish_segment("finished")
        board.set(ACKNOWLEDGED, step)
        board.set(OPERATION, NONE)
        board.set(PHASE, PAUSE)
        time.sleep(pause_s)
        board.set(PHASE, START)


def obey(
    board: Any,
    *,
    url: str,
    options: dict[str, str],
    program: list[list[Any]],
    faults: list[list[Any] | None],
    patience_s: float = 0.3,
) -> dict[str, Any]:
    """Do what a list says with a store that fails as another list says, and report what was acknowledged."""
    _recorder.FINISH_PATIENCE_S = patience_s
    storage = LakeStorage(url, options)
    plan = [None if fault is None else Fault(FaultKind(fault[0]), fault[1]) for fault in faults]
    storage.store = FaultyStore(storage.store, plan)
    recorder = Recorder(storage, project="faults", flush_every_s=0.05)
    recorder.start_segment("fit")
    known: dict[str, Any] = {"run_id": recorder.run_id, "logged": 0, "events": 0, "files": {}, "acknowledged": None}
    pending: dict[str, str] = {}
    folder = Path("/proc/self/fd/2").resolve().parent

    def finish() -> None:
        complete = recorder.finish_segment("finished")
        files = {**known["files"], **pending} if complete else known["files"]
        known["acknowledged"] = {"steps": known["logged"], "events": known["events"], "complete": complete}
        known["files"] = files
        if complete:
            pending.clear()

    for word, number in program:
        if word == "finish":
            finish()
            recorder.start_segment("again")
        elif word == "log":
            for _ in range(number):
                recorder.log({"a": float(known["logged"]), "b": 0.5}, step=known["logged"])
                known["logged"] += 1
        elif word == "event":
            recorder.record("events", _event(recorder, str(known["events"])))
            known["events"] += 1
        elif word == "file":
            content = random.Random(number).randbytes(number)
            source = folder / f"file-{number}"
            source.write_bytes(content)
            recorder.save_file(source, path=source.name, kind="other")
            pending[source.name] = hashlib.sha256(content).hexdigest()
        elif word == "pause":
            time.sleep(number / 1000)
        elif word == "die":
            return known
    finish()
    return known


def _event(recorder: Recorder, message: str) -> Event:
    return Event(
        run_id=recorder.run_id, segment=recorder.segment, time=utc_now(), level="info", kind="mine", message=message
    )


def write(board: Any, *, url: str, options: dict[str, str], points: int, name: str) -> dict[str, Any]:
    """One run of some points, at full speed."""
    with_options = Recorder(LakeStorage(url, options), project="many", name=name, flush_every_s=0.2)
    with_options.start_segment("fit")
    for step in range(points):
        with_options.log({"a": float(step), "b": -float(step)}, step=step)
        if step % 500 == 0:
            time.sleep(0.05)
    return {"complete": with_options.finish_segment("finished"), "run_id": with_options.run_id}
