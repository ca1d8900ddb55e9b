"""The probe of a watched folder: made once, kept in the state, and the same ever after."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightning_lde.collecting._clusters import FloatArray
from lightning_lde.collecting._probes import random_network, random_probe
from lightning_lde.collecting._reading import CHANNELS
from lightning_lde.collecting._state import FORMAT, WatchState
from lightning_lde.diversity import Probe
from lightning_lde.errors import ConfigurationError, DataError

_RANDOM = re.compile(r"random(?::(\d+))?")
_IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
_IMAGENET_DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


class ProbeOfState:
    """A probe that a state keeps, with its weights where they are random.

    Args:
        state: The state.
        words: ``"random"``, ``"random:SEED"``, or a file of weights in torchvision's format.
        size: Height and width that it sees, pixels.

    Raises:
        ConfigurationError: If the state was made with another probe or size.
        DataError: If the file cannot be read.
    """

    def __init__(self, state: WatchState, words: str, size: int) -> None:
        self._state, self._size = state, size
        random = _RANDOM.fullmatch(words)
        self._seed = int(random[1] or 0) if random else 0
        self._words = f"random:{self._seed}" if random else words
        self._is_random = random is not None
        self._probe = None if self._is_random else _from_file(Path(words))
        self._check(state)
        if self._is_random and (weights := state.get("weights")) is not None:
            network = random_network(CHANNELS, size)
            network.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
            self._probe = Probe(network, name=self._words)
        stored = state.get("probe_id")
        if self._probe is not None and stored not in (None, self._probe.probe_id.encode()):
            raise ConfigurationError(
                f"{words} holds other weights than {state.path} was made with: give another --state"
            )

    @property
    def is_made(self) -> bool:
        """Whether the probe can embed."""
        return self._probe is not None and self._state.get("probe_id") is not None

    def make(self, images: Tensor, *, least: int) -> bool:
        """Make the probe, and keep it.

        Args:
            images: For the statistics of an untrained one, (N, 3, size, size), floats.
            least: So many images are needed.

        Returns:
            Whether there were enough.
        """
        if len(images) < least:
            return False
        if self._probe is None:
            self._probe = random_probe(images, seed=self._seed, size=self._size)
        kept = {"format": FORMAT.encode(), "probe": self._words.encode(), "size": str(self._size).encode()}
        if self._is_random:
            weights = io.BytesIO()
            torch.save(self._probe.backbone.state_dict(), weights)
            kept["weights"] = weights.getvalue()
        self._state.put({**kept, "probe_id": self._probe.probe_id.encode()})
        return True

    def features(self, images: Tensor) -> FloatArray:
        """Features (N, D) of images (N, 3, size, size), floats from 0 to 1; single precision, as it is stored."""
        if self._probe is None:
            raise DataError("the probe is not made yet; make it first.")
        if not self._is_random:
            images = (images - _IMAGENET_MEAN) / _IMAGENET_DEVIATION
        return np.asarray(self._probe.features(images).numpy(), dtype=np.float64)

    def _check(self, state: WatchState) -> None:
        wanted = {"format": FORMAT, "probe": self._words, "size": str(self._size)}
        for name, value in wanted.items():
            stored = state.get(name)
            if stored is not None and stored != value.encode():
                raise ConfigurationError(
                    f"{state.path} was made with {name} {stored.decode(errors='replace')}, not {value}: embeddings of "
                    "both do not compare; give the same, or another --state"
                )


def _from_file(path: Path) -> Probe:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        raise DataError(
            f"{path} cannot be read as weights ({error}): give random, or a file in torchvision's format"
        ) from error
    except Exception as error:  # pickle's own errors have no common class
        raise DataError(f"{path} holds no plain weights ({type(error).__name__}): give a state dict") from error
    return Probe.from_state_dict(state, name=path.name)
