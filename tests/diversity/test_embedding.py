"""How an embedding is made: modes, seeds, frozen layers, passes, memory, progress, devices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lightning_lde.diversity import Probe, fisher_embedding
from lightning_lde.diversity import _fisher as fisher
from lightning_lde.diversity import _forwards as forwards
from lightning_lde.diversity import _precision as precision
from lightning_lde.errors import ConfigurationError


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Linear(8 * 16, 12)

    def forward(self, images: Tensor) -> Tensor:
        hidden = F.relu(self.norm(self.first(images)), inplace=True)
        hidden = F.relu(F.max_pool2d(self.second(hidden), 2))
        features: Tensor = self.last(F.dropout(hidden.flatten(1), training=self.training))
        return features


def _network() -> _Network:
    torch.manual_seed(0)
    return _Network()


def _task(*, n: int, classes: int) -> tuple[Tensor, Tensor]:
    labels = torch.arange(n) % classes
    return torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(3)) + 0.3 * labels.view(-1, 1, 1, 1), labels


def test_layers_can_be_chosen_and_the_others_are_frozen() -> None:
    images, labels = _task(n=7, classes=3)
    probe = Probe(_network(), name="x")
    whole = fisher_embedding(probe, images, labels).vector
    chosen = fisher_embedding(probe, images, labels, layers=["second", "last"])
    np.testing.assert_allclose(chosen.vector, whole[8:], rtol=1e-5)
    assert chosen.method == "fisher-exact/l2=1.0/layers=second,last"
    with pytest.raises(ConfigurationError, match=r"layers holds 'las', expected .* such as first, norm, second, last"):
        fisher_embedding(probe, images, labels, layers=["las"])
    with pytest.raises(ConfigurationError, match="no Conv1d, Conv2d or Linear layer"):
        fisher_embedding(probe, images, labels, layers=[])


@pytest.mark.parametrize("room", [0, 13_000, 1 << 26])
def test_an_image_passes_once_where_there_is_room(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwards, "_KEPT_ELEMENTS", room)
    images, labels = _task(n=12, classes=3)
    probe = Probe(_network(), name="x")
    passed: list[int] = []
    handle = probe.backbone.first.register_forward_pre_hook(lambda _, entered: passed.append(len(entered[0])))
    found = fisher_embedding(probe, images, labels, batch_size=3).vector
    handle.remove()
    assert len(passed) == {0: 8, 13_000: 6, 1 << 26: 4}[room]
    np.testing.assert_allclose(found, fisher_embedding(probe, images, labels).vector, rtol=1e-3)


@pytest.mark.parametrize("elements", [1, 1 << 26])
def test_directions_are_taken_in_parts_where_gradients_are_large(
    elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = _task(n=12, classes=6)
    probe = Probe(_network(), name="x")
    expected = fisher_embedding(probe, images, labels).vector
    monkeypatch.setattr(fisher, "_GRADIENT_ELEMENTS", elements)
    np.testing.assert_allclose(fisher_embedding(probe, images, labels).vector, expected, rtol=1e-4)


def test_progress_is_told_by_images() -> None:
    told: list[tuple[int, int]] = []
    images, labels = _task(n=7, classes=2)
    fisher_embedding(Probe(_network(), name="x"), images, labels, batch_size=3, progress=lambda *now: told.append(now))
    assert told == [(3, 7), (6, 7), (7, 7)]


def test_sketches_follow_seed_and_task_and_not_batches_or_the_global_state() -> None:
    images, labels = _task(n=10, classes=5)
    probe = Probe(_network(), name="x")
    state = torch.get_rng_state()
    first = fisher_embedding(probe, images, labels, mode="sketch", passes=3, seed=4)
    assert torch.equal(state, torch.get_rng_state())
    assert first.method == "fisher-sketch/l2=1.0/passes=3/seed=4"
    torch.rand(1)
    again = fisher_embedding(probe, images, labels, mode="sketch", passes=3, seed=4, batch_size=4)
    np.testing.assert_allclose(again.vector, first.vector, rtol=1e-3)
    exact = fisher_embedding(probe, images, labels).vector
    # Noise of two tasks must not be shared: a constant moved by rounding gives others signs.
    errors = [
        fisher_embedding(probe, images + change, labels, mode="sketch", seed=seed).vector / exact - 1.0
        for change, seed in ((0.0, 0), (0.0, 1), (1e-6, 0))
    ]
    assert all(np.abs(error).max() > 0.05 for error in errors)
    assert not np.allclose(errors[0], errors[1], atol=0.05)
    assert not np.allclose(errors[0], errors[2], atol=0.05)


@pytest.mark.parametrize("mode", ["exact", "sketch"])
def test_the_probe_is_never_in_train_mode(mode: str) -> None:
    probe = Probe(_network(), name="x")
    modes: list[bool] = []
    for module in probe.backbone.modules():
        module.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    before = {name: value.clone() for name, value in probe.backbone.state_dict().items()}
    fisher_embedding(probe, *_task(n=6, classes=2), mode=mode)
    assert modes
    assert not any(modes)
    assert all(torch.equal(value, before[name]) for name, value in probe.backbone.state_dict().items())


def test_exact_takes_a_twentieth_of_the_published_operations() -> None:
    images, labels = _task(n=100, classes=5)
    probe = Probe(_network(), name="x")
    counts = {}
    for mode, draws in (("exact", 0), ("aws", 128)):
        with FlopCounterMode(display=False) as counter:
            fisher_embedding(probe, images, labels, mode=mode, draws=draws)
        counts[mode] = counter.get_total_flops()
    assert counts["exact"] * 20 < counts["aws"] * 10_000 / 128


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS")
@pytest.mark.parametrize("mode", ["exact", "sketch"])
def test_a_gpu_gives_the_same(mode: str) -> None:
    images, labels = _task(n=10, classes=5)
    probe = Probe(_network(), name="x")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        found = fisher_embedding(probe.to("cuda"), images, labels, mode=mode)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_allclose(found.vector, fisher_embedding(probe, images, labels, mode=mode).vector, rtol=1e-4)


def test_tf32_is_off_for_an_embedding_alone() -> None:
    switches = precision._switches()
    seen: list[object] = []
    probe = Probe(_network(), name="x")
    probe.backbone.first.register_forward_pre_hook(
        lambda *_: seen.append([getattr(holder, name) for holder, name, _ in switches])
    )
    before = [getattr(holder, name) for holder, name, _ in switches]
    fisher_embedding(probe, *_task(n=4, classes=2))
    assert seen == [[exact for _, _, exact in switches]]
    assert [getattr(holder, name) for holder, name, _ in switches] == before != seen[0]
