"""The stores of the ingest benchmark, each fed through the fastest call that its own client offers for live values."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

Rows = list[dict[str, float]]
Feed = Callable[[int, Rows], None]
Finish = Callable[[], object]
PROJECT = "benchmark"


def lde(folder: Path) -> tuple[Feed, Finish]:
    from lightning_lde import Recorder

    run = Recorder(folder / "lake", project=PROJECT)
    run.__enter__()

    def feed(first: int, rows: Rows) -> None:
        for step, values in enumerate(rows, first):
            run.log(values, step=step)

    return feed, lambda: run.__exit__(None, None, None)


def csv(folder: Path) -> tuple[Feed, Finish]:
    from pytorch_lightning.loggers import CSVLogger

    logger = CSVLogger(folder, flush_logs_every_n_steps=100)

    def feed(first: int, rows: Rows) -> None:
        for step, values in enumerate(rows, first):
            logger.log_metrics(values, step)
            if step % 100 == 99:
                logger.save()

    return feed, lambda: logger.finalize("success")


def tensorboard(folder: Path) -> tuple[Feed, Finish]:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(folder)

    def feed(first: int, rows: Rows) -> None:
        for step, values in enumerate(rows, first):
            for name, value in values.items():
                writer.add_scalar(name, value, step)

    return feed, writer.close


def mlflow(folder: Path) -> tuple[Feed, Finish]:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    run = client.create_run(client.create_experiment(PROJECT)).info.run_id

    def feed(first: int, rows: Rows) -> None:
        for begin in range(0, len(rows), 100):  # the service takes 1,000 values at most in one call
            now = int(time.time() * 1000)
            batch = enumerate(rows[begin : begin + 100], first + begin)
            client.log_batch(run, [Metric(name, v, now, step) for step, row in batch for name, v in row.items()])

    return feed, lambda: client.set_terminated(run)


def wandb(folder: Path) -> tuple[Feed, Finish]:
    import wandb

    run = wandb.init(project=PROJECT, dir=folder, mode="offline")

    def feed(first: int, rows: Rows) -> None:
        for step, values in enumerate(rows, first):
            run.log(values, step=step)

    return feed, run.finish


def trackio(_: Path) -> tuple[Feed, Finish]:
    import trackio

    run = trackio.init(project=PROJECT)

    def feed(first: int, rows: Rows) -> None:
        for step, values in enumerate(rows, first):
            run.log(values, step=step)

    return feed, trackio.finish


def trackio_bulk(_: Path) -> tuple[Feed, Finish]:
    from trackio.sqlite_storage import SQLiteStorage

    SQLiteStorage.init_db(PROJECT)

    def feed(first: int, rows: Rows) -> None:
        SQLiteStorage.bulk_log(PROJECT, "run", rows, steps=list(range(first, first + len(rows))))

    return feed, lambda: None


def aim(folder: Path) -> tuple[Feed, Finish]:
    from aim import Run

    run = Run(repo=str(folder), experiment=PROJECT)

    def feed(first: int, rows: Rows) -> None:
        for step, values in enumerate(rows, first):
            for name, value in values.items():
                run.track(value, name=name, step=step)

    return feed, run.close


STORES: dict[str, Callable[[Path], tuple[Feed, Finish]]] = {
    "lde": lde,
    "csv": csv,
    "tensorboard": tensorboard,
    "mlflow": mlflow,
    "wandb": wandb,
    "trackio": trackio,
    "trackio-bulk": trackio_bulk,
    "aim": aim,
}
