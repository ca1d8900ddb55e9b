"""The callback: translates Lightning's hooks into calls of a recorder, nothing else."""

from __future__ import annotations

import functools
import os
import sys
import warnings
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytorch_lightning as pl
from pytorch_lightning.utilities.rank_zero import rank_zero_info

from lightning_lde import _trainer, capture
from lightning_lde._sampler import MetricSampler
from lightning_lde._tap import MetricTap
from lightning_lde.errors import ConfigurationError, RecordingWarning
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import Recorder, episode_rows
from lightning_lde.schema import (
    DatasetConfig,
    Link,
    Relation,
    RunStatus,
    utc_now,
)

__all__ = ["LDECallback"]

_Hook = TypeVar("_Hook", bound=Callable[..., None])

_ROLES = {
    "train": Relation.TRAINED_ON,
    "val": Relation.VALIDATED_ON,
    "test": Relation.EVALUATED_ON,
    "predict": Relation.EVALUATED_ON,
}


def _harmless(hook: _Hook) -> _Hook:
    """Make a hook that never ends a training: its errors become one warning."""

    @functools.wraps(hook)
    def guarded(self: LDECallback, *args: Any, **kwargs: Any) -> None:
        try:
            hook(self, *args, **kwargs)
        except Exception as error:
            self._give_up(hook.__name__, error)

    return guarded  # type: ignore[return-value]


class LDECallback(pl.Callback):
    """Records every run of a Trainer into a lake: code, data, model, environment, seeds, metrics, files.

    One callback in one Trainer is one run; each ``fit``, ``validate``, ``test`` and ``predict`` is a
    segment of it. Writing happens in a background thread, and a lake that cannot be reached costs the
    training nothing. Making the callback does no input or output.

    A module whose ``test_step`` or ``validation_step`` returns a dict with the key ``"episodes"``
    (see ``lightning_lde.fewshot.EpisodeResults``) gets one row per evaluated few-shot task.

    Args:
        lake: A folder, ``s3://bucket/prefix``, or any URL that fsspec knows.
        project: The project, a partition of the lake.
        experiment: A group of runs within the project.
        name: A name for people; the id tells runs apart.
        tags: Free words about the run.
        storage_options: fsspec's options for the lake's protocol, for S3 as s3fs spells them.
        artifacts: ``"checkpoints"`` keeps the checkpoints that exist when a segment ends, ``"none"`` keeps no files.
        flush_every_s: Seconds between two writes of the background thread.
        on_error: ``"warn"`` says once what could not be recorded, ``"raise"`` raises.

    Raises:
        ConfigurationError: If ``artifacts`` or ``on_error`` is not one of its words.
        LakeURLError: If the address or the storage options cannot be understood.

    Example::

        trainer = Trainer(callbacks=[LDECallback("./lake", project="digits")])
        trainer.fit(model, datamodule=data)
    """

    def __init__(
        self,
        lake: str | os.PathLike[str],
        *,
        project: str = "default",
        experiment: str | None = None,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        artifacts: str = "checkpoints",
        flush_every_s: float = 5.0,
        on_error: str = "warn",
    ) -> None:
        super().__init__()
        _check_word("artifacts", artifacts, {"checkpoints", "none"})
        _check_word("on_error", on_error, {"warn", "raise"})
        if not flush_every_s > 0:
            raise ConfigurationError(f"flush_every_s is {flush_every_s!r}: give a positive number of seconds")
        self._storage = LakeStorage(lake, storage_options)
        self._identity: dict[str, Any] = {
            "project": project,
            "experiment": experiment,
            "name": name,
            "tags": tags,
        }
        self._artifacts = artifacts
        self._flush_every_s = flush_every_s
        self._on_error = on_error
        self._resumed_from: str | None = None
        self._forget_run()

    def _forget_run(self) -> None:
        self._recorder: Recorder | None = None
        self._trainer_of_run: weakref.ref[pl.Trainer] | None = None
        self._tap: MetricTap | None = None
        self._loader_configs: dict[tuple[str, int], tuple[object, DatasetConfig]] = {}
        self._sampler: MetricSampler | None = None
        self._broken = False

    def __getstate__(self) -> dict[str, Any]:
        # A process that is spawned for training gets the settings; a run, its thread and locks stay here.
        clean = type(self).__new__(type(self))
        clean.__dict__.update(self.__dict__)
        clean._forget_run()
        return clean.__dict__

    @property
    def run_id(self) -> str | None:
        """The id of the run, None before it begins and on ranks other than zero."""
        return None if self._recorder is None else self._recorder.run_id

    # Lightning's hooks, in the order in which they come -----------------------------------------

    @_harmless
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Listen to what goes to the loggers, where there are any."""
        listening = any(not _trainer.is_dummy(logger) for logger in trainer.loggers)
        if listening and trainer.is_global_zero and not _trainer.is_silent(trainer):
            self._tap = MetricTap(functools.partial(self._on_logged, trainer))
            trainer.loggers = [*trainer.loggers, self._tap]

    @_harmless
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open a segment and capture what is known before the first batch."""
        self._open(trainer, pl_module, "fit")

    @_harmless
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Describe the data of training and validation."""
        self._describe_data("train", trainer.train_dataloader)
        self._describe_data("val", trainer.val_dataloaders)

    @_harmless
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open a segment where validation was called for itself."""
        if trainer.state.fn == "validate":
            self._open(trainer, pl_module, "validate")
            self._describe_data("val", trainer.val_dataloaders)
        if sampler := self._sampling(trainer):
            sampler.evaluation_starts(trainer)

    @_harmless
    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open a segment for a test."""
        self._open(trainer, pl_module, "test")
        self._describe_data("test", trainer.test_dataloaders)
        if sampler := self._sampling(trainer):
            sampler.evaluation_starts(trainer)

    @_harmless
    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open a segment for a prediction."""
        self._open(trainer, pl_module, "predict")
        self._describe_data("predict", trainer.predict_dataloaders)

    @_harmless
    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take the rows of evaluated few-shot tasks, if the module returns any."""
        self._take_episodes("val", outputs, dataloader_idx, trainer)

    @_harmless
    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take the rows of evaluated few-shot tasks, if the module returns any."""
        self._take_episodes("test", outputs, dataloader_idx, trainer)

    @_harmless
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sample metrics where no logger carries them."""
        if sampler := self._sampling(trainer):
            sampler.evaluation_ends(trainer)

    @_harmless
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the end of an epoch for the sampling of its metrics."""
        if sampler := self._sampling(trainer):
            sampler.epoch_ends(trainer)

    @_harmless
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sample the metrics of the epoch before."""
        if sampler := self._sampling(trainer):
            sampler.training_goes_on(trainer)

    @_harmless
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sample the metrics of the last epoch."""
        if sampler := self._sampling(trainer):
            sampler.training_goes_on(trainer)

    @_harmless
    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sample metrics where no logger carries them."""
        if sampler := self._sampling(trainer):
            sampler.evaluation_ends(trainer)

    @_harmless
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fingerprint the weights and take the checkpoints, now that the last one is written."""
        if self._recorder is None or not self._recorder.is_open:
            return
        weights_id = capture.weights_fingerprint(pl_module)
        self._recorder.update(weights_end_id=weights_id)
        self._link("run", self._recorder.run_id, Relation.PRODUCED, "weights", weights_id)
        if self._artifacts == "checkpoints":
            self._save_checkpoints(trainer)

    @_harmless
    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the segment of a training that ended well."""
        self._close(trainer, RunStatus.FINISHED, stop_reason=_trainer.stop_reason(trainer))

    @_harmless
    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the segment of a training that did not; Lightning calls no teardown then."""
        interrupted = isinstance(exception, (KeyboardInterrupt, SystemExit)) or _trainer.is_sigterm(exception)
        status = RunStatus.INTERRUPTED if interrupted else RunStatus.FAILED
        text = capture.redact_text(f"{type(exception).__name__}: {exception}")
        if self._recorder is not None and self._recorder.is_open:
            self._recorder.add_event("exception", text, level="warning" if interrupted else "error")
        self._close(trainer, status, exception=text)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the run that wrote it."""
        return {"run_id": self.run_id}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember the run whose checkpoint is resumed."""
        self._resumed_from = state_dict.get("run_id")

    # Opening and closing ------------------------------------------------------------------------

    def _open(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        if _trainer.is_silent(trainer) or not trainer.is_global_zero:
            return
        first = self._trainer_of_run is None or self._trainer_of_run() is not trainer
        if first or self._recorder is None:
            self._trainer_of_run = weakref.ref(trainer)
            self._recorder = Recorder(
                self._storage, flush_every_s=self._flush_every_s, on_error=self._on_error, **self._identity
            )
        self._loader_configs.clear()
        self._sampler = MetricSampler(functools.partial(self._recorder.log_metrics, source="sampled"))
        self._recorder.start_segment(stage)
        self._describe_run(trainer, module)
        if first:
            rank_zero_info(f"LDE: recording run {self._recorder.run_id} to {self._storage.url}")

    def _close(self, trainer: pl.Trainer, status: str, **facts: str | None) -> None:
        if self._tap is not None:
            trainer.loggers = [logger for logger in trainer.loggers if logger is not self._tap]
            self._tap = None
        if self._recorder is None or not self._recorder.is_open:
            return
        self._recorder.finish_segment(status, **facts)
        rank_zero_info(
            f"LDE: run {self._recorder.run_id} {status}: lde show {self._storage.url} {self._recorder.run_id}"
        )

    def _give_up(self, hook: str, error: Exception) -> None:
        # An error in on_exception would replace the user's own.
        if self._on_error == "raise" and hook != "on_exception":
            raise error
        if not self._broken:
            self._broken = True
            message = f"LDECallback.{hook} could not record everything: {type(error).__name__}: {error}"
            warnings.warn(message, RecordingWarning, stacklevel=3)

    # Facts --------------------------------------------------------------------------------------

    def _describe_run(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        environment = capture.capture_environment()
        code = capture.capture_code()
        pipeline = capture.describe_pipeline(module)
        config = capture.describe_pipeline_config(module, trainer)
        weights_id = capture.weights_fingerprint(module)
        seeds = capture.capture_seeds()
        recorder.record("environments", environment)
        recorder.record("code", code)
        recorder.record("pipelines", pipeline)
        recorder.record("pipeline_configs", config)
        recorder.record("params", *capture.flatten_params(config.pipeline_config_id, config.hparams))
        recorder.update(
            environment_id=environment.environment_id,
            code_id=code.code_id,
            # A test after a fit has no optimizers; the run keeps the configuration it began with.
            pipeline_config_id=recorder.run.pipeline_config_id or config.pipeline_config_id,
            seed=seeds.get("PL_GLOBAL_SEED"),
            seeds=seeds,
            world_size=trainer.world_size,
            argv=capture.redact_argv(sys.argv),
        )
        run_id = recorder.run_id
        self._link("run", run_id, Relation.RAN_IN, "environment", environment.environment_id)
        self._link("run", run_id, Relation.RAN_CODE, "code", code.code_id)
        self._link("run", run_id, Relation.USED_PIPELINE, "pipeline_config", config.pipeline_config_id)
        if recorder.run.weights_start_id is None:
            recorder.update(weights_start_id=weights_id)
        if self._resumed_from not in {None, run_id} and recorder.run.resumed_from is None:
            recorder.update(resumed_from=self._resumed_from)
            self._link("run", run_id, Relation.RESUMED_FROM, "run", str(self._resumed_from))

    def _describe_data(self, role: str, loaders: object) -> None:
        recorder = self._recorder
        if recorder is None or not recorder.is_open or loaders is None:
            return
        for index, (_, loader) in enumerate(capture.loaders_of(loaders)):
            dataset, config = capture.describe_loader(loader)
            recorder.record("datasets", dataset)
            recorder.record("dataset_configs", config)
            self._loader_configs[role, index] = (getattr(loader, "dataset", None), config)
            self._link("run", recorder.run_id, _ROLES[role], "dataset_config", config.dataset_config_id)
            if recorder.run.dataset_config_id is None:
                recorder.update(dataset_config_id=config.dataset_config_id)

    def _link(self, source_kind: str, source: str, relation: str, target_kind: str, target: str) -> None:
        if self._recorder is not None:
            link = Link(
                source_kind=source_kind,
                source_id=source,
                relation=relation,
                target_kind=target_kind,
                target_id=target,
                run_id=self._recorder.run_id,
                recorded_at=utc_now(),
            )
            self._recorder.record("links", link)

    def _save_checkpoints(self, trainer: pl.Trainer) -> None:
        if self._recorder is None:
            return
        for path, score in _trainer.checkpoints(trainer).items():
            source = Path(path)
            if source.is_file():
                self._recorder.save_file(source, path=f"checkpoints/{source.name}", kind="checkpoint", score=score)

    # Metrics ------------------------------------------------------------------------------------

    def _on_logged(self, trainer: pl.Trainer, metrics: Mapping[str, float], step: int | None) -> None:
        recorder = self._recorder
        if recorder is None or not recorder.is_open or trainer.sanity_checking:
            return
        values = {name: float(value) for name, value in metrics.items() if name != "epoch"}
        recorder.log_metrics(
            values,
            step=step,
            global_step=trainer.global_step,
            epoch=trainer.current_epoch,
            context=_trainer.context(trainer),
        )

    def _sampling(self, trainer: pl.Trainer) -> MetricSampler | None:
        silent = self._recorder is None or not self._recorder.is_open or trainer.sanity_checking
        return None if silent or self._tap is not None else self._sampler

    def _take_episodes(self, role: str, outputs: Any, dataloader_idx: int, trainer: pl.Trainer) -> None:
        recorder = self._recorder
        if not isinstance(outputs, Mapping) or "episodes" not in outputs:
            return
        if recorder is None or not recorder.is_open or trainer.sanity_checking:
            return
        dataset, config = self._loader_configs.get((role, dataloader_idx), (None, None))
        recorder.record("episodes", *episode_rows(recorder.run, outputs["episodes"], dataset, config))


def _check_word(name: str, value: str, allowed: set[str]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{name} is {value!r}: give one of {', '.join(sorted(allowed))}")
