"""Weights from state dicts and checkpoints, and the ResNets that take torchvision's."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lightning_lde.diversity import Probe, fisher_embedding, resnet18, resnet34
from lightning_lde.errors import ConfigurationError


class _Model(pl.LightningModule):
    """A backbone and a head, as most modules are built."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _backbone()
        self.head = nn.Linear(4, 3)


def _backbone() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _with_statistics(network: nn.Module, seed: int) -> nn.Module:
    """Random BatchNorm statistics and weights, so that no two layers can be taken for each other."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0.0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.1)
    return network


@pytest.mark.parametrize(("name", "ours"), [("resnet18", resnet18), ("resnet34", resnet34)])
def test_features_are_torchvisions(name: str, ours: Any) -> None:
    models = pytest.importorskip("torchvision.models")
    theirs = _with_statistics(getattr(models, name)(), seed=0).eval()
    probe = Probe.from_state_dict(theirs.state_dict(), name=name)
    assert type(probe.backbone) is type(ours())
    theirs.fc = nn.Identity()
    images = torch.randn(2, 3, 70, 65, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(probe.features(images), theirs(images))


@pytest.mark.parametrize(
    ("build", "parameters", "filters"), [(resnet18, 11_176_512, 9_600), (resnet34, 21_284_672, 17_024)]
)
def test_sizes_are_the_published_ones(build: Any, parameters: int, filters: int) -> None:
    with torch.device("meta"):
        network = build()
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert sum(layer.out_channels for layer in convolutions) + sum(norm.num_features for norm in norms) == filters


def test_depth_and_channels_follow_from_the_weights() -> None:
    state = {
        f"model.{name}": value for name, value in _with_statistics(resnet34(in_channels=1), 3).state_dict().items()
    }
    state |= {"model.fc.weight": torch.zeros(10, 512), "model.fc.bias": torch.zeros(10)}
    probe = Probe.from_state_dict(state, name="x")
    images = torch.randn(4, 1, 33, 32)
    assert probe.features(images).shape == (4, 512)
    assert all(torch.equal(value, state[f"model.{name}"]) for name, value in probe.backbone.state_dict().items())


def test_old_files_lack_the_count_of_batches() -> None:
    state = {name: value for name, value in resnet18().state_dict().items() if "num_batches_tracked" not in name}
    assert Probe.from_state_dict(state, name="x").features(torch.zeros(1, 3, 32, 32)).shape == (1, 512)


def test_lightning_checkpoints_are_read(tmp_path: Any) -> None:
    module = _Model()
    _with_statistics(module, seed=4)
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    probe = Probe.from_state_dict(saved, name="x", backbone=_backbone())
    assert probe.probe_id == Probe(module.encoder, name="y").probe_id
    assert probe.probe_id == Probe.from_state_dict(saved, name="z", backbone=_backbone(), prefix="encoder.").probe_id
    images: Tensor = torch.randn(6, 1, 5, 5)
    assert fisher_embedding(probe, images, [0, 1] * 3).vector.shape == (4,)


def test_the_backbone_that_is_passed_stays_as_it_is() -> None:
    backbone = _backbone()
    before = backbone[0].weight.clone()
    Probe.from_state_dict(_backbone().state_dict(), name="x", backbone=backbone)
    assert torch.equal(backbone[0].weight, before)


def test_what_does_not_fit_is_refused() -> None:
    backbone, state = _backbone(), _backbone().state_dict()
    twice = {f"{part}.{name}": value for part in ("online", "target") for name, value in state.items()}
    with pytest.raises(ConfigurationError, match=r"stand under \['online.', 'target.'\]"):
        Probe.from_state_dict(twice, name="x", backbone=backbone)
    chosen = Probe.from_state_dict(twice, name="x", backbone=backbone, prefix="target.")
    assert torch.equal(chosen.backbone[0].weight, state["0.weight"])
    with pytest.raises(ConfigurationError, match=r"lacks 6 of the backbone's 6 weights, such as '0.bias' below 'no.'"):
        Probe.from_state_dict(state, name="x", backbone=backbone, prefix="no.")
    lacking = {name: value for name, value in state.items() if name != "1.running_var"}
    with pytest.raises(ConfigurationError, match=r"lacks 1 of the backbone's 6 weights, such as '1.running_var'"):
        Probe.from_state_dict(lacking, name="x", backbone=backbone)
    with pytest.raises(ConfigurationError, match=r"'0.weight' have shape \(4, 2, 3, 3\), expected \(4, 1, 3, 3\)"):
        Probe.from_state_dict({**state, "0.weight": torch.zeros(4, 2, 3, 3)}, name="x", backbone=backbone)
    with pytest.raises(ConfigurationError, match="_Model without tensors, expected a state dict"):
        Probe.from_state_dict(_Model(), name="x", backbone=backbone)
    with pytest.raises(ConfigurationError, match="no weights to load"):
        Probe.from_state_dict(state, name="x", backbone=nn.Flatten())


def test_other_networks_need_a_backbone() -> None:
    with pytest.raises(ConfigurationError, match="under no prefix, expected one ResNet-18 or ResNet-34"):
        Probe.from_state_dict(_backbone().state_dict(), name="x")
    deep = {f"layer{n}.{block}.conv1.weight": torch.zeros(1) for n in (1, 2, 3, 4) for block in range(3)}
    with pytest.raises(ConfigurationError, match=r"\(3, 3, 3, 3\) blocks, expected ResNet-18"):
        Probe.from_state_dict(deep, name="x")
