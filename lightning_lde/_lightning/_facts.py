"""Describes a Trainer's run to a recorder: code, environment, pipeline, data, weights, checkpoints."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_lde import capture
from lightning_lde._lightning import _trainer
from lightning_lde._lightning._weights import FirstWeights
from lightning_lde.recording import Recorder, describe_process, episode_rows, link_run, words_of
from lightning_lde.schema import DatasetConfig, Pipeline, PipelineConfig, Relation, content_id

if TYPE_CHECKING:
    import pytorch_lightning as pl

_ROLES = {
    "train": Relation.TRAINED_ON,
    "val": Relation.VALIDATED_ON,
    "test": Relation.EVALUATED_ON,
    "predict": Relation.EVALUATED_ON,
}

WEIGHTS_TIMEOUT_S = 60.0

_EPISODE_COLUMNS = ("method", "index", "classes", "inner_steps", "loss", "accuracy", "ways", "shots", "queries")


class Settings(NamedTuple):
    """A module and how it is trained."""

    pipeline: Pipeline
    config: PipelineConfig

    @property
    def identity(self) -> str:
        """Equal for trainings that may be one run: class, hyper-parameters and seed, but not how long they go on."""
        seed = capture.capture_seeds().get("PL_GLOBAL_SEED")
        facts = {"module_class": self.pipeline.module_class, "hparams": self.config.hparams, "seed": seed}
        return content_id("runs", facts)


def settings_of(trainer: pl.Trainer, module: pl.LightningModule) -> Settings:
    """Describe a module and its settings."""
    pipeline = capture.describe_pipeline(module)
    return Settings(pipeline, capture.describe_pipeline_config(module, trainer, pipeline=pipeline))


class RunFacts:
    """The facts of one segment.

    Args:
        recorder: Where they go; its segment is open.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.clock = recorder.clock
        self._loaders: dict[tuple[str, int], tuple[object, DatasetConfig]] = {}
        self._weights_id: str | None = None
        self._weights_known = threading.Event()
        self._weights_known.set()
        self._first_weights: FirstWeights | None = None

    def describe_run(
        self, trainer: pl.Trainer, module: pl.LightningModule, settings: Settings, *, resumed_from: str | None
    ) -> None:
        """Code, environment, pipeline, settings, seeds and the weights that the segment starts with.

        What does not change while the training goes on is found out in the background.

        Args:
            trainer: The trainer.
            module: The module.
            settings: Its pipeline and their settings.
            resumed_from: The other run whose checkpoint it goes on from, None where there is none.
        """
        recorder, run, config = self._recorder, self._recorder.run, settings.config
        try:
            self._fingerprint_later(trainer, module)
        except Exception as error:
            recorder.say_once("weights", f"the first weights have no fingerprint: {words_of(error)}")
        recorder.describe_later(functools.partial(describe_process, recorder))
        recorder.record("pipelines", settings.pipeline)
        recorder.record("pipeline_configs", config)
        recorder.record("params", *capture.flatten_params(config.pipeline_config_id, config.hparams))
        recorder.update(
            # A test after a fit has no optimizers; the run keeps the configuration it began with.
            pipeline_config_id=run.pipeline_config_id or config.pipeline_config_id,
            world_size=trainer.world_size,
            resumed_from=resumed_from or run.resumed_from,
        )
        link_run(recorder, Relation.USED_PIPELINE, "pipeline_config", config.pipeline_config_id)
        if resumed_from is not None:
            link_run(recorder, Relation.RESUMED_FROM, "run", resumed_from)

    def weights_will_change(self) -> None:
        """Wait until the weights that the segment starts with are read; they are about to be trained."""
        if self._first_weights is not None:
            self._first_weights.are_read.wait(WEIGHTS_TIMEOUT_S)

    def describe_loaders(self, role: str, loaders: object) -> None:
        """The data sets behind loaders, and how they are used; said once per segment.

        Args:
            role: ``"train"``, ``"val"``, ``"test"`` or ``"predict"``.
            loaders: What the Trainer has for that role, None where there is nothing.
        """
        if loaders is None or (role, 0) in self._loaders:
            return
        for index, (_, loader) in enumerate(capture.loaders_of(loaders)):
            dataset, config = capture.describe_loader(loader)
            self._recorder.record("datasets", dataset)
            self._recorder.record("dataset_configs", config)
            self._loaders[role, index] = (getattr(loader, "dataset", None), config)
            link_run(self._recorder, _ROLES[role], "dataset_config", config.dataset_config_id)
            if self._recorder.run.dataset_config_id is None:
                self._recorder.update(dataset_config_id=config.dataset_config_id)

    def take_episodes(self, trainer: pl.Trainer, role: str, outputs: Any, dataloader_idx: int) -> None:
        """Rows of evaluated few-shot tasks, where a step returned any.

        Args:
            trainer: The trainer.
            role: ``"val"`` or ``"test"``.
            outputs: What the step returned.
            dataloader_idx: The loader's number.
        """
        results = outputs.get("episodes") if isinstance(outputs, Mapping) else None
        if not all(hasattr(results, name) for name in _EPISODE_COLUMNS):
            return
        dataset, config = self._loaders.get((role, dataloader_idx), (None, None))
        # During a fit the weights change from batch to batch; a fingerprint for each would cost too much.
        weights_id = None if trainer.state.fn == "fit" else self._known_weights_id()
        rows = episode_rows(self._recorder.run, results, dataset, config, weights_id=weights_id)
        self._recorder.record("episodes", *rows)
        if trainer.world_size > 1:
            self._recorder.say_once("episodes", "tasks evaluated on ranks other than zero are not recorded")

    def describe_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The weights that a fit ended with."""
        weights_id = None if self._are_sharded(trainer) else capture.weights_fingerprint(module)
        if weights_id is not None:
            self._recorder.update(weights_end_id=weights_id)
            link_run(self._recorder, Relation.PRODUCED, "weights", weights_id)

    def save_checkpoints(self, trainer: pl.Trainer) -> None:
        """The checkpoints of the run that are on the disk now."""
        found = _trainer.checkpoints(trainer, since=self._recorder.run.started_at)
        root = Path(os.path.commonpath([path.parent for path in found])) if found else Path()
        for path, score in found.items():
            if path.is_dir():
                self._recorder.say_once("artifact", f"{path.name} is a folder; sharded checkpoints are not stored")
            else:
                name = f"checkpoints/{path.relative_to(root).as_posix()}"
                self._recorder.save_file(path, path=name, kind="checkpoint", score=score)

    def _fingerprint_later(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self._are_sharded(trainer):
            return
        weights = self._first_weights = FirstWeights(module.state_dict())
        relation = Relation.STARTED_WITH if trainer.state.fn == "fit" else Relation.EVALUATED

        def fingerprint() -> None:
            self._weights_id = weights.fingerprint()
            if self._weights_id is None:
                self._recorder.say_once("weights", "the first weights changed while they were fingerprinted")
                return
            link_run(self._recorder, relation, "weights", self._weights_id)
            if self._recorder.run.weights_start_id is None:
                self._recorder.update(weights_start_id=self._weights_id)

        self._weights_known = self._recorder.describe_later(fingerprint)

    def _known_weights_id(self) -> str | None:
        self._weights_known.wait(WEIGHTS_TIMEOUT_S)
        return self._weights_id

    def _are_sharded(self, trainer: pl.Trainer) -> bool:
        # Gathering the state there needs all ranks; rank zero alone would wait for ever.
        sharded = _trainer.is_sharded(trainer)
        if sharded:
            self._recorder.say_once("weights", "weights are sharded over ranks: they have no fingerprint")
        return sharded
