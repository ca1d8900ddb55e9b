"""The forward passes of a task through a probe, made once where they fit into memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lightning_lde.errors import ConfigurationError

from ._probe import Probe, check_features
from ._recording import SharedWeight, chosen_layers, record

_KEPT_ELEMENTS = 1 << 26


@dataclasses.dataclass(frozen=True, eq=False)
class Forward:
    """A batch that went through the probe: its features with their graph, and the layers that it passed."""

    features: Tensor
    weights: list[SharedWeight]

    @property
    def outputs(self) -> list[Tensor]:
        return [use.left for weight in self.weights for use in weight.uses]

    @property
    def elements(self) -> int:
        # The graph holds about as much again as the outputs.
        uses = [use for weight in self.weights for use in weight.uses]
        return sum(use.entered.numel() + 2 * use.left.numel() for use in uses)


class Forwards:
    """The forward passes of a task; as many as fit into memory are made only once, for features and gradients."""

    def __init__(
        self, probe: Probe, images: Tensor, *, layers: Sequence[str] | None, norm_weights: bool, batch_size: int
    ) -> None:
        if batch_size < 1:
            raise ConfigurationError(f"batch_size={batch_size!r}, expected at least 1.")
        self._probe = probe
        self._chosen = chosen_layers(probe.backbone, layers=layers, norm_weights=norm_weights)
        self._batches = torch.split(probe.prepare(images), batch_size)
        self._kept: list[Forward] = []
        self.n_images = int(images.shape[0])

    def features(self) -> Tensor:
        """Features of all images without gradient, (N, D)."""
        found, room = [], _KEPT_ELEMENTS
        for batch in self._batches:
            if room > 0:
                forward = self._record(batch)
                room -= forward.elements
                self._kept.append(forward)
                found.append(forward.features.detach())
            else:
                found.append(self._probe.features(batch, batch_size=len(batch)))
        return check_features(torch.cat(found), n_images=self.n_images)

    def __iter__(self) -> Iterator[Forward]:
        """Each batch, in order; what was kept is let go as soon as it is handed out."""
        kept = self._kept[::-1]
        self._kept = []
        for batch in self._batches:
            yield kept.pop() if kept else self._record(batch)

    def _record(self, batch: Tensor) -> Forward:
        return Forward(*record(self._probe.backbone, self._chosen, batch))
