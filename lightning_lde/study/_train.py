"""Trains and evaluates one cell of a study, recorded by the callback."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.warnings import PossibleUserWarning
from torch.utils.data import DataLoader

from lightning_lde.callback import LDECallback
from lightning_lde.errors import LDEError
from lightning_lde.fewshot import (
    MAML,
    ClassificationSplit,
    Conv4,
    Episodes,
    FewShotDataset,
    Pretraining,
    classification_loader,
    episode_loader,
)
from lightning_lde.query import Lake
from lightning_lde.recording import Recorder
from lightning_lde.schema import RunStatus
from lightning_lde.study._cells import Cell
from lightning_lde.study._settings import StudySettings


def train_cell(
    cell: Cell,
    dataset: FewShotDataset,
    settings: StudySettings,
    *,
    lake: str,
    project: str,
    storage_options: Mapping[str, Any] | None = None,
) -> str:
    """Train a cell's model, evaluate it on the study's episodes, and record both as one run.

    Args:
        cell: What to train.
        dataset: The data set, prepared to the settings' size and channels.
        settings: The study's numbers.
        lake: The lake's address.
        project: The project in the lake.
        storage_options: fsspec's options for the lake.

    Returns:
        The run's id.

    Raises:
        Exception: Whatever went wrong; the lake has a failed run that says it.
    """
    identity = _identity(cell, settings)
    callback = LDECallback(lake, project=project, storage_options=storage_options, on_error="raise", **identity)
    try:
        with _seeding:
            pl.seed_everything(cell.seed, workers=True, verbose=False)
            module = make_module(cell.algorithm, dataset, settings)
        test = episode_loader(evaluation_episodes(dataset, settings), settings.meta_batch)
        with quiet_trainer(callback, max_steps=_steps(cell.algorithm, settings)) as trainer:
            trainer.fit(module, training_loader(cell.algorithm, dataset, settings, seed=cell.seed))
            trainer.test(module, test, verbose=False)
    except Exception as error:
        if not _has_failed(callback.run_id, Lake(lake, storage_options)):
            record_failure(cell, settings, error, lake=lake, project=project, storage_options=storage_options)
        raise
    return str(callback.run_id)


def record_failure(
    cell: Cell,
    settings: StudySettings,
    error: Exception,
    *,
    lake: str,
    project: str,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Leave a failed run in the lake for a cell that failed before its run began, or whose process died.

    Args:
        cell: The cell.
        settings: The study's numbers.
        error: Why.
        lake: The lake's address.
        project: The project in the lake.
        storage_options: fsspec's options for the lake.
    """
    recorder = Recorder(lake, project=project, storage_options=storage_options, **_identity(cell, settings))
    with contextlib.suppress(type(error)), recorder as run:
        run.update(seed=cell.seed)
        raise error


def _has_failed(run_id: str | None, lake: Lake) -> bool:
    """Whether the lake knows that a run failed; where training fails before its first hook there is none."""
    if run_id is None:
        return False
    try:
        rows = lake.sql("select status from runs where run_id = ?", [run_id]).to_pylist()
    except (LDEError, OSError):
        return False
    return [row["status"] for row in rows] == [RunStatus.FAILED]


def evaluation_episodes(dataset: FewShotDataset, settings: StudySettings) -> Episodes:
    """The tasks of unseen classes on which all methods and seeds are judged."""
    return Episodes(
        dataset,
        split="test",
        ways=settings.ways,
        shots=settings.shots,
        queries=settings.queries,
        n_episodes=settings.test_episodes,
        seed=settings.test_seed,
    )


def make_module(algorithm: str, dataset: FewShotDataset, settings: StudySettings) -> pl.LightningModule:
    """The module of an algorithm; all of them share the architecture."""
    running = algorithm == "pretraining"
    backbone = Conv4(
        settings.channels,
        settings.width,
        settings.image_size,
        norm_statistics="running" if running else "batch",
    )
    if running:
        return Pretraining(backbone, n_classes=dataset.split("train").n_classes, lr=settings.pretraining_lr)
    return MAML(
        backbone,
        ways=settings.ways,
        inner_lr=settings.inner_lr,
        inner_steps=settings.inner_steps,
        first_order=algorithm == "maml-first-order",
        outer_lr=settings.outer_lr,
        eval_inner_steps=settings.eval_inner_steps,
    )


def training_loader(algorithm: str, dataset: FewShotDataset, settings: StudySettings, *, seed: int) -> DataLoader[Any]:
    """Training batches: images for pretraining, episodes for MAML."""
    if algorithm == "pretraining":
        return image_loader(dataset, settings, steps=settings.pretraining_steps, seed=seed)
    episodes = Episodes(
        dataset,
        split="train",
        ways=settings.ways,
        shots=settings.shots,
        queries=settings.queries,
        n_episodes=settings.meta_steps * settings.meta_batch,
        seed=seed,
    )
    return episode_loader(episodes, settings.meta_batch)


def image_loader(dataset: FewShotDataset, settings: StudySettings, *, steps: int, seed: int) -> DataLoader[Any]:
    """Batches of labelled training images for a number of steps, drawn with replacement."""
    images = ClassificationSplit(dataset, split="train")
    return classification_loader(images, settings.pretraining_batch, steps=steps, seed=seed)


@contextmanager
def quiet_trainer(callback: LDECallback, *, max_steps: int) -> Iterator[pl.Trainer]:
    """A Trainer on the CPU that keeps one checkpoint in a folder of its own and prints nothing.

    A study shows one progress bar over its cells; a bar for each training would hide it.
    """
    with tempfile.TemporaryDirectory() as folder, _silence:
        yield pl.Trainer(
            accelerator="cpu",
            devices=1,
            max_steps=max_steps,
            max_epochs=-1,
            callbacks=[callback],
            default_root_dir=folder,
            logger=pl.loggers.CSVLogger(folder),
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
        )


class _Silence:
    """Keeps Lightning's advice off the terminal while any training of this process is at work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entered = 0
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._entered += 1
            if self._entered > 1:
                return
            # Filters belong to the process: threads that each put back what they found would leave a mixture.
            self._undo.enter_context(warnings.catch_warnings())
            # Advice for long trainings (more workers, a validation loop) does not fit thousands of short ones.
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*", FutureWarning)
            for logger in (logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch")):
                self._undo.callback(logger.setLevel, logger.level)
                logger.setLevel(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._entered -= 1
            if not self._entered:
                self._undo.close()


_silence = _Silence()
_seeding = threading.Lock()


def _identity(cell: Cell, settings: StudySettings) -> dict[str, Any]:
    tags = {
        "cell": cell.cell_id,
        "algorithm": cell.algorithm,
        "dataset": cell.dataset,
        "settings": settings.settings_id,
    }
    return {"experiment": "study", "name": cell.label, "tags": tags}


def _steps(algorithm: str, settings: StudySettings) -> int:
    return settings.pretraining_steps if algorithm == "pretraining" else settings.meta_steps
