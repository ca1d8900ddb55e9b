"""Mode "aws" against the published algorithm written down once more, step by step, with the same draws."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_lde.diversity import Probe, fisher_embedding
from lightning_lde.diversity._published import published_fisher
from lightning_lde.errors import ConfigurationError, DataError


def _network(*, dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 6),
    )


def _task(n: int = 70) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    labels = torch.tensor([0, 0, 1, 2]).repeat(n)[:n]
    return torch.randn(n, 1, 6, 6, generator=generator) + labels.view(-1, 1, 1, 1), labels


def _literally(backbone: nn.Module, images: Tensor, labels: Tensor, *, draws: int, seed: int) -> np.ndarray:
    """task2vec.py: cache features, fit the classifier, accumulate squared gradients of batches, average filters."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(copy.deepcopy(backbone), nn.Linear(6, 3)).train().requires_grad_()
    for parameter in model[1].parameters():
        nn.init.uniform_(parameter, -(6**-0.5), 6**-0.5, generator=generator)
    with torch.no_grad():
        features = torch.cat([model[0](images[:64]), model[0](images[64:])])
    counts = np.bincount(labels.numpy())
    weights = torch.tensor([1.0 / counts[label] for label in labels], dtype=torch.float64)

    def loader() -> list[Tensor]:
        chosen = torch.multinomial(weights, draws, replacement=True, generator=generator)
        return [chosen[start : start + 64] for start in range(0, draws - 63, 64)]

    optimizer = torch.optim.Adam(model[1].parameters(), lr=0.0004, weight_decay=0.0001)
    for _ in range(10):
        for index in loader():
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(model[1](features[index]), labels[index]).backward()
            optimizer.step()
    accumulated = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    batches = loader()
    for index in batches:
        output = model(images[index])
        target = torch.multinomial(F.softmax(output, dim=-1), 1, generator=generator).detach().view(-1)
        loss = nn.CrossEntropyLoss()(output, target)
        model.zero_grad()
        loss.backward()
        for name, value in model.named_parameters():
            accumulated[name] += value.grad.data**2
    vector = []
    for name, module in model[0].named_modules():
        if hasattr(module, "weight"):
            grad2 = (accumulated[f"0.{name}.weight"] / len(batches)).numpy()
            vector.append(grad2.reshape(grad2.shape[0], -1).mean(axis=1))
    return np.concatenate(vector)


def test_equals_the_published_algorithm() -> None:
    images, labels = _task()
    network = _network()
    found = published_fisher(
        Probe(network, name="x"),
        images,
        labels,
        draws=640,
        generator=torch.Generator().manual_seed(5),
        layers=None,
        norm_weights=True,
        progress=None,
    )
    expected = _literally(network, images, labels, draws=640, seed=5)
    assert found.shape == (4 + 4 + 6,)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_gives_norms_by_default_and_names_what_it_did() -> None:
    images, labels = _task()
    told: list[tuple[int, int]] = []
    probe = Probe(_network(), name="x")
    embedding = fisher_embedding(
        probe, images, labels, mode="aws", draws=200, seed=3, progress=lambda *now: told.append(now)
    )
    assert embedding.vector.shape == (14,)
    assert embedding.method == "fisher-aws/draws=200/seed=3/norms"
    assert told == [(64, 192), (128, 192), (192, 192)]
    without = fisher_embedding(probe, images, labels, mode="aws", draws=200, seed=3, norm_weights=False)
    np.testing.assert_allclose(without.vector, np.delete(embedding.vector, range(4, 8)), rtol=1e-5)
    last = fisher_embedding(probe, images, labels, mode="aws", draws=200, seed=3, layers=["6"])
    np.testing.assert_allclose(last.vector, embedding.vector[8:], rtol=1e-5)


def test_leaves_the_probe_and_the_random_state_alone() -> None:
    images, labels = _task()
    probe = Probe(_network(dropout=0.5), name="x")
    before, random = copy.deepcopy(probe.backbone.state_dict()), torch.get_rng_state()
    first = fisher_embedding(probe, images, labels, mode="aws", draws=128)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in probe.backbone.state_dict().items())
    assert not any(module.training for module in probe.backbone.modules())
    assert not any(parameter.requires_grad for parameter in probe.backbone.parameters())
    torch.rand(1)
    np.testing.assert_array_equal(first.vector, fisher_embedding(probe, images, labels, mode="aws", draws=128).vector)
    other = fisher_embedding(probe, images, labels, mode="aws", draws=128, seed=1)
    assert not np.allclose(other.vector, first.vector, rtol=1e-2)


def test_it_does_take_the_statistics_of_batches() -> None:
    # Running statistics do not matter to it, which is its fault; the exact form sees them.
    images, labels = _task()
    probes = [Probe(_network(), name="x"), Probe(_network(), name="y")]
    probes[1].backbone[1].running_mean += 1.0
    aws = [fisher_embedding(probe, images, labels, mode="aws", draws=128).vector for probe in probes]
    np.testing.assert_array_equal(*aws)
    exact = [fisher_embedding(probe, images, labels).vector for probe in probes]
    assert not np.allclose(*exact, rtol=1e-2)


def test_what_it_cannot_do_is_refused() -> None:
    images, labels = _task()
    probe = Probe(_network(), name="x")
    with pytest.raises(ConfigurationError, match="draws=63, expected at least 64"):
        fisher_embedding(probe, images, labels, mode="aws", draws=63)
    tied = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(36, 4)))
    with pytest.raises(ConfigurationError, match="parametrised"):
        fisher_embedding(Probe(tied, name="x"), images, labels, mode="aws", draws=64)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.BatchNorm1d(4))
    with pytest.raises(DataError, match="65 images leave a batch that BatchNorm cannot take"):
        fisher_embedding(Probe(flat, name="x"), *_task(65), mode="aws", draws=64)
