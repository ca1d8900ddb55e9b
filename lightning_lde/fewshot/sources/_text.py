"""Texts as samples, by an encoder of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot.data._dataset import FewShotDataset
from lightning_lde.fewshot.data._splits import ClassSplits
from lightning_lde.fewshot.sources._collections import make_dataset

__all__ = ["TextPack", "from_encoder"]

Encoder = Callable[[list[str]], Any]


def from_encoder(
    name: str,
    texts: Sequence[Any],
    labels: Sequence[Any],
    encoder: Encoder,
    *,
    classes: Sequence[str] | None = None,
    splits: ClassSplits = None,
    batch_size: int = 256,
    seed: int = 0,
    licence: str | None = None,
    source: str | None = None,
    encoder_name: str | None = None,
) -> FewShotDataset:
    """Make a few-shot set of embeddings from texts, or from anything else that an encoder takes.

    Args:
        name: What to call the set.
        texts: N texts.
        labels: N indices or names of classes.
        encoder: Takes a list of n texts, returns numbers (n, d): tensor, array or sparse matrix.
        classes: Name of each class; None: what the labels say.
        splits: Of the classes, as ``split_classes`` takes them.
        batch_size: Texts that the encoder gets at once.
        seed: Of splits by fractions.
        licence: Terms under which the texts may be used.
        source: Where they come from.
        encoder_name: What to record of the encoder; None: its name in the code.

    Returns:
        A set of float32 samples (N, d).

    Raises:
        ConfigurationError: ``batch_size`` is not positive.
        DataError: Texts and labels do not fit together, or the encoder returns something else.

    Example:
        >>> lengths = from_encoder("toy", ["a", "bb", "ccc"], ["x", "x", "y"], lambda texts: [[len(t)] for t in texts],
        ...                        splits={"x": "train", "y": "test"})
        >>> lengths.images.flatten().tolist()
        [1.0, 2.0, 3.0]
    """
    if batch_size < 1:
        raise ConfigurationError(f"batch_size={batch_size}: expected at least 1.")
    if len(texts) != len(labels) or not len(texts):
        raise DataError(f"data set {name!r}: {len(texts)} texts and {len(labels)} labels; expected one label each.")
    starts = range(0, len(texts), batch_size)
    parts = [_encoded(encoder, list(texts[start : start + batch_size]), start) for start in starts]
    if len(widths := {part.shape[1] for part in parts}) > 1:
        raise DataError(f"the encoder returns {sorted(widths)} numbers a text, by batch: it has to return one width.")
    return make_dataset(
        name,
        torch.cat(parts),
        [label.item() if hasattr(label, "item") else label for label in labels],
        classes=classes,
        splits=splits,
        seed=seed,
        licence=licence,
        source=source,
        preparation=f"encoder={encoder_name or _name_of(encoder)}",
    )


@dataclass(frozen=True)
class TextPack:
    """Labelled texts whose classes are divided into train, val and test.

    Args:
        name: What people call the set.
        texts: N texts.
        labels: N indices into ``classes``.
        classes: Name of each class.
        class_splits: "train", "val" or "test" for each class.
        licence: Terms under which the texts may be used.
        source: Where they come from.
    """

    name: str
    texts: tuple[str, ...] = field(repr=False)
    labels: tuple[int, ...] = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    class_splits: tuple[str, ...] = field(repr=False)
    licence: str | None = None
    source: str | None = None

    def encoded(self, encoder: Encoder, *, batch_size: int = 256, encoder_name: str | None = None) -> FewShotDataset:
        """Return the embeddings of the texts as a few-shot set; see ``from_encoder``.

        Args:
            encoder: Takes a list of n texts, returns numbers (n, d).
            batch_size: Texts that the encoder gets at once.
            encoder_name: What to record of the encoder; None: its name in the code.
        """
        return from_encoder(
            self.name,
            self.texts,
            self.labels,
            encoder,
            classes=self.classes,
            splits=self.class_splits,
            batch_size=batch_size,
            licence=self.licence,
            source=self.source,
            encoder_name=encoder_name,
        )

    def texts_of(self, split: str) -> list[str]:
        """Return the texts of a split's classes, to fit an encoder on; fit none on the texts of a test split."""
        return [
            text
            for text, label in zip(self.texts, self.labels, strict=True)
            if split in ("all", self.class_splits[label])
        ]


def _encoded(encoder: Encoder, texts: list[str], start: int) -> Tensor:
    found = encoder(texts)
    found = found.toarray() if hasattr(found, "toarray") else found
    values = found.detach().cpu() if isinstance(found, Tensor) else torch.from_numpy(np.asarray(found))
    if values.ndim != 2 or len(values) != len(texts) or values.dtype == torch.bool or values.is_complex():
        raise DataError(
            f"for texts {start} to {start + len(texts) - 1} the encoder returned {values.dtype} of shape "
            f"{tuple(values.shape)}; expected numbers ({len(texts)}, d)."
        )
    return values.float()


def _name_of(encoder: Encoder) -> str:
    return str(getattr(encoder, "__qualname__", type(encoder).__name__))
