"""Kill -9 at random instants of a run's life: the lake stays whole, and at most the last second is lost."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lightning_lde import Lake
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import Recorder, spool_root, sync_spools
from lightning_lde.testing import Fault, FaultKind, FaultyStore

from .nursery import Child, Nursery, State, open_nursery

PHASES = ("start", "training", "flush", "rewrite", "finish")
PROMISED_S = 1.0
ALLOWANCE_S = 1.0  # for a machine whose cores have other work when the spool's thread wants to wake
AT_ONCE = 6
REACH_S = 25.0  # a hang guard: a phase comes again and again


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with open_nursery() as opened:
        yield opened


@dataclass
class Victim:
    """A child, the instant it is to die at, and what it had announced when it was dead."""

    child: Child
    phase: str
    name: str
    last: State | None = None

    def is_there(self) -> bool:
        state = self.child.board.read()
        return state.operation == self.phase if self.phase in {"flush", "rewrite"} else state.phase == self.phase


def settings_of(phase: str, chance: random.Random) -> dict[str, float]:
    """How the child lives, so that the phase is met early and lasts."""
    return {
        "flush_every_s": chance.choice([0.3, 1.0, 2.0]) if phase == "training" else chance.choice([0.05, 0.1]),
        "segment_s": 60.0 if phase in {"training", "flush"} else chance.uniform(0.4, 0.9),
        "pause_s": 0.05,
    }


def how_long_inside_s(phase: str, chance: random.Random) -> float:
    """A random instant, counted from when the phase is seen."""
    longest = {"start": 0.15, "training": 1.6, "flush": 0.01, "rewrite": 0.06, "finish": 0.15}[phase]
    return chance.uniform(0.0, longest)


def kill_inside(victim: Victim, chance: random.Random) -> None:
    """Wait until the child is in its phase, then a random time, then kill it."""
    time.sleep(chance.uniform(0.0, 0.8) if victim.phase != "start" else 0.0)
    deadline = time.monotonic() + REACH_S
    while not victim.is_there():
        assert time.monotonic() < deadline, f"never in {victim.phase}: {victim.child.complaints()}"
        assert victim.child.is_alive(), victim.child.complaints()
        time.sleep(0.0003)
    time.sleep(how_long_inside_s(victim.phase, chance))
    victim.child.kill()
    victim.last = victim.child.board.read()


@dataclass
class Witness:
    """A reader beside the writers: whatever it is shown is whole."""

    lake: Lake
    strange: list[object] = field(default_factory=list)
    looks: int = 0

    def __enter__(self) -> Witness:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        query = """select run_id, name, count(*) as n, count(distinct step) as steps, max(step) + 1 as next
                   from metrics where name in ('a', 'b', 'rare') group by all"""
        while not self._stop.wait(0.15):
            try:
                rows = self.lake.sql(query).to_pylist()
            except Exception as error:  # whatever it is, a reader must not meet it
                self.strange.append(error)
                return
            self.looks += 1
            self.strange += [row for row in rows if not row["n"] == row["steps"] == row["next"]]


def every_file_is_whole(storage: LakeStorage) -> None:
    for file in storage.store.list("hot/"):
        pq.read_table(io.BytesIO(storage.store.get(file.path)))
    for file in storage.store.list("objects/"):
        assert hashlib.sha256(storage.store.get(file.path)).hexdigest() == file.path.rsplit("/", 1)[-1]


def check_victim(lake: Lake, victim: Victim) -> float:
    """Points, files and state of one dead run.

    Returns:
        How many of its last seconds are lost.
    """
    last = victim.last
    assert last is not None
    rows = lake.sql("select run_id, segment, status from runs where name = ?", [victim.name]).to_pylist()
    if not rows:
        assert last.acknowledged == 0
        return last.logged_at - last.first_at
    [row] = rows
    found = lake.sql(
        "select name, list(step order by step) as steps, max(epoch_us(time)) / 1e6 as newest from metrics "
        "where run_id = ? and name in ('a', 'b', 'rare') group by name",
        [row["run_id"]],
    ).to_pylist()
    steps = {metric["name"]: metric["steps"] for metric in found}
    for name, numbers in steps.items():
        assert numbers == list(range(len(numbers))), f"{name} of {victim}"
    assert len(steps.get("a", [])) == len(steps.get("b", [])) >= last.acknowledged
    assert len(steps.get("rare", [])) >= last.acknowledged // 10
    artifacts = lake.sql("select path from artifacts where run_id = ?", [row["run_id"]]).column("path").to_pylist()
    assert len(artifacts) == len(set(artifacts))
    for path in artifacts:
        assert len(lake.read_artifact(row["run_id"], path)) == 100_000
    in_pause = last.phase == "pause"
    allowed = {"start": {"lost", "finished"}, "training": {"lost"}, "pause": {"finished"}}
    assert row["status"] in allowed.get(last.phase, {"lost", "finished"}), (victim, row)
    if in_pause:
        assert set(artifacts) == {f"file-{number}" for number in range(last.segment + 1)}
    newest = max((metric["newest"] for metric in found), default=last.first_at)
    return max(0.0, last.logged_at - newest) if last.logged > len(steps.get("a", [])) else 0.0


def sync(url: str, options: dict[str, str], *, by_command: bool) -> None:
    if by_command:
        words = [word for key, value in options.items() for word in ("--storage-option", f"{key}={value}")]
        subprocess.run([sys.executable, "-m", "lightning_lde.cli", "sync", *words], check=True, capture_output=True)
        return
    outcomes = list(sync_spools(spool_root(), lambda address, _: LakeStorage(address, options)))
    assert [outcome.error for outcome in outcomes if outcome.error] == []


def wait_until_stale(lake: Lake) -> None:
    """Until no run's heartbeat is fresh; the dead send none."""
    deadline = time.monotonic() + 60
    query = "select count(*) as n from runs where status = 'running'"
    while lake.sql(query).to_pylist() != [{"n": 0}]:
        assert time.monotonic() < deadline, "a dead run is still called running"
        time.sleep(0.2)


def massacre(
    nursery: Nursery, folder: Path, url: str, options: dict[str, str], phases: list[str], seed: int, *, by_command: bool
) -> tuple[list[State], list[float]]:
    """Let runs live in one lake at once and kill each in its phase; sync; look at what is left."""
    chance = random.Random(seed)
    lake = Lake(url, options).create()
    with Witness(lake) as witness:
        victims = []
        for number, phase in enumerate(phases):
            name = f"{seed}-{number}-{phase}"
            settings = settings_of(phase, chance)
            child = nursery.start("train", folder / name, url=url, options=options, name=name, **settings)
            victims.append(Victim(child, phase, name))
        killers = [
            threading.Thread(target=kill_inside, args=(victim, random.Random(f"{seed}-{number}")))
            for number, victim in enumerate(victims)
        ]
        try:
            for killer in killers:
                killer.start()
            for killer in killers:
                killer.join()
        finally:
            for victim in victims:
                victim.child.kill()
        sync(url, options, by_command=by_command)
        wait_until_stale(lake)
    assert witness.strange == []
    assert witness.looks > 0
    every_file_is_whole(lake.storage)
    assert list(spool_root().rglob("*.spool")) == []
    lost = [check_victim(lake, victim) for victim in victims]
    too_much = [pair for pair in zip(lost, victims, strict=True) if pair[0] > PROMISED_S + ALLOWANCE_S]
    assert too_much == []
    return [victim.last for victim in victims if victim.last is not None], lost


def note(title: str, states: list[State], lost: list[float]) -> None:
    """Figures for who reads the log (`--log-cli-level=INFO`)."""
    worst = sorted(zip(lost, states, strict=True), key=lambda pair: -pair[0])[:3]
    logging.getLogger(__name__).info(
        "%s: %d kills; phases %s; storage %s; lost at most %.2f s, more than a second in %d; worst %s",
        title,
        len(states),
        dict(Counter(state.phase for state in states)),
        dict(Counter(state.operation for state in states)),
        max(lost),
        sum(seconds > PROMISED_S for seconds in lost),
        worst,
    )


def rounds(kills: int) -> list[list[str]]:
    """Groups of phases, each phase as often as the others."""
    order = [PHASES[number % len(PHASES)] for number in range(kills)]
    return [order[start : start + AT_ONCE] for start in range(0, kills, AT_ONCE)]


def kill_many(
    nursery: Nursery, tmp_path: Path, place: Callable[[int], tuple[str, dict[str, str]]], kills: int, seed: int
) -> tuple[list[State], list[float]]:
    states: list[State] = []
    lost: list[float] = []
    for number, phases in enumerate(rounds(kills)):
        url, options = place(number)
        seen = massacre(
            nursery, tmp_path / str(number), url, options, phases, seed + number, by_command=number % 10 == 0
        )
        states += seen[0]
        lost += seen[1]
    return states, lost


@pytest.mark.slow
def test_a_few_kills_leave_a_whole_lake(nursery: Nursery, tmp_path: Path) -> None:
    states, lost = kill_many(nursery, tmp_path, lambda number: (str(tmp_path / f"lake-{number}"), {}), 10, seed=1)
    note("local", states, lost)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_kills_leave_a_whole_lake(nursery: Nursery, tmp_path: Path) -> None:
    seed = int(os.environ.get("LDE_TEST_SEED", "1000"))
    states, lost = kill_many(nursery, tmp_path, lambda number: (str(tmp_path / f"lake-{number}"), {}), 150, seed)
    note("local", states, lost)
    assert {"start", "training", "finish"} <= {state.phase for state in states}
    assert {"flush", "rewrite"} <= {state.operation for state in states}


@pytest.mark.slow
@pytest.mark.s3
@pytest.mark.timeout(900)
def test_many_kills_leave_a_whole_lake_in_a_bucket(nursery: Nursery, tmp_path: Path, s3_server: Any) -> None:
    seed = int(os.environ.get("LDE_TEST_SEED", "5000"))
    states, lost = kill_many(
        nursery, tmp_path, lambda _: (f"s3://{s3_server.new_bucket()}/lake", s3_server.options), 60, seed
    )
    note("S3", states, lost)
    assert {"flush", "rewrite"} <= {state.operation for state in states}


def test_a_spool_file_that_died_at_its_birth_does_not_stop_every_sync(tmp_path: Path) -> None:
    folder = spool_root() / "01990000-0000-7000-8000-000000000001"
    folder.mkdir(parents=True)
    (folder / "lock").write_bytes(b"")
    (folder / "000000.spool").write_bytes(b"")
    sync(str(tmp_path / "lake"), {}, by_command=True)
    assert not folder.exists()


@pytest.mark.slow
def test_a_run_that_starts_while_others_sync_is_on_the_disk(tmp_path: Path) -> None:
    stop = threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            list(sync_spools(spool_root(), lambda *_: None))

    sweepers = [threading.Thread(target=sweep) for _ in range(2)]
    for sweeper in sweepers:
        sweeper.start()
    away = LakeStorage(tmp_path / "lake")
    away.store = FaultyStore(away.store, lambda *_: Fault(FaultKind.BEFORE))
    recorders = []
    try:
        for _ in range(60):
            recorder = Recorder(away, project="p")
            recorder.start_segment("fit")
            recorder.log({"a": 1.0}, step=0)
            recorders.append(recorder)
            time.sleep(0.02)
        time.sleep(2 * PROMISED_S)
        on_disk = {path.parent.name for path in spool_root().rglob("*.spool")}
    finally:
        stop.set()
        for sweeper in sweepers:
            sweeper.join()
    away.store.heal()
    assert on_disk == {recorder.run_id for recorder in recorders}
    complete = [recorder.finish_segment("finished") for recorder in recorders]
    assert all(complete)


LIGHTNING = """
import sys, time, warnings, logging
warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
import torch
import pytorch_lightning as pl
from lightning_lde import LDECallback

class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
    def training_step(self, batch, index):
        loss = self.layer(batch[0]).square().mean()
        self.log("loss", loss)
        return loss
    def on_train_batch_end(self, *_):
        print(self.global_step, time.time(), flush=True)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)

data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(64, 4)), batch_size=4)
trainer = pl.Trainer(
    max_steps=int(sys.argv[2]), log_every_n_steps=1, enable_progress_bar=False, enable_model_summary=False,
    default_root_dir=sys.argv[3], accelerator="cpu", logger=pl.loggers.CSVLogger(sys.argv[3]),
    callbacks=[LDECallback(sys.argv[1], project="p", name=sys.argv[4], flush_every_s=0.1)],
)
trainer.fit(Model(), data)
"""


@pytest.mark.slow
def test_a_killed_lightning_training_loses_a_second_at_most(tmp_path: Path) -> None:
    chance = random.Random(7)
    url = str(tmp_path / "lake")
    lake = Lake(url).create()
    for number in range(8):
        # every other one dies around its end
        most_steps = 1_000_000 if number % 2 == 0 else 400
        arguments = [url, str(most_steps), str(tmp_path / f"root-{number}"), str(number)]
        process = subprocess.Popen([sys.executable, "-c", LIGHTNING, *arguments], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        reader = threading.Thread(target=lambda lines=lines, process=process: lines.extend(process.stdout))
        reader.start()
        while len(lines) < 380 and most_steps == 400:
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, 0.3 if most_steps == 400 else 2.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        reader.join()
        process.stdout.close()
        sync(url, {}, by_command=False)
        last_step, last_time = [line.split() for line in lines if line.endswith("\n")][-1]
        rows = lake.sql(
            "select step, epoch_us(time) / 1e6 as time from metrics join runs using (run_id) "
            "where runs.name = ? and metrics.name = 'loss' order by step",
            [str(number)],
        ).to_pylist()
        assert [row["step"] for row in rows] == list(range(len(rows)))
        assert rows, f"nothing of {last_step} steps"
        assert float(last_time) - rows[-1]["time"] <= PROMISED_S + ALLOWANCE_S
    wait_until_stale(lake)
    statuses = lake.sql("select name, status from runs order by name").to_pylist()
    assert [row["status"] for row in statuses if int(row["name"]) % 2 == 0] == ["lost"] * 4
    assert {row["status"] for row in statuses} <= {"lost", "finished"}
    every_file_is_whole(lake.storage)
