"""Batch norm and pooling as one function: values, first and second derivatives against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import grad, vmap

from lightning_lde.fewshot import Conv4
from lightning_lde.fewshot.engine import is_plain, pooled_norm

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(2, 7), st.integers(2, 7))


def plain(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.max_pool2d(F.batch_norm(images, None, None, weight, bias, True, 0.1, 1e-5), 2)


def made(shape: tuple[int, ...], seed: int, *, tied: bool) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(shape, generator=generator, dtype=torch.float64)
    if tied:
        images = images.round()
    weight, bias = torch.randn((2, shape[1]), generator=generator, dtype=torch.float64).unbind()
    return images.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


@settings(deadline=None, max_examples=60)
@given(shape=SHAPES, seed=st.integers(0, 1000), tied=st.booleans())
def test_values_and_both_derivatives_are_those_of_torch(shape: tuple[int, ...], seed: int, tied: bool) -> None:
    inputs = made(shape, seed, tied=tied)
    found, expected = pooled_norm(*inputs, 1e-5), plain(*inputs)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn(found.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    slopes = [torch.autograd.grad((out * weights).tanh().sum(), inputs, create_graph=True) for out in (found, expected)]
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    second = []
    for each in slopes:
        mixed = sum((slope * torch.arange(slope.numel()).view_as(slope).cos()).sum() for slope in each)
        second.append(torch.autograd.grad(mixed, inputs))
    for ours, theirs in zip(*second, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_derivatives_are_those_of_differences(layout: torch.memory_format) -> None:
    images, weight, bias = made((2, 3, 5, 4), 0, tied=False)
    inputs = images.detach().contiguous(memory_format=layout).requires_grad_(), weight, bias
    assert torch.autograd.gradcheck(lambda *given: pooled_norm(*given, 1e-5), inputs)
    assert torch.autograd.gradgradcheck(lambda *given: pooled_norm(*given, 1e-5), inputs)


def test_the_backbone_is_the_same_whichever_way_it_goes() -> None:
    torch.manual_seed(0)
    net = Conv4(width=4, image_size=21).double()
    images = torch.rand(6, 1, 21, 21, dtype=torch.float64)
    assert is_plain(images)
    features = net(images)
    with torch.autocast("cpu", enabled=False):
        torch.testing.assert_close(features, _by_layers(net, images), rtol=1e-10, atol=1e-12)
    # Transforms of torch.func know nothing of derivatives that are written out, and autocast none of their types.
    per_image = vmap(grad(lambda one: net(one[None]).sum()))(images)
    assert per_image.shape == images.shape
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_plain(images)
        assert net.float()(images.float()).isfinite().all()


def _by_layers(net: Conv4, images: Tensor) -> Tensor:
    for block in net.blocks:
        for layer in block:
            images = layer(images)
    return images.flatten(1)


def test_a_third_derivative_is_that_of_torch() -> None:
    images, weight, bias = made((2, 3, 4, 5), 0, tied=False)
    thirds = []
    for out in (pooled_norm(images, weight, bias, 1e-5), plain(images, weight, bias)):
        first = torch.autograd.grad(out.tanh().sum(), (images, weight), create_graph=True)
        second = torch.autograd.grad(sum(one.square().sum() for one in first), (images, weight), create_graph=True)
        thirds.append(torch.autograd.grad(sum(one.square().sum() for one in second), (images, weight, bias)))
    for ours, theirs in zip(*thirds, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)
