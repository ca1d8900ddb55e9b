"""Real data sets grown class by class before the untrained probe: when the warning comes, and when it does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from lightning_lde.collecting import BatchWatch
from lightning_lde.diversity import MonitorUpdate
from lightning_lde.fewshot import FewShotDataset, load_pack

pytestmark = pytest.mark.slow
EACH = 40
AFTER = 14
SETS = ("mnist", "fashion_mnist", "sign_digits", "braille", "trashnet", "fsdd_mel", "math_symbols", "quickdraw3")


def pack(name: str) -> FewShotDataset:
    folder = Path(os.environ.get("LDE_DATA_DIR") or Path(__file__).resolve().parents[3] / "shared" / "data")
    if not (folder / f"{name}.parquet").exists():
        pytest.skip(f"no data packs at {folder}: set LDE_DATA_DIR")
    return load_pack(folder / f"{name}.parquet")


def grown(data: FewShotDataset, seed: int, *, classes: int, after: int, each: int = EACH) -> Iterator[MonitorUpdate]:
    """One new class a batch, then batches of classes that were there; every image comes once, in random order."""
    rng = np.random.default_rng(seed)
    labels = data.labels.numpy()
    left = {int(one): list(rng.permutation(np.flatnonzero(labels == one))) for one in np.unique(labels)}
    planted = [int(one) for one in rng.permutation([one for one in left if len(left[one]) >= each])][:classes]
    watch = BatchWatch(seed=seed)
    for batch in range(classes + after):
        there = [one for one in planted if len(left[one]) >= each]
        label = planted[batch] if batch < classes else int(rng.choice(there))
        rows = torch.tensor([left[label].pop() for _ in range(each)])
        yield watch.take((data.images[rows], data.labels[rows]))


def test_the_warning_comes_in_the_first_batches_after_the_plateau_and_not_before() -> None:
    delays, news = [], []
    for name in SETS:
        data = pack(name)
        classes = max(3, data.n_classes * 2 // 3) if data.n_classes <= 12 else 12
        for seed in range(3):
            updates = list(grown(data, seed, classes=classes, after=AFTER))
            alarms = [update.batch - classes for update in updates if update.alarm]
            delays.append((name, alarms[0] if alarms else AFTER + 1))
            news.append([update.new for update in updates[classes:]])
    found = np.array([delay for _, delay in delays])
    assert (found > 0).all(), delays
    assert np.median(found) <= 6
    assert (found <= 9).mean() >= 0.85
    # At a level of 1 %; batches of one class share the noise of what they are compared with.
    assert np.mean(news) <= 0.08


def test_while_a_real_set_grows_warnings_are_as_rare_as_stated() -> None:
    data, alarmed, news = pack("omniglot"), 0, []
    runs = 12
    for seed in range(runs):
        updates = list(grown(data, seed, classes=100, after=0, each=20))
        alarmed += any(update.alarm for update in updates)
        news.append(np.mean([update.new for update in updates]))
    assert min(news) >= 0.7
    assert stats.binomtest(alarmed, runs, 0.05, alternative="greater").pvalue > 0.01
