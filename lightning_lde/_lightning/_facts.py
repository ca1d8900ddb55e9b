"""Describes a Trainer's run to a recorder: code, environment, pipeline, data, weights, checkpoints."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_utilities.core.rank_zero import rank_zero_info

from lightning_lde import capture
from lightning_lde._lightning import _trainer
from lightning_lde._lightning._weights import FirstWeights
from lightning_lde.recording import (
    Recorder,
    describe_process,
    episode_rows,
    keep_manifest,
    link_run,
    words_of,
)
from lightning_lde.schema import MOST_SAMPLES, DatasetConfig, Pipeline, PipelineConfig, Relation, content_id

if TYPE_CHECKING:
    import pytorch_lightning as pl

_ROLES = {
    "train": Relation.TRAINED_ON,
    "val": Relation.VALIDATED_ON,
    "test": Relation.EVALUATED_ON,
    "predict": Relation.EVALUATED_ON,
}

WEIGHTS_TIMEOUT_S = 60.0
_SHORTEST_PATIENCE_S, _LONGEST_PATIENCE_S = 20.0, 600.0
_INTERRUPTED_PATIENCE_S = 2.0
_SILENT_S = 2.0

_EPISODE_COLUMNS = ("method", "index", "classes", "inner_steps", "loss", "accuracy", "ways", "shots", "queries")


class Settings(NamedTuple):
    """A module and how it is trained."""

    pipeline: Pipeline
    config: PipelineConfig
    made_with: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """Equal for trainings that may be one run: class, hyper-parameters and seed, but not how long they go on."""
        seed = capture.capture_seeds().get("PL_GLOBAL_SEED")
        facts = {"module_class": self.pipeline.module_class, "hparams": self.made_with, "seed": seed}
        return content_id("runs", facts)


def settings_of(trainer: pl.Trainer, module: pl.LightningModule) -> Settings:
    """Describe a module and its settings."""
    pipeline = capture.describe_pipeline(module)
    return Settings(
        pipeline,
        capture.describe_pipeline_config(module, trainer, pipeline=pipeline),
        # `datamodule` is no attribute of every Trainer.
        capture.constructor_hparams(module, getattr(trainer, "datamodule", None)),
    )


class RunFacts:
    """The facts of one segment.

    Args:
        recorder: Where they go; its segment is open.
        data_fingerprint: ``"cheap"`` reads a sample of what is large, ``"exact"`` all of it.
        data_patience_s: Seconds that the segment's end waits for the data to be read; None for as long as the segment
            took, with ``"exact"`` at most ten minutes, and 20 s at least.
    """

    def __init__(
        self, recorder: Recorder, *, data_fingerprint: str = "cheap", data_patience_s: float | None = None
    ) -> None:
        self._recorder = recorder
        self._began = time.monotonic()
        self._patience_s = data_patience_s
        self._reading = ""
        self.clock = recorder.clock
        self._pace = capture.Pace(fingerprint=data_fingerprint, gently=True, by_sample=True)
        self._data_known: list[threading.Event] = []
        self._loaders: dict[tuple[str, int], object] = {}
        self._configs: dict[tuple[str, int], DatasetConfig] = {}
        # What an earlier segment found out stays.
        self._seeds: dict[str, Any] = dict(recorder.run.seeds.get("loaders", {}))
        self._pipeline: Pipeline | None = None
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
        self._pipeline = settings.pipeline
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

        Here they are only looked at; what they hold is read in the background, in the order of the calls.

        Args:
            role: ``"train"``, ``"val"``, ``"test"`` or ``"predict"``.
            loaders: What the Trainer has for that role, None where there is nothing.
        """
        if loaders is None or (role, 0) in self._loaders:
            return
        for index, (name, loader) in enumerate(capture.loaders_of(loaders)):
            self._loaders[role, index] = getattr(loader, "dataset", None)
            look = capture.look_at_loader(loader)
            describe = functools.partial(self._describe_data, (role, index), name, look)
            self._data_known.append(self._recorder.describe_later(describe))

    def _describe_data(self, place: tuple[str, int], name: str, look: capture.LoaderLook) -> None:
        recorder, role = self._recorder, place[0]
        self._reading = f"{role} data"
        self._pace.begin()
        dataset, config, samples = capture.describe_with_samples(look, self._pace)
        if self._pace.is_hurried:
            words = f"the {role} data was not read to its end, only its structure may be known: {self._pace.reason}"
            recorder.say_once("data", words)
        recorder.record("datasets", dataset)
        if samples is not None:
            keep_manifest(recorder, dataset, samples)
        elif self._pace.exact and (dataset.n_samples or 0) > MOST_SAMPLES:
            most = f"{MOST_SAMPLES // 10**6} million"
            recorder.say_once("data", f"the {role} data has more than {most} samples: no manifest of them is kept")
        recorder.record("dataset_configs", config)
        self._configs[place] = config
        link_run(recorder, _ROLES[role], "dataset_config", config.dataset_config_id)
        facts: dict[str, Any] = {}
        if recorder.run.dataset_config_id is None:
            facts["dataset_config_id"] = config.dataset_config_id
        if look.seeds:
            self._seeds[f"{role}.{name}"] = dict(look.seeds)
            facts["seeds"] = {**recorder.run.seeds, "loaders": dict(self._seeds)}
        if facts:
            recorder.update(**facts)

    def wait_for_data(self, *, interrupted: bool) -> None:
        """Wait until the data is described, before the segment ends; what takes longer is described by its structure.

        Args:
            interrupted: Whether the process was asked to end.
        """
        patience_s = _INTERRUPTED_PATIENCE_S if interrupted else self._data_patience_s()
        deadline = time.monotonic() + patience_s
        reason = "the run was interrupted" if interrupted else "it would have taken too long"
        try:
            done = self._is_data_known(min(time.monotonic() + _SILENT_S, deadline))
            if not done and not interrupted and patience_s > _SILENT_S:
                rank_zero_info(self._waiting_words(patience_s - _SILENT_S))
            done = done or self._is_data_known(deadline)
        except KeyboardInterrupt:
            # It is this that the user does not want to wait for; the end of the segment is still to be written.
            done, reason = False, "waiting was ended by Ctrl-C"
        if not done:
            self._pace.hurry(reason)

    def _data_patience_s(self) -> float:
        if self._patience_s is not None:
            return self._patience_s
        longest = _LONGEST_PATIENCE_S if self._pace.exact else _SHORTEST_PATIENCE_S
        return min(longest, max(_SHORTEST_PATIENCE_S, time.monotonic() - self._began))

    def _is_data_known(self, deadline: float) -> bool:
        return all(known.wait(max(0.0, deadline - time.monotonic())) for known in self._data_known)

    def _waiting_words(self, patience_s: float) -> str:
        waiting = sum(not known.is_set() for known in self._data_known)
        read, expected = self._pace.read_bytes, self._pace.expected_bytes
        progress = f", {_size(read)} of {_size(expected)} read" if expected else ""
        others = f"; then {waiting - 1} more" if waiting > 1 else ""
        return (
            f"LDE: waiting up to {patience_s:.0f} s for the fingerprint of the {self._reading or 'data'}{progress}"
            f"{others}. Ctrl-C skips it, and only its structure is recorded."
        )

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
        # During a fit the weights change from batch to batch; a fingerprint for each would cost too much.
        weights_id = None if trainer.state.fn == "fit" else self._known_weights_id()
        place, run = (role, dataloader_idx), self._recorder.run

        def record() -> None:
            dataset, config = self._loaders.get(place), self._configs.get(place)
            self._recorder.record("episodes", *episode_rows(run, results, dataset, config, weights_id=weights_id))

        if all(known.is_set() for known in self._data_known):
            record()
        else:
            # The rows name the data that they belong to, which is being described: they come after it.
            self._recorder.describe_later(record)
        if trainer.world_size > 1:
            self._recorder.say_once("episodes", "tasks evaluated on ranks other than zero are not recorded")

    def describe_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The weights that a fit ended with."""
        weights_id = None if self._are_sharded(trainer) else capture.weights_fingerprint(module)
        if weights_id is not None:
            self._recorder.update(weights_end_id=weights_id)
            link_run(self._recorder, Relation.PRODUCED, "weights", weights_id)
        if self._pipeline is not None and self._pipeline.n_parameters is None:
            # Lazy parameters have a shape by now; the pipeline is still the one that it was.
            now = capture.describe_pipeline(module)
            row = replace(self._pipeline, n_parameters=now.n_parameters, n_trainable=now.n_trainable)
            self._recorder.record("pipelines", replace(row, recorded_at=now.recorded_at))

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


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
