"""Settings of a pipeline, described from inside real trainings."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger
from torch.optim.lr_scheduler import LambdaLR, LinearLR, ReduceLROnPlateau, SequentialLR, StepLR
from torch.utils.data import DataLoader, TensorDataset

from lightning_lde.capture import constructor_hparams, describe_pipeline, describe_pipeline_config, flatten_params
from lightning_lde.schema import PipelineConfig, canonical_json, records_to_arrow


class Tiny(pl.LightningModule):
    def __init__(self, lr: float = 0.1, api_key: str = "hunter2", seed: int = 0, data_dir: str = "/home/ann/d") -> None:
        super().__init__()
        self.save_hyperparameters()
        self.body = torch.nn.Linear(2, 3)
        self.head = torch.nn.Linear(3, 1)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss: torch.Tensor = self.head(self.body(batch[0])).square().mean()
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        groups = [{"params": self.body.parameters()}, {"params": self.head.parameters(), "lr": 0.5}]
        optimizer = torch.optim.SGD(groups, lr=self.hparams["lr"], momentum=0.9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": StepLR(optimizer, 2), "interval": "step"}}


class Spy(pl.Callback):
    def __init__(self) -> None:
        self.rows: list[PipelineConfig] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.rows.append(describe_pipeline_config(pl_module, trainer))


class LDESpy(Spy):
    """Named like the callback of the experiment database."""


def _fit(module: pl.LightningModule, root: Path, spy: Spy | None = None, ckpt: str | None = None, **flags: Any) -> Any:
    spy = spy or LDESpy()
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 1, **flags}
    callbacks = [spy, *options.pop("callbacks", [])]
    trainer = pl.Trainer(default_root_dir=root, accelerator="cpu", callbacks=callbacks, **options)
    data = DataLoader(TensorDataset(torch.ones(8, 2)), batch_size=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, data, ckpt_path=ckpt)
    return spy.rows[-1]


def test_facts_of_a_training(tmp_path: Path) -> None:
    row = _fit(Tiny(), tmp_path, gradient_clip_val=0.5, gradient_clip_algorithm="norm", accumulate_grad_batches=2)
    assert row.pipeline_id == describe_pipeline(Tiny()).pipeline_id
    assert row.hparams == {"lr": 0.1, "api_key": "<redacted>", "data_dir": "<path>/d"}
    assert row.hparams_source == "save_hyperparameters"
    (optimizer,) = row.optimizers
    assert optimizer["class"] == "torch.optim.sgd.SGD"
    assert [(group["lr"], group["momentum"], group["n_parameters"]) for group in optimizer["param_groups"]] == [
        (0.1, 0.9, 9),
        (0.5, 0.9, 4),
    ]
    (scheduler,) = row.schedulers
    assert (scheduler["class"], scheduler["interval"]) == ("torch.optim.lr_scheduler.StepLR", "step")
    assert scheduler["frequency"] == 1
    assert (scheduler["settings"]["step_size"], scheduler["settings"]["gamma"]) == (2, 0.1)
    trainer = row.trainer
    assert (trainer["precision"], trainer["max_epochs"], trainer["devices"]) == ("32-true", 1, 1)
    assert (trainer["gradient_clip_val"], trainer["gradient_clip_algorithm"]) == (0.5, "norm")
    assert trainer["accumulate_grad_batches"] == 2
    assert (trainer["accelerator"], trainer["callbacks"], trainer["loggers"]) == (
        "CPUAccelerator",
        ["ModelCheckpoint"],
        [],
    )
    assert records_to_arrow("pipeline_configs", [row]).num_rows == 1


def test_seed_path_and_watchers_do_not_change_the_id(tmp_path: Path) -> None:
    base = _fit(Tiny(), tmp_path / "a")
    pl.seed_everything(5, verbose=False)
    moved = _fit(Tiny(seed=5, data_dir="/mnt/other/d", api_key="other"), tmp_path / "b")
    watched = _fit(
        Tiny(),
        tmp_path / "c",
        logger=CSVLogger(tmp_path / "c"),
        callbacks=[TQDMProgressBar(refresh_rate=0)],
        enable_progress_bar=True,
    )
    assert moved.pipeline_config_id == watched.pipeline_config_id == base.pipeline_config_id
    assert watched.trainer["loggers"] == ["CSVLogger"]
    assert watched.trainer["callbacks"] == ["TQDMProgressBar", "ModelCheckpoint"]


def test_settings_change_the_id(tmp_path: Path) -> None:
    rows = [
        _fit(Tiny(), tmp_path),
        _fit(Tiny(lr=0.2), tmp_path),
        _fit(Tiny(), tmp_path, max_epochs=2),
        _fit(Tiny(), tmp_path, gradient_clip_val=1.0),
        _fit(Tiny(), tmp_path, spy=Spy()),
        _fit(Tiny(data_dir="/home/ann/e"), tmp_path),
    ]
    assert len({row.pipeline_config_id for row in rows}) == len(rows)


def test_a_resumed_run_has_the_settings_of_its_first_part(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(dirpath=tmp_path, save_last=True)
    first = _fit(Tiny(), tmp_path, max_epochs=3, callbacks=[checkpoint])
    again = ModelCheckpoint(dirpath=tmp_path, save_last=True)
    second = _fit(Tiny(), tmp_path, max_epochs=3, callbacks=[again], ckpt=checkpoint.best_model_path)
    assert torch.load(checkpoint.best_model_path)["optimizer_states"][0]["param_groups"][0]["lr"] != 0.1
    assert second.pipeline_config_id == first.pipeline_config_id


class Schedules(Tiny):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def configure_optimizers(self) -> Any:
        optimizers = [torch.optim.AdamW(self.body.parameters(), lr=0.01), torch.optim.SGD(self.head.parameters(), lr=1)]
        steps = [LinearLR(optimizers[0], 0.5), LambdaLR(optimizers[0], _warm_up)]
        return optimizers, [SequentialLR(optimizers[0], steps, milestones=[4]), StepLR(optimizers[1], 3)]


class Plateau(Tiny):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        return {"optimizer": optimizer, "lr_scheduler": ReduceLROnPlateau(optimizer, patience=7), "monitor": "loss"}


def _warm_up(epoch: int) -> float:
    return min(1.0, (epoch + 1) / 10)


def test_several_optimizers_and_nested_schedulers(tmp_path: Path) -> None:
    row = _fit(Schedules(), tmp_path)
    assert [each["class"].split(".")[-1] for each in row.optimizers] == ["AdamW", "SGD"]
    # The warm-up has lowered the rate already; what was asked for is 0.01.
    assert row.optimizers[0]["param_groups"][0]["lr"] == 0.01
    sequential, step = row.schedulers
    assert sequential["settings"]["milestones"] == [4]
    assert sequential["settings"]["schedulers"][0]["settings"]["start_factor"] == 0.5
    assert sequential["settings"]["schedulers"][1]["settings"]["lr_lambdas"] == [f"{__name__}._warm_up"]
    assert step["settings"]["step_size"] == 3


def test_a_scheduler_that_watches_a_metric(tmp_path: Path) -> None:
    (plateau,) = _fit(Plateau(), tmp_path).schedulers
    assert (plateau["monitor"], plateau["settings"]["patience"]) == ("loss", 7)


class Unsaved(pl.LightningModule):
    def __init__(self, width: int, name: str = "x", net: Any = None, missing: int = 1) -> None:
        super().__init__()
        self.width, self.name, self.net = width, name, net


def test_without_save_hyperparameters_attributes_are_taken() -> None:
    row = describe_pipeline_config(Unsaved(7, net=torch.nn.Linear(1, 1)), None)
    assert (row.hparams, row.hparams_source) == ({"width": 7, "name": "x"}, "attributes")
    assert (row.optimizers, row.schedulers, row.trainer) == ([], [], {})
    assert "_hparams" not in vars(Unsaved(7))


@dataclass
class Optim:
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    where: Path = Path("/home/ann/optim.yaml")


class Nested(pl.LightningModule):
    """Settings of many kinds, none of them saved."""

    def __init__(self, optim: Optim, sizes: list[int], width: int = 3) -> None:
        super().__init__()
        self.optim, self.sizes, self._width = optim, sizes, width
        self.mode, self.api_key, self.seed = "fast", "hunter2", 3
        self.config = {"data": {"root": Path("/mnt/x/d"), "crop": 32}}
        self.outputs: list[Any] = []
        self.table, self.helper, self.function = torch.ones(3), object(), print


def test_settings_that_were_not_saved_are_found_nested_and_typed() -> None:
    row = describe_pipeline_config(Nested(Optim(), [1, 2]), None)
    assert row.hparams_source == "attributes"
    assert row.hparams == {
        "optim": {"lr": 0.1, "betas": [0.9, 0.99], "where": "<path>/optim.yaml"},
        "sizes": [1, 2],
        "width": 3,
        "mode": "fast",
        "api_key": "<redacted>",
        "config": {"data": {"root": "<path>/d", "crop": 32}},
    }
    types = {param.key: (param.type, param.value_num) for param in flatten_params("c", row.hparams)}
    assert types["optim.lr"] == ("float", 0.1)
    assert types["config.data.crop"] == ("int", 32.0)
    assert types["sizes"] == ("json", None)


def test_what_a_module_was_made_with_does_not_change_while_it_trains() -> None:
    module = Nested(Optim(), [1, 2])
    before = constructor_hparams(module)
    module.mode = "slow"
    assert constructor_hparams(module) == before
    assert set(before) == {"optim", "sizes", "width"}


def test_settings_of_callbacks_count_and_their_places_do_not(tmp_path: Path) -> None:
    def fitted(name: str, patience: int, top: int) -> PipelineConfig:
        stopping = EarlyStopping("loss", patience=patience, verbose=patience > 8)
        keeping = ModelCheckpoint(tmp_path / name / "kept", monitor="loss", save_top_k=top)
        return _fit(Tiny(), tmp_path / name, callbacks=[stopping, keeping])  # type: ignore[no-any-return]

    rows = [fitted("a", 3, 1), fitted("b", 3, 1), fitted("c", 4, 1), fitted("d", 3, 2)]
    assert rows[0].pipeline_config_id == rows[1].pipeline_config_id
    assert len({row.pipeline_config_id for row in rows}) == 3
    settings = {each["class"].split(".")[-1]: each["settings"] for each in rows[0].trainer["callback_settings"]}
    assert (settings["EarlyStopping"]["patience"], settings["EarlyStopping"]["monitor"]) == (3, "loss")
    assert settings["ModelCheckpoint"]["save_top_k"] == 1
    assert str(tmp_path) not in canonical_json(rows[0].trainer)


def test_schedules_by_lambda_are_told_apart(tmp_path: Path) -> None:
    class Decay(Tiny):
        def __init__(self, schedule: Any) -> None:
            super().__init__()
            self.schedule = [schedule]

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
            return [optimizer], [LambdaLR(optimizer, self.schedule[0])]

    rows = [_fit(Decay(schedule), tmp_path) for schedule in (lambda e: 0.5**e, lambda e: 0.25**e)]
    assert rows[0].pipeline_config_id != rows[1].pipeline_config_id


def test_the_kind_of_accelerator_is_the_machines() -> None:
    class Machine:
        def __init__(self, accelerator: Any) -> None:
            self.accelerator, self.num_devices = accelerator, 1

    rows = [describe_pipeline_config(Tiny(), Machine(kind)) for kind in (Spy(), 3)]
    assert rows[0].trainer["accelerator"] != rows[1].trainer["accelerator"]
    assert rows[0].pipeline_config_id == rows[1].pipeline_config_id


def test_later_changes_of_hparams_do_not_count(tmp_path: Path) -> None:
    module = Tiny()
    module.hparams["lr"] = 9.0
    assert describe_pipeline_config(module, None).hparams["lr"] == 0.1


def test_nothing_forbidden_is_called() -> None:
    class Guarded:
        @property
        def log_dir(self) -> str:
            raise AssertionError("log_dir broadcasts")

        @property
        def estimated_stepping_batches(self) -> int:
            raise AssertionError("loads the data")

        @property
        def callbacks(self) -> list[Any]:
            raise RuntimeError("broken")

    assert describe_pipeline_config(torch.nn.Linear(1, 1), Guarded()).trainer["callbacks"] == []


@pytest.mark.parametrize("thing", [None, 3, object(), torch.nn.Linear(1, 1)])
def test_odd_objects(thing: object) -> None:
    row = describe_pipeline_config(thing, thing)
    assert "hunter2" not in canonical_json(row.hparams)
    assert row.pipeline_config_id == describe_pipeline_config(thing, thing).pipeline_config_id
