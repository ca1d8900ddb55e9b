"""A training that was killed and goes on from a checkpoint keeps what Lightning logged before it, and nothing else."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lightning_lde import Lake
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import sync_spools

# Forks one process for each line of input: Lightning is imported once, each training is killed on its own.
MOTHER = """
import json, os, signal, sys, threading, time, traceback, warnings
warnings.simplefilter("ignore")
import torch
import pytorch_lightning as pl
from pytorch_lightning.loggers.logger import Logger
from lightning_lde import LDECallback, log

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class Notes:
    def __init__(self, path, deadly):
        self.file, self.deadly, self.saves = open(path, "a", buffering=1), deadly, 0

    def note(self, **words):
        self.file.write(json.dumps(words) + "\\n")

    def values(self, values, step):
        self.note(values={name: float(value) for name, value in values.items() if name != "epoch"}, step=step)

class Listener(Logger):
    name, version = "listener", 0

    def __init__(self, notes):
        super().__init__()
        self.notes = notes

    def log_hyperparams(self, *args, **kwargs):
        pass

    def log_metrics(self, metrics, step=None):
        self.notes.values(metrics, step)

class Saving(pl.callbacks.ModelCheckpoint):
    def _save_checkpoint(self, trainer, filepath):
        super()._save_checkpoint(trainer, filepath)
        if trainer.lightning_module.notes.saves == trainer.lightning_module.notes.deadly.get("save"):
            die()

class Net(pl.LightningModule):
    def __init__(self, notes, number, by_hand):
        super().__init__()
        self.save_hyperparameters(ignore=["notes", "number"])
        self.net = torch.nn.Linear(4, 3)
        self.notes, self.number = notes, number
        self.automatic_optimization = not by_hand

    @property
    def at(self):
        return self.trainer.fit_loop.epoch_loop._batches_that_stepped

    def direct(self, values):
        log(values)
        self.notes.values(values, self.at)

    def on_save_checkpoint(self, checkpoint):
        self.notes.saves += 1
        checkpoint["mark"] = [self.number, self.notes.saves]
        self.notes.note(mark=self.notes.saves)

    def on_load_checkpoint(self, checkpoint):
        self.notes.note(begins=checkpoint["mark"])

    def on_train_start(self):
        time.sleep(0.1)  # so that system metrics come before the first step
        self.direct({"direct/start": 1.0})
        if "seconds" in self.notes.deadly:
            self.timer = threading.Timer(self.notes.deadly["seconds"], die)
            self.timer.daemon = True
            self.timer.start()

    def on_train_end(self):
        # A run that was killed after it had finished does not go on.
        if "seconds" in self.notes.deadly:
            self.timer.cancel()

    def on_train_batch_start(self, batch, batch_idx):
        self.notes.note(starts=self.at)
        if self.notes.saves == self.notes.deadly.get("after_save"):
            die()

    def training_step(self, batch, batch_idx):
        if self.trainer.current_epoch * 12 + batch_idx == self.notes.deadly.get("batch"):
            die()
        if "seconds" in self.notes.deadly:
            time.sleep(0.01)
        loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss, on_step=True, on_epoch=True)
        self.direct({"direct/loss": loss.detach(), "direct/batch": batch_idx})
        if not self.automatic_optimization:
            for optimizer in self.optimizers():
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in self.optimizers():
                optimizer.step()
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def test_step(self, batch, batch_idx):
        self.log("test/loss", torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        made = [torch.optim.SGD(self.parameters(), 0.1) for _ in range(1 if self.automatic_optimization else 2)]
        return made if len(made) > 1 else made[0]

def train(lake, folder, spool, number, calls, options, deadly):
    os.environ["LDE_SPOOL_DIR"] = spool
    notes = Notes(os.path.join(folder, f"notes-{number}"), deadly)
    generator = torch.Generator().manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.randn(48, 4, generator=generator), torch.arange(48) % 3)
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    pl.seed_everything(1, verbose=False)
    logger = Listener(notes) if options.get("logger", True) else False
    saving = Saving(os.path.join(folder, "kept"), save_top_k=1, **options.get("saving", {}))
    monitors = [pl.callbacks.LearningRateMonitor("step")] if logger else []
    recording = LDECallback(lake, project="p", on_error="raise", flush_every_s=0.2, system_metrics_every_s=0.05)
    trainer = pl.Trainer(
        max_epochs=4, accelerator="cpu", default_root_dir=folder, log_every_n_steps=1, enable_progress_bar=False,
        enable_model_summary=False, logger=logger, callbacks=[*monitors, recording, saving],
        **options.get("trainer", {}),
    )
    model = Net(notes, number, options.get("by_hand", False))
    for call, checkpoint in calls:
        loaders = (loader, loader) if call == "fit" else (loader,)
        getattr(trainer, call)(model, *loaders, ckpt_path=checkpoint)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)
        try:
            train(**json.loads(line))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        import atexit
        atexit._run_exitfuncs()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Trainings:
    """The trainings of one test, each in a process of its own, and what they noted."""

    def __init__(self, mother: subprocess.Popen[str], folder: Path, spool: Path, options: dict[str, Any]) -> None:
        self._mother = mother
        self._spool = spool
        folder.mkdir()
        self.folder = folder
        self.lake = folder / "lake"
        self._options = options
        self._number = -1

    def run(self, *calls: tuple[str, Any], **deadly: float) -> int:
        """Call methods of a new Trainer in a new process; returns its exit code."""
        self._number += 1
        words: dict[str, Any] = {"lake": str(self.lake), "folder": str(self.folder), "spool": str(self._spool)}
        words |= {"number": self._number, "options": self._options, "calls": calls, "deadly": deadly}
        assert self._mother.stdin is not None
        assert self._mother.stdout is not None
        self._mother.stdin.write(json.dumps(words) + "\n")
        self._mother.stdin.flush()
        return int(self._mother.stdout.readline())

    def checkpoint(self) -> str | None:
        """The newest checkpoint that is whole, None where there is none."""
        found = sorted((self.folder / "kept").glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
        return str(found[-1]) if found else None

    def send_what_waits(self) -> None:
        assert all(outcome.error is None for outcome in sync_spools(self._spool, LakeStorage))

    def notes(self, number: int) -> list[dict[str, Any]]:
        text = (self.folder / f"notes-{number}").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


Point = tuple[str, int, float]


def points(note: dict[str, Any]) -> list[Point]:
    return [(name, note["step"], value) for name, value in note.get("values", {}).items()]


def expected(trainings: Trainings, last: int) -> tuple[Counter[Point], Counter[Point]]:
    """What was logged on the way to the last training's end, by the order in which it happened.

    Returns:
        Points that must be there, and those that may be: Lightning hands the values of a step to loggers after it has
        saved the checkpoint of that step, and a kill in between may lose them.
    """
    must: Counter[Point] = Counter()
    may: Counter[Point] = Counter()
    number, mark = last, None
    first, again = 0, set[tuple[str, int]]()
    while True:
        notes = trainings.notes(number)
        saved = len(notes) if mark is None else notes.index({"mark": mark})
        ended = max((at for at, note in enumerate(notes) if "starts" in note), default=0)
        for at, note in enumerate(notes):
            for name, step, value in points(note):
                if at < saved:
                    must[name, step, value] += 1
                elif step < first and (name, step) not in again:
                    (must if at < ended else may)[name, step, value] += 1
        again = {(name, step) for note in notes for name, step, _ in points(note)}
        first = next((note["starts"] for note in notes if "starts" in note), 0)
        begins = [note["begins"] for note in notes if "begins" in note]
        if not begins:
            return must, may
        number, mark = begins[0]


def recorded(lake: Path, run_id: str | None = None) -> Counter[Point]:
    query = """select name, step, value from metrics where context is distinct from 'system'
               and source = 'logged' and (?::text is null or run_id = ?)"""
    return Counter((row["name"], row["step"], row["value"]) for row in Lake(lake).sql(query, [run_id] * 2).to_pylist())


def differences(found: Counter[Point], must: Counter[Point], may: Counter[Point]) -> dict[str, list[Point]]:
    missing, more = must - found, found - must - may
    return {name: sorted(some.elements()) for name, some in (("missing", missing), ("more", more)) if some}


def assert_complete(trainings: Trainings, last: int) -> None:
    trainings.send_what_waits()
    assert differences(recorded(trainings.lake), *expected(trainings, last)) == {}
    (run,) = Lake(trainings.lake).runs().to_pylist()
    assert run["status"] == "finished"


@pytest.fixture(scope="module")
def mother() -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", MOTHER], env=environment, **pipes) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def begin(mother: subprocess.Popen[str], tmp_path: Path, own_spool: Path) -> Callable[..., Trainings]:
    return lambda options, name="training": Trainings(mother, tmp_path / name, own_spool, options)


SITUATIONS: dict[str, dict[str, Any]] = {
    "at the end of validation": {"saving": {"monitor": "val/loss"}},
    "at the end of an epoch": {"saving": {"save_on_train_epoch_end": True}},
    "every five steps": {"saving": {"every_n_train_steps": 5}},
    "without a logger": {"logger": False, "saving": {"every_n_train_steps": 7}},
    "validation within epochs": {"saving": {"monitor": "val/loss"}, "trainer": {"val_check_interval": 5}},
    "two batches in a step": {"saving": {"every_n_train_steps": 3}, "trainer": {"accumulate_grad_batches": 2}},
    "two optimizers by hand": {"by_hand": True, "saving": {"every_n_train_steps": 10}},
}


def situations(*fast: str) -> list[Any]:
    return [pytest.param(name, marks=[] if name in fast else pytest.mark.slow, id=name) for name in SITUATIONS]


@pytest.mark.parametrize("situation", situations("every five steps"))
def test_a_training_that_was_killed_between_checkpoints_keeps_what_came_before(
    begin: Callable[..., Trainings], situation: str
) -> None:
    trainings = begin(SITUATIONS[situation])
    assert trainings.run(("fit", None), batch=31) == -9
    assert trainings.run(("fit", trainings.checkpoint())) == 0
    assert_complete(trainings, last=1)
    [row] = Lake(trainings.lake).sql("select from_segment, step from resumes").to_pylist()
    starts = [note["starts"] for note in trainings.notes(1) if "starts" in note]
    assert row == {"from_segment": 0, "step": starts[0]}


@pytest.mark.parametrize("situation", situations("every five steps"))
def test_a_kill_right_after_a_checkpoint_loses_at_most_that_steps_own_values(
    begin: Callable[..., Trainings], situation: str
) -> None:
    trainings = begin(SITUATIONS[situation])
    assert trainings.run(("fit", None), save=2) == -9
    assert trainings.run(("fit", trainings.checkpoint()), save=1) == -9
    assert trainings.run(("fit", trainings.checkpoint())) == 0
    assert_complete(trainings, last=2)


@pytest.mark.parametrize("situation", situations("at the end of validation"))
def test_a_kill_in_the_step_after_a_checkpoint_loses_nothing(begin: Callable[..., Trainings], situation: str) -> None:
    trainings = begin(SITUATIONS[situation])
    assert trainings.run(("fit", None), after_save=2) == -9
    assert trainings.run(("fit", trainings.checkpoint()), after_save=1) == -9
    assert trainings.run(("fit", trainings.checkpoint())) == 0
    assert_complete(trainings, last=2)


@pytest.mark.slow
@pytest.mark.parametrize("situation", SITUATIONS)
def test_kills_at_any_moment_leave_one_whole_run(begin: Callable[..., Trainings], situation: str) -> None:
    trainings = begin(SITUATIONS[situation])
    moments = random.Random(situation)
    assert trainings.run(("fit", None), after_save=1) == -9
    for last in range(1, 7):
        deadly = {} if last == 6 else {"seconds": moments.uniform(0, 0.6)}
        if trainings.run(("fit", trainings.checkpoint()), **deadly) == 0:
            break
    assert_complete(trainings, last)


@pytest.mark.slow
def test_without_a_logger_steps_are_there_as_with_one(begin: Callable[..., Trainings]) -> None:
    tables = []
    for logger in (True, False):
        trainings = begin({**SITUATIONS["without a logger"], "logger": logger}, "with" if logger else "without")
        assert trainings.run(("fit", None), after_save=2) == -9
        assert trainings.run(("fit", trainings.checkpoint())) == 0
        assert_complete(trainings, last=1)
        query = "select step, value from metrics where name = 'loss_step' order by step, value"
        tables.append(Lake(trainings.lake).sql(query).to_pylist())
    assert len(tables[0]) >= 48
    assert tables[0] == tables[1]


def test_a_test_of_the_best_checkpoint_hides_nothing(begin: Callable[..., Trainings]) -> None:
    trainings = begin({"saving": {"every_n_train_steps": 10, "monitor": "loss_step"}})
    assert trainings.run(("fit", None), ("test", "best"), ("validate", "best")) == 0
    noted = Counter(point for note in trainings.notes(0) for point in points(note))
    found = recorded(trainings.lake)
    assert differences(found, noted, Counter()) == {}
    assert {"test/loss", "val/loss", "loss_step", "direct/loss"} <= {name for name, _, _ in found}
    (run,) = Lake(trainings.lake).runs().to_pylist()
    assert trainings.run(("test", trainings.checkpoint()), ("validate", trainings.checkpoint())) == 0
    assert found - recorded(trainings.lake, run["run_id"]) == Counter()
    assert Lake(trainings.lake).sql("select count(*) as n from resumes").to_pylist() == [{"n": 0}]


@pytest.mark.slow
def test_a_validation_of_the_checkpoint_before_going_on_hides_nothing(begin: Callable[..., Trainings]) -> None:
    trainings = begin({"saving": {"every_n_train_steps": 10}})
    assert trainings.run(("fit", None), batch=31) == -9
    checkpoint = trainings.checkpoint()
    assert trainings.run(("validate", checkpoint), ("fit", checkpoint)) == 0
    trainings.send_what_waits()
    assert differences(recorded(trainings.lake), *expected(trainings, last=1)) == {}
    runs = Lake(trainings.lake).sql("select distinct run_id from metrics where name = 'loss_step'").to_pylist()
    assert len(runs) == 1


@pytest.mark.slow
def test_two_continuations_that_finished_are_two_runs(begin: Callable[..., Trainings]) -> None:
    trainings = begin({"saving": {"every_n_train_steps": 20}})
    assert trainings.run(("fit", None), batch=31) == -9
    checkpoint = trainings.checkpoint()
    assert trainings.run(("fit", checkpoint)) == 0
    assert_complete(trainings, last=1)
    before = recorded(trainings.lake)
    assert trainings.run(("fit", checkpoint)) == 0
    first, second = sorted(Lake(trainings.lake).runs().to_pylist(), key=lambda run: run["run_id"])
    assert second["resumed_from"] == first["run_id"]
    assert recorded(trainings.lake, first["run_id"]) == before
    own = Counter(point for note in trainings.notes(2) for point in points(note))
    assert recorded(trainings.lake, second["run_id"]) == own
