"""Backbones: shapes, sizes, the policies of norms and dropping, and clear refusals."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning.utilities.model_summary import ModelSummary
from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot import MAML, MLP, Conv4, EpisodeResults, ResNet12
from lightning_lde.fewshot.backbones import NORMS, describe_backbone
from lightning_lde.fewshot.backbones._norm import DropBlock

MAKERS: dict[str, Any] = {
    "Conv4": lambda norm: Conv4(width=4, image_size=16, norm_statistics=norm),
    "ResNet12": lambda norm: ResNet12(1, 0.05, 16, norm_statistics=norm),
    "MLP": lambda norm: MLP(256, (8, 4), norm_statistics=norm),
}


@pytest.mark.parametrize(("size", "cells"), [(16, 1), (28, 1), (32, 4), (84, 25)])
def test_feature_dim_is_what_comes_out(size: int, cells: int) -> None:
    net = Conv4(3, 4, size)
    assert net(torch.rand(2, 3, size, size)).shape == (2, 4 * cells)
    assert net.feature_dim == 4 * cells
    assert net.settings == {"in_channels": 3, "width": 4, "image_size": size, "norm_statistics": "batch"}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", MAKERS)
def test_every_backbone_has_every_norm(name: str, norm: str) -> None:
    net, images = MAKERS[name](norm), torch.rand(6, 1, 16, 16)
    assert net(images).shape == (6, net.feature_dim)
    alone = torch.allclose(net.eval()(images)[:3], net(images[:3]), atol=1e-5)
    assert alone == (norm != "batch")
    assert bool(list(net.buffers())) == (norm == "running")
    biases = [one.bias is not None for one in net.modules() if isinstance(one, (nn.Conv2d, nn.Linear))]
    assert set(biases) == {norm in ("group", "none")}
    assert describe_backbone(net)["norm_statistics"] == norm


def test_batch_policy_always_uses_the_batch_and_keeps_no_state() -> None:
    net, images = Conv4(width=4), torch.rand(6, 1, 28, 28)
    assert not list(net.buffers())
    torch.testing.assert_close(net.train()(images), net.eval()(images))
    assert not torch.allclose(net(images)[:3], net(images[:3]))


def test_running_policy_gives_an_image_its_own_features_in_eval_mode() -> None:
    net, images = Conv4(width=4, norm_statistics="running"), torch.rand(6, 1, 28, 28)
    before = {name: value.clone() for name, value in net.named_buffers()}
    net.train()(images)
    assert any(not torch.equal(before[name], value) for name, value in net.named_buffers())
    net.eval()
    torch.testing.assert_close(net(images)[:3], net(images[:3]))


def test_conv4_is_relu_before_pooling_written_out_and_keeps_its_names() -> None:
    net, images = Conv4(width=4, image_size=16), torch.randn(6, 1, 16, 16)
    state, features = net.state_dict(), images
    names = [f"blocks.{place}.{name}" for place in range(4) for name in ("0.weight", "1.weight", "1.bias")]
    assert list(state) == names
    for place in range(4):
        weight, scale, shift = (state[name] for name in names[3 * place : 3 * place + 3])
        normed = F.batch_norm(F.conv2d(features, weight, padding=1), None, None, scale, shift, training=True)
        features = F.max_pool2d(F.relu(normed), 2)
    torch.testing.assert_close(net(images), features.flatten(1), rtol=1e-4, atol=1e-5)


def written_out_resnet(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """RFS's BasicBlock, its activation before its pooling, by names of the state dict."""

    def convolved(features: Tensor, conv: str, norm: str) -> Tensor:
        weight = state[f"{conv}.weight"]
        out = F.conv2d(features, weight, padding=weight.shape[-1] // 2)
        return F.batch_norm(out, None, None, state[f"{norm}.weight"], state[f"{norm}.bias"], training=True)

    features = images
    for block in (f"blocks.{place}" for place in range(4)):
        out = features
        for conv, norm in ((0, 1), (3, 4), (6, 7)):
            out = convolved(out, f"{block}.residual.{conv}", f"{block}.residual.{norm}")
            out = F.leaky_relu(out, 0.1) if conv < 6 else out
        out = out + convolved(features, f"{block}.shortcut.0", f"{block}.shortcut.1")
        features = F.max_pool2d(F.leaky_relu(out, 0.1), 2)
    return F.adaptive_avg_pool2d(features, 1).flatten(1)


def test_resnet12_is_the_network_of_rfs() -> None:
    net, images = ResNet12(3, 0.05, 32).double(), torch.rand(4, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(net(images), written_out_resnet(net.state_dict(), images), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("width", [1.0, 1 / 3])
def test_resnet12_has_the_parameters_of_rfs(width: float) -> None:
    with torch.device("meta"):
        net = ResNet12(width=width)
    widths = [3, *(round(width * one) for one in (64, 160, 320, 640))]
    wanted = 0
    for inside, outside in pairwise(widths):
        wanted += 9 * (inside + 2 * outside) * outside + inside * outside + 4 * 2 * outside
    described = describe_backbone(net)
    assert described["parameters"] == wanted
    assert width < 1 or wanted == 12_424_320
    assert described["drop_rate"] == 0.0


def test_parameters_are_counted_in_lightning_s_summary() -> None:
    model = MAML(Conv4(width=8), ways=5)
    summary = ModelSummary(model)
    by_name = dict(zip(summary.layer_names, summary.param_nums, strict=True))
    assert by_name["backbone"] == model.hparams["backbone"]["parameters"] == 9 * 8 + 3 * 9 * 64 + 4 * 16
    assert by_name["head"] == 45


@settings(max_examples=25, deadline=None)
@given(side=st.integers(1, 7), size=st.tuples(st.integers(3, 12), st.integers(3, 12)), rate=st.floats(0.05, 0.5))
def test_dropblock_drops_whole_squares_and_keeps_the_sum_in_expectation(
    side: int, size: tuple[int, int], rate: float
) -> None:
    torch.manual_seed(0)
    drop, ones = DropBlock(rate, side), torch.ones(4, 3, *size)
    out = drop(ones)
    kept = out > 0
    side = min(side, *size)
    whole = F.avg_pool2d((~kept).float(), side, stride=1) == 1
    covered = F.max_pool2d(F.pad(whole.float(), [side - 1] * 4), side, stride=1) > 0
    assert torch.equal(covered, ~kept)
    assert not kept.any() or float(out.mean()) == pytest.approx(1, rel=1e-5)
    assert drop.eval()(ones) is ones


def test_dropblock_drops_about_the_share_that_is_asked() -> None:
    torch.manual_seed(0)
    out = DropBlock(0.1, 3)(torch.ones(64, 16, 10, 10))
    assert float((out == 0).float().mean()) == pytest.approx(0.1, abs=0.01)


def test_dropping_is_off_by_default_and_in_evaluation() -> None:
    images = torch.rand(4, 1, 16, 16)
    plain, dropping = ResNet12(1, 0.05, 16), ResNet12(1, 0.05, 16, drop_rate=0.3)
    assert torch.equal(plain(images), plain(images))
    assert not torch.equal(dropping(images), dropping(images))
    assert torch.equal(dropping.eval()(images), dropping(images))


@pytest.mark.parametrize("wrong", [{"width": 0}, {"image_size": 15}, {"norm_statistics": "layer"}, {"in_channels": 0}])
@pytest.mark.parametrize("kind", [Conv4, ResNet12])
def test_settings_that_cannot_work_are_refused(kind: Any, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=str(next(iter(wrong.values())))):
        kind(**wrong)


def test_settings_of_one_network_that_cannot_work_are_refused() -> None:
    for wrong in ({"drop_rate": 1.0}, {"dropblock_size": 0}):
        with pytest.raises(ConfigurationError, match=f"{next(iter(wrong))}="):
            ResNet12(**wrong)
    for wrong_mlp in ({"in_features": 0}, {"hidden": ()}, {"hidden": (3, 0)}, {"norm_statistics": "x"}):
        with pytest.raises(ConfigurationError, match=f"{next(iter(wrong_mlp))}="):
            MLP(**wrong_mlp)


def test_episode_results_refuse_columns_of_unequal_length() -> None:
    with pytest.raises(DataError, match="'loss': 2"):
        EpisodeResults("m", [0], [[1]], 1, 1, 1, [5], [0.1, 0.2], [0.5])
