"""The probe: its id, its evaluation mode, and the calibration of BatchNorm."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_lde.diversity import Probe
from lightning_lde.errors import ConfigurationError, DataError


def _backbone(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Flatten())


def _images(n: int = 12) -> torch.Tensor:
    return torch.randn(n, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def test_id_follows_content_and_not_name() -> None:
    backbone = _backbone()
    probe_id = Probe(backbone, name="a").probe_id
    assert probe_id == Probe(_backbone(), name="b").probe_id
    assert probe_id != Probe(_backbone(seed=1), name="a").probe_id
    assert len(probe_id) == 32
    with torch.no_grad():
        backbone[0].weight[0, 0, 0, 0] += 1e-6
    assert probe_id != Probe(backbone, name="a").probe_id


def test_id_sees_architecture_without_parameters_and_any_precision() -> None:
    ids = {
        Probe(nn.Sequential(nn.Flatten(), nn.Linear(4, 2).to(kind), act), name="x").probe_id
        for kind in (torch.float32, torch.bfloat16)
        for act in (nn.ReLU(), nn.Tanh())
    }
    assert len(ids) == 4


def test_copy_is_frozen_and_independent() -> None:
    backbone = _backbone().train()
    probe = Probe(backbone, name="x")
    before = probe.features(_images())
    with torch.no_grad():
        backbone[0].weight.zero_()
    torch.testing.assert_close(probe.features(_images()), before)
    assert backbone.training
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_features_do_not_depend_on_the_batch_or_on_train_mode() -> None:
    probe = Probe(_backbone(), name="x")
    probe.backbone.train()
    images = _images()
    alone = torch.cat([probe.features(image[None]) for image in images])
    torch.testing.assert_close(probe.features(images, batch_size=5), alone)
    assert not alone.requires_grad


def test_calibration_gives_the_moments_of_the_images() -> None:
    backbone, images = _backbone(), _images()
    backbone[1].running_mean.fill_(7.0)
    state = torch.get_rng_state()
    probe = Probe.random(backbone, images, name="x")
    assert torch.equal(state, torch.get_rng_state())
    channels = backbone[0](images).detach().transpose(0, 1).flatten(1)
    norm = probe.backbone[1]
    torch.testing.assert_close(norm.running_mean, channels.mean(dim=1))
    torch.testing.assert_close(norm.running_var, channels.var(dim=1))
    assert norm.momentum == 0.1
    assert bool((backbone[1].running_mean == 7.0).all())
    assert probe.probe_id == Probe.random(backbone, images, name="y").probe_id


def test_a_function_seed_and_images_make_the_same_probe() -> None:
    def build() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten())

    state = torch.get_rng_state()
    first = Probe.random(build, _images(), name="x", seed=3)
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(1)
    assert first.probe_id == Probe.random(build, _images(), name="y", seed=3).probe_id
    assert first.probe_id != Probe.random(build, _images(), name="x").probe_id
    assert first.probe_id != Probe.random(build, _images(11), name="x", seed=3).probe_id
    torch.manual_seed(3)
    assert first.probe_id == Probe.random(build(), _images(), name="x").probe_id


def test_a_moved_probe_is_the_same_probe() -> None:
    probe = Probe(_backbone(), name="x")
    moved = probe.to("meta")
    assert (moved.name, moved.probe_id) == ("x", probe.probe_id)
    assert next(moved.backbone.parameters()).is_meta
    assert not next(probe.backbone.parameters()).is_meta


def test_probe_works_inside_inference_mode() -> None:
    with torch.inference_mode():
        images = _images()
        probe = Probe.random(_backbone(), images, name="x")
        assert probe.features(images).shape == (12, 64)


def test_batch_statistics_are_refused() -> None:
    backbone = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False))
    with pytest.raises(ConfigurationError, match="BatchNorm '1' has track_running_stats=False"):
        Probe(backbone, name="x")
    with pytest.raises(ConfigurationError, match="track_running_stats"):
        Probe.random(backbone, _images(), name="x")


def test_unfit_images_and_backbones_are_refused() -> None:
    probe = Probe(_backbone(), name="x")
    with pytest.raises(DataError, match=r"torch.uint8, expected floats"):
        probe.features(torch.zeros(2, 1, 6, 6, dtype=torch.uint8))
    with pytest.raises(DataError, match="nan or infinity"):
        probe.features(torch.full((2, 1, 6, 6), torch.nan))
    with pytest.raises(DataError, match="N >= 2"):
        Probe.random(_backbone(), _images(1), name="x")
    with pytest.raises(ConfigurationError, match="batch_size=0"):
        probe.features(_images(), batch_size=0)
    with pytest.raises(ConfigurationError, match="pool or flatten"):
        Probe(nn.Conv2d(1, 2, 3), name="x").features(_images())
