"""The callback in real Trainers: what is recorded, in which states, and that training does not change."""

from __future__ import annotations

import copy
import json
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.demos.boring_classes import BoringModel
from torch.utils.data import DataLoader, TensorDataset

from lightning_lde import Lake, LDECallback
from lightning_lde.errors import ConfigurationError, RecordingWarning

# Lightning has much to say of such small trainings; what this package says must still be an error.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "error::lightning_lde.errors.LDEWarning")


class Net(pl.LightningModule):
    """Dropout and shuffling make it sensitive to any touch of the random state."""

    def __init__(self, width: int = 8, lr: float = 0.1, api_key: str = "") -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, width), torch.nn.BatchNorm1d(width), torch.nn.Dropout(0.3), torch.nn.Linear(width, 3)
        )

    def _loss(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        loss = self._loss(batch)
        self.log("train/loss", loss)
        self.log("kept/private", float(batch_idx), logger=False)
        return loss

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.log("val/loss", self._loss(batch))

    def test_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.log("test/loss", self._loss(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])


def loader(shuffle: bool = True) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(48, 4, generator=generator), torch.randint(0, 3, (48,), generator=generator)
    return DataLoader(TensorDataset(x, y), batch_size=8, shuffle=shuffle)


def trainer(folder: Path, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    defaults: dict[str, Any] = {
        "max_epochs": 2, "accelerator": "cpu", "devices": 1, "log_every_n_steps": 1, "default_root_dir": folder,
        "logger": pl.loggers.CSVLogger(folder), "enable_progress_bar": False, "enable_model_summary": False,
    }  # fmt: skip
    return pl.Trainer(callbacks=list(callbacks), **{**defaults, **options})


@pytest.fixture
def callback(lake_path: Path) -> LDECallback:
    return LDECallback(lake_path, project="p", experiment="e", name="n", tags={"a": "b"}, on_error="raise")


def one(lake_path: Path, query: str) -> dict[str, Any]:
    rows = Lake(lake_path).sql(query).to_pylist()
    assert len(rows) == 1
    return rows[0]


def fit(tmp_path: Path, callback: LDECallback | None, **options: Any) -> tuple[pl.Trainer, Net]:
    pl.seed_everything(3, workers=True, verbose=False)
    model = Net()
    made = trainer(tmp_path, *([callback] if callback else []), **options)
    made.fit(model, loader(), loader(shuffle=False))
    return made, model


def test_a_fit_is_a_finished_run_with_everything_linked(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    fit(tmp_path, callback)
    run = one(lake_path, "select * from runs")
    assert run["run_id"] == callback.run_id
    assert (run["status"], run["project"], run["experiment"], run["name"]) == ("finished", "p", "e", "n")
    assert (run["seed"], run["stop_reason"], run["tags"]) == (3, "max_epochs=2 reached", '{"a":"b"}')
    assert run["weights_start_id"] != run["weights_end_id"]
    linked = one(
        lake_path,
        """select r.run_id, d.n_samples, d.n_classes, c.batch_size, c.sampler, p.n_parameters, e.python, k.code_id
           from runs r join dataset_configs c using (dataset_config_id) join datasets d using (dataset_id)
           join pipeline_configs using (pipeline_config_id) join pipelines p using (pipeline_id)
           join environments e using (environment_id) join code k using (code_id)""",
    )
    assert (linked["n_samples"], linked["n_classes"], linked["batch_size"]) == (48, 3, 8)
    assert "RandomSampler" in linked["sampler"]
    assert linked["n_parameters"] == sum(parameter.numel() for parameter in Net().parameters())
    relations = Lake(lake_path).sql("select relation from links").column("relation").to_pylist()
    assert {"trained_on", "validated_on", "used_pipeline", "ran_in", "ran_code", "produced"} <= set(relations)
    params = {row["key"]: row["value_num"] for row in Lake(lake_path).sql("select * from params").to_pylist()}
    assert (params["width"], params["lr"]) == (8.0, 0.1)


def test_metrics_are_those_of_the_csv_logger(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    made, _ = fit(tmp_path, callback)
    import pandas as pd

    written = pd.read_csv(Path(made.logger.log_dir) / "metrics.csv")  # type: ignore[union-attr]
    for name, context in (("train/loss", "train"), ("val/loss", "val")):
        expected = written[["step", name]].dropna()
        rows = Lake(lake_path).sql(
            "select step, value, source from metrics where name = ? and context = ? order by step", [name, context]
        )
        assert rows.column("step").to_pylist() == expected["step"].tolist()
        assert rows.column("value").to_pylist() == pytest.approx(expected[name].tolist())
        assert set(rows.column("source").to_pylist()) == {"logged"}


def test_the_users_loggers_stay_as_they_were(tmp_path: Path, callback: LDECallback) -> None:
    made, _ = fit(tmp_path, callback)
    assert [type(logger).__name__ for logger in made.loggers] == ["CSVLogger"]


def test_training_gives_the_same_weights_with_and_without(tmp_path: Path, callback: LDECallback) -> None:
    _, plain = fit(tmp_path / "plain", None)
    _, recorded = fit(tmp_path / "recorded", callback)
    assert all(
        torch.equal(a, b) for a, b in zip(plain.state_dict().values(), recorded.state_dict().values(), strict=True)
    )
    _, other = fit(tmp_path / "other", None, max_epochs=3)
    assert not all(
        torch.equal(a, b) for a, b in zip(plain.state_dict().values(), other.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("logger", [True, False])
def test_same_weights_with_default_and_without_loggers(tmp_path: Path, callback: LDECallback, logger: bool) -> None:
    own = None if logger is False else pl.loggers.CSVLogger(tmp_path)
    _, plain = fit(tmp_path / "a", None, logger=own or False)
    _, recorded = fit(tmp_path / "b", callback, logger=own or False)
    assert all(
        torch.equal(a, b) for a, b in zip(plain.state_dict().values(), recorded.state_dict().values(), strict=True)
    )


class Logging(Net):
    """Logs in every way that a module can."""

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        loss = self._loss(batch)
        self.log("each", loss)
        self.log("both", loss, on_step=True, on_epoch=True, prog_bar=True)
        self.log("mean", loss, on_step=False, on_epoch=True)
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("late", float(self.current_epoch))


@pytest.mark.parametrize("every", [1, 4, 50])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_without_loggers_the_same_metrics_are_sampled(
    tmp_path: Path, lake_path: Path, every: int, accumulate: int
) -> None:
    found = {}
    for logger in (pl.loggers.CSVLogger(tmp_path), False):
        pl.seed_everything(1, verbose=False)
        recorder = LDECallback(lake_path, project="p", on_error="raise", system_metrics_every_s=None)
        options = {"log_every_n_steps": every, "accumulate_grad_batches": accumulate, "max_epochs": 3}
        made = trainer(tmp_path, recorder, logger=logger, check_val_every_n_epoch=2, **options)
        made.fit(Logging(), loader(), loader(shuffle=False))
        rows = Lake(lake_path).sql(
            "select name, context, step, global_step, epoch, value from metrics where run_id = ? order by all",
            [recorder.run_id],
        )
        found[bool(logger)] = rows.to_pylist()
        sources = Lake(lake_path).sql("select distinct source from metrics where run_id = ?", [recorder.run_id])
        assert sources.to_pylist() == [{"source": "logged" if logger else "sampled"}]
    assert [row for row in found[True] if row not in found[False]] == []
    # Until a metric of steps is logged for the first time, its last value in an epoch is all there is to sample.
    extra = [row for row in found[False] if row not in found[True]]
    assert {row["name"] for row in extra} <= ({"each"} if every > 1 else set())
    assert {row["name"] for row in found[True]} >= {"mean", "both_epoch", "late", "val/loss"}


def test_checkpoints_come_back_bit_for_bit(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    made, _ = fit(tmp_path, callback)
    best = Path(made.checkpoint_callback.best_model_path)  # type: ignore[union-attr]
    row = one(lake_path, "select * from artifacts")
    assert (row["kind"], row["path"], row["size_bytes"]) == (
        "checkpoint", f"checkpoints/{best.name}", best.stat().st_size,
    )  # fmt: skip
    assert Lake(lake_path).read_artifact("n", row["path"]) == best.read_bytes()


def test_fit_and_test_are_segments_of_one_run(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    made, model = fit(tmp_path, callback)
    trained_with = one(lake_path, "select pipeline_config_id from runs")
    made.test(model, loader(shuffle=False), verbose=False)
    assert one(lake_path, "select pipeline_config_id from runs") == trained_with
    made.validate(model, loader(shuffle=False), verbose=False)
    stages = Lake(lake_path).sql("select segment, stage, status from stored.runs order by segment").to_pylist()
    assert stages == [
        {"segment": number, "stage": stage, "status": "finished"}
        for number, stage in enumerate(["fit", "test", "validate"])
    ]
    assert one(lake_path, "select context, segment from metrics where name = 'test/loss'") == {
        "context": "test", "segment": 1,
    }  # fmt: skip
    assert json.loads(one(lake_path, "select summary from runs")["summary"])["train/loss"]["min"] > 0


def test_two_trainers_are_two_runs(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    fit(tmp_path, callback)
    fit(tmp_path, callback)
    runs = Lake(lake_path).sql("select run_id from runs")
    assert runs.num_rows == 2
    configs = one(
        lake_path, "select count(distinct pipeline_config_id) as p, count(distinct dataset_config_id) as d from runs"
    )
    assert configs == {"p": 1, "d": 1}


class Raising(pl.Callback):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == 3:
            raise self.error


def test_an_error_is_a_failed_run_and_stays_the_users(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    made = trainer(tmp_path, callback, Raising(RuntimeError("out of luck, token ghp_" + "a" * 36)))
    with pytest.raises(RuntimeError, match="out of luck"):
        made.fit(Net(), loader())
    run = one(lake_path, "select status, exception from runs")
    assert run["status"] == "failed"
    assert "out of luck" in run["exception"]
    assert "ghp_aaaa" not in run["exception"]
    assert one(lake_path, "select level, kind from events") == {"level": "error", "kind": "exception"}
    assert Lake(lake_path).sql("select * from metrics").num_rows > 0


def test_ctrl_c_is_an_interrupted_run(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    before = signal.getsignal(signal.SIGINT)
    made = trainer(tmp_path, callback, Raising(KeyboardInterrupt()))
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            made.fit(Net(), loader())
    finally:
        signal.signal(signal.SIGINT, before)
    assert one(lake_path, "select status from runs") == {"status": "interrupted"}


def test_early_stopping_says_why(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    stopping = pl.callbacks.EarlyStopping("val/loss", patience=1, min_delta=10.0)
    made = trainer(tmp_path, callback, stopping, max_epochs=9)
    made.fit(Net(), loader(), loader(shuffle=False))
    assert "did not improve" in one(lake_path, "select stop_reason from runs")["stop_reason"]


@pytest.mark.parametrize("options", [{"fast_dev_run": True}, {"barebones": True}])
def test_silent_modes_record_nothing(
    tmp_path: Path, lake_path: Path, callback: LDECallback, options: dict[str, bool]
) -> None:
    pl.Trainer(accelerator="cpu", callbacks=[callback], default_root_dir=tmp_path, max_epochs=1, **options).fit(
        BoringModel()
    )
    assert not lake_path.exists()
    assert callback.run_id is None


def test_a_second_fit_without_work_keeps_the_summary(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    made, model = fit(tmp_path, callback)
    before = one(lake_path, "select summary from runs")
    made.fit(model, loader(), loader(shuffle=False))
    assert json.loads(one(lake_path, "select summary from runs")["summary"]) == json.loads(before["summary"])


def test_resuming_under_another_name_is_a_new_run_with_a_link(
    tmp_path: Path, lake_path: Path, callback: LDECallback
) -> None:
    made, _ = fit(tmp_path, callback)
    checkpoint = made.checkpoint_callback.best_model_path  # type: ignore[union-attr]
    second = LDECallback(lake_path, project="p", name="second", on_error="raise")
    trainer(tmp_path, second, max_epochs=3).fit(Net(), loader(), loader(shuffle=False), ckpt_path=checkpoint)
    row = one(lake_path, "select resumed_from from runs where name = 'second'")
    assert row == {"resumed_from": callback.run_id}
    link = one(lake_path, "select target_id from links where relation = 'resumed_from'")
    assert link == {"target_id": callback.run_id}


def test_secrets_in_hyperparameters_stay_out(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    trainer(tmp_path, callback, max_epochs=1, enable_checkpointing=False).fit(Net(api_key="hunter2-hunter2"), loader())
    assert all(b"hunter2" not in path.read_bytes() for path in lake_path.rglob("*") if path.is_file())
    assert one(lake_path, "select value_text from params where key = 'api_key'") == {"value_text": "<redacted>"}


def test_a_lake_that_cannot_be_written_costs_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    callback = LDECallback(tmp_path / "file" / "lake")
    with pytest.warns(RecordingWarning, match="not completely in the lake|cannot be written now"):
        _, recorded = fit(tmp_path, callback)
    _, plain = fit(tmp_path, None)
    assert torch.equal(recorded.net[0].weight, plain.net[0].weight)


def test_the_callback_is_cheap_to_make_and_can_be_copied(lake_path: Path) -> None:
    callback = LDECallback(lake_path, project="p", storage_options={})
    assert not lake_path.exists()
    for twin in (pickle.loads(pickle.dumps(callback)), copy.deepcopy(callback)):
        assert twin._options.identity == callback._options.identity
        assert twin.run_id is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"artifacts": "some"},
        {"on_error": "ignore"},
        *({"flush_every_s": odd} for odd in (0, -1, 1e9, float("nan"), "5")),
    ],
)
def test_wrong_settings_are_named(lake_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        LDECallback(lake_path, **wrong)


def test_secrets_in_names_and_tags_stay_out(tmp_path: Path, lake_path: Path) -> None:
    token = "hf_abcdefghijklmnopqrstuvwxyz12"
    callback = LDECallback(
        lake_path, project=token, experiment=token, name=token, tags={"api_key": "hunter2", "url": "https://u:pw9@host"}
    )
    fit(tmp_path, callback)
    stored = b"".join(
        path.read_bytes() for path in lake_path.rglob("*") if path.is_file() and "objects" not in path.parts
    )
    for secret in (token.encode(), b"hunter2", b"pw9"):
        assert secret not in stored
    assert not any(token in str(path) for path in lake_path.rglob("*"))


def test_same_name_in_training_and_validation_without_a_logger(
    tmp_path: Path, lake_path: Path, callback: LDECallback
) -> None:
    class Same(Net):
        def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
            self.log("acc", 1.0)
            return self._loss(batch)

        def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
            self.log("acc", 2.0)

    trainer(tmp_path, callback, logger=False).fit(Same(), loader(), loader(shuffle=False))
    rows = Lake(lake_path).sql("select context, value from metrics").to_pylist()
    assert {(row["context"], row["value"]) for row in rows} <= {("val", 2.0), ("train", 1.0)}
    assert [row["value"] for row in rows if row["context"] == "val"] == [2.0, 2.0]


def test_loaders_are_told_apart_by_number(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    class Two(Net):
        def validation_step(self, batch: list[torch.Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
            self.log("val/loss", float(dataloader_idx))

    trainer(tmp_path, callback, max_epochs=1).fit(Two(), loader(), [loader(shuffle=False), loader(shuffle=False)])
    rows = Lake(lake_path).sql("select name, dataloader_idx, value from metrics where context = 'val' order by value")
    assert rows.to_pylist() == [
        {"name": "val/loss", "dataloader_idx": 0, "value": 0.0},
        {"name": "val/loss", "dataloader_idx": 1, "value": 1.0},
    ]


class Chatty(Net):
    """Does with every logger what works with its own."""

    def on_train_epoch_end(self) -> None:
        for logger in self.loggers:
            logger.log_metrics({"note": 1.0}, step=0)
            logger.experiment.log_metrics({"x": 1.0})
            assert logger.log_dir
            if type(logger).__name__ != "CSVLogger":
                logger.log_image("x")  # type: ignore[attr-defined]
                logger.log_metrics({"text": "abc"}, step=0)  # type: ignore[dict-item]


def test_user_code_that_talks_to_all_loggers_goes_on(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    trainer(tmp_path, callback, max_epochs=1).fit(Chatty(), loader())
    assert one(lake_path, "select status from runs") == {"status": "finished"}
    assert "'text'" in one(lake_path, "select message from events")["message"]


def test_warnings_that_are_errors_end_no_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    callback = LDECallback(tmp_path / "file" / "lake")
    fit(tmp_path, callback)
    assert "not completely in the lake" in caplog.text
    with pytest.raises(RuntimeError, match="the user's"):
        trainer(tmp_path, LDECallback(tmp_path / "file" / "lake"), Raising(RuntimeError("the user's"))).fit(
            Net(), loader()
        )


class Unprintable(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise ValueError("no words")


def test_an_exception_without_words_closes_the_run(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    made = trainer(tmp_path, callback, Raising(Unprintable()))
    with pytest.raises(Unprintable):
        made.fit(Net(), loader())
    assert one(lake_path, "select status, exception from runs") == {"status": "failed", "exception": "Unprintable"}
    assert len(made.loggers) == 1


def test_a_failed_fit_keeps_its_checkpoints(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    saving = pl.callbacks.ModelCheckpoint(every_n_train_steps=1, save_top_k=-1)
    with pytest.raises(RuntimeError):
        trainer(tmp_path, callback, saving, Raising(RuntimeError("late"))).fit(Net(), loader())
    assert one(lake_path, "select count(*) as n from artifacts")["n"] >= 2


def test_checkpoints_of_equal_names_do_not_meet(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    savers = [
        pl.callbacks.ModelCheckpoint(tmp_path / part, filename="best", monitor=name, save_weights_only=part == "b")
        for part, name in (("a", "val/loss"), ("b", "train/loss"))
    ]
    trainer(tmp_path, callback, *savers).fit(Net(), loader(), loader(shuffle=False))
    for part in "ab":
        stored = Lake(lake_path).read_artifact("n", f"checkpoints/{part}/best.ckpt")
        assert stored == (tmp_path / part / "best.ckpt").read_bytes()


def test_validation_data_are_described_whenever_validation_comes(
    tmp_path: Path, lake_path: Path, callback: LDECallback
) -> None:
    fit(tmp_path, callback, check_val_every_n_epoch=2, num_sanity_val_steps=0)
    assert one(lake_path, "select count(distinct target_id) as n from links where relation = 'validated_on'") == {
        "n": 1
    }


def test_resuming_is_not_inherited_by_the_next_run(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    made, _ = fit(tmp_path, callback)
    second = LDECallback(lake_path, project="other", name="second", on_error="raise")
    path = made.checkpoint_callback.best_model_path  # type: ignore[union-attr]
    trainer(tmp_path, second, max_epochs=3).fit(Net(), loader(), loader(shuffle=False), ckpt_path=path)
    trainer(tmp_path, second, max_epochs=1).fit(Net(), loader())
    rows = Lake(lake_path).sql("select resumed_from from runs where name = 'second' order by started_at").to_pylist()
    assert [row["resumed_from"] for row in rows] == [callback.run_id, None]


def test_two_lakes_at_once(tmp_path: Path) -> None:
    lakes = [tmp_path / "one", tmp_path / "two"]
    trainer(tmp_path, *(LDECallback(lake, on_error="raise") for lake in lakes), max_epochs=1).fit(Net(), loader())
    assert [Lake(lake).sql("select status from runs").to_pylist() for lake in lakes] == [[{"status": "finished"}]] * 2


def test_settings_of_a_datamodule_are_recorded(tmp_path: Path, lake_path: Path, callback: LDECallback) -> None:
    class Data(pl.LightningDataModule):
        def __init__(self, augment: str = "flip") -> None:
            super().__init__()
            self.save_hyperparameters()

        def train_dataloader(self) -> DataLoader[Any]:
            return loader()

    trainer(tmp_path, callback, max_epochs=1).fit(Net(), datamodule=Data())
    assert one(lake_path, "select value_text from params where key = 'datamodule.augment'") == {"value_text": "flip"}


def test_a_step_that_returns_something_else_called_episodes(tmp_path: Path, callback: LDECallback) -> None:
    class Other(Net):
        def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> dict[str, int]:  # type: ignore[override]
            return {"episodes": 3}

    trainer(tmp_path, callback, max_epochs=1).fit(Other(), loader(), loader(shuffle=False))


def test_the_working_directory_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Moving(pl.Callback):
        def on_train_start(self, *_: Any) -> None:
            (tmp_path / "elsewhere").mkdir()
            monkeypatch.chdir(tmp_path / "elsewhere")

    monkeypatch.chdir(tmp_path)
    trainer(tmp_path, LDECallback("lake", on_error="raise"), Moving(), max_epochs=1).fit(Net(), loader())
    assert Lake(tmp_path / "lake").sql("select status from runs").to_pylist() == [{"status": "finished"}]
    assert not (tmp_path / "elsewhere" / "lake").exists()


@pytest.mark.s3
def test_a_run_on_s3(tmp_path: Path, bucket_url: str, s3_server: Any) -> None:
    callback = LDECallback(bucket_url, project="p", storage_options=s3_server.options, on_error="raise")
    made, _ = fit(tmp_path, callback)
    lake = Lake(bucket_url, s3_server.options)
    assert lake.sql("select status from runs").to_pylist() == [{"status": "finished"}]
    assert lake.sql("select count(*) as n from metrics where name = 'train/loss'").to_pylist() == [{"n": 12}]
    best = Path(made.checkpoint_callback.best_model_path)  # type: ignore[union-attr]
    assert lake.read_artifact(callback.run_id or "", f"checkpoints/{best.name}") == best.read_bytes()
