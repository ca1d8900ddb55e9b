"""The exact Fisher embedding against gradients taken image by image and label by label in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from lightning_lde.diversity import Probe, fisher_embedding
from lightning_lde.diversity import _filters as filters
from lightning_lde.diversity._fisher import filter_fisher
from lightning_lde.diversity._head import Head, fit_head
from lightning_lde.errors import ConfigurationError, DataError


class _Residual(nn.Module):
    """A layer used at two sizes, a skip connection and pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, padding=1)
        self.shared = nn.Conv2d(6, 6, 3, padding=1)
        self.last = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        x = x + self.shared(x)
        x = self.shared(F.max_pool2d(x, 2)).mean(dim=(2, 3))
        return self.last(x)


class _Skip(nn.Module):
    """A skip connection whose sum may overwrite the input of a layer."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place
        self.first = nn.Linear(6, 4)
        self.second = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        out = self.second(x)
        return x.add_(out).sigmoid_() if self.in_place else torch.sigmoid(x + out)


class _Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


def _conv(**options: object) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 6, 3, **options), nn.Tanh(), nn.Flatten())


NETWORKS = {
    "conv4": (
        nn.Sequential(
            *[
                part
                for channels in (2, 8, 8)
                for part in (
                    nn.Conv2d(channels, 8, 3, padding=1),
                    nn.BatchNorm2d(8),
                    nn.ReLU(inplace=True),
                    nn.MaxPool2d(2),
                )
            ],
            nn.Flatten(),
        ),
        (2, 8, 9),
    ),
    "stride": (_conv(stride=(2, 3), padding=(2, 1), bias=False), (2, 7, 8)),
    "dilation": (_conv(dilation=2, padding="same"), (2, 6, 5)),
    "valid": (_conv(padding="valid"), (2, 6, 5)),
    "reflect": (_conv(padding=1, padding_mode="reflect"), (2, 5, 5)),
    "groups": (_conv(groups=2, padding=1), (2, 5, 4)),
    "conv1d": (
        nn.Sequential(nn.Conv1d(3, 4, 4, stride=2, padding=1), nn.ReLU(), nn.Conv1d(4, 6, 2, groups=2), nn.Flatten()),
        (3, 12),
    ),
    "linear": (nn.Sequential(nn.Linear(7, 6), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(6, 5)), (7,)),
    "sequence": (nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Flatten()), (5, 2, 3)),
    "norms": (
        nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 3, bias=False),
            nn.GroupNorm(4, 8),
            nn.BatchNorm2d(8, affine=False),
            nn.Flatten(),
            nn.Linear(32, 6),
            nn.BatchNorm1d(6),
        ),
        (2, 4, 4),
    ),
    "residual": (_Residual(), (2, 6, 6)),
    "tied": (_Tied(), (6,)),
}


def _with_statistics(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(5)
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        if value.is_floating_point() and ("running" in name or value.ndim == 1):
            value.data.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network


def _task(shape: tuple[int, ...], *, n: int, classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(n) % classes
    return torch.randn(n, *shape, generator=generator) + 0.3 * labels.view(-1, *[1] * len(shape)), labels


FILTERS = (nn.Conv1d, nn.Conv2d, nn.Linear)


def _brute_force(
    backbone: nn.Module, images: Tensor, head: Head, kinds: tuple[type[nn.Module], ...] = FILTERS
) -> np.ndarray:
    """Σ over labels of p ‖∂(-log p)/∂W_o‖²/|W_o|, averaged over images, by one gradient for each."""
    weight, bias = torch.as_tensor(head.weight), torch.as_tensor(head.bias)
    layers = [m for m in backbone.modules() if isinstance(m, kinds) and m.weight is not None]
    names = {id(parameter): name for name, parameter in backbone.named_parameters()}
    wanted = list(dict.fromkeys(names[id(layer.weight)] for layer in layers))
    parameters = {name: value.detach() for name, value in backbone.named_parameters()}

    def loss(chosen: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        features = functional_call(backbone, {**parameters, **chosen}, (image[None],), tie_weights=True)
        return F.cross_entropy(features @ weight.T + bias, label[None])

    with torch.no_grad():
        p = torch.softmax(backbone(images) @ weight.T + bias, dim=1)
    total = 0
    for label in range(p.shape[1]):
        labels = torch.full((len(images),), label)
        chosen = {name: parameters[name] for name in wanted}
        gradients = vmap(grad(loss), in_dims=(None, 0, 0))(chosen, images, labels)
        by_filter = [gradients[name].square().reshape(*gradients[name].shape[:2], -1) for name in wanted]
        squares = torch.cat([one.mean(dim=2) for one in by_filter], dim=1)
        total = total + (p[:, label, None] * squares).mean(dim=0)
    return total.numpy()


@pytest.mark.parametrize("chunk", [1, 1 << 20])
@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_equals_brute_force(network: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "_CHUNK_ELEMENTS", chunk)
    module, shape = NETWORKS[network]
    backbone = module.double().eval()
    images, labels = _task(shape, n=9, classes=3)
    probe = Probe(backbone, name=network)
    features = probe.features(images).numpy()
    head = fit_head(features, labels.numpy(), l2=1.0)
    found = filter_fisher(probe, images.double(), head, batch_size=4).numpy()
    expected = _brute_force(backbone, images.double(), head)
    assert (expected > 0.0).mean() > 0.9
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    public = fisher_embedding(probe, images, labels)
    np.testing.assert_allclose(public.vector, expected, rtol=1e-5)
    assert public.complexity == pytest.approx(expected.sum())


def test_sums_in_place_do_not_spoil_what_was_recorded() -> None:
    torch.manual_seed(0)
    plain, in_place = _Skip(in_place=False), _Skip(in_place=True)
    in_place.load_state_dict(plain.state_dict())
    images, labels = _task((6,), n=6, classes=2)
    expected = fisher_embedding(Probe(plain, name="x"), images, labels).vector
    found = fisher_embedding(Probe(in_place, name="x"), images, labels).vector
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_both_forms_of_the_filter_gradient_are_used_and_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    for size, positions in ((50, 3), (2, 40)):
        inputs = torch.randn(4, 2, size, positions, generator=generator, dtype=torch.float64)
        deltas = torch.randn(3, 4, 2, 5, positions, generator=generator, dtype=torch.float64)
        expected = torch.einsum("cngol,ngkl->cngok", deltas, inputs).square().sum(dim=(0, 4)).flatten(1)
        torch.testing.assert_close(filters._row_squares(inputs, deltas), expected)


@pytest.mark.parametrize("classes", [2, 4])
def test_head_is_the_minimum_of_the_stated_loss(classes: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(24) % classes
    features = rng.normal(size=(24, 3)) * 5.0 + 40.0 + labels[:, None]

    def loss(flat: np.ndarray) -> float:
        weight, bias = flat[: classes * 3].reshape(classes, 3), flat[classes * 3 :]
        log_p = log_softmax((features - 40.0) @ weight.T + bias, axis=1)
        return -log_p[np.arange(24), labels].sum() + 0.25 * (weight**2).sum()

    best = minimize(loss, np.zeros(classes * 4), tol=1e-10)
    head = fit_head(features, labels, l2=0.5)
    np.testing.assert_allclose(head.weight, best.x[: classes * 3].reshape(classes, 3), atol=1e-4)
    shifted = head.bias + head.weight.sum(axis=1) * 40.0
    np.testing.assert_allclose(shifted - shifted[0], best.x[classes * 3 :] - best.x[classes * 3], atol=1e-3)


def test_embedding_is_deterministic_and_ignores_names_of_labels_and_batches() -> None:
    module, shape = NETWORKS["conv4"]
    images, labels = _task(shape, n=10, classes=5)
    probe = Probe(module.float(), name="x")
    first = fisher_embedding(probe, images, labels)
    assert first.vector.dtype == np.float32
    assert (first.n_images, first.method) == (10, "fisher-exact/l2=1.0")
    np.testing.assert_array_equal(first.vector, fisher_embedding(probe, images, labels).vector)
    other = fisher_embedding(probe, images, (labels * 3 - 7).tolist(), batch_size=3)
    np.testing.assert_allclose(other.vector, first.vector, rtol=1e-3)
    shuffled = fisher_embedding(probe, images, labels.roll(1) // 2)
    assert not np.allclose(shuffled.vector, first.vector, rtol=1e-2)


def test_works_inside_inference_mode_and_leaves_the_probe_clean() -> None:
    module, shape = NETWORKS["conv4"]
    probe = Probe(module.float(), name="x")
    images, labels = _task(shape, n=6, classes=2)
    expected = fisher_embedding(probe, images, labels).vector
    with torch.inference_mode():
        found = fisher_embedding(probe, images.clone(), labels).vector
    np.testing.assert_array_equal(found, expected)
    assert not any(layer._forward_hooks for layer in probe.backbone.modules())
    assert all(parameter.grad is None for parameter in probe.backbone.parameters())


def test_weights_of_norms_count_on_request() -> None:
    module, shape = NETWORKS["norms"]
    backbone = _with_statistics(module.double().eval())
    images, labels = _task(shape, n=9, classes=3)
    probe = Probe(backbone, name="x")
    head = fit_head(probe.features(images).numpy(), labels.numpy(), l2=1.0)
    found = filter_fisher(probe, images.double(), head, batch_size=4, norm_weights=True).numpy()
    expected = _brute_force(backbone, images.double(), head, (*FILTERS, nn.BatchNorm2d, nn.BatchNorm1d, nn.GroupNorm))
    assert found.shape == (8 + 8 + 8 + 8 + 6 + 6,)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    embedding = fisher_embedding(probe, images, labels, norm_weights=True)
    np.testing.assert_allclose(embedding.vector, expected, rtol=1e-5)
    assert embedding.method == "fisher-exact/l2=1.0/norms"


def test_unfit_tasks_are_refused() -> None:
    probe = Probe(nn.Linear(3, 2), name="x")
    images = torch.randn(4, 3)
    with pytest.raises(DataError, match=r"labels have shape \(3,\) for 4 images"):
        fisher_embedding(probe, images, [0, 1, 0])
    with pytest.raises(DataError, match="labels hold 1 class"):
        fisher_embedding(probe, images, [2, 2, 2, 2])
    with pytest.raises(ConfigurationError, match="l2=0"):
        fisher_embedding(probe, images, [0, 1, 0, 1], l2=0)
    with pytest.raises(ConfigurationError, match="mode='mc', expected one of 'exact', 'sketch', 'aws'"):
        fisher_embedding(probe, images, [0, 1, 0, 1], mode="mc")
    with pytest.raises(ConfigurationError, match="passes=0"):
        fisher_embedding(probe, images, [0, 1, 0, 1], mode="sketch", passes=0)
    with pytest.raises(ConfigurationError, match="batch_size=0"):
        fisher_embedding(probe, images, [0, 1, 0, 1], batch_size=0)


def test_layers_that_cannot_be_followed_are_refused() -> None:
    class Folded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.flatten(0, 1)).view(len(x), -1)

    class Unused(Folded):
        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.inner.weight).flatten(1)

    images, labels = torch.randn(4, 5, 3), [0, 1, 0, 1]
    with pytest.raises(ConfigurationError, match="images as its first dimension"):
        fisher_embedding(Probe(Folded(), name="x"), images, labels)
    with pytest.raises(ConfigurationError, match="was never called"):
        fisher_embedding(Probe(Unused(), name="x"), images, labels)
    with pytest.raises(ConfigurationError, match="no Conv1d, Conv2d or Linear"):
        fisher_embedding(Probe(nn.Flatten(), name="x"), images, labels)
