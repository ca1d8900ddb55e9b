"""Pretraining: that it learns, scores as scikit-learn does, and leaves no trace when it tests."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import normalize
from torch.utils.data import DataLoader

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot import ClassificationSplit, Conv4, Episode, Episodes, FewShotDataset, Pretraining, ProtoNet
from lightning_lde.recording import episode_rows

from .conftest import make_dataset


def small_model(**settings: Any) -> Pretraining:
    torch.manual_seed(0)
    return Pretraining(Conv4(width=8, image_size=16, norm_statistics="running"), n_classes=6, **settings)


@pytest.mark.parametrize("l2", [0.1, 10.0])
def test_scores_are_those_of_a_regression_on_unit_features(l2: float) -> None:
    model = small_model(l2=l2).train()
    for _ in range(3):
        model.backbone(torch.rand(32, 1, 16, 16))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tasks = Episodes(make_dataset(), ways=3, shots=2, queries=4, n_episodes=3)
    results = model.test_step(next(iter(DataLoader(tasks, batch_size=3))))["episodes"]
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert all(module.training for module in model.modules())
    model.eval()
    for place, task in enumerate(tasks):
        with torch.no_grad():
            support, query = (
                normalize(model.backbone(images).double().numpy())
                for images in (task.support_images, task.query_images)
            )
        classifier = LogisticRegression(C=l2, max_iter=1000).fit(support, task.support_labels.numpy())
        truth = task.query_labels.numpy()
        assert results.accuracy[place] == pytest.approx(np.mean(classifier.predict(query) == truth))
        assert results.loss[place] == pytest.approx(log_loss(truth, classifier.predict_proba(query)), rel=1e-4)
    assert results.method == "pretraining+logistic-regression"
    assert results.inner_steps == [None] * 3
    assert (results.index, results.ways, results.shots, results.queries) == ([0, 1, 2], 3, 2, 4)
    assert results.classes[1] == tasks[1].classes.tolist()


def test_each_head_has_rows_and_metrics_of_its_own(trainer: Callable[..., pl.Trainer]) -> None:
    heads = ("nearest-centroid", "logistic-regression", "fine-tuning")
    model = small_model(head=heads, fine_tuning_steps=(0, 3)).double()
    model.backbone(torch.rand(32, 1, 16, 16, dtype=torch.float64))
    tasks = DataLoader(Episodes(make_dataset(), ways=3, shots=2, queries=4, n_episodes=3), batch_size=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    [logged] = trainer(precision="64-true").test(model, tasks, verbose=False)
    labels = ("nearest_centroid", "logistic_regression", "fine_tuning_0_steps", "fine_tuning_3_steps")
    names = {f"test/{what}_{label}" for what in ("loss", "accuracy") for label in labels}
    assert set(logged) == names | {f"{name}_ci95" for name in names}
    model.trainer = None
    results = model.test_step(doubled(next(iter(tasks))))["episodes"]
    assert results.method == [f"pretraining+{heads[place]}" for place in (0, 1, 2, 2)] * 3
    assert results.inner_steps == [None, None, 0, 3] * 3
    assert results.index == [0] * 4 + [1] * 4 + [2] * 4
    rows = episode_rows(SimpleNamespace(run_id="r", segment=0), results, tasks.dataset, None, weights_id=None)
    assert [row.method for row in rows] == results.method
    assert [row.episode_id for row in rows[::4]] == [tasks.dataset.episode_id(index) for index in range(3)]
    assert results.accuracy[::4] == results.accuracy[2::4]
    assert results.loss[::4] == pytest.approx(results.loss[2::4], rel=1e-9)
    assert results.loss[2::4] != results.loss[3::4]
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_")
def test_nearest_centroid_is_scikit_learn_s_and_fine_tuning_is_sgd_on_a_copy() -> None:
    model = small_model(head=("nearest-centroid", "fine-tuning"), fine_tuning_lr=0.3, fine_tuning_steps=(4,)).double()
    for _ in range(3):
        model.backbone(torch.rand(32, 1, 16, 16, dtype=torch.float64))
    tasks = Episodes(make_dataset(), ways=3, shots=2, queries=4, n_episodes=3)
    batch = doubled(next(iter(DataLoader(tasks, batch_size=3))))
    results = model.test_step(batch)["episodes"]
    for place in range(3):
        twin = copy.deepcopy(model.backbone).eval()
        support, query, labels = batch.support_images[place], batch.query_images[place], batch.support_labels[place]
        with torch.no_grad():
            known, asked = (normalize(twin(images).numpy()) for images in (support, query))
        centroids = NearestCentroid().fit(known, labels.numpy())
        right = np.mean(centroids.predict(asked) == batch.query_labels[place].numpy())
        assert results.accuracy[2 * place] == pytest.approx(right)
        head = torch.nn.Linear(8, 3).double()
        with torch.no_grad():
            head.weight.copy_(2 * torch.from_numpy(centroids.centroids_))
            head.bias.copy_(-torch.from_numpy(centroids.centroids_).square().sum(1))
        optimizer = torch.optim.SGD([*twin.parameters(), *head.parameters()], lr=0.3)
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(head(F.normalize(twin(support))), labels).backward()
            optimizer.step()
        wanted = F.cross_entropy(head(F.normalize(twin(query))), batch.query_labels[place])
        assert results.loss[2 * place + 1] == pytest.approx(wanted.item(), rel=1e-9)


@pytest.mark.parametrize("norm", ["batch", "running", "group"])
def test_scores_do_not_depend_on_the_tasks_that_come_together(norm: str) -> None:
    torch.manual_seed(0)
    backbone = Conv4(width=8, image_size=16, norm_statistics=norm)
    tasks = Episodes(make_dataset(), ways=3, shots=2, queries=4, n_episodes=4)
    for model in (Pretraining(backbone, n_classes=6, head="nearest-centroid"), ProtoNet(backbone)):
        found = []
        for size in (1, 4):
            batches = [model.double().test_step(doubled(one)) for one in DataLoader(tasks, batch_size=size)]
            found.append([loss for one in batches for loss in one["episodes"].loss])
        assert found[0] == pytest.approx(found[1], rel=1e-10)
        assert len(set(found[0])) == 4


def doubled(batch: Episode) -> Episode:
    return batch._replace(support_images=batch.support_images.double(), query_images=batch.query_images.double())


@pytest.mark.slow
def test_a_short_fit_learns_features_for_unseen_characters(
    trainer: Callable[..., pl.Trainer], greek: FewShotDataset
) -> None:
    torch.manual_seed(0)
    seen = ClassificationSplit(greek)
    model = Pretraining(Conv4(width=8, norm_statistics="running"), n_classes=seen.n_classes, lr=1e-2)
    unseen = DataLoader(Episodes(greek, n_episodes=20), batch_size=10)
    [untrained] = trainer().test(model, unseen, verbose=False)
    run = trainer(max_epochs=12)
    loader = DataLoader(seen, batch_size=64, shuffle=True)
    run.fit(model, loader, DataLoader(Episodes(greek, n_episodes=2)))
    assert run.callback_metrics["train/accuracy_epoch"] > 0.5
    assert {"val/loss", "val/accuracy"} <= set(run.callback_metrics)
    first, second = (trainer().test(model, unseen, verbose=False) for _ in range(2))
    assert first == second
    assert first[0]["test/accuracy"] > max(0.6, untrained["test/accuracy"])


def test_hyper_parameters_describe_the_backbone() -> None:
    model = small_model(l2=2.0)
    assert model.hparams["backbone"]["norm_statistics"] == "running"
    assert model.hparams["l2"] == 2.0


def test_wrong_settings_and_batches_are_refused() -> None:
    names = ({"head": ()}, {"head": "svm"}, {"head": ("fine-tuning",) * 2}, {"fine_tuning_lr": 0.0})
    for wrong in ({"lr": 0.0}, {"weight_decay": -1.0}, {"l2": 0.0}, {"fine_tuning_steps": ()}, *names):
        with pytest.raises(ConfigurationError, match=f"{next(iter(wrong))}="):
            small_model(**wrong)
    with pytest.raises(DataError, match="batch is a list"):
        small_model().test_step([torch.rand(2, 1, 16, 16), torch.zeros(2)])
