"""Corners of Lightning that have cost other trackers their metrics, runs or users."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.demos.boring_classes import BoringModel, ManualOptimBoringModel
from torch.utils.data import DataLoader, IterableDataset

from lightning_lde import Lake, LDECallback
from lightning_lde.errors import RecordingWarning

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "error::lightning_lde.errors.LDEWarning")


class Model(BoringModel):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("batch", float(batch_idx), on_step=True, on_epoch=True)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("val", float(batch_idx))
        return super().validation_step(batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("test", float(batch_idx))
        return super().test_step(batch, batch_idx)


def trainer(folder: Path, *callbacks: Any, **options: Any) -> pl.Trainer:
    defaults: dict[str, Any] = {
        "max_epochs": 2, "limit_train_batches": 4, "limit_val_batches": 2, "limit_test_batches": 2,
        "log_every_n_steps": 1, "accelerator": "cpu", "devices": 1, "default_root_dir": folder,
        "logger": pl.loggers.CSVLogger(folder), "enable_progress_bar": False, "enable_model_summary": False,
    }  # fmt: skip
    return pl.Trainer(callbacks=list(callbacks), **{**defaults, **options})


@pytest.fixture
def callback(lake_path: Path) -> LDECallback:
    return LDECallback(lake_path, project="p", on_error="raise")


def rows(lake_path: Path, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in Lake(lake_path).sql(query).to_pylist()]


def test_configure_callbacks_may_bring_it(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    class Bringing(Model):
        def configure_callbacks(self) -> list[Any]:
            return [callback]

    made = trainer(tmp_path)
    made.fit(Bringing())
    made.test(Bringing(), verbose=False)
    assert rows(lake_path, "select status, segment, stage from runs") == [("finished", 1, "test")]


def test_it_may_replace_the_trainers_own(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    class Bringing(Model):
        def configure_callbacks(self) -> list[Any]:
            return [LDECallback(lake_path, name="of the model", on_error="raise")]

    trainer(tmp_path, callback).fit(Bringing())
    assert rows(lake_path, "select status, name from runs") == [("finished", "of the model")]


POINTS = """
    select status, count(*) as n from metrics join runs using (run_id) where metrics.name = 'batch_step'
    group by run_id, status order by n
"""


class Nested(pl.Callback):
    """Trains another model when the training starts."""

    def __init__(self, inner: pl.Trainer) -> None:
        self.inner = inner

    def on_train_start(self, *_: Any) -> None:
        self.inner.fit(Model())


def test_a_trainer_inside_another_is_a_run_of_its_own(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    inner = trainer(tmp_path / "inner", LDECallback(lake_path, name="inner", on_error="raise"), max_epochs=1)
    trainer(tmp_path, callback, Nested(inner)).fit(Model())
    assert rows(lake_path, POINTS) == [("finished", 4), ("finished", 8)]
    assert rows(lake_path, "select name from runs order by started_at") == [(None,), ("inner",)]


def test_one_callback_in_a_trainer_and_in_one_inside_it(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    inner = trainer(tmp_path / "inner", callback, max_epochs=1)
    trainer(tmp_path, callback, Nested(inner)).fit(Model())
    assert rows(lake_path, POINTS) == [("finished", 4), ("finished", 8)]


def test_trainers_may_take_turns(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    first, second = trainer(tmp_path / "first", callback), trainer(tmp_path / "second", callback)
    first.fit(Model())
    second.fit(Model())
    first.test(Model(), verbose=False)
    query = "select list(stage order by segment) as stages from stored.runs group by run_id order by run_id"
    assert rows(lake_path, query) == [(["fit", "test"],), (["fit"],)]


@pytest.mark.slow
def test_the_users_error_stays_where_the_lake_fails_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    class Failing(Model):
        def on_train_batch_end(self, *_: Any) -> None:
            raise RuntimeError("the user's")

    with pytest.raises(RuntimeError, match="the user's"), pytest.warns(RecordingWarning):
        trainer(tmp_path, LDECallback(tmp_path / "file" / "lake", on_error="raise")).fit(Failing())


def test_both_step_axes_are_kept(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    class TwoSteps(ManualOptimBoringModel):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("batch", float(batch_idx))
            super().training_step(batch, batch_idx)
            return super().training_step(batch, batch_idx)

    trainer(tmp_path, callback, max_epochs=1).fit(TwoSteps())
    found = rows(lake_path, "select step, global_step from metrics where name = 'batch' order by step")
    assert found == [(step, 2 * (step + 1)) for step in range(4)]


def test_epochs_count_from_zero(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    trainer(tmp_path, callback).fit(Model())
    for name in ("batch_epoch", "val"):
        assert rows(lake_path, f"select epoch from metrics where name = '{name}' order by step") == [(0,), (1,)]


def test_at_lightnings_default_interval_epochs_still_come(
    tmp_path: Path, lake_path: Path, callback: LDECallback
) -> None:
    trainer(tmp_path, callback, log_every_n_steps=50).fit(Model())
    found = rows(lake_path, "select name, count(*) from metrics group by name order by name")
    assert found == [("batch_epoch", 2), ("val", 2)]


def test_values_that_are_no_numbers_come_through(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    class Odd(Model):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.log_dict({"nan": math.nan, "up": math.inf, "down": -math.inf})
            return BoringModel.training_step(self, batch, batch_idx)

    trainer(tmp_path, callback, max_epochs=1).fit(Odd())
    found = dict(
        rows(lake_path, "select name, any_value(value) from metrics where name in ('nan', 'up', 'down') group by name")
    )
    assert math.isnan(found["nan"])
    assert (found["up"], found["down"]) == (math.inf, -math.inf)


class Endless(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Iterator[torch.Tensor]:
        while True:
            yield torch.ones(32)


def test_data_without_a_length(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    trainer(tmp_path, callback).fit(Model(), DataLoader(Endless(), batch_size=2))
    assert rows(lake_path, "select status from runs") == [("finished",)]
    assert rows(lake_path, "select n_samples from datasets where name like '%Endless%'") == [(None,)]


def test_weights_that_were_loaded_by_hand_are_recognised(
    tmp_path: Path, lake_path: Path, callback: LDECallback
) -> None:
    first = trainer(tmp_path, callback)
    first.fit(Model())
    path = first.checkpoint_callback.best_model_path  # type: ignore[union-attr]
    loaded = Model.load_from_checkpoint(path, weights_only=False)
    trainer(tmp_path, LDECallback(lake_path, name="second", on_error="raise")).fit(loaded)
    query = "select b.name, b.resumed_from from runs a join runs b on a.weights_end_id = b.weights_start_id"
    assert rows(lake_path, query) == [("second", None)]


def test_trials_of_the_learning_rate_finder_are_not_recorded(
    tmp_path: Path, lake_path: Path, callback: LDECallback
) -> None:
    class Tuned(Model):
        lr = 0.1

    trainer(tmp_path, pl.callbacks.LearningRateFinder(num_training_steps=6), callback, logger=False).fit(Tuned())
    assert rows(lake_path, "select count(*) from metrics where name = 'batch_epoch'") == [(2,)]


def test_resuming_without_it_asks_for_nothing(
    tmp_path: Path, callback: LDECallback, recwarn: pytest.WarningsRecorder
) -> None:
    first = trainer(tmp_path, callback, max_epochs=1)
    first.fit(Model())
    path = first.checkpoint_callback.best_model_path  # type: ignore[union-attr]
    trainer(tmp_path).fit(Model(), ckpt_path=path)
    assert not [str(warning.message) for warning in recwarn if "LDECallback" in str(warning.message)]


def test_metrics_of_all_loops_reach_the_summary(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    made = trainer(tmp_path, callback)
    made.fit(Model())
    made.test(Model(), verbose=False)
    [(summary,)] = rows(lake_path, "select summary from runs")
    assert {"batch_step", "batch_epoch", "val", "test"} <= set(json.loads(summary))
