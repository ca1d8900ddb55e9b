"""Trains and evaluates one cell of a study, recorded by the callback."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.warnings import PossibleUserWarning
from torch.utils.data import DataLoader, RandomSampler

from lightning_lde.callback import LDECallback
from lightning_lde.fewshot import MAML, ClassificationSplit, Conv4, Episodes, FewShotDataset, Pretraining
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
    """
    callback = LDECallback(
        lake,
        project=project,
        experiment="study",
        name=cell.label,
        tags={
            "cell": cell.cell_id,
            "algorithm": cell.algorithm,
            "dataset": cell.dataset,
            "settings": settings.settings_id,
        },
        storage_options=storage_options,
        on_error="raise",
    )
    pl.seed_everything(cell.seed, workers=True, verbose=False)
    module = make_module(cell.algorithm, dataset, settings)
    test = Episodes(
        dataset,
        split="test",
        ways=settings.ways,
        shots=settings.shots,
        queries=settings.queries,
        n_episodes=settings.test_episodes,
        seed=settings.test_seed,
    )
    with quiet_trainer(callback, max_steps=_steps(cell.algorithm, settings)) as trainer:
        trainer.fit(module, training_loader(cell.algorithm, dataset, settings, seed=cell.seed))
        trainer.test(module, DataLoader(test, batch_size=settings.meta_batch), verbose=False)
    return str(callback.run_id)


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
    return DataLoader(episodes, batch_size=settings.meta_batch)


def image_loader(dataset: FewShotDataset, settings: StudySettings, *, steps: int, seed: int) -> DataLoader[Any]:
    """Batches of labelled training images for a number of steps, drawn with replacement."""
    images = ClassificationSplit(dataset, split="train")
    sampler = RandomSampler(
        images,
        replacement=True,
        num_samples=steps * settings.pretraining_batch,
        generator=torch.Generator().manual_seed(seed),
    )
    return DataLoader(images, batch_size=settings.pretraining_batch, sampler=sampler)


@contextmanager
def quiet_trainer(callback: LDECallback, *, max_steps: int) -> Iterator[pl.Trainer]:
    """A Trainer on the CPU that keeps one checkpoint in a folder of its own and prints nothing.

    A study shows one progress bar over its cells; a bar for each training would hide it.
    """
    with tempfile.TemporaryDirectory() as folder, _silence():
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


@contextmanager
def _silence() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Advice for long trainings (more workers, a validation loop) does not fit thousands of short ones.
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _steps(algorithm: str, settings: StudySettings) -> int:
    return settings.pretraining_steps if algorithm == "pretraining" else settings.meta_steps
