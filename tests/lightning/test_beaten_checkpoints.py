"""Checkpoints that Lightning deletes or replaces long before a slow lake takes them."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec.implementations.local
import pytest
import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.plugins.io import AsyncCheckpointIO, TorchCheckpointIO

from lightning_lde import Lake, LDECallback
from lightning_lde.testing import FaultyStore

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "error::lightning_lde.errors.LDEWarning")


class Model(BoringModel):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        # Lower at each step: each checkpoint beats the one before.
        self.log("loss", -float(self.trainer.global_step))
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val", -float(self.trainer.global_step))


class Witness(TorchCheckpointIO):
    """Knows the content of each checkpoint from the moment it is written."""

    def __init__(self) -> None:
        self.saved: list[tuple[str, str]] = []

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        super().save_checkpoint(checkpoint, path, storage_options)
        self.saved.append((Path(path).name, hashlib.sha256(Path(path).read_bytes()).hexdigest()))


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Until it is set, the lake takes no files."""
    gate = threading.Event()
    yield gate
    gate.set()


class OpensAtTheEnd(pl.Callback):
    def __init__(self, gate: threading.Event) -> None:
        self.gate = gate

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.gate.set()


def fit(folder: Path, gate: threading.Event, plugin: Any, *savers: pl.Callback, **options: Any) -> LDECallback:
    """A fit of twelve steps whose lake takes no file until training is over."""
    recorder = LDECallback(folder / "lake", artifacts="all", on_error="raise", system_metrics_every_s=None)
    storage = recorder._options.storage
    # The manifest of a data set is stored as an object too: only what is put from files waits.
    storage.store = FaultyStore(
        storage.store,
        lambda operation, path: gate.wait(30) and None if path.startswith(("objects/", "chunks/")) else None,
    )
    defaults: dict[str, Any] = {
        "max_epochs": 3, "limit_train_batches": 4, "limit_val_batches": 1, "accelerator": "cpu", "devices": 1,
        "default_root_dir": folder, "logger": pl.loggers.CSVLogger(folder), "enable_progress_bar": False,
        "enable_model_summary": False, "log_every_n_steps": 1,
    }  # fmt: skip
    callbacks = [recorder, OpensAtTheEnd(gate), *savers]
    pl.Trainer(callbacks=callbacks, plugins=[plugin], **{**defaults, **options}).fit(Model())
    return recorder


def landed(folder: Path) -> Counter[tuple[str, str]]:
    rows = Lake(folder / "lake").sql("select path, object_id from artifacts where kind = 'checkpoint'").to_pylist()
    return Counter((row["path"].rsplit("/", 1)[-1], row["object_id"]) for row in rows)


def leftovers(folder: Path, spool: Path) -> list[Path]:
    return [path for root in (folder, spool) for path in root.rglob("*") if path.suffix in {".kept", ".part"}]


SAVERS: dict[str, Any] = {
    "each second step": lambda folder: [
        pl.callbacks.ModelCheckpoint(folder, monitor="loss", save_top_k=1, save_last=True, every_n_train_steps=2)
    ],
    "each step, the last only": lambda folder: [
        pl.callbacks.ModelCheckpoint(folder, save_top_k=0, save_last=True, every_n_train_steps=1)
    ],
    "steps and validations": lambda folder: [
        pl.callbacks.ModelCheckpoint(folder / "a", save_top_k=1, every_n_train_steps=3),
        pl.callbacks.ModelCheckpoint(folder / "b", monitor="val", save_top_k=1, save_last=True),
    ],
}


@pytest.mark.parametrize(
    ("savers", "with_logger"),
    [
        ("each second step", False),
        ("steps and validations", True),
        *[
            pytest.param(savers, with_logger, marks=pytest.mark.slow)
            for savers, with_logger in [
                ("each second step", True),
                ("each step, the last only", True),
                ("each step, the last only", False),
                ("steps and validations", False),
            ]
        ],
    ],
)
def test_all_of_them_land_as_they_were(
    tmp_path: Path, own_spool: Path, gate: threading.Event, savers: str, with_logger: bool
) -> None:
    witness = Witness()
    fit(tmp_path, gate, witness, *SAVERS[savers](tmp_path / "ckpt"), **({} if with_logger else {"logger": False}))
    assert len(witness.saved) >= 6
    assert len(list((tmp_path / "ckpt").rglob("*.ckpt"))) < len(witness.saved)
    assert set(landed(tmp_path)) == set(witness.saved)
    assert leftovers(tmp_path, own_spool) == []
    assert Lake(tmp_path / "lake").sql("select message from events where level = 'warning'").to_pylist() == []


def test_one_written_over_in_place_is_the_newest_and_the_loss_is_said(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is where the system's folder for temporary files lies on another file system."""

    def move(source: str, target: str) -> None:
        shutil.copyfile(source, target)
        Path(source).unlink()

    monkeypatch.setattr(fsspec.implementations.local.shutil, "move", move)
    witness = Witness()
    saver = pl.callbacks.ModelCheckpoint(tmp_path / "ckpt", save_top_k=1, save_last=True, every_n_train_steps=2)
    fit(tmp_path, gate, witness, saver)
    found, saved = landed(tmp_path), witness.saved
    beaten = {one for one in saved if one[0] != "last.ckpt"}
    newest = [one for one in saved if one[0] == "last.ckpt"][-1]
    assert set(found) >= beaten | {newest}
    assert set(found) <= set(saved)
    events = Lake(tmp_path / "lake").sql("select message from events where level = 'warning'").to_pylist()
    assert [row["message"].split(":")[0] for row in events] == [
        "checkpoints/last.ckpt was written over before it could be stored"
    ]


def test_those_that_another_thread_writes_land_too(tmp_path: Path, gate: threading.Event) -> None:
    witness = Witness()
    saver = pl.callbacks.ModelCheckpoint(tmp_path / "ckpt", save_top_k=-1, every_n_train_steps=2)
    fit(tmp_path, gate, AsyncCheckpointIO(witness), saver)
    assert set(landed(tmp_path)) == set(witness.saved)
