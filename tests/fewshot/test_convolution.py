"""Convolution with second derivatives of its own: values and derivatives against torch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_lde.fewshot.backbones._convolution import Convolution
from lightning_lde.fewshot.engine import _convolution, convolve


@pytest.fixture(autouse=True)
def none_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_convolution, "_FEW_VALUES", 0)


def made(shape: tuple[int, ...], channels: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(shape, generator=generator, dtype=torch.float64)
    weight = torch.randn((channels, shape[1], size, size), generator=generator, dtype=torch.float64)
    return images.requires_grad_(), weight.requires_grad_()


def up_to_third(out: Tensor, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The first, second and third derivatives of a curved function of an output."""
    found: list[Tensor] = []
    total = out.tanh().sum()
    for _ in range(3):
        slopes = torch.autograd.grad(total, inputs, create_graph=True)
        found += slopes
        total = sum((slope * torch.arange(slope.numel()).view_as(slope).cos()).tanh().sum() for slope in slopes)
    return found


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    channels=st.integers(1, 3),
    size=st.sampled_from([1, 3, 5]),
    seed=st.integers(0, 1000),
    of_images=st.booleans(),
)
def test_values_and_derivatives_are_those_of_torch(
    shape: tuple[int, ...], channels: int, size: int, seed: int, of_images: bool
) -> None:
    images, weight = made(shape, channels, size, seed)
    inputs = (images, weight) if of_images else (weight,)
    images.requires_grad_(of_images)
    found, expected = convolve(images, weight, size // 2), F.conv2d(images, weight, padding=size // 2)
    assert torch.equal(found, expected)
    for ours, theirs in zip(up_to_third(found, inputs), up_to_third(expected, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_derivatives_are_those_of_differences(layout: torch.memory_format) -> None:
    images, weight = made((2, 3, 5, 4), 2, 3, 0)
    inputs = images.detach().contiguous(memory_format=layout).requires_grad_(), weight
    assert torch.autograd.gradcheck(lambda *given: convolve(*given, 1), inputs)
    assert torch.autograd.gradgradcheck(lambda *given: convolve(*given, 1), inputs)


@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_is_that_of_torch(bias: bool) -> None:
    ours, theirs = Convolution(2, 4, 3, bias=bias), torch.nn.Conv2d(2, 4, 3, padding=1, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    images = torch.rand(3, 2, 6, 5)
    torch.testing.assert_close(ours(images), theirs(images))
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(images).dtype == torch.bfloat16
    per_image = torch.func.vmap(torch.func.grad(lambda one: ours(one[None]).sum()))(images)
    assert per_image.shape == images.shape
    shift = 0.0 if ours.bias is None else ours.bias.view(-1, 1, 1)
    torch.testing.assert_close(ours(images, ours.weight * 2) - shift, 2 * (theirs(images) - shift))
