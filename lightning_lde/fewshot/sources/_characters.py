"""Few-shot data sets that need no download: printed characters by script, and handwritten digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch

from lightning_lde.errors import ConfigurationError, MissingDependencyError
from lightning_lde.fewshot.data._dataset import FewShotDataset
from lightning_lde.fewshot.sources._glyphs import IMAGE_SIZE, Pixels, draw, faces_of, key_of, plain

__all__ = ["CHARACTER_SETS", "character_set", "character_sets", "demo_sets", "digits_set"]

CHARACTER_SETS: Mapping[str, tuple[tuple[int, int], ...]] = MappingProxyType(
    {
        "latin": ((0x41, 0x5A), (0x61, 0x7A)),
        "greek": ((0x391, 0x3A9), (0x3B1, 0x3C9)),
        "cyrillic": ((0x410, 0x44F),),
        "armenian": ((0x531, 0x556), (0x561, 0x587)),
        "georgian": ((0x10D0, 0x10FA),),
        "hebrew": ((0x5D0, 0x5EA),),
        "canadian_syllabics": ((0x1401, 0x1676),),
        "mathematical_operators": ((0x2200, 0x22FF),),
        "arrows": ((0x2190, 0x21FF),),
        "box_drawing": ((0x2500, 0x257F),),
        "geometric_shapes": ((0x25A0, 0x25FF),),
        "dingbats": ((0x2701, 0x27BF),),
    }
)
"""Name of each character set and the first and last code point of its Unicode ranges."""

_ALIKE = 0.97
_MIN_CLASSES = 5
_DIGITS_PER_CLASS = 100
_LICENCE = "Bitstream Vera and DejaVu fonts licence; STIX fonts: SIL Open Font License 1.1"
_DIGITS_LICENCE = "CC BY 4.0 (UCI Optical Recognition of Handwritten Digits)"


def character_sets(*, instances: int = 20, max_classes: int = 40) -> list[FewShotDataset]:
    """Draw every set of ``CHARACTER_SETS``; see ``character_set``."""
    return [character_set(name, instances=instances, max_classes=max_classes) for name in CHARACTER_SETS]


def character_set(name: str, *, instances: int = 20, max_classes: int = 40) -> FewShotDataset:
    """Draw the characters of one script or Unicode block as a data set, without any download.

    A class is a character, its instances are the font faces that have it under small affine changes.
    Characters that look like an earlier one are left out. The same versions of matplotlib's fonts
    and of Pillow give the same bytes at every call, in every process.

    Args:
        name: A key of ``CHARACTER_SETS``.
        instances: Images per class.
        max_classes: At most so many characters, spread evenly over the block.

    Returns:
        Images uint8 (N, 1, 28, 28), ink bright on 0; about 55 % of the classes train, 10 % val, 35 % test.

    Raises:
        ConfigurationError: The name is unknown, or a number too small for a split.
        MissingDependencyError: matplotlib is not installed.

    Example:
        >>> greek = character_set("greek")
        >>> greek.classes[0], tuple(greek.images.shape[1:]), greek.n_classes <= 40
        ('U+0391 Α', (1, 28, 28), True)
    """
    if name not in CHARACTER_SETS:
        raise ConfigurationError(f"character set {name!r} is unknown: use one of {sorted(CHARACTER_SETS)}.")
    if instances < 1 or max_classes < 2 * _MIN_CLASSES:
        raise ConfigurationError(
            f"instances={instances}, max_classes={max_classes}: expected at least 1 and {2 * _MIN_CLASSES}."
        )
    characters = _spread(_distinct(name), max_classes)
    pixels = [_class_images(name, one, instances) for one in characters]
    classes = tuple(f"U+{one:04X} {chr(one)}" for one in characters)
    return FewShotDataset(
        name=name,
        images=torch.from_numpy(np.concatenate(pixels)[:, None]),
        labels=torch.arange(len(classes)).repeat_interleave(instances),
        classes=classes,
        class_splits=_class_splits(name, classes, val_share=0.10),
        licence=_LICENCE,
        source=f"characters of the Unicode ranges of {name}, drawn from matplotlib's DejaVu and STIX fonts",
    )


def digits_set() -> FewShotDataset:
    """Return scikit-learn's handwritten digits, 8x8 enlarged to 28x28, at most 100 a class.

    Returns:
        Ten classes: five train, five test, no val.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependencyError("the digits come with scikit-learn: pip install scikit-learn.") from error
    digits = load_digits()
    labels: npt.NDArray[np.int64] = np.asarray(digits.target, dtype=np.int64)
    rows = np.concatenate([np.flatnonzero(labels == one)[:_DIGITS_PER_CLASS] for one in range(10)])
    small = torch.from_numpy(np.rint(digits.images[rows] * (255 / 16)).astype(np.uint8))[:, None]
    classes = tuple(str(one) for one in range(10))
    enlarged = FewShotDataset("digits", small, torch.from_numpy(labels[rows]), classes, ("train",) * 10).prepared(
        size=IMAGE_SIZE, channels=1
    )
    return FewShotDataset(
        name="digits",
        images=enlarged.images,
        labels=enlarged.labels,
        classes=classes,
        class_splits=_class_splits("digits", classes, val_share=0.0),
        licence=_DIGITS_LICENCE,
        source="sklearn.datasets.load_digits",
    )


def demo_sets() -> list[FewShotDataset]:
    """Return all character sets and the digits: a study's worth of data sets without any download."""
    return [*character_sets(), digits_set()]


def _distinct(name: str) -> list[int]:
    """Return the characters of a block that some face can draw and that do not look like an earlier one."""
    kept: list[int] = []
    looks = np.zeros((0, IMAGE_SIZE * IMAGE_SIZE))
    for first, last in CHARACTER_SETS[name]:
        for one in range(first, last + 1):
            faces = faces_of(one)
            if not faces:
                continue
            look = plain(faces[0], one).astype(np.float64).ravel()
            look /= np.linalg.norm(look)
            if not (looks @ look > _ALIKE).any():
                kept.append(one)
                looks = np.vstack([looks, look])
    return kept


def _spread(characters: Sequence[int], count: int) -> list[int]:
    if len(characters) <= count:
        return list(characters)
    places = [(2 * step + 1) * len(characters) // (2 * count) for step in range(count)]
    return [characters[place] for place in places]


def _class_images(name: str, code_point: int, instances: int) -> Pixels:
    faces = faces_of(code_point)
    images = [draw(faces[step % len(faces)], code_point, key_of(name, code_point, step)) for step in range(instances)]
    return np.stack(images)


def _class_splits(name: str, classes: Sequence[str], *, val_share: float) -> tuple[str, ...]:
    n_test = max(_MIN_CLASSES, round(0.35 * len(classes)))
    n_val = round(val_share * len(classes))
    order = sorted(classes, key=lambda one: key_of(name, "split", one))
    part = dict.fromkeys(order[:n_test], "test") | dict.fromkeys(order[n_test : n_test + n_val], "val")
    return tuple(part.get(one, "train") for one in classes)
