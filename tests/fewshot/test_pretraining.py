"""Pretraining: that it learns, scores as scikit-learn does, and leaves no trace when it tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import normalize
from torch.utils.data import DataLoader

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot import ClassificationSplit, Conv4, Episodes, FewShotDataset, Pretraining

from .conftest import make_dataset


def small_model(**settings: float) -> Pretraining:
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
    for wrong in ({"lr": 0.0}, {"weight_decay": -1.0}, {"l2": 0.0}):
        with pytest.raises(ConfigurationError, match=f"{next(iter(wrong))}="):
            small_model(**wrong)
    with pytest.raises(DataError, match="batch is a list"):
        small_model().test_step([torch.rand(2, 1, 16, 16), torch.zeros(2)])
