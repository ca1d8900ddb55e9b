"""The weights that a fit starts with are known, or said not to be, whoever changes them meanwhile."""

from __future__ import annotations

import pytest
import torch

from lightning_lde._lightning import _weights
from lightning_lde._lightning._weights import FirstWeights
from lightning_lde.capture import weights_fingerprint


def state() -> dict[str, torch.Tensor]:
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).state_dict()


@pytest.fixture(params=["copied at once", "copied later", "read where they are"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "copied at once":
        monkeypatch.setattr(_weights, "LARGEST_COPY_AT_ONCE_BYTES", 0)
    if request.param == "read where they are":
        monkeypatch.setattr(_weights, "LARGEST_COPY_BYTES", 0)
    return str(request.param)


def test_untouched_weights_have_their_fingerprint(kind: str) -> None:
    given = state()
    weights = FirstWeights({**given, "extra": object()})
    assert weights.are_read.is_set() == (kind == "copied at once")
    assert weights.fingerprint() == weights_fingerprint(given)
    assert weights.are_read.is_set()


def test_a_change_before_they_are_read_is_noticed(kind: str) -> None:
    given = state()
    expected = weights_fingerprint(given)
    weights = FirstWeights(given)
    given["0.weight"].add_(1.0)
    assert weights.fingerprint() == (expected if kind == "copied at once" else None)
    assert weights.are_read.is_set()


def test_a_change_after_they_were_copied_does_no_harm(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = state()
    expected = weights_fingerprint(given)
    fingerprint = weights_fingerprint

    def train_first(read: dict[str, torch.Tensor]) -> str | None:
        if weights.are_read.is_set():
            given["0.weight"].add_(1.0)
        return fingerprint(read)

    monkeypatch.setattr(_weights.capture, "weights_fingerprint", train_first)
    weights = FirstWeights(given)
    assert weights.fingerprint() == expected


def test_a_change_while_they_are_read_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_weights, "LARGEST_COPY_AT_ONCE_BYTES", 0)
    monkeypatch.setattr(_weights, "LARGEST_COPY_BYTES", 0)
    given = state()
    fingerprint = weights_fingerprint

    def changed_meanwhile(read: dict[str, torch.Tensor]) -> str | None:
        given["0.weight"].add_(1.0)
        return fingerprint(read)

    monkeypatch.setattr(_weights.capture, "weights_fingerprint", changed_meanwhile)
    assert FirstWeights(given).fingerprint() is None


def test_lazy_weights_have_a_fingerprint_too(kind: str) -> None:
    given = torch.nn.LazyLinear(3).state_dict()
    assert FirstWeights(given).fingerprint() == weights_fingerprint(given)
