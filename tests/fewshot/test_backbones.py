"""Backbones: shapes, the batch-norm policy and clear refusals."""

from __future__ import annotations

import pytest
import torch

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot import Conv4, EpisodeResults


@pytest.mark.parametrize(("size", "cells"), [(16, 1), (28, 1), (32, 4), (84, 25)])
def test_feature_dim_is_what_comes_out(size: int, cells: int) -> None:
    net = Conv4(3, 4, size)
    assert net(torch.rand(2, 3, size, size)).shape == (2, 4 * cells)
    assert net.feature_dim == 4 * cells
    assert net.settings == {"in_channels": 3, "width": 4, "image_size": size, "norm_statistics": "batch"}


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


@pytest.mark.parametrize("wrong", [{"width": 0}, {"image_size": 15}, {"norm_statistics": "none"}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=str(next(iter(wrong.values())))):
        Conv4(**wrong)


def test_episode_results_refuse_columns_of_unequal_length() -> None:
    with pytest.raises(DataError, match="'loss': 2"):
        EpisodeResults("m", [0], [[1]], 1, 1, 1, [5], [0.1, 0.2], [0.5])
