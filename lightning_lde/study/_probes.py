"""The probes of a study: its own, trained in the lake, or a random one, one of a run, one of a file."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lightning_lde.diversity import Probe
from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot import Conv4, FewShotDataset, ResNet12
from lightning_lde.query import Lake
from lightning_lde.study._parallel import one_thread
from lightning_lde.study._settings import StudySettings
from lightning_lde.study._train_probe import probe_run, train_probe

STUDY_PROBE = "study"

_CALIBRATION_IMAGES = 64
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class StudyProbe:
    """A probe, and the run of the lake that made it.

    Attributes:
        probe: The probe.
        run_id: The run that trained it, None where no run did.
    """

    probe: Probe
    run_id: str | None = None


def open_probe(
    words: str, lake: Lake, datasets: Sequence[FewShotDataset], settings: StudySettings, *, project: str
) -> StudyProbe:
    """The probe that some words name.

    Args:
        words: ``"study"`` for the study's own, trained where the lake does not hold it; ``"random"`` or
            ``"random:SEED"`` for the same network untrained, with the statistics of the data; ``"run:RUN"`` for the
            last checkpoint of a run of the lake; else a file with a state dict, such as torchvision's of a ResNet-18
            or ResNet-34.
        lake: The lake.
        datasets: The data sets that are to be compared, prepared.
        settings: The study's numbers.
        project: The project in the lake.

    Raises:
        ConfigurationError: If the words name nothing, or the weights fit no network that is known.
        RunNotFoundError: If there is no such run.
        ArtifactNotFoundError: If it has no checkpoint.
    """
    kind, colon, rest = words.partition(":")
    if words == STUDY_PROBE:
        probe = train_probe(lake, datasets, settings, project=project)
        return StudyProbe(probe, probe_run(lake, datasets, settings, project=project))
    if kind == "random" and (not colon or rest.isdecimal()):
        return StudyProbe(_random_probe(datasets, settings, seed=int(rest or "0")))
    if kind == "run" and rest:
        return _probe_of_run(lake, rest, datasets)
    if not Path(words).is_file():
        raise ConfigurationError(
            f"probe {words!r} is no file: give 'study', 'random', 'random:SEED', 'run:RUN_ID' or a file with a "
            "state dict"
        )
    return StudyProbe(_probe_of_file(Path(words)))


def fitted_to(dataset: FewShotDataset, probe: Probe) -> FewShotDataset:
    """A data set with as many channels as a probe takes, grey repeated or colour made grey."""
    channels = next((layer.in_channels for layer in probe.backbone.modules() if isinstance(layer, nn.Conv2d)), None)
    if dataset.images.ndim != 4 or channels not in (1, 3) or dataset.images.shape[1] == channels:
        return dataset
    return dataset.prepared(size=dataset.images.shape[-1], channels=channels)


def _random_probe(datasets: Sequence[FewShotDataset], settings: StudySettings, *, seed: int) -> Probe:
    def network() -> nn.Module:
        return Conv4(settings.channels, settings.width, settings.image_size, norm_statistics="running")

    # The id covers the statistics to the last bit, and more threads add up in another order.
    with one_thread():
        return Probe.random(
            network, _calibration_images(datasets), name=f"random Conv4-{settings.width}, seed {seed}", seed=seed
        )


def _calibration_images(datasets: Sequence[FewShotDataset]) -> Tensor:
    """As many images of each data set, spread over all of it."""
    rows = [np.linspace(0, len(one) - 1, min(len(one), _CALIBRATION_IMAGES)).astype(np.int64) for one in datasets]
    return torch.cat([one.gather(places) for one, places in zip(datasets, rows, strict=True)])


def _probe_of_run(lake: Lake, run: str, datasets: Sequence[FewShotDataset]) -> StudyProbe:
    run_id = lake.resolve_run(run)
    row = lake.sql(
        "select r.name, c.hparams from runs r left join pipeline_configs c using (pipeline_config_id) where run_id = ?",
        [run_id],
    ).to_pylist()[0]
    name = f"run {row['name'] or run_id}"
    state = lake.load_checkpoint(run_id, "last")
    found = json.loads(row["hparams"] or "{}").get("backbone")
    if not isinstance(found, dict) or found.get("class") not in _BACKBONES:
        # The names of the weights have to tell the network.
        return StudyProbe(Probe.from_state_dict(state, name=name), run_id)
    if found.get("norm_statistics") != "batch":
        return StudyProbe(Probe.from_state_dict(state, name=name, backbone=_backbone(found)), run_id)
    # MAML normalises by the batch and keeps no statistics: those of the data take their place.
    trained = _weights_of(state)
    network = _backbone({**found, "norm_statistics": "running"})
    network.load_state_dict(trained, strict=False)
    with one_thread():
        return StudyProbe(Probe.random(network, _calibration_images(datasets), name=name), run_id)


_BACKBONES: Mapping[str, Callable[..., nn.Module]] = {"Conv4": Conv4, "ResNet12": ResNet12}


def _backbone(facts: Mapping[str, Any]) -> nn.Module:
    settings = {name: value for name, value in facts.items() if name not in ("class", "parameters")}
    network: nn.Module = _BACKBONES[facts["class"]](**settings)
    return network


def _weights_of(state: Mapping[str, Any]) -> dict[str, Tensor]:
    prefix = "backbone."
    return {name[len(prefix) :]: one for name, one in state["state_dict"].items() if name.startswith(prefix)}


def _probe_of_file(path: Path) -> Probe:
    try:
        state = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except Exception as error:
        raise ConfigurationError(
            f"probe {str(path)!r} cannot be loaded as tensors alone ({error}): save a state dict with torch.save"
        ) from error
    plain = Probe.from_state_dict(state, name=path.name)
    first = next(layer for layer in plain.backbone.modules() if isinstance(layer, nn.Conv2d))
    # torchvision's weights were trained on images that had the mean and deviation of ImageNet taken out.
    return Probe(_Standardised(plain.backbone), name=path.name) if first.in_channels == 3 else plain


class _Standardised(nn.Module):
    """A network behind the standardisation of its images."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(_IMAGENET_DEVIATION).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Features of images in [0, 1]."""
        features: Tensor = self.network((images - self.get_buffer("mean")) / self.get_buffer("deviation"))
        return features
