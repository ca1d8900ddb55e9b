"""The callback in real Trainers: what is logged and warned of, and that the training does not change by a bit."""

from __future__ import annotations

import pickle
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lightning_lde import DiversityCallback, Lake, LDECallback
from lightning_lde.collecting import BatchWatch, Samples
from lightning_lde.diversity import DiversityMonitor, Probe
from lightning_lde.errors import ConfigurationError, DiversityWarning, LDEWarning, RecordingWarning
from lightning_lde.fewshot import Episodes, digits_set, episode_loader

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "error::lightning_lde.errors.LDEWarning")


class Net(pl.LightningModule):
    """Dropout, BatchNorm and random numbers of three kinds make it sensitive to any touch of a random state."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.3), torch.nn.Flatten(),
            torch.nn.Linear(4 * 36, 10),
        )  # fmt: skip

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        chance = 1 + 0.01 * random.random() + 0.01 * np.random.rand()
        batch[0].mul_(0.5)
        loss = chance * torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


def pixels() -> Probe:
    return Probe(torch.nn.Flatten(), name="pixels")


def digits(order: Tensor | None = None, **options: Any) -> DataLoader[Any]:
    from sklearn.datasets import load_digits

    pixels, labels = (torch.from_numpy(one) for one in load_digits(return_X_y=True))
    images = pixels.float().view(-1, 1, 8, 8) / 16
    rows = torch.arange(320) if order is None else order
    return DataLoader(TensorDataset(images[rows], labels[rows]), **{"batch_size": 16, **options})


def rows_of(classes: list[int], each: int) -> Tensor:
    from sklearn.datasets import load_digits

    labels = torch.from_numpy(load_digits().target)
    taken = {digit: iter(torch.nonzero(labels == digit).flatten().tolist()) for digit in range(10)}
    return torch.tensor([next(taken[digit]) for digit in classes for _ in range(each)])


def fit(folder: Path, *callbacks: Any, data: Any = None, module: Any = None, **options: Any) -> pl.Trainer:
    pl.seed_everything(3, workers=True, verbose=False)
    defaults = {
        "max_epochs": 1, "accelerator": "cpu", "devices": 1, "log_every_n_steps": 1, "logger": False,
        "default_root_dir": folder, "enable_progress_bar": False, "enable_model_summary": False,
        "enable_checkpointing": False,
    }  # fmt: skip
    trainer = pl.Trainer(callbacks=list(callbacks), **{**defaults, **options})
    trainer.fit(module or Net(), digits(shuffle=True) if data is None else data)
    return trainer


def random_states() -> list[Any]:
    return [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()]


def test_weights_and_random_states_are_the_same_to_the_bit_with_and_without(tmp_path: Path) -> None:
    found = []
    for callbacks in ([], [DiversityCallback(every_n_batches=4, epochs=2)]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DiversityWarning)
            trainer = fit(tmp_path, *callbacks, max_epochs=2)
        optimizer = trainer.optimizers[0].state_dict()["state"]
        found.append((trainer.lightning_module.state_dict(), optimizer, random_states()))
    (weights, moments, states), (others, other_moments, other_states) = found
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert all(torch.equal(moments[n][name], other_moments[n][name]) for n in moments for name in moments[n])
    assert states == other_states


def test_the_figures_reach_the_lake_beside_the_trainings_own(tmp_path: Path, lake_path: Path) -> None:
    watch = DiversityCallback(every_n_batches=1, probe=pixels(), monitor=DiversityMonitor(images=4, expected=range(10)))
    with pytest.warns(DiversityWarning, match="stopped growing"):
        fit(tmp_path, LDECallback(lake_path, on_error="raise"), watch)
    rows = Lake(lake_path).sql("select name, step, value from metrics where name like 'diversity/%'").to_pylist()
    last = {name: value for name, _, value in sorted((row["name"], row["step"], row["value"]) for row in rows)}
    report = watch.report
    assert report.coefficient is not None
    assert last["diversity/coefficient"] == pytest.approx(report.coefficient.value, rel=1e-6)
    assert last["diversity/coefficient_low"] == pytest.approx(report.coefficient.low, rel=1e-6)
    assert last["diversity/regions"] == len(report.regions) >= 8
    shares = {one.label: one.share for one in report.classes}
    assert {name for name in last if "/share/" in name} == {f"diversity/share/{digit}" for digit in range(10)}
    assert last["diversity/share/3"] == pytest.approx(shares[3], rel=1e-6)
    assert len({row["step"] for row in rows if row["name"] == "diversity/effective"}) > 15
    assert Lake(lake_path).sql("select count(*) as n from metrics where name = 'train/loss'").to_pylist()[0]["n"] == 20


def test_the_warning_comes_once_after_the_plateau_and_names_what_is_missing(tmp_path: Path) -> None:
    planted = [0, 1, 2, 3, 4, 5, 6] * 2
    settings = DiversityMonitor(images=8, expected=range(10))
    watch = DiversityCallback(every_n_batches=1, probe=pixels(), monitor=settings)
    data = digits(rows_of(list(range(7)) + planted, 16))
    with pytest.warns(DiversityWarning) as told:
        fit(tmp_path, watch, data=data, max_epochs=2)
    messages = [str(one.message) for one in told if issubclass(one.category, DiversityWarning)]
    assert len(messages) == 2
    assert "of those that are there, more of" in messages[0]
    assert "3 of 10 expected classes are missing or rare: 7" in messages[1]
    assert watch.report.batches == 21


def test_growing_data_are_not_warned_of(tmp_path: Path) -> None:
    fit(tmp_path, DiversityCallback(every_n_batches=1), data=digits(rows_of(list(range(10)), 16)))


def test_tasks_are_watched_by_their_own_classes() -> None:
    data = digits_set().prepared(size=28, channels=1)
    tasks = Episodes(data, split="train", ways=5, shots=1, queries=5, n_episodes=8)
    watch = BatchWatch()
    for batch in (*episode_loader(tasks, 2), tasks[0]):
        watch.take(batch)
    report = watch.report()
    train = {index for index, part in enumerate(data.class_splits) if part == "train"}
    assert {one.label for one in report.classes} == train
    # The same images come in several tasks.
    assert report.images + report.waiting + report.copies == 9 * 5 * 6
    assert report.copies >= 5 * 6


def test_a_form_of_their_own_is_read_by_a_function_and_else_told_once(tmp_path: Path) -> None:
    class Odd(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return super().training_step([batch["pixels"], batch["digit"]], batch_idx)

    def odd(items: list[Any]) -> dict[str, Tensor]:
        return {"pixels": torch.stack([one[0] for one in items]), "digit": torch.tensor([int(one[1]) for one in items])}

    loader = digits(rows_of(list(range(10)), 16), collate_fn=odd)
    with pytest.warns(RecordingWarning, match="give a function samples=") as told:
        fit(tmp_path, DiversityCallback(every_n_batches=1), module=Odd(), data=loader)
    assert len([one for one in told if issubclass(one.category, LDEWarning)]) == 1
    watch = DiversityCallback(every_n_batches=1, samples=lambda batch: Samples(batch["pixels"], batch["digit"]))
    fit(tmp_path, watch, module=Odd(), data=digits(rows_of(list(range(10)), 16), collate_fn=odd))
    assert len(watch.report.classes) == 10


def test_a_batch_that_is_not_finite_is_left_out_and_the_watch_goes_on(tmp_path: Path) -> None:
    x, y = torch.rand(96, 1, 8, 8), torch.arange(96) // 16
    x[20] = torch.nan
    watch = DiversityCallback(every_n_batches=1)
    with pytest.warns(RecordingWarning, match="nan or infinity"):
        fit(tmp_path, watch, data=DataLoader(TensorDataset(x, y), batch_size=16))
    assert watch.report.batches == 5


def test_a_broken_probe_does_not_end_the_training(tmp_path: Path) -> None:
    def broken(batch: Any) -> Samples:
        raise RuntimeError("out of memory")

    with pytest.warns(RecordingWarning, match="watches no longer"):
        trainer = fit(tmp_path, DiversityCallback(samples=broken))
    assert trainer.global_step == 20


def test_settings_are_checked_and_the_callback_can_be_sent_to_a_process() -> None:
    with pytest.raises(ConfigurationError, match="every_n_batches=0"):
        DiversityCallback(every_n_batches=0)
    assert pickle.loads(pickle.dumps(DiversityCallback(epochs=2)))._epochs == 2
