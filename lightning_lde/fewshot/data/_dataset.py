"""The labelled set of samples that episodes are drawn from, with its identity and its split by class."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_lde.errors import DataError
from lightning_lde.fewshot.data._checks import SPLITS, check_classes, check_finite, check_labels, check_samples
from lightning_lde.fewshot.data._preparation import check_form, preparation_words, prepare

__all__ = ["SPLITS", "FewShotDataset"]


@dataclass(frozen=True, eq=False)
class FewShotDataset:
    """Labelled images, or other samples, whose classes are divided into train, val and test.

    Images are uint8 and become numbers in [0, 1] when a task is drawn; samples of any other kind (series,
    spectrograms, embeddings) are float32 and stay as they are.

    A split or a resized copy stays tied to the set it was made from (``origin``), so that every use
    of a data set reports one and the same identity.

    Args:
        name: What people call the set; not part of the fingerprint.
        images: uint8, shape (N, C, H, W), or float32, shape (N, ...); contiguous.
        labels: int64, shape (N,), index into ``classes``.
        classes: Unique name of each class.
        class_splits: "train", "val" or "test" for each class.
        licence: Terms under which the images may be used.
        source: Address or description of where the images come from.
        origin: The whole original set, where this one was derived from another.
        origin_index: int64, shape (N,): row of each image in ``origin``.
        preparation: What ``prepared`` did to the images.
        class_parts: For each class of a ``union`` the name of the data set that it comes from.

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
    class_parts: tuple[str, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_samples(self.name, self.images)
        check_labels(self.name, self.labels, n_samples=len(self.images), n_classes=len(self.classes))
        check_classes(self.name, self.classes, self.class_splits, self.class_parts)
        if self.origin is None:
            check_finite(self.name, self.images)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sample_dtype(self) -> str:
        """Type of the stored samples, "uint8" or "float32"."""
        return str(self.images.dtype).removeprefix("torch.")

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
            "dtype": self.sample_dtype,
            "classes": self.classes,
            "class_splits": self.class_splits,
        }
        digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
        digest.update(self.images.numpy().astype("<f4" if self.sample_dtype == "float32" else "u1", copy=False).data)
        digest.update(self.labels.contiguous().numpy().astype("<i8").data)
        return digest.hexdigest()

    def gather(self, rows: npt.NDArray[np.int64]) -> Tensor:
        """Return samples as a network takes them: images scaled to [0, 1], others as they are.

        Args:
            rows: int64, shape (n,).

        Returns:
            float32, shape (n, ...).
        """
        # numpy rather than torch: it copies whole rows, and asks for huge pages, without which the faults of
        # fresh memory take most of the time of a large batch.
        taken = self.images.numpy().take(rows, axis=0)
        if taken.dtype == np.uint8:
            taken = np.divide(taken, 255, out=np.empty(taken.shape, dtype=np.float32), dtype=np.float32)
        return torch.from_numpy(taken)

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
            class_parts=None if self.class_parts is None else tuple(self.class_parts[index] for index in kept),
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
            DataError: The samples are no images.
        """
        check_form(size, channels)
        if self.images.shape[1:] == (channels, size, size):
            return self
        if self.images.ndim != 4 or self.images.shape[1] not in (1, 3):
            raise DataError(
                f"data set {self.name!r} holds samples of shape {tuple(self.images.shape[1:])}, not images of "
                "shape (1 or 3, H, W): it cannot be resized; use it as it is."
            )
        return replace(
            self,
            images=prepare(self.images, size=size, channels=channels),
            origin=self.original,
            origin_index=self.original_index,
            preparation=preparation_words(size, channels),
        )

    def lde_facts(self) -> dict[str, Any]:
        """Return what the experiment database stores of the data set: always of the whole original."""
        whole = self.original
        parts = {} if whole.class_parts is None else {"parts": list(dict.fromkeys(whole.class_parts))}
        return {
            "name": whole.name,
            "kind": "few-shot images" if whole.sample_dtype == "uint8" else "few-shot samples",
            "n_samples": len(whole),
            "n_classes": whole.n_classes,
            "class_counts": dict(whole.class_counts),
            "sample_shape": list(whole.images.shape[1:]),
            "sample_dtype": whole.sample_dtype,
            "size_bytes": whole.images.nbytes,
            "fingerprint": whole.fingerprint,
            "fingerprint_method": "sha256 of content",
            "licence": whole.licence,
            "uri": whole.source,
            **parts,
        }
