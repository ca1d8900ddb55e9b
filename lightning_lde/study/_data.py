"""The data sets of a study, brought to one size and number of channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lightning_lde.errors import DataError
from lightning_lde.fewshot import CHARACTER_SETS, FewShotDataset, character_set, digits_set, load_packs
from lightning_lde.study._settings import StudySettings

DIGITS = "digits"


def study_datasets(
    folder: Path | None, settings: StudySettings, *, names: Sequence[str] | None = None
) -> tuple[list[FewShotDataset], StudySettings]:
    """Data sets that all cells of a study can share an architecture on.

    Args:
        folder: A folder of Parquet packs; without one, characters drawn from fonts and handwritten digits.
        settings: The study's numbers.
        names: Which data sets; without it all that have enough classes.

    Returns:
        The prepared data sets, and the settings with colour where one of them has it.

    Raises:
        DataError: If no data set is left, or one is too small for the settings.
    """
    if folder is None:
        known = [*CHARACTER_SETS, DIGITS]
        # Drawing takes seconds: what is not asked for is not drawn.
        found = [_drawn(name) for name in known if names is None or name in names]
    else:
        found = load_packs(folder, min_classes=settings.ways)
        known = [dataset.name for dataset in found]
    chosen = [dataset for dataset in found if names is None or dataset.name in names]
    if not chosen or (names is not None and len(chosen) < len(set(names))):
        raise DataError(f"data sets {list(names or [])} are not all there; there are: {', '.join(known) or 'none'}")
    for dataset in chosen:
        _check_size(dataset, settings)
    channels = max([settings.channels, *(dataset.images.shape[1] for dataset in chosen)])
    settings = replace(settings, channels=channels)
    return [dataset.prepared(size=settings.image_size, channels=channels) for dataset in chosen], settings


def _drawn(name: str) -> FewShotDataset:
    return digits_set() if name == DIGITS else character_set(name)


def _check_size(dataset: FewShotDataset, settings: StudySettings) -> None:
    """Say before any training what would fail in one."""
    for part in ("train", "test"):
        if dataset.class_splits.count(part) < settings.ways:
            raise DataError(
                f"data set {dataset.name!r} has {dataset.class_splits.count(part)} {part} classes, "
                f"a task needs {settings.ways}: lower ways or leave the set out"
            )
        smallest = min(dataset.split(part).class_counts.values())
        if smallest < settings.shots + settings.queries:
            raise DataError(
                f"a {part} class of {dataset.name!r} has {smallest} images, "
                f"a task needs {settings.shots + settings.queries} of each: lower shots or queries"
            )
