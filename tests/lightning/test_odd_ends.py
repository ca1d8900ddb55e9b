"""Trainings that end, or begin again, in an order that Lightning tells nobody about."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.demos.boring_classes import BoringModel, RandomDataset
from torch.utils.data import DataLoader

from lightning_lde import Lake, LDECallback
from lightning_lde._lightning import _trainer
from lightning_lde._lightning._tap import MetricTap

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "error::lightning_lde.errors.LDEWarning")


class Model(BoringModel):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("batch", float(batch_idx), on_step=True, on_epoch=True)
        return super().training_step(batch, batch_idx)


class Stops(RandomDataset):
    """Cannot be read any further at one sample."""

    def __init__(self, at: int) -> None:
        super().__init__(32, 64)
        self.at = at

    def __getitem__(self, index: int) -> torch.Tensor:
        if index == self.at:
            raise RuntimeError("no more data")
        return super().__getitem__(index)


def trainer(folder: Path, *callbacks: Any, **options: Any) -> pl.Trainer:
    defaults: dict[str, Any] = {
        "max_epochs": 1, "limit_train_batches": 6, "limit_val_batches": 0, "log_every_n_steps": 1,
        "accelerator": "cpu", "devices": 1, "default_root_dir": folder, "logger": pl.loggers.CSVLogger(folder),
        "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False,
    }  # fmt: skip
    return pl.Trainer(callbacks=list(callbacks), **{**defaults, **options})


@pytest.fixture
def callback(lake_path: Path) -> LDECallback:
    return LDECallback(lake_path, project="p", on_error="raise", system_metrics_every_s=None)


def rows(lake_path: Path, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in Lake(lake_path).sql(query).to_pylist()]


STEPS = "select list(step order by step) as steps from metrics where name = 'batch_step'"
SEGMENTS = "select segment, last(status order by revision) as status from stored.runs group by segment order by segment"


class Rude(pl.Callback):
    """Its error keeps Lightning from telling those behind it that the training failed."""

    def on_exception(self, *_: Any) -> None:
        raise ValueError("rude")


def test_an_end_that_another_callback_kept_from_us(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    made = trainer(tmp_path, Rude(), callback)
    with pytest.raises(ValueError, match="rude"):
        made.fit(Model(), DataLoader(Stops(2)))
    made.fit(Model(), DataLoader(RandomDataset(32, 64)))
    assert not [logger for logger in made.loggers if isinstance(logger, MetricTap)]
    assert rows(lake_path, SEGMENTS) == [(0, "failed"), (1, "finished")]
    doubled = "select segment, step from metrics where name = 'batch_step' group by all having count(*) > 1"
    assert rows(lake_path, doubled) == []
    assert rows(lake_path, "select count(*) as n from metrics where name = 'batch_step' and segment = 1") == [(6,)]


def test_without_a_logger_the_last_step_before_an_error_is_kept(
    tmp_path: Path, lake_path: Path, callback: LDECallback
) -> None:
    with pytest.raises(RuntimeError, match="no more data"):
        trainer(tmp_path, callback, logger=False).fit(Model(), DataLoader(Stops(3)))
    assert rows(lake_path, STEPS) == [([0, 1, 2],)]


class FailsAfterEpoch(pl.Callback):
    def on_train_epoch_end(self, *_: Any) -> None:
        raise RuntimeError("the disk is full")


def test_without_a_logger_the_values_of_an_epoch_survive_an_error_at_its_end(
    tmp_path: Path, lake_path: Path, callback: LDECallback
) -> None:
    with pytest.raises(RuntimeError, match="the disk is full"):
        trainer(tmp_path, callback, FailsAfterEpoch(), logger=False).fit(Model())
    assert rows(lake_path, STEPS) == [([0, 1, 2, 3, 4, 5],)]
    assert rows(lake_path, "select value from metrics where name = 'batch_epoch'") == [(2.5,)]


def test_how_an_earlier_fit_failed_is_not_how_the_next_one_ended(
    tmp_path: Path, lake_path: Path, callback: LDECallback
) -> None:
    made = trainer(tmp_path, callback)
    with pytest.raises(RuntimeError):
        made.fit(Model(), DataLoader(Stops(2)))
    made.fit(Model(), DataLoader(RandomDataset(32, 64)))
    query = "select status, stop_reason, exception from runs"
    assert rows(lake_path, query) == [("finished", "max_epochs=1 reached", None)]


class Interrupted(Model):
    def on_train_batch_end(self, *_: Any) -> None:
        if self.trainer.global_step == 8:
            raise KeyboardInterrupt


def test_an_interruption_after_an_earlier_requeue_is_an_interruption(tmp_path: Path, lake_path: Path) -> None:
    def recorded() -> LDECallback:
        return LDECallback(lake_path, project="p", on_error="raise", system_metrics_every_s=None)

    first = trainer(tmp_path, recorded(), logger=False)
    first.fit(Interrupted())
    first.save_checkpoint(tmp_path / "hpc_ckpt_1.ckpt")
    time.sleep(0.01)
    second = trainer(tmp_path, recorded(), logger=False, max_epochs=2)
    with pytest.raises(SystemExit):
        second.fit(Interrupted(), ckpt_path=tmp_path / "hpc_ckpt_1.ckpt")
    assert rows(lake_path, "select status from runs") == [("interrupted",)]


def test_the_search_for_a_learning_rate_before_us_does_not_break_a_continuation(
    tmp_path: Path, lake_path: Path
) -> None:
    class Tuned(Model):
        def __init__(self) -> None:
            super().__init__()
            self.lr = 0.1

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=self.lr)

    def recorded() -> LDECallback:
        return LDECallback(lake_path, project="p", on_error="raise", system_metrics_every_s=None)

    first = trainer(tmp_path, recorded())
    first.fit(Tuned())
    first.save_checkpoint(tmp_path / "half.ckpt")
    finder = pl.callbacks.LearningRateFinder(num_training_steps=5)
    second = trainer(tmp_path, finder, recorded(), max_epochs=2)
    second.fit(Tuned(), ckpt_path=tmp_path / "half.ckpt")
    assert rows(lake_path, "select count(*) as n from runs") == [(1,)]


def test_a_module_whose_state_cannot_be_copied_keeps_its_other_facts(
    tmp_path: Path, lake_path: Path, callback: LDECallback
) -> None:
    class Odd(Model):
        def get_extra_state(self) -> Any:
            return (number for number in range(3))

        def set_extra_state(self, state: Any) -> None:
            pass

    trainer(tmp_path, callback).fit(Odd())
    [(weights, pipeline)] = rows(lake_path, "select weights_start_id, pipeline_config_id from runs")
    assert weights
    assert pipeline
    assert rows(lake_path, "select count(*) as n from pipelines") == [(1,)]


def test_metrics_of_an_evaluation_are_asked_for_once(
    tmp_path: Path, callback: LDECallback, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Many(Model):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log_dict({f"value_{number}": 1.0 for number in range(300)})

    asked = []
    found = pl.Trainer.callback_metrics.fget  # type: ignore[attr-defined]

    def counted(self: pl.Trainer) -> Any:
        asked.append(1)
        return found(self)

    monkeypatch.setattr(pl.Trainer, "callback_metrics", property(counted))
    trainer(tmp_path, callback, logger=False, limit_val_batches=1).fit(Many())
    assert len(asked) < 30


def test_the_sanity_check_is_told_as_lightning_tells_it() -> None:
    made = pl.Trainer(logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu")
    for checking in (False, True, False):
        made.sanity_checking = checking
        assert _trainer.is_sanity_checking(made) == made.sanity_checking == checking
