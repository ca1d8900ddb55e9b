"""Variability of real trainings on real data: what was planted to matter gets the variance, and nothing else does."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Subset, TensorDataset

from lightning_lde import Lake, LDECallback, Recorder
from lightning_lde.capture import describe_loader, describe_pipeline, weights_fingerprint
from lightning_lde.schema import PipelineConfig, content_id, utc_now
from lightning_lde.statistics import VarianceComponent
from lightning_lde.study import RepetitionGroup, analyse_variability

Indices = npt.NDArray[np.int64]


class Net(torch.nn.Module):
    """A small network for vectors."""

    def __init__(self, inputs: int, classes: int, width: int = 12) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(inputs, width), torch.nn.Tanh(), torch.nn.Linear(width, classes)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    bunch = load_digits()
    return torch.tensor(bunch.data / 16, dtype=torch.float32), torch.tensor(bunch.target)


def pack(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    path = Path(os.environ.get("LDE_DATA_DIR") or beside) / f"{name}.parquet"
    if not path.is_file():
        pytest.skip(f"no data pack {name}: set LDE_DATA_DIR or put the packs at ../shared/data")
    table = pq.read_table(path, columns=["image", "label"])
    pixels = np.frombuffer(b"".join(table.column("image").to_pylist()), dtype=np.uint8)
    images = torch.tensor(pixels.reshape(table.num_rows, -1) / 255, dtype=torch.float32)
    # Without this the small network learns nothing on some of them, and no split can matter.
    images -= images.mean(dim=0)
    return images, torch.tensor(table.column("label").to_numpy().astype(np.int64))


def splits(labels: torch.Tensor, sizes: Sequence[int]) -> list[tuple[Indices, Indices]]:
    """Training and test rows; the test rows are the same for all."""
    order = np.random.default_rng(0).permutation(labels.numel())
    test, rest = order[:500], order[500:]
    return [(np.random.default_rng(number).permutation(rest)[:size], test) for number, size in enumerate(sizes)]


def record_training(
    lake: Path, data: tuple[torch.Tensor, torch.Tensor], train: Indices, test: Indices, *, seed: int, steps: int
) -> None:
    """Train a network by hand and record it as a program without Lightning would."""
    torch.manual_seed(seed)
    net = Net(data[0].shape[1], int(data[1].max()) + 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    pipeline = describe_pipeline(net)
    settings = {"pipeline_id": pipeline.pipeline_id, "hparams": {"lr": 0.02, "steps": steps}}
    config = PipelineConfig(
        pipeline_config_id=content_id("pipeline_configs", settings), recorded_at=utc_now(), **settings
    )
    dataset, use = describe_loader(DataLoader(Subset(TensorDataset(*data), train.tolist()), batch_size=len(train)))
    with Recorder(lake, project="real", system_metrics_every_s=None) as run:
        run.record("pipelines", pipeline)
        run.record("pipeline_configs", config)
        run.record("datasets", dataset)
        run.record("dataset_configs", use)
        for step in range(steps):
            loss = torch.nn.functional.cross_entropy(net(data[0][train]), data[1][train])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log({"train/loss": loss.detach()}, step=step, context="train")
        with torch.no_grad():
            scores = net(data[0][test])
            loss = torch.nn.functional.cross_entropy(scores, data[1][test])
        accuracy = (scores.argmax(1) == data[1][test]).float().mean()
        run.log({"test/accuracy": accuracy, "test/loss": loss}, step=steps, context="test")
        run.update(dataset_config_id=use.dataset_config_id, pipeline_config_id=config.pipeline_config_id)
        run.update(weights_end_id=weights_fingerprint(net))
        # The seed of this run, and not the one that the process was started with.
        run.describe_later(lambda: run.update(seed=seed))


def trained(
    lake: Path, data: tuple[torch.Tensor, torch.Tensor], sizes: Sequence[int], *, steps: int, n_seeds: int = 5
) -> RepetitionGroup:
    for (train, test), seed in itertools.product(splits(data[1], sizes), range(n_seeds)):
        record_training(lake, data, train, test, seed=seed, steps=steps)
    analysis = analyse_variability(Lake(lake), project="real", metric="test/accuracy", difference=0.02)
    (group,) = analysis.groups
    assert len(group.runs) == len(sizes) * n_seeds
    assert len(group.cells) == len(group.runs)
    assert analysis.duplicates == ()
    return group


def components(group: RepetitionGroup) -> dict[str, VarianceComponent]:
    assert group.decomposition is not None
    return {one.name: one for one in group.decomposition.estimated}


def two_way(group: RepetitionGroup) -> tuple[float, float]:
    """The analysis of variance of a full table: mean squares of the split and of what is left, by hand."""
    table: dict[str, list[float]] = {}
    for run in sorted(group.runs, key=lambda run: run.facts["seed"]):
        table.setdefault(run.facts["dataset_config"], []).append(run.value)
    values = np.array(list(table.values()))
    rest = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    a, b = values.shape
    return b * float(values.mean(axis=1).var(ddof=1)), float((rest**2).sum()) / ((a - 1) * (b - 1))


@pytest.mark.slow
def test_a_split_that_matters_gets_the_variance(lake_path: Path) -> None:
    # Planted: the splits differ in how much they leave to train on.
    group = trained(lake_path, digits(), [30, 60, 120, 300, 700, 1200], steps=60)
    split = components(group)["dataset_config"]
    assert split.share > 0.8
    assert split.share_low > 0.5
    of_split, rest = two_way(group)
    assert group.decomposition is not None
    assert group.decomposition.residual.variance == pytest.approx(rest, rel=0.25)
    assert split.variance == pytest.approx((of_split - rest) / 5, rel=0.1)
    reasons = {one.name: one.reason for one in group.decomposition.components}
    assert reasons["environment"] == "one level"


@pytest.mark.slow
def test_where_splits_are_alike_the_training_gets_the_variance(lake_path: Path) -> None:
    # The same amount of data in each split, and a training so short that the first weights decide.
    group = trained(lake_path, digits(), [1000] * 6, steps=8)
    found = components(group)
    assert found["dataset_config"].share < 0.3
    assert group.seeds is not None
    assert group.seeds.low > 0.005
    assert group.required is not None
    assert group.required > 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "sign_digits", "fsdd_mel"])
def test_the_planted_split_is_found_on_data_packs(lake_path: Path, name: str) -> None:
    planted = components(trained(lake_path / "planted", pack(name), [40, 80, 160, 320, 640, 1280], steps=60))
    alike = components(trained(lake_path / "alike", pack(name), [1000] * 6, steps=60))
    assert planted["dataset_config"].share > 0.8
    assert planted["dataset_config"].share_low > alike["dataset_config"].share
    assert planted["dataset_config"].variance_low > alike["dataset_config"].variance_high


class LitNet(pl.LightningModule):
    """The same network, trained by Lightning."""

    def __init__(self, lr: float = 0.02) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = Net(64, 10)

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def test_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        scores = self.net(batch[0])
        self.log("test/accuracy", (scores.argmax(1) == batch[1]).float().mean())
        self.log("test/loss", torch.nn.functional.cross_entropy(scores, batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])


@pytest.mark.slow
def test_trainings_of_lightning_group_themselves(lake_path: Path, tmp_path: Path) -> None:
    data = TensorDataset(*digits())
    for (train, test), seed in itertools.product(splits(data.tensors[1], [40, 200, 1200]), range(3)):
        pl.seed_everything(seed)
        trainer = pl.Trainer(
            max_epochs=3, accelerator="cpu", callbacks=[LDECallback(lake_path, project="real", artifacts="none")],
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
            default_root_dir=tmp_path, logger=CSVLogger(tmp_path), log_every_n_steps=1,
        )  # fmt: skip
        model = LitNet()
        trainer.fit(model, DataLoader(Subset(data, train.tolist()), batch_size=20, shuffle=True))
        trainer.test(model, DataLoader(Subset(data, test.tolist()), batch_size=500), verbose=False)
    analysis = analyse_variability(Lake(lake_path), project="real", metric="test/accuracy")
    (group,) = analysis.groups
    assert (len(group.runs), len(group.cells), analysis.n_single) == (9, 9, 0)
    assert {run.facts["seed"] for run in group.runs} == {"0", "1", "2"}
    assert len({run.facts["dataset_config"] for run in group.runs}) == 3
    assert components(group)["dataset_config"].share > 0.8
    assert analysis.duplicates == ()
