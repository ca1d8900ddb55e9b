"""Pretrains a classifier on one data set's training classes and tests its features on tasks of unseen classes.

python tasks/pretrain.py ./lake --dataset greek
"""

from __future__ import annotations

from pathlib import Path

import click
import pytorch_lightning as pl

from lightning_lde import LDECallback
from lightning_lde.cli import run_command
from lightning_lde.fewshot import (
    ClassificationSplit,
    Conv4,
    Episodes,
    Pretraining,
    classification_loader,
    episode_loader,
)
from lightning_lde.study import StudySettings, study_datasets


@click.command()
@click.argument("lake", envvar="LDE_URI")
@click.option("--project", default="pretraining", show_default=True, help="Project in the lake.")
@click.option("--dataset", default="greek", show_default=True, help="Name of the data set.")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of Parquet packs.")
@click.option("--ways", default=5, show_default=True, help="Classes of a test task.")
@click.option("--shots", default=1, show_default=True, help="Support images per class.")
@click.option("--queries", default=15, show_default=True, help="Query images per class.")
@click.option("--width", default=32, show_default=True, help="Filters of each layer of Conv4.")
@click.option("--epochs", default=20, show_default=True, help="Passes over the training images.")
@click.option("--batch", default=64, show_default=True, help="Images per step.")
@click.option("--lr", default=3e-3, show_default=True, help="Learning rate of Adam.")
@click.option("--test-tasks", default=200, show_default=True, help="Tasks of unseen classes.")
@click.option("--seed", default=0, show_default=True, help="Seed of weights and batches.")
def main(
    lake: str,
    project: str,
    dataset: str,
    data: Path | None,
    ways: int,
    shots: int,
    queries: int,
    width: int,
    epochs: int,
    batch: int,
    lr: float,
    test_tasks: int,
    seed: int,
) -> None:
    """Pretrain on one data set and test the features, recorded in LAKE."""
    (images,), settings = study_datasets(data, StudySettings(ways=ways), names=[dataset])
    pl.seed_everything(seed, workers=True)
    train = ClassificationSplit(images, split="train")
    test = Episodes(
        images,
        split="test",
        ways=ways,
        shots=shots,
        queries=queries,
        n_episodes=test_tasks,
        seed=settings.test_seed,
    )
    backbone = Conv4(settings.channels, width, settings.image_size, norm_statistics="running")
    model = Pretraining(backbone, n_classes=train.n_classes, lr=lr)
    trainer = pl.Trainer(max_epochs=epochs, callbacks=[LDECallback(lake, project=project)], log_every_n_steps=1)
    trainer.fit(model, classification_loader(train, batch, seed=seed))
    trainer.test(model, episode_loader(test, 4))


if __name__ == "__main__":
    run_command(main)
