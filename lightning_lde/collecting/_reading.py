"""Samples out of files: images, arrays and data packs, each brought to one form."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_lde.collecting._found import ARRAY, LABELS, PACK, FoundFile
from lightning_lde.errors import DataError
from lightning_lde.fewshot import load_pack, open_image, prepare

CHANNELS = 3
_CHUNK = 256


@dataclass(frozen=True, eq=False)
class ReadSample:
    """One sample of a file.

    Attributes:
        pixels: (3, size, size), uint8, or float32 where the file holds floats.
        content: Hash of what the network gets to see.
        label: Its class; None where nothing says it.
    """

    pixels: Tensor
    content: bytes
    label: str | None


def read_file(folder: bytes, file: FoundFile, *, size: int) -> Iterator[ReadSample]:
    """The samples of a file in their order.

    Args:
        folder: The watched folder.
        file: The file.
        size: Height and width to which images are brought, pixels.

    Raises:
        DataError: If it cannot be read; a file that is being written is such a one.
    """
    path = Path(os.fsdecode(folder)) / os.fsdecode(file.path)
    try:
        images, labels = _contents(path, file)
        for start in range(0, len(images), _CHUNK):
            part = prepare(_channels(images[start : start + _CHUNK]), size=size, channels=CHANNELS)
            for row, pixels in enumerate(part):
                content = hashlib.blake2b(pixels.numpy().tobytes(), digest_size=16).digest()
                yield ReadSample(pixels, content, labels[start + row])
    except Exception as error:  # what readers raise at hostile bytes has no common class
        raise DataError(f"{file.name} cannot be read ({_reason(error)}); it is left out until it changes") from error


def _contents(path: Path, file: FoundFile) -> tuple[Tensor, list[str | None]]:
    if file.ending == PACK:
        pack = load_pack(path)
        return pack.images, [pack.classes[label] for label in pack.labels.tolist()]
    if file.ending == ARRAY:
        return _array(path, file)
    return open_image(path, file.name)[None], [file.label]


def _array(path: Path, file: FoundFile) -> tuple[Tensor, list[str | None]]:
    """A stack of images (N, H, W), (N, H, W, C) or (N, C, H, W), or one image (H, W) or (H, W, C)."""
    array = _numbers(path)
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"its numbers are {array.dtype}, expected uint8 from 0 to 255 or floats from 0 to 1")
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4)):
        array = array[None]
    if array.ndim not in (3, 4):
        raise ValueError(f"its shape is {array.shape}, expected images (N, H, W) or (N, H, W, channels)")
    images = torch.from_numpy(array if array.dtype == np.uint8 else array.astype(np.float32))
    images = images[:, None] if images.ndim == 3 else images
    if images.shape[1] not in (1, 3) and images.shape[3] in (1, 3, 4):
        images = images.permute(0, 3, 1, 2)
    if images.is_floating_point() and not bool(torch.isfinite(images).all()):
        raise ValueError("it holds nan or infinity")
    return images, _labels(path, file, len(images))


def _numbers(path: Path) -> Any:
    # Not numpy.load: that opens archives too, whatever a file's name says.
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _labels(path: Path, file: FoundFile, n: int) -> list[str | None]:
    beside = path.with_name(path.name[: -len(ARRAY)] + LABELS)
    if not beside.exists():
        return [file.label] * n
    labels: list[Any] = _numbers(beside).tolist()
    if not isinstance(labels, list) or len(labels) != n:
        raise ValueError(f"{beside.name} does not hold one label for each of its {n} images")
    return [str(label) for label in labels]


def _channels(images: Tensor) -> Tensor:
    if images.shape[1] == 4:
        return images[:, :CHANNELS]
    if images.shape[1] not in (1, CHANNELS):
        raise ValueError(f"its images have {images.shape[1]} channels, expected 1, 3 or 4")
    return images


def _reason(error: BaseException) -> str:
    # What a reader of this package says begins with the file's name, which stands there already.
    first = error.__cause__ or error
    return next(iter(str(first).splitlines()), type(first).__name__)
