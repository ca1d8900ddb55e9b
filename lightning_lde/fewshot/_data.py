"""The labelled image set that episodes are drawn from, with its identity and its split by class."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_lde.errors import ConfigurationError, DataError

__all__ = ["SPLITS", "FewShotDataset"]

SPLITS = ("train", "val", "test")
_LUMA = (0.299, 0.587, 0.114)
_RESIZE_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class FewShotDataset:
    """Labelled images whose classes, not samples, are divided into train, val and test.

    A split or a resized copy stays tied to the set it was made from (``origin``), so that every use
    of a data set reports one and the same identity.

    Args:
        name: What people call the set; not part of the fingerprint.
        images: uint8, shape (N, C, H, W), contiguous.
        labels: int64, shape (N,), index into ``classes``.
        classes: Unique name of each class.
        class_splits: "train", "val" or "test" for each class.
        licence: Terms under which the images may be used.
        source: Address or description of where the images come from.
        origin: The whole original set, where this one was derived from another.
        origin_index: int64, shape (N,): row of each image in ``origin``.
        preparation: What ``prepared`` did to the images.

    Raises:
        DataError: Shapes, types, labels or splits do not fit together.

    Example:
        >>> import torch
        >>> pixels = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
        >>> toy = FewShotDataset("toy", pixels, torch.tensor([0, 0, 1, 1]), ("a", "b"), ("train", "test"))
        >>> toy.split("test").classes, len(toy.split("test"))
        (('b',), 2)
        >>> toy.split("test").lde_facts()["n_classes"]
        2
    """

    name: str
    images: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    class_splits: tuple[str, ...] = field(repr=False)
    licence: str | None = None
    source: str | None = None
    origin: FewShotDataset | None = field(default=None, repr=False)
    origin_index: Tensor | None = field(default=None, repr=False)
    preparation: str | None = None

    def __post_init__(self) -> None:
        _check_images(self.name, self.images)
        _check_labels(self.name, self.labels, n_samples=len(self.images), n_classes=len(self.classes))
        _check_classes(self.name, self.classes, self.class_splits)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def original(self) -> FewShotDataset:
        """The whole set this one was made from, itself when it was made from none."""
        return self.origin or self

    @property
    def original_index(self) -> Tensor:
        """Row of each image in the original set, int64 (N,)."""
        return torch.arange(len(self)) if self.origin_index is None else self.origin_index

    @cached_property
    def original_classes(self) -> Tensor:
        """Index of each class among the classes of the original set, int64 (n_classes,)."""
        place = {name: index for index, name in enumerate(self.original.classes)}
        return torch.tensor([place[name] for name in self.classes], dtype=torch.int64)

    @cached_property
    def class_counts(self) -> dict[str, int]:
        """Number of images of each class."""
        counts = torch.bincount(self.labels, minlength=self.n_classes).tolist()
        return dict(zip(self.classes, counts, strict=True))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shape, type, pixels, labels, classes and splits; the name does not count."""
        head = {
            "shape": list(self.images.shape),
            "dtype": "uint8",
            "classes": self.classes,
            "class_splits": self.class_splits,
        }
        digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
        digest.update(self.images.numpy().data)
        digest.update(self.labels.contiguous().numpy().astype("<i8").data)
        return digest.hexdigest()

    def split(self, name: str) -> FewShotDataset:
        """Return the images of one split's classes, labels renumbered from 0 in the order of ``classes``.

        Args:
            name: "train", "val", "test", or "all" for the set as it is.

        Returns:
            A set that keeps the name and the identity of the original.

        Raises:
            DataError: The split is unknown or has no class.
        """
        if name == "all":
            return self
        if name not in SPLITS:
            raise DataError(f"split {name!r} is unknown: use one of {(*SPLITS, 'all')}.")
        kept = [index for index, part in enumerate(self.class_splits) if part == name]
        if not kept:
            counts = {part: self.class_splits.count(part) for part in SPLITS}
            raise DataError(
                f"data set {self.name!r} has no class in split {name!r} (classes per split: {counts}): "
                "choose another split."
            )
        renumber = torch.full((self.n_classes,), -1, dtype=torch.int64)
        renumber[kept] = torch.arange(len(kept))
        rows = torch.nonzero(renumber[self.labels] >= 0).flatten()
        return replace(
            self,
            images=self.images[rows],
            labels=renumber[self.labels[rows]],
            classes=tuple(self.classes[index] for index in kept),
            class_splits=(name,) * len(kept),
            origin=self.original,
            origin_index=self.original_index[rows],
        )

    def prepared(self, *, size: int, channels: int) -> FewShotDataset:
        """Return the images as squares of one size with one or three channels.

        Resizing is antialiased bilinear without keeping the aspect; colour becomes grey by the luma of
        ITU-R BT.601; grey becomes colour by repetition.

        Args:
            size: Height and width of the result in pixels.
            channels: 1 or 3.

        Returns:
            A set that keeps the identity of the original and names what was done in ``preparation``.

        Raises:
            ConfigurationError: ``size`` is not positive or ``channels`` is neither 1 nor 3.
        """
        if size < 1 or channels not in (1, 3):
            raise ConfigurationError(f"size={size}, channels={channels}: expected a positive size and 1 or 3 channels.")
        if self.images.shape[1:] == (channels, size, size):
            return self
        parts = [_prepare(part, size, channels) for part in torch.split(self.images, _RESIZE_CHUNK)]
        return replace(
            self,
            images=torch.cat(parts).contiguous(),
            origin=self.original,
            origin_index=self.original_index,
            preparation=f"resize(bilinear, antialias)={size}x{size}, channels={channels}",
        )

    def lde_facts(self) -> dict[str, Any]:
        """Return what the experiment database stores of the data set: always of the whole original."""
        whole = self.original
        return {
            "name": whole.name,
            "kind": "few-shot images",
            "n_samples": len(whole),
            "n_classes": whole.n_classes,
            "class_counts": dict(whole.class_counts),
            "sample_shape": list(whole.images.shape[1:]),
            "sample_dtype": "uint8",
            "size_bytes": whole.images.numel(),
            "fingerprint": whole.fingerprint,
            "fingerprint_method": "sha256 of content",
            "licence": whole.licence,
            "uri": whole.source,
        }


def _prepare(images: Tensor, size: int, channels: int) -> Tensor:
    pixels = images.float()
    if channels == 1 and pixels.shape[1] == 3:
        pixels = (pixels * torch.tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    if pixels.shape[2:] != (size, size):
        pixels = F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
    pixels = pixels.round().clamp(0, 255).to(torch.uint8)
    return pixels.expand(-1, channels, -1, -1)


def _check_images(name: str, images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise DataError(
            f"data set {name!r}: images are {images.dtype} of shape {tuple(images.shape)}; expected "
            "torch.uint8 of shape (N, 1 or 3, H, W): scale to 0..255 and permute to channels first."
        )
    if not images.is_contiguous():
        raise DataError(f"data set {name!r}: images are not contiguous: call images.contiguous() first.")


def _check_labels(name: str, labels: Tensor, *, n_samples: int, n_classes: int) -> None:
    if labels.dtype != torch.int64 or labels.shape != (n_samples,):
        raise DataError(
            f"data set {name!r}: labels are {labels.dtype} of shape {tuple(labels.shape)}; expected "
            f"torch.int64 of shape ({n_samples},), one label an image."
        )
    if n_samples and not 0 <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise DataError(
            f"data set {name!r}: labels run from {int(labels.min())} to {int(labels.max())}; expected "
            f"indices into {n_classes} classes (0 to {n_classes - 1})."
        )


def _check_classes(name: str, classes: tuple[str, ...], class_splits: tuple[str, ...]) -> None:
    if len(set(classes)) != len(classes):
        twice = sorted({one for one in classes if classes.count(one) > 1})
        raise DataError(f"data set {name!r}: class names {twice[:5]} occur more than once: make them unique.")
    if len(class_splits) != len(classes):
        raise DataError(
            f"data set {name!r}: {len(class_splits)} class splits for {len(classes)} classes: give each one."
        )
    if wrong := sorted(set(class_splits) - set(SPLITS)):
        raise DataError(f"data set {name!r}: class splits {wrong} are unknown: use {SPLITS}.")
