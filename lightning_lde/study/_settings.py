"""The numbers of a study: what is trained, how long, on which episodes it is judged."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from lightning_lde.errors import ConfigurationError
from lightning_lde.schema import content_id


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Numbers that hold for every cell of a study, so that cells differ only in what is compared.

    Attributes:
        ways: Classes of an episode.
        shots: Support images per class.
        queries: Query images per class.
        image_size: Height and width to which all images are brought, pixels.
        channels: 1 for grey, 3 for colour.
        width: Filters of each layer of Conv4.
        meta_steps: Outer steps of MAML.
        meta_batch: Training episodes per outer step.
        inner_steps: Inner steps of MAML in training.
        eval_inner_steps: Inner steps at which MAML is evaluated.
        inner_lr: Inner learning rate.
        outer_lr: Outer learning rate of MAML.
        pretraining_steps: Steps of pretraining.
        pretraining_batch: Images per step of pretraining.
        pretraining_lr: Learning rate of pretraining.
        test_episodes: Evaluation episodes per data set, the same for every method and seed.
        test_seed: Seed of the evaluation episodes.
        probe_steps: Steps for which the probe of the diversity is trained on all data sets together.
        probe_seed: Seed of the probe.
        diversity_tasks: Tasks per data set that are embedded.
        diversity_images: Images per class of an embedded task.
    """

    ways: int = 5
    shots: int = 1
    queries: int = 10
    image_size: int = 28
    channels: int = 1
    width: int = 16
    meta_steps: int = 50
    meta_batch: int = 4
    inner_steps: int = 5
    eval_inner_steps: tuple[int, ...] = (5, 10)
    inner_lr: float = 0.1
    outer_lr: float = 3e-3
    pretraining_steps: int = 150
    pretraining_batch: int = 64
    pretraining_lr: float = 3e-3
    test_episodes: int = 50
    test_seed: int = 20_000
    probe_steps: int = 300
    probe_seed: int = 0
    diversity_tasks: int = 30
    diversity_images: int = 10

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigurationError(f"{name} is {value}: give a finite number")
            if isinstance(value, (int, float)) and value <= 0 and not name.endswith("seed"):
                raise ConfigurationError(f"{name} is {value}: it must be positive")

    @property
    def settings_id(self) -> str:
        """Content id of the numbers that training and test use; those of the probe and of diversity are not in it."""
        unused = ("probe_", "diversity_")
        used = {name: value for name, value in asdict(self).items() if not name.startswith(unused)}
        return content_id("settings", used)

    def changed(self, numbers: Iterable[str]) -> StudySettings:
        """The settings with some numbers replaced.

        Args:
            numbers: Words of the form ``NAME=NUMBER``, as a command line gives them.

        Raises:
            ConfigurationError: If a name is unknown or a value is no number.

        Example:
            >>> StudySettings().changed(["meta_steps=3", "inner_lr=0.1"]).meta_steps
            3
        """
        known = {name: type(value) for name, value in asdict(self).items() if isinstance(value, (int, float))}
        changes: dict[str, Any] = {}
        for name, _, value in (number.partition("=") for number in numbers):
            if name not in known:
                raise ConfigurationError(f"there is no number {name!r}: choose from {', '.join(known)}")
            try:
                changes[name] = known[name](value)
            except ValueError as error:
                raise ConfigurationError(f"{name}={value!r} is not a number") from error
        return replace(self, **changes)


PRESETS = {
    "demo": StudySettings(),
    "twelve": StudySettings(
        shots=5,
        queries=15,
        width=16,
        meta_steps=200,
        outer_lr=3e-3,
        pretraining_steps=800,
        test_episodes=100,
        diversity_tasks=50,
    ),
}
"""Settings by name: ``"demo"`` for minutes, ``"twelve"`` for an hour on two cores with twelve small data sets."""


def preset(name: str) -> StudySettings:
    """The settings of a name.

    Raises:
        ConfigurationError: If there is no such preset.

    Example:
        >>> preset("twelve").shots
        5
    """
    if name not in PRESETS:
        raise ConfigurationError(f"there is no preset {name!r}: choose from {', '.join(PRESETS)}")
    return PRESETS[name]
