"""The probe: a frozen feature extractor, always in evaluation mode, known by the hash of what it computes."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_lde.errors import ConfigurationError, DataError

from ._precision import full_precision
from ._states import with_weights

_Self = TypeVar("_Self", bound="Probe")


class Probe:
    """A frozen copy of a feature extractor that measures tasks.

    The copy never trains and never sees batch statistics: BatchNorm uses its running statistics and dropout
    is off, so the features of an image do not depend on the other images of its batch.

    Args:
        backbone: Maps images (N, C, H, W) to features (N, D). It is copied; later changes do not reach
            the probe.
        name: What reports call the probe. It is not part of its id.

    Raises:
        ConfigurationError: If a BatchNorm has no running statistics.

    Example:
        >>> import torch
        >>> probe = Probe(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)), name="tiny")
        >>> tuple(probe.features(torch.zeros(5, 1, 2, 2)).shape), len(probe.probe_id)
        ((5, 3), 32)
    """

    def __init__(self, backbone: nn.Module, *, name: str) -> None:
        _require_running_statistics(backbone)
        with torch.inference_mode(mode=False):
            self._backbone = copy.deepcopy(backbone).eval().requires_grad_(requires_grad=False)
        self.name = name
        self.probe_id = _content_hash(self._backbone)

    @classmethod
    def from_state_dict(
        cls: type[_Self],
        state: Mapping[str, Any],
        *,
        name: str,
        backbone: nn.Module | None = None,
        prefix: str | None = None,
    ) -> _Self:
        """A probe of trained weights, such as ImageNet's for a ResNet in torchvision's format, or of a checkpoint.

        Args:
            state: What ``torch.load(path, weights_only=True)`` gives: a state dict, or a Lightning checkpoint. What
                the backbone does not have, such as a classifier, is left out.
            name: What reports call the probe.
            backbone: The network that the weights belong to; a ResNet-18 or ResNet-34 without its classifier,
                whichever the names of the weights tell, if None.
            prefix: What stands before the backbone's names in the state dict, such as "backbone."; if None, the
                one under which all of them stand.

        Raises:
            ConfigurationError: If weights are missing or do not fit, or more than one network could be meant.

        Example:
            >>> import torch
            >>> layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
            >>> saved = {"state_dict": {f"backbone.{name}": value for name, value in layers.state_dict().items()}}
            >>> probe = Probe.from_state_dict(saved, name="mine", backbone=layers)
            >>> probe.probe_id == Probe(layers, name="the same").probe_id
            True
        """
        with torch.inference_mode(mode=False):
            return cls(with_weights(state, backbone, prefix), name=name)

    @classmethod
    def random(
        cls: type[_Self],
        backbone: nn.Module | Callable[[], nn.Module],
        calibration_images: Tensor,
        *,
        name: str,
        seed: int = 0,
    ) -> _Self:
        """A probe of untrained weights whose BatchNorm statistics fit the data.

        All images pass once through a copy of the backbone; each BatchNorm takes the mean and variance that
        it then sees. Of a backbone nothing is drawn at random: the weights are its own, so seed before it is
        built, or give a function that builds it.

        Args:
            backbone: Feature extractor with its initial weights, or a function that builds it, such as
                ``resnet18``. Function, seed and images make the probe again, to the bit on one kind of machine.
            calibration_images: Images pooled over the data sets to be compared, (N, C, H, W), N at least 2.
            name: What reports call the probe.
            seed: Of the weights that a function draws; torch's random state is as before afterwards.

        Raises:
            ConfigurationError: If a BatchNorm has no running statistics.
            DataError: If there are fewer than two images or they are not finite floats.
        """
        if not isinstance(backbone, nn.Module):
            backbone = _built(backbone, seed)
        _require_running_statistics(backbone)
        images = check_images(calibration_images, minimum=2)
        with torch.inference_mode(mode=False), torch.no_grad(), full_precision():
            calibrated = copy.deepcopy(backbone).eval()
            norms = [module for module in calibrated.modules() if isinstance(module, _BatchNorm)]
            momenta = [norm.momentum for norm in norms]
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None
                norm.train()
            calibrated(_like_parameters(images, calibrated))
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
        return cls(calibrated, name=name)

    def to(self: _Self, device: torch.device | str) -> _Self:
        """The same probe on another device; its id stays."""
        moved = copy.copy(self)
        with torch.inference_mode(mode=False):
            moved._backbone = copy.deepcopy(self._backbone).to(device)
        return moved

    @property
    def backbone(self) -> nn.Module:
        """The frozen feature extractor, in evaluation mode whatever was done to it."""
        return self._backbone.eval()

    def prepare(self, images: Tensor) -> Tensor:
        """Images checked, and moved to the device and precision of the backbone.

        Args:
            images: (N, C, H, W), floats.

        Raises:
            DataError: If there are no images or they are not finite floats.
        """
        return _like_parameters(check_images(images), self._backbone)

    def features(self, images: Tensor, *, batch_size: int = 256) -> Tensor:
        """Features of images, without gradient.

        Args:
            images: (N, C, H, W), floats, scaled as the backbone expects.
            batch_size: Images in one pass; it does not change the result beyond rounding.

        Returns:
            Features, (N, D), on the backbone's device.

        Raises:
            DataError: If there are no images or they are not finite floats.
            ConfigurationError: If the backbone does not give one vector for each image.
        """
        if batch_size < 1:
            raise ConfigurationError(f"batch_size={batch_size!r}, expected at least 1.")
        with torch.no_grad(), full_precision():
            parts = [self.backbone(batch) for batch in torch.split(self.prepare(images), batch_size)]
        return check_features(torch.cat(parts), n_images=images.shape[0])

    def __repr__(self) -> str:
        return f"Probe(name={self.name!r}, probe_id={self.probe_id!r})"


def check_images(images: Tensor, *, minimum: int = 1) -> Tensor:
    """Refuse images that no backbone can take.

    Args:
        images: (N, C, H, W).
        minimum: The least N.

    Raises:
        DataError: If they are too few, not floats, or not finite.
    """
    if images.ndim < 2 or images.shape[0] < minimum:
        raise DataError(f"images have shape {tuple(images.shape)}, expected (N, C, H, W) with N >= {minimum}.")
    if not images.is_floating_point():
        raise DataError(f"images are {images.dtype}, expected floats; convert and scale them as in training.")
    if not bool(torch.isfinite(images).all()):
        raise DataError("images hold nan or infinity, expected finite values; repair or drop those images.")
    return images


def check_features(features: Tensor, *, n_images: int) -> Tensor:
    """Refuse what is not one vector for each image.

    Args:
        features: What a backbone gave.
        n_images: The number of images.

    Raises:
        ConfigurationError: If they are not (n_images, D).
    """
    if features.ndim != 2 or features.shape[0] != n_images:
        raise ConfigurationError(
            f"backbone maps {n_images} images to {tuple(features.shape)}, expected (N, D); pool or flatten at its end."
        )
    return features


def _built(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: that seeds GPUs too, which a training may be drawing from.
        torch.default_generator.manual_seed(seed)
        return build()


def _like_parameters(images: Tensor, backbone: nn.Module) -> Tensor:
    reference = next(backbone.parameters(), None)
    if reference is None:
        return images
    return images.to(device=reference.device, dtype=reference.dtype)


def _require_running_statistics(backbone: nn.Module) -> None:
    for name, module in backbone.named_modules():
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise ConfigurationError(
                f"BatchNorm {name!r} has track_running_stats=False, expected running statistics: "
                "otherwise an image's features depend on its batch; build the backbone with them."
            )


def _content_hash(backbone: nn.Module) -> str:
    digest = hashlib.sha256(repr(backbone).encode())
    for key, value in sorted(backbone.state_dict().items()):
        digest.update(key.encode())
        if isinstance(value, Tensor):
            stored = value.detach().cpu().contiguous()
            digest.update(f"{stored.dtype}{tuple(stored.shape)}".encode())
            digest.update(stored.reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()[:32]
