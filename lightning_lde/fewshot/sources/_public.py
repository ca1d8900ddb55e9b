"""Public data sets of the few-shot literature, downloaded from their publishers."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot.data._dataset import FewShotDataset
from lightning_lde.fewshot.data._preparation import check_form, preparation_words, prepare
from lightning_lde.fewshot.data._splits import ClassSplits
from lightning_lde.fewshot.sources._archives import archive_members, load_plain_pickle
from lightning_lde.fewshot.sources._collections import make_dataset, open_image
from lightning_lde.fewshot.sources._downloads import RemoteFile, fetch
from lightning_lde.fewshot.sources._images import stack_samples
from lightning_lde.fewshot.sources._published_splits import PUBLISHED

__all__ = ["PUBLIC_SETS", "download", "public_set"]

_BANNER = 20


class _Form(NamedTuple):
    size: int | None
    channels: int | None


class _Content(NamedTuple):
    """What an archive holds: images, the class of each, and the split of each class."""

    images: Tensor
    labels: Sequence[str]
    splits: Mapping[str, str]


class _PublicSet(NamedTuple):
    files: tuple[RemoteFile, ...]
    read: Callable[[Sequence[Path], _Form], _Content]
    source: str
    form: _Form
    licence: str | None = None


def download(
    name: str,
    folder: str | PathLike[str],
    *,
    base_url: str | None = None,
    registry: Mapping[str, str] | None = None,
    progress: bool = False,
) -> list[Path]:
    """Download the archives of a public data set and check them; what is there already is only checked.

    Args:
        name: One of ``PUBLIC_SETS``.
        folder: Where the archives go.
        base_url: Address of a mirror, a folder that has the archives under their usual names; ``file://`` too.
        registry: Checksums that count instead of the known ones: file name to ``algorithm:digits``.
        progress: Show a bar.

    Returns:
        Paths of the archives.

    Raises:
        ConfigurationError: The set is unknown, or the registry does not fit it.
        DownloadError: A file cannot be fetched or has another checksum; nothing of it is left.
        MissingDependencyError: pooch is not installed.
    """
    return fetch(_known(name).files, folder, base_url=base_url, registry=registry, progress=progress)


def public_set(
    name: str,
    folder: str | PathLike[str],
    *,
    size: int | None = None,
    channels: int | None = None,
    splits: ClassSplits = None,
    seed: int = 0,
    base_url: str | None = None,
    registry: Mapping[str, str] | None = None,
    progress: bool = False,
) -> FewShotDataset:
    """Download a public data set where that was not done before, and read it from its archives.

    Args:
        name: One of ``PUBLIC_SETS``.
        folder: Where the archives are or go.
        size: Height and width; None: 84 for photographs, as they are for Omniglot (105) and CIFAR (32).
        channels: 1 or 3; None: as the images are, 3 for photographs.
        splits: Of the classes, as ``split_classes`` takes them; None: the published ones.
        seed: Of splits by fractions.
        base_url: As in ``download``.
        registry: As in ``download``.
        progress: Show a bar while downloading.

    Returns:
        The data set.

    Raises:
        ConfigurationError: A setting cannot work.
        DataError: An archive is broken, or does not hold what it should.
        DownloadError: A file cannot be fetched or has another checksum.
        MissingDependencyError: pooch is not installed.
    """
    check_form(size, channels)
    known = _known(name)
    paths = fetch(known.files, folder, base_url=base_url, registry=registry, progress=progress)
    form = _Form(size or known.form.size, channels or known.form.channels)
    content = known.read(paths, form)
    if not content.labels:
        raise DataError(f"{', '.join(map(str, paths))}: there is no image of {name!r} in it.")
    return make_dataset(
        name,
        content.images,
        content.labels,
        classes=sorted(set(content.labels)),
        splits=content.splits if splits is None else splits,
        seed=seed,
        licence=known.licence,
        source=known.source,
        preparation=None if form.size is None else preparation_words(form.size, content.images.shape[1]),
    )


def _read_omniglot(paths: Sequence[Path], form: _Form) -> _Content:
    images, labels, alphabets = [], [], {"background": set[str](), "evaluation": set[str]()}
    for part, path in zip(alphabets, paths, strict=True):
        members = sorted(archive_members(path, rf"images_{part}/[^/]+/[^/]+/[^/]+\.png"))
        for name, data in members:
            _, alphabet, character, _ = name.split("/")
            # Ink is white, as in the other sets of characters.
            images.append(_brought_to(255 - open_image(io.BytesIO(data), f"{path}: {name}"), form))
            labels.append(f"{alphabet}/{character}")
            alphabets[part].add(alphabet)
    by_hash = sorted(alphabets["background"], key=lambda one: hashlib.sha256(one.encode()).digest())
    splits = dict.fromkeys(alphabets["background"], "train") | dict.fromkeys(alphabets["evaluation"], "test")
    splits |= dict.fromkeys(by_hash[: len(by_hash) // 6], "val")
    return _Content(_stack(images), labels, {label: splits[label.split("/")[0]] for label in labels})


def _read_cifar(paths: Sequence[Path], form: _Form, *, name: str) -> _Content:
    members = archive_members(paths[0], "cifar-100-python/(train|test|meta)")
    found = {one.rsplit("/", 1)[1]: load_plain_pickle(data, f"{paths[0]}: {one}") for one, data in members}
    try:
        fine, coarse = found["meta"]["fine_label_names"], found["meta"]["coarse_label_names"]
        parts = [found["train"], found["test"]]
        pixels = np.concatenate([part["data"] for part in parts]).reshape(-1, 3, 32, 32)
        numbers = [number for part in parts for number in part["fine_labels"]]
        groups = dict(zip(numbers, (one for part in parts for one in part["coarse_labels"]), strict=True))
        labels = [fine[number] for number in numbers]
        # FC100 divides superclasses, CIFAR-FS classes.
        keys = {fine[number]: coarse[group] if name == "fc100" else fine[number] for number, group in groups.items()}
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{paths[0]} is not laid out as CIFAR-100 for Python is ({error!r}).") from error
    images = torch.from_numpy(np.ascontiguousarray(pixels))
    if form != (None, None):
        images = prepare(images, size=form.size or 32, channels=form.channels or 3)
    return _Content(images, labels, {label: PUBLISHED[name].split_of(key) for label, key in keys.items()})


def _read_folders(paths: Sequence[Path], form: _Form, *, name: str, wanted: str) -> _Content:
    """Read an archive with a folder of images for each class."""
    images, labels = [], []
    for member, image in _images(paths[0], wanted, form):
        images.append(image)
        labels.append(member.split("/")[-2])
    published = PUBLISHED[name]
    # Published lists of birds go by the number in front of the name.
    keys = {label: label.split(".")[0] if name == "cu_birds" else label for label in labels}
    return _Content(_stack(images), labels, {label: published.split_of(key) for label, key in keys.items()})


def _read_aircraft(paths: Sequence[Path], form: _Form) -> _Content:
    images: dict[str, Tensor] = {}
    variants: dict[str, str] = {}
    folder = "fgvc-aircraft-2013b/data"
    for name, data in archive_members(paths[0], rf"{folder}/(images/\d+\.jpg|images_variant_(train|val|test)\.txt)"):
        if name.endswith(".txt"):
            rows = [line.split(" ", 1) for line in data.decode().splitlines() if " " in line]
            variants |= {number: variant.strip() for number, variant in rows}
        else:
            # The lowest rows are a banner with the photographer's name.
            image = open_image(io.BytesIO(data), f"{paths[0]}: {name}")[:, :-_BANNER]
            images[Path(name).stem] = _brought_to(image, form)
    numbers = sorted(set(images) & set(variants))
    labels = [variants[number] for number in numbers]
    splits = {label: PUBLISHED["fgvc_aircraft"].split_of(label) for label in labels}
    return _Content(_stack([images[number] for number in numbers]), labels, splits)


def _read_flowers(paths: Sequence[Path], form: _Form) -> _Content:
    from scipy.io import loadmat

    try:
        numbers = loadmat(paths[1])["labels"].ravel().tolist()
    except (KeyError, ValueError, TypeError, OSError, NotImplementedError) as error:
        raise DataError(f"{paths[1]} is no MATLAB file with the variable 'labels' ({error}).") from error
    found = sorted(_images(paths[0], r"jpg/image_\d+\.jpg", form), key=lambda pair: pair[0])
    rows = [int(Path(name).stem.removeprefix("image_")) - 1 for name, _ in found]
    if rows and not 0 <= min(rows) <= max(rows) < len(numbers):
        raise DataError(f"{paths[1]} has {len(numbers)} labels, but {paths[0]} an image of number {max(rows) + 1}.")
    labels = [f"{numbers[row]:03}" for row in rows]
    return _Content(
        _stack([image for _, image in found]),
        labels,
        {label: PUBLISHED["vgg_flower"].split_of(label) for label in labels},
    )


def _images(path: Path, wanted: str, form: _Form) -> Iterator[tuple[str, Tensor]]:
    for name, data in archive_members(path, wanted):
        yield name, _brought_to(open_image(io.BytesIO(data), f"{path}: {name}"), form)


def _stack(images: list[Tensor]) -> Tensor:
    return stack_samples(images, len(images), size=None, channels=None)


def _brought_to(image: Tensor, form: _Form) -> Tensor:
    if form == (None, None):
        return image
    return prepare(image[None], size=form.size or image.shape[1], channels=form.channels or image.shape[0])[0]


def _known(name: str) -> _PublicSet:
    if name not in _SETS:
        raise ConfigurationError(f"data set {name!r} is unknown: use one of {list(PUBLIC_SETS)}.")
    return _SETS[name]


def _file(url: str, md5: str) -> RemoteFile:
    return RemoteFile(url, f"md5:{md5}", url.rsplit("/", 1)[1].split("?")[0])


def _cifar(name: str, source: str) -> _PublicSet:
    file = _file("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85")
    return _PublicSet((file,), lambda paths, form: _read_cifar(paths, form, name=name), source, _Form(None, None))


def _folders(name: str, file: RemoteFile, wanted: str, source: str) -> _PublicSet:
    return _PublicSet(
        (file,), lambda paths, form: _read_folders(paths, form, name=name, wanted=wanted), source, _Form(84, 3)
    )


_OMNIGLOT = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
_VGG = "https://www.robots.ox.ac.uk/~vgg/data"

_SETS: dict[str, _PublicSet] = {
    "cifar_fs": _cifar("cifar_fs", "CIFAR-100, Krizhevsky 2009; classes as Bertinetto et al. 2019"),
    "cu_birds": _folders(
        "cu_birds",
        _file(
            "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",
            "97eceeb196236b17998738112f37df78",
        ),
        r"CUB_200_2011/images/[^/]+/[^/.][^/]*\.jpg",
        "CUB-200-2011, Wah et al. 2011; classes as Triantafillou et al. 2020",
    ),
    "dtd": _folders(
        "dtd",
        _file(f"{_VGG}/dtd/download/dtd-r1.0.1.tar.gz", "fff73e5086ae6bdbea199a49dfb8a4c1"),
        r"dtd/images/[^/]+/[^/.][^/]*\.jpg",
        "Describable Textures r1.0.1, Cimpoi et al. 2014; classes as Triantafillou et al. 2020",
    ),
    "fc100": _cifar("fc100", "CIFAR-100, Krizhevsky 2009; superclasses as Oreshkin et al. 2018"),
    "fgvc_aircraft": _PublicSet(
        (_file(f"{_VGG}/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz", "d4acdd33327262359767eeaa97a4f732"),),
        _read_aircraft,
        "FGVC-Aircraft 2013b, Maji et al. 2013, variants; classes as Triantafillou et al. 2020",
        _Form(84, 3),
    ),
    "omniglot": _PublicSet(
        (
            _file(f"{_OMNIGLOT}/images_background.zip", "68d2efa1b9178cc56df9314c21c6e718"),
            _file(f"{_OMNIGLOT}/images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811"),
        ),
        _read_omniglot,
        "Omniglot, Lake et al. 2015; github.com/brendenlake/omniglot",
        _Form(None, None),
        "MIT",
    ),
    "vgg_flower": _PublicSet(
        (
            _file(f"{_VGG}/flowers/102/102flowers.tgz", "52808999861908f626f3c1f4e79d11fa"),
            _file(f"{_VGG}/flowers/102/imagelabels.mat", "e0620be6f572b9609742df49c70aed4d"),
        ),
        _read_flowers,
        "102 Flowers, Nilsback and Zisserman 2008; classes as Triantafillou et al. 2020",
        _Form(84, 3),
    ),
}

PUBLIC_SETS = tuple(_SETS)
