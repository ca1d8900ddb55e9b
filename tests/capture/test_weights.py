"""Fingerprints of weights."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

from lightning_lde.capture import weights_fingerprint


def _net(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def test_the_documented_hash() -> None:
    state = {"b": torch.tensor([1, 2], dtype=torch.int16), "a": torch.tensor(0.5)}
    text = b'["a","float32",[]]' + b"\x00\x00\x00\x3f" + b'["b","int16",[2]]' + b"\x01\x00\x02\x00"
    assert weights_fingerprint(state) == hashlib.sha256(text).hexdigest()[:32]


def test_a_module_and_its_state_are_one() -> None:
    assert weights_fingerprint(_net()) == weights_fingerprint(_net().state_dict())
    assert weights_fingerprint(_net(1)) != weights_fingerprint(_net(2))


def test_only_content_counts() -> None:
    weights = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    same = [weights, weights.t().contiguous().t(), weights.clone().requires_grad_(), nn.Parameter(weights)]
    assert len({weights_fingerprint({"w": each}) for each in same}) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"v": torch.ones(4)},
        {"w": torch.ones(2, 2)},
        {"w": torch.ones(4, dtype=torch.float64)},
        {"w": torch.tensor([1.0, 1.0, 1.0, -1.0])},
        {"w": torch.ones(4), "x": torch.ones(0)},
    ],
)
def test_any_difference_counts(other: dict[str, torch.Tensor]) -> None:
    assert weights_fingerprint(other) != weights_fingerprint({"w": torch.ones(4)})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.bool, torch.complex64, torch.uint8])
def test_every_element_type(dtype: torch.dtype) -> None:
    one, zero = ({"w": value.to(dtype)} for value in (torch.ones(3), torch.zeros(3)))
    assert weights_fingerprint(one) != weights_fingerprint(zero)


def test_values_without_bytes() -> None:
    lazy = nn.LazyLinear(3)
    assert len(weights_fingerprint(lazy)) == 32
    meta = [weights_fingerprint(nn.Linear(2, width, device="meta")) for width in (3, 4)]
    assert meta[0] != meta[1]
    assert weights_fingerprint({"w": torch.ones(1), "extra": "text"}) == weights_fingerprint({"w": torch.ones(1)})  # type: ignore[dict-item]
