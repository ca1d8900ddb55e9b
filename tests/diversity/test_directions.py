"""Factors of the covariance of a label, exact and in the mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_lde.diversity import Probe
from lightning_lde.diversity._directions import exact_factor, random_signs, sketched_factor
from lightning_lde.diversity._fisher import filter_fisher
from lightning_lde.diversity._head import Head


def _covariance(p: Tensor) -> Tensor:
    return torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)


def _outer(factor: Tensor) -> Tensor:
    return torch.einsum("jni,jnk->nik", factor, factor)


@settings(deadline=None)
@given(st.lists(st.floats(-40.0, 40.0), min_size=2, max_size=7))
def test_the_exact_factor_gives_the_covariance(logits: list[float]) -> None:
    p = torch.tensor([logits], dtype=torch.float64).softmax(dim=1)
    factor = exact_factor(p)
    assert factor.shape == (len(logits) - 1, 1, len(logits))
    torch.testing.assert_close(_outer(factor), _covariance(p), rtol=0.0, atol=1e-15)
    torch.testing.assert_close(factor.sum(dim=2), torch.zeros(len(logits) - 1, 1, dtype=torch.float64))


@pytest.mark.parametrize("sure", [0, 1, 2])
def test_nothing_cancels_where_the_classifier_is_sure(sure: int) -> None:
    small = [1e-20, 3e-20]
    p = torch.tensor([[*small[:sure], 1.0, *small[sure:]]], dtype=torch.float64)
    variances = _outer(exact_factor(p)).diagonal(dim1=1, dim2=2)[0]
    expected = torch.tensor([*small[:sure], sum(small), *small[sure:]], dtype=torch.float64)
    torch.testing.assert_close(variances, expected, rtol=1e-14, atol=0.0)


def test_a_class_that_cannot_be_is_no_division_by_zero() -> None:
    p = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(_outer(exact_factor(p)), _covariance(p))


def test_the_sketch_over_all_signs_is_the_covariance() -> None:
    p = torch.tensor([[0.7, 0.1, 0.15, 0.05], [0.25, 0.25, 0.25, 0.25]], dtype=torch.float64)
    every = torch.cartesian_prod(*[torch.tensor([-1, 1])] * 4)
    factor = sketched_factor(p, every.expand(2, -1, -1))
    assert factor.shape == (16, 2, 4)
    torch.testing.assert_close(_outer(factor), _covariance(p))


def test_signs_are_fair_and_follow_the_generator() -> None:
    signs = random_signs((100, 10, 10), torch.Generator().manual_seed(0))
    assert torch.equal(signs.abs(), torch.ones_like(signs))
    assert abs(float(signs.float().mean())) < 3 / math.sqrt(signs.numel())
    assert torch.equal(signs, random_signs((100, 10, 10), torch.Generator().manual_seed(0)))


def test_the_mean_of_many_sketches_is_the_exact_fisher() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 6, 3), torch.nn.Tanh(), torch.nn.Flatten()).double()
    probe, images, classes = Probe(network, name="x"), torch.randn(7, 1, 4, 4, dtype=torch.float64), 6
    head = Head(weight=np.random.default_rng(0).normal(size=(classes, 24)), bias=np.zeros(classes))
    exact = filter_fisher(probe, images, head, batch_size=7).numpy()
    found = np.array(
        [
            filter_fisher(
                probe,
                images,
                head,
                batch_size=7,
                signs=random_signs((7, 2, classes), torch.Generator().manual_seed(seed)),
            ).numpy()
            for seed in range(300)
        ]
    )
    spread = found.std(axis=0, ddof=1)
    z = (found.mean(axis=0) - exact) / (spread / math.sqrt(len(found)))
    assert (np.abs(z) < 3.0).all()
    # A bias of 7 % would not pass: it is three standard errors.
    assert (3.0 * spread / math.sqrt(len(found)) < 0.07 * exact).all()
