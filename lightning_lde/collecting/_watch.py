"""Batches of samples go in, what they bring to the diversity comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_lde.collecting._batches import Samples, samples_of
from lightning_lde.collecting._clusters import OUTSIDE, Clusters, FloatArray
from lightning_lde.collecting._probes import random_probe
from lightning_lde.diversity import DiversityMonitor, KindScore, MonitorReport, MonitorUpdate, Probe
from lightning_lde.errors import DataError

_ENOUGH_FOR_CLUSTERS = 16


class BatchWatch:
    """Embeds batches with a probe and hands them to a `DiversityMonitor`, outside of any training.

    It reads and moves no random state, changes no tensor, and needs no gradient.

    Args:
        probe: What embeds samples; None for an untrained Conv4 at 32 x 32 whose statistics fit the first batch.
        monitor: What watches; None for ``DiversityMonitor()``.
        samples: Finds the samples of a batch; None for `samples_of`.
        seed: Of the untrained probe.

    Example:
        >>> import torch
        >>> watch = BatchWatch()
        >>> generator = torch.Generator().manual_seed(0)
        >>> for kind in (0, 1, 2, 0, 1, 2, 0, 1, 2):
        ...     images = torch.rand(16, 1, 32, 32, generator=generator) * (kind == 0)
        ...     images[:, :, ::4] = kind / 2
        ...     update = watch.take((images + 0.1 * torch.rand(16, 1, 32, 32, generator=generator), [kind] * 16))
        >>> len(watch.report().regions), update.new, update.stopped
        (3, False, True)
    """

    def __init__(
        self,
        *,
        probe: Probe | None = None,
        monitor: DiversityMonitor | None = None,
        samples: Callable[[Any], Samples] | None = None,
        seed: int = 0,
    ) -> None:
        self.probe = probe
        self.monitor = DiversityMonitor() if monitor is None else monitor
        self._samples = samples or samples_of
        self._seed = seed
        self._clusters: Clusters | None = None

    def take(self, batch: Any) -> MonitorUpdate:
        """Embed the samples of a batch and take them.

        Args:
            batch: What a loader gave.

        Returns:
            What the batch did.

        Raises:
            DataError: If there are no samples in it, or they are not finite.
        """
        found = self._samples(batch)
        return self.take_features(self.features(found.values), found.labels, found.groups)

    def features(self, values: Tensor) -> FloatArray:
        """Features of samples, (N, ...) to (N, D)."""
        images = as_floats(values.detach())
        if not bool(torch.isfinite(images).all()):
            raise DataError("a batch holds nan or infinity, expected finite samples; it is left out.")
        # Gradients, and half precision where a training uses it, are the training's own.
        with torch.autocast(images.device.type, enabled=False):
            if self.probe is None:
                self.probe = random_probe(images, seed=self._seed)
            if _device(self.probe) not in (None, images.device):
                self.probe = self.probe.to(images.device)
            return self.probe.features(images).double().cpu().numpy()

    def take_features(self, features: FloatArray, labels: Any, groups: Any = None) -> MonitorUpdate:
        """Take samples whose features are known.

        Args:
            features: (N, D).
            labels: Class of each, (N,); None, or None for some, for clusters around those of the first batch.
            groups: What each was taken from, (N,); None where they are independent.
        """
        fitted = self._fit_clusters(features, labels)
        names = self._labels(features, labels)
        if fitted:
            kept = [row for row in range(len(features)) if row not in fitted]
            features, names = features[kept], [names[row] for row in kept]
            groups = None if groups is None else [groups[row] for row in kept]
        return self.monitor.add(features, names, groups=groups)

    def rank(self, features: FloatArray, labels: Any) -> tuple[KindScore, ...]:
        """Say which kinds of candidates would add most, without taking them.

        Args:
            features: Features of the candidates, (N, D).
            labels: Kind of each, (N,); None, or None for some, for the clusters of the data so far.

        Returns:
            Scores, the largest gain first.

        Raises:
            DataError: If the features are unfit, or nothing was taken yet.
        """
        return self.monitor.rank(features, self._labels(features, labels))

    def report(self) -> MonitorReport:
        """How diverse the data are so far."""
        return self.monitor.report()

    def _fit_clusters(self, features: FloatArray, labels: Any) -> set[int]:
        """Fit clusters to every other sample without a label, once there are enough; the rows that were used.

        Those are not watched: they lie nearer to the centres that were fitted to them than any that will come, which
        would make what comes look new.
        """
        without = _without_label(features, labels)
        if self._clusters is not None or len(without) < _ENOUGH_FOR_CLUSTERS:
            return set()
        used = without[::2]
        self._clusters = Clusters.of(features[used])
        return set(used)

    def _labels(self, features: FloatArray, labels: Any) -> Any:
        without = _without_label(features, labels)
        if not without:
            return labels
        found = [OUTSIDE] * len(without) if self._clusters is None else self._clusters.names(features[without])
        named = dict(zip(without, found, strict=True))
        return [named[row] if row in named else labels[row] for row in range(len(features))]


def _without_label(features: FloatArray, labels: Any) -> list[int]:
    if labels is None:
        return list(range(len(features)))
    return [row for row, label in enumerate(labels) if label is None] if isinstance(labels, (list, tuple)) else []


def as_floats(values: Tensor) -> Tensor:
    """Samples as floats; pixels of one byte from 0 to 1, other whole numbers as they are."""
    if values.dtype == torch.uint8:
        return values.float() / 255.0
    return values if values.is_floating_point() else values.float()


def _device(probe: Probe) -> torch.device | None:
    reference = next(probe.backbone.parameters(), None)
    return None if reference is None else reference.device
