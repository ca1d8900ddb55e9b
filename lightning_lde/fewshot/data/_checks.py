"""What the content of a data set has to be like."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_lde.errors import DataError

__all__ = ["SPLITS", "check_classes", "check_finite", "check_labels", "check_samples"]

SPLITS = ("train", "val", "test")


def check_samples(name: str, samples: Tensor) -> None:
    """Refuse what is neither uint8 images (N, 1 or 3, H, W) nor finite float32 samples (N, ...)."""
    images = samples.dtype == torch.uint8 and samples.ndim == 4 and samples.shape[1] in (1, 3)
    others = samples.dtype == torch.float32 and samples.ndim >= 2
    if not images and not others:
        raise DataError(
            f"data set {name!r}: images are {samples.dtype} of shape {tuple(samples.shape)}; expected "
            "torch.uint8 of shape (N, 1 or 3, H, W) (scale to 0..255 and permute to channels first), "
            "or torch.float32 of shape (N, ...) for other samples."
        )
    if not samples.is_contiguous():
        raise DataError(f"data set {name!r}: images are not contiguous: call images.contiguous() first.")


def check_finite(name: str, samples: Tensor) -> None:
    """Refuse float samples that are not all numbers."""
    if samples.dtype == torch.float32 and not bool(torch.isfinite(samples).all()):
        row = int(torch.nonzero(~torch.isfinite(samples).flatten(1).all(1))[0])
        raise DataError(f"data set {name!r}: sample {row} holds NaN or infinity: mend it or leave it out.")


def check_labels(name: str, labels: Tensor, *, n_samples: int, n_classes: int) -> None:
    """Refuse labels that are not one int64 index into the classes for each sample."""
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


def check_classes(
    name: str, classes: tuple[str, ...], class_splits: tuple[str, ...], class_parts: tuple[str, ...] | None
) -> None:
    """Refuse class names that occur twice, and splits or parts that do not fit the classes."""
    if len(set(classes)) != len(classes):
        twice = sorted({one for one in classes if classes.count(one) > 1})
        raise DataError(f"data set {name!r}: class names {twice[:5]} occur more than once: make them unique.")
    if len(class_splits) != len(classes):
        raise DataError(
            f"data set {name!r}: {len(class_splits)} class splits for {len(classes)} classes: give each one."
        )
    if wrong := sorted(set(class_splits) - set(SPLITS)):
        raise DataError(f"data set {name!r}: class splits {wrong} are unknown: use {SPLITS}.")
    if class_parts is not None and len(class_parts) != len(classes):
        raise DataError(f"data set {name!r}: {len(class_parts)} class parts for {len(classes)} classes: give each one.")
