"""The study's own probe: a network trained on the training classes of all data sets, a run of the lake."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from lightning_lde.callback import LDECallback
from lightning_lde.diversity import Probe
from lightning_lde.fewshot import Conv4, FewShotDataset, Pretraining
from lightning_lde.query import Lake
from lightning_lde.schema import RunStatus, content_id
from lightning_lde.study._settings import StudySettings
from lightning_lde.study._train import image_loader, quiet_trainer

PROBE_NAME = "probe"


def train_probe(
    lake: Lake,
    datasets: Sequence[FewShotDataset],
    settings: StudySettings,
    *,
    project: str,
) -> Probe:
    """The study's probe: a Conv4 trained on the training classes of all data sets together.

    It is a run of the lake like any other. Where the lake holds it already, its checkpoint is loaded.
    """
    union = union_of(datasets)
    cell_id = _cell_id(union, settings)
    pl.seed_everything(settings.probe_seed, workers=True, verbose=False)
    backbone = Conv4(settings.channels, settings.width, settings.image_size, norm_statistics="running")
    run_id = _stored_run(lake, project, cell_id)
    if run_id is None:
        callback = LDECallback(
            lake.url,
            project=project,
            experiment="study",
            name=PROBE_NAME,
            tags={"cell": cell_id, "algorithm": PROBE_NAME},
            storage_options=lake.storage_options,
            on_error="raise",
        )
        module = Pretraining(backbone, n_classes=union.n_classes, lr=settings.pretraining_lr)
        loader = image_loader(union, settings, steps=settings.probe_steps, seed=settings.probe_seed)
        with quiet_trainer(callback, max_steps=settings.probe_steps) as trainer:
            trainer.fit(module, loader)
    else:
        backbone.load_state_dict(_stored_weights(lake, run_id))
    seed = f", seed {settings.probe_seed}" if settings.probe_seed else ""
    return Probe(backbone, name=f"Conv4-{settings.width} trained on {len(datasets)} data sets{seed}")


def union_of(datasets: Iterable[FewShotDataset]) -> FewShotDataset:
    """The training classes of several data sets as one data set."""
    parts = [dataset.split("train") for dataset in datasets]
    offsets = np.cumsum([0, *(part.n_classes for part in parts)])
    classes = tuple(f"{part.name}/{name}" for part in parts for name in part.classes)
    return FewShotDataset(
        name=f"union of {len(parts)} data sets",
        images=torch.cat([part.images for part in parts]),
        labels=torch.cat([part.labels + int(offset) for part, offset in zip(parts, offsets[:-1], strict=True)]),
        classes=classes,
        class_splits=("train",) * len(classes),
    )


def probe_run(lake: Lake, datasets: Sequence[FewShotDataset], settings: StudySettings, *, project: str) -> str | None:
    """The run that trained the study's probe, None where there is none."""
    return _stored_run(lake, project, _cell_id(union_of(datasets), settings))


def _cell_id(union: FewShotDataset, settings: StudySettings) -> str:
    return content_id(
        "cells",
        {
            "probe": union.fingerprint,
            "width": settings.width,
            "steps": settings.probe_steps,
            "batch": settings.pretraining_batch,
            "lr": settings.pretraining_lr,
            "seed": settings.probe_seed,
        },
    )


def _stored_run(lake: Lake, project: str, cell_id: str) -> str | None:
    rows = lake.sql(
        f"""select a.run_id from artifacts a join runs r using (run_id)
            where r.project = ? and r.tags->>'cell' = ? and r.status = '{RunStatus.FINISHED}'
              and a.kind = 'checkpoint' order by r.started_at desc limit 1""",
        [project, cell_id],
    ).to_pylist()
    return rows[0]["run_id"] if rows else None


def _stored_weights(lake: Lake, run_id: str) -> dict[str, Tensor]:
    state = lake.load_checkpoint(run_id, "last")["state_dict"]
    prefix = "backbone."
    return {name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)}
