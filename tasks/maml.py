"""Meta-trains MAML on one data set and tests it on unseen classes; the run goes into a lake.

python tasks/maml.py ./lake --dataset greek
python tasks/maml.py ./lake --dataset omniglot --data PACKS --first-order --steps 2000 --shots 5
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytorch_lightning as pl

from lightning_lde import LDECallback
from lightning_lde.cli import run_command
from lightning_lde.fewshot import MAML, Conv4, Episodes, episode_loader
from lightning_lde.study import StudySettings, study_datasets


@click.command()
@click.argument("lake", envvar="LDE_URI")
@click.option("--project", default="maml", show_default=True, help="Project in the lake.")
@click.option("--dataset", default="greek", show_default=True, help="Name of the data set.")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of Parquet packs.")
@click.option("--first-order", is_flag=True, help="Leave out second derivatives.")
@click.option("--ways", default=5, show_default=True, help="Classes of a task.")
@click.option("--shots", default=1, show_default=True, help="Support images per class.")
@click.option("--queries", default=15, show_default=True, help="Query images per class.")
@click.option("--width", default=32, show_default=True, help="Filters of each layer of Conv4.")
@click.option("--steps", default=200, show_default=True, help="Outer steps.")
@click.option("--tasks", default=4, show_default=True, help="Tasks per outer step.")
@click.option("--inner-lr", default=0.1, show_default=True, help="Step length of the adaptation.")
@click.option("--outer-lr", default=3e-3, show_default=True, help="Learning rate of Adam.")
@click.option("--test-tasks", default=200, show_default=True, help="Tasks of unseen classes.")
@click.option("--seed", default=0, show_default=True, help="Seed of weights and training tasks.")
def main(
    lake: str,
    project: str,
    dataset: str,
    data: Path | None,
    first_order: bool,
    ways: int,
    shots: int,
    queries: int,
    width: int,
    steps: int,
    tasks: int,
    inner_lr: float,
    outer_lr: float,
    test_tasks: int,
    seed: int,
) -> None:
    """Train and test MAML on one data set, recorded in LAKE."""
    (images,), settings = study_datasets(data, StudySettings(ways=ways), names=[dataset])
    pl.seed_everything(seed, workers=True)
    model = MAML(
        Conv4(settings.channels, width, settings.image_size),
        ways=ways,
        inner_lr=inner_lr,
        first_order=first_order,
        outer_lr=outer_lr,
    )
    size: dict[str, Any] = {"ways": ways, "shots": shots, "queries": queries}
    train = Episodes(images, split="train", n_episodes=steps * tasks, seed=seed, **size)
    test = Episodes(images, split="test", n_episodes=test_tasks, seed=settings.test_seed, **size)
    trainer = pl.Trainer(max_epochs=1, callbacks=[LDECallback(lake, project=project)], log_every_n_steps=1)
    trainer.fit(model, episode_loader(train, tasks))
    trainer.test(model, episode_loader(test, tasks))


if __name__ == "__main__":
    run_command(main)
