"""Task2Vec on real images: tasks that do not differ read as zero, however few images they have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lightning_lde.diversity import (
    CrossValidatedCoefficient,
    Halves,
    Probe,
    crossvalidated_coefficient,
    fisher_embedding,
    halve,
    log_profiles,
)

PIXELS, LABELS = load_digits(return_X_y=True)
IMAGES = torch.tensor(PIXELS / 16.0, dtype=torch.float32).reshape(-1, 1, 8, 8)


def network() -> torch.nn.Module:
    layers: list[torch.nn.Module] = []
    for channels, width in ((1, 32), (32, 32)):
        layers += [torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.BatchNorm2d(width), torch.nn.ReLU()]
        layers += [torch.nn.MaxPool2d(2)]
    return torch.nn.Sequential(*layers, torch.nn.Flatten())


def coefficient_of(probe: Probe, *, choices: int, per_half: int, n: int = 30) -> CrossValidatedCoefficient:
    """Of tasks of two classes from the first ``choices`` digits, both halves with a head of their own."""
    rng = np.random.default_rng(0)
    pools = halve(LABELS, content=PIXELS)
    vectors: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for _ in range(n):
        classes = rng.choice(choices, 2, replace=False)
        for pool, found in zip((pools.first, pools.second), vectors, strict=True):
            own = [rng.choice(pool[LABELS[pool] == name], per_half, replace=False) for name in classes]
            rows = np.concatenate(own)
            found.append(fisher_embedding(probe, IMAGES[rows], LABELS[rows]).vector)
    return crossvalidated_coefficient(*(log_profiles(np.stack(half)) for half in vectors))


@pytest.mark.slow
def test_tasks_of_the_same_classes_have_no_diversity_and_the_plain_figure_says_they_have() -> None:
    probe = Probe.random(network, IMAGES, name="random", seed=0)
    for per_half in (5, 20):
        null = coefficient_of(probe, choices=2, per_half=per_half)
        real = coefficient_of(probe, choices=10, per_half=per_half)
        assert null.low < 0.0 < null.high
        assert null.plain > 5 * null.standard_error
        assert real.low > null.high
        assert real.value == pytest.approx(real.plain - real.noise)


def test_labels_and_images_may_be_tensors() -> None:
    rows = np.flatnonzero(LABELS < 2)[:20]
    of_tensors = halve(torch.tensor(LABELS[rows]), content=IMAGES[rows])  # type: ignore[arg-type]
    of_arrays = halve(LABELS[rows], content=PIXELS[rows])
    assert isinstance(of_tensors, Halves)
    np.testing.assert_array_equal(of_tensors.first, of_arrays.first)
