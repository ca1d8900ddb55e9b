"""Few-shot sets made from torch's data sets, Hugging Face's data sets and folders of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_lde.errors import DataError
from lightning_lde.fewshot.data._checks import SPLITS
from lightning_lde.fewshot.data._dataset import FewShotDataset
from lightning_lde.fewshot.data._preparation import check_form, preparation_words
from lightning_lde.fewshot.data._splits import ClassSplits, split_classes
from lightning_lde.fewshot.sources._images import as_sample, stack_samples

__all__ = ["IMAGE_ENDINGS", "from_dataset", "from_folder", "from_hugging_face", "make_dataset", "open_image"]

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


def make_dataset(
    name: str,
    samples: Tensor,
    labels: Sequence[Any],
    *,
    classes: Sequence[str] | None,
    splits: ClassSplits,
    seed: int,
    licence: str | None = None,
    source: str | None = None,
    preparation: str | None = None,
) -> FewShotDataset:
    """Return a few-shot set from samples and labels; the labels are class names, or indices into ``classes``.

    Raises:
        DataError: There are fewer than two classes, a class without a sample, or a label that is no class.
    """
    names, indices = _indices(name, labels, classes)
    if len(names) < 2:
        raise DataError(f"data set {name!r} has {len(names)} classes, too few for a task: it needs at least 2.")
    counts = torch.bincount(indices, minlength=len(names))
    if empty := [one for one, count in zip(names, counts.tolist(), strict=True) if count == 0]:
        raise DataError(f"data set {name!r} has no sample of the classes {empty[:5]}: leave them out or add samples.")
    return FewShotDataset(
        name=name,
        images=samples,
        labels=indices,
        classes=tuple(names),
        class_splits=split_classes(names, splits, seed=seed),
        licence=licence,
        source=source,
        preparation=preparation,
    )


def from_dataset(
    name: str,
    dataset: Any,
    *,
    splits: ClassSplits = None,
    classes: Sequence[str] | None = None,
    size: int | None = None,
    channels: int | None = None,
    seed: int = 0,
    licence: str | None = None,
    source: str | None = None,
) -> FewShotDataset:
    """Read a map-style data set of pairs (image, label), such as torchvision's.

    Args:
        name: What to call the set.
        dataset: Has a length and gives pairs. An image is Pillow's, a uint8 array (H, W) or (H, W, C), or a
            uint8 tensor (H, W) or (C, H, W); floats stay as they are. A label is an index or a name.
        splits: Of the classes, as ``split_classes`` takes them.
        classes: Name of each class; None: the data set's attribute ``classes``, or what the labels say.
        size: Height and width of the result; None: all images have one size already.
        channels: 1 or 3; None: all images have the same number already.
        seed: Of splits by fractions.
        licence: Terms under which the images may be used.
        source: Where they come from.

    Raises:
        ConfigurationError: A setting cannot work.
        DataError: A sample or a label has not the expected form, a class has no sample, or there are too
            few classes.

    Example:
        >>> import numpy as np
        >>> pairs = [(np.full((4, 6), 9, dtype=np.uint8), name) for name in ("a", "b", "b")]
        >>> halves = from_dataset("toy", pairs, splits={"train": ["a"], "test": ["b"]}, size=8)
        >>> halves.class_counts, tuple(halves.images.shape)
        ({'a': 1, 'b': 2}, (3, 1, 8, 8))
    """
    check_form(size, channels)
    labels: list[Any] = []

    def samples() -> Iterator[Tensor]:
        for row in range(len(dataset)):
            place = f"sample {row} of data set {name!r}"
            value, label = _pair(dataset[row], place)
            labels.append(_plain(label, place))
            yield as_sample(value, place)

    stacked = stack_samples(samples(), len(dataset), size=size, channels=channels)
    known = classes if classes is not None else getattr(dataset, "classes", None)
    return make_dataset(
        name,
        stacked,
        labels,
        classes=None if known is None else [str(one) for one in known],
        splits=splits,
        seed=seed,
        licence=licence,
        source=source,
        preparation=_words(stacked, size),
    )


def from_hugging_face(
    name: str,
    dataset: Any,
    *,
    image: str = "image",
    label: str = "label",
    splits: ClassSplits = None,
    size: int | None = None,
    channels: int | None = None,
    seed: int = 0,
    licence: str | None = None,
    source: str | None = None,
) -> FewShotDataset:
    """Read a ``datasets.Dataset``, or all parts of a ``DatasetDict``, whose splits are by sample.

    Args:
        name: What to call the set.
        dataset: The data set.
        image: Column of the images.
        label: Column of the labels; the names of a ``ClassLabel`` become those of the classes.
        splits: Of the classes, as ``split_classes`` takes them.
        size: As in ``from_dataset``.
        channels: As in ``from_dataset``.
        seed: Of splits by fractions.
        licence: Terms under which the images may be used.
        source: Where they come from.

    Raises:
        ConfigurationError: A setting cannot work.
        DataError: A column is not there, or as in ``from_dataset``.
    """
    parts = list(dataset.values()) if isinstance(dataset, Mapping) else [dataset]
    for part in parts:
        if missing := [one for one in (image, label) if one not in part.features]:
            raise DataError(
                f"data set {name!r} has the columns {list(part.features)} and no {missing}: "
                "name them with image and label."
            )
    names = [getattr(part.features[label], "names", None) for part in parts]
    if any(one != names[0] for one in names):
        raise DataError(f"the parts of data set {name!r} name their classes differently: make them agree first.")
    return from_dataset(
        name,
        _Rows(parts, image, label),
        classes=names[0],
        splits=splits,
        size=size,
        channels=channels,
        seed=seed,
        licence=licence,
        source=source,
    )


def from_folder(
    root: str | PathLike[str],
    *,
    name: str | None = None,
    splits: ClassSplits = None,
    size: int | None = None,
    channels: int | None = None,
    seed: int = 0,
    licence: str | None = None,
    source: str | None = None,
) -> FewShotDataset:
    """Read a folder with one folder of images per class, or with such folders below train, val and test.

    Args:
        root: The folder: ``root/class/**/image.png`` or ``root/train/class/**/image.png``.
        name: What to call the set; None: the name of the folder.
        splits: Of the classes, as ``split_classes`` takes them, where the folders do not say it.
        size: As in ``from_dataset``.
        channels: As in ``from_dataset``.
        seed: Of splits by fractions.
        licence: Terms under which the images may be used.
        source: Where they come from.

    Raises:
        ConfigurationError: A setting cannot work.
        DataError: There is no such folder, a class has no image, an image cannot be read, or a class lies
            in two splits.
    """
    check_form(size, channels)
    root = Path(root)
    folders, found = _class_folders(root)
    if splits is not None and found is not None:
        raise DataError(f"{root} has the folders {SPLITS[0]}, …, which are the splits: leave splits out.")
    files = [(path, label) for label, folder in folders.items() for path in _image_files(folder)]
    stacked = stack_samples((open_image(path) for path, _ in files), len(files), size=size, channels=channels)
    return make_dataset(
        name or root.name,
        stacked,
        [label for _, label in files],
        classes=list(folders),
        splits=found if found is not None else splits,
        seed=seed,
        licence=licence,
        source=source,
        preparation=_words(stacked, size),
    )


def open_image(file: Any, place: str | None = None) -> Tensor:
    """Read an image file, uint8 (C, H, W).

    Args:
        file: Path or open file.
        place: What to call it in an error; the path when None.

    Raises:
        DataError: It cannot be read as an image.
    """
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.load()
            return as_sample(image, place or str(file))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{place or file} cannot be read as an image ({error}): mend it or leave it out.") from error


class _Rows:
    """The rows of Hugging Face data sets, one after the other, as pairs."""

    def __init__(self, parts: Sequence[Any], image: str, label: str) -> None:
        self._parts, self._image, self._label = parts, image, label
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        number = int(np.searchsorted(self._ends, row, side="right"))
        part = self._parts[number]
        found = part[row - int(self._ends[number]) + len(part)]
        return found[self._image], found[self._label]


def _indices(name: str, labels: Sequence[Any], classes: Sequence[str] | None) -> tuple[list[str], Tensor]:
    numbers = all(isinstance(one, int) for one in labels)
    if classes is None:
        found = sorted(set(labels)) if numbers else sorted({str(one) for one in labels})
        place = {label: index for index, label in enumerate(found)}
        indices = [place[one if numbers else str(one)] for one in labels]
        return [str(one) for one in found], torch.tensor(indices, dtype=torch.int64)
    if numbers:
        if wrong := [one for one in labels if not 0 <= one < len(classes)]:
            raise DataError(f"data set {name!r} has the label {wrong[0]}, but {len(classes)} classes from 0 on.")
        return list(classes), torch.tensor(labels, dtype=torch.int64)
    place = {label: index for index, label in enumerate(classes)}
    if unknown := sorted({str(one) for one in labels} - set(place)):
        raise DataError(
            f"data set {name!r} has labels that are no class: {unknown[:5]}; there are {list(classes)[:5]}."
        )
    return list(classes), torch.tensor([place[str(one)] for one in labels], dtype=torch.int64)


def _pair(item: Any, place: str) -> tuple[Any, Any]:
    if not isinstance(item, (tuple, list)) or len(item) < 2:
        raise DataError(f"{place} is a {type(item).__name__}; expected a pair (image, label).")
    return item[0], item[1]


def _plain(label: Any, place: str) -> int | str:
    if isinstance(label, str):
        return label
    if isinstance(label, (Tensor, np.ndarray, np.generic)) and int(np.prod(label.shape)) == 1:
        label = label.item()
    if isinstance(label, int):
        return int(label)
    raise DataError(f"{place} has the label {label!r}; expected a whole number or a name.")


def _words(samples: Tensor, size: int | None) -> str | None:
    return None if size is None or samples.ndim != 4 else preparation_words(size, samples.shape[1])


def _class_folders(root: Path) -> tuple[dict[str, Path], dict[str, str] | None]:
    """Return the folder of each class, and the split of each where the layout says so."""
    if not root.is_dir():
        raise DataError(f"{root} is no folder: give the folder that holds one folder of images per class.")
    outer = _subfolders(root)
    if not outer or not {path.name for path in outer} <= set(SPLITS):
        return {path.name: path for path in outer}, None
    folders: dict[str, Path] = {}
    splits: dict[str, str] = {}
    for part in outer:
        for path in _subfolders(part):
            if path.name in folders:
                raise DataError(
                    f"class {path.name!r} lies in {folders[path.name].parent.name} and in {part.name} of {root}: "
                    "splits of a few-shot set share no class."
                )
            folders[path.name], splits[path.name] = path, part.name
    return folders, splits


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _image_files(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS and path.is_file())
    if not files:
        raise DataError(f"class folder {folder} holds no image ({', '.join(IMAGE_ENDINGS)}): remove it or fill it.")
    return files
