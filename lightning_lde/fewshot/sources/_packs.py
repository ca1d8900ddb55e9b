"""Data packs: Parquet files that hold one few-shot data set each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lightning_lde.errors import DataError
from lightning_lde.fewshot.data._dataset import FewShotDataset
from lightning_lde.fewshot.sources._text import TextPack

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["load_pack", "load_packs", "load_text_pack", "save_pack"]

_METADATA_KEY = b"datapack"
_REQUIRED_OF_TEXT = ("name", "classes", "class_split")
_REQUIRED = (*_REQUIRED_OF_TEXT, "shape")


def load_pack(path: str | PathLike[str]) -> FewShotDataset:
    """Read one pack.

    A pack is a Parquet file with the columns ``image`` (fixed-size binary, uint8, row-major H, W, C)
    and ``label`` (index into the classes), and the schema metadata key ``datapack``: JSON with name,
    shape [H, W, C], classes, class_split, and optionally licence, original and sources.

    Args:
        path: The Parquet file.

    Returns:
        The data set, images as (N, C, H, W).

    Raises:
        DataError: The file is missing, is no pack, or holds text rather than images.
    """
    import pyarrow.parquet as pq

    path = Path(path)
    schema, info = _read_head(path)
    if "image" not in schema.names:
        raise DataError(f"{path} has the columns {schema.names} and no images: read texts with load_text_pack.")
    _check_head(path, info, _REQUIRED)
    table = pq.read_table(path, columns=["image", "label"])
    labels = np.array(table.column("label").to_numpy(), dtype=np.int64)
    return FewShotDataset(
        name=info["name"],
        images=_pixels(table.column("image"), info["shape"], path),
        labels=torch.from_numpy(labels),
        classes=tuple(info["classes"]),
        class_splits=tuple(info["class_split"]),
        licence=info.get("licence"),
        source=_source(info),
        preparation=info.get("preparation"),
        class_parts=None if info.get("class_parts") is None else tuple(info["class_parts"]),
    )


def save_pack(dataset: FewShotDataset, path: str | PathLike[str]) -> Path:
    """Write images as a pack that ``load_pack`` reads back with the same fingerprint.

    What takes long to read, such as archives of photographs, is quick to load from a pack.

    Args:
        dataset: A set of uint8 images. A split or a resized copy becomes a set of its own.
        path: The Parquet file, replaced where it exists.

    Returns:
        The path.

    Raises:
        DataError: The samples are no uint8 images.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if dataset.sample_dtype != "uint8":
        raise DataError(f"data set {dataset.name!r} holds {dataset.sample_dtype} samples: a pack holds uint8 images.")
    path = Path(path)
    rows = dataset.images.permute(0, 2, 3, 1).contiguous().numpy()
    info = {
        "name": dataset.name,
        "shape": list(rows.shape[1:]),
        "classes": dataset.classes,
        "class_split": dataset.class_splits,
        "licence": dataset.licence,
        "original": dataset.source,
        "preparation": dataset.preparation,
        "class_parts": dataset.class_parts,
    }
    width = pa.binary(int(np.prod(rows.shape[1:])))
    columns = {
        "image": pa.FixedSizeBinaryArray.from_buffers(width, len(rows), [None, pa.py_buffer(rows)]),
        "label": pa.array(dataset.labels.numpy()),
        "split": pa.array(np.array(dataset.class_splits)[dataset.labels.numpy()]),
    }
    table = pa.table(columns).replace_schema_metadata({_METADATA_KEY: json.dumps(info)})
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pq.write_table(table, beside, compression="zstd", row_group_size=1024)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def load_text_pack(path: str | PathLike[str]) -> TextPack:
    """Read one pack of texts: as ``load_pack``, with a column ``text`` of strings instead of ``image``.

    Args:
        path: The Parquet file.

    Returns:
        The texts; ``TextPack.encoded`` makes a few-shot set of them.

    Raises:
        DataError: The file is missing, is no pack, or holds images rather than text.
    """
    import pyarrow.parquet as pq

    path = Path(path)
    schema, info = _read_head(path)
    if "text" not in schema.names:
        raise DataError(f"{path} has the columns {schema.names} and no texts: read images with load_pack.")
    _check_head(path, info, _REQUIRED_OF_TEXT)
    table = pq.read_table(path, columns=["text", "label"])
    return TextPack(
        name=info["name"],
        texts=tuple(table.column("text").to_pylist()),
        labels=tuple(table.column("label").to_pylist()),
        classes=tuple(info["classes"]),
        class_splits=tuple(info["class_split"]),
        licence=info.get("licence"),
        source=_source(info),
    )


def load_packs(
    folder: str | PathLike[str], names: Iterable[str] | None = None, min_classes: int = 5
) -> list[FewShotDataset]:
    """Read the image packs of a folder that have enough classes to train and to test on.

    Args:
        folder: Folder of ``<name>.parquet`` files.
        names: Names to read, in this order; all packs of the folder, sorted, when None.
        min_classes: Sets with fewer train or fewer test classes are left out, as are text packs.

    Returns:
        The data sets.

    Raises:
        DataError: The folder does not exist, or a name has no file or no valid pack.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: give the folder that holds the .parquet packs.")
    paths = sorted(folder.glob("*.parquet")) if names is None else [folder / f"{name}.parquet" for name in names]
    return [load_pack(path) for path in paths if _is_usable(path, min_classes)]


def _is_usable(path: Path, min_classes: int) -> bool:
    schema, info = _read_head(path)
    splits = info.get("class_split", [])
    enough = all(splits.count(part) >= min_classes for part in ("train", "test"))
    return "image" in schema.names and enough


def _read_head(path: Path) -> tuple[pa.Schema, dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read as Parquet ({error}): give a data pack.") from error
    text = (schema.metadata or {}).get(_METADATA_KEY)
    if text is None:
        raise DataError(f"{path} is no data pack: its schema lacks the metadata key 'datapack'.")
    info: dict[str, Any] = json.loads(text)
    return schema, info


def _check_head(path: Path, info: dict[str, Any], required: tuple[str, ...]) -> None:
    if missing := [key for key in required if key not in info]:
        raise DataError(f"{path}: the metadata key 'datapack' lacks {missing}: it needs {list(required)}.")


def _pixels(column: pa.ChunkedArray, shape: list[int], path: Path) -> torch.Tensor:
    import pyarrow as pa

    image_bytes = int(np.prod(shape))
    if not pa.types.is_fixed_size_binary(column.type) or column.type.byte_width != image_bytes or column.null_count:
        raise DataError(
            f"{path}: the column image is {column.type} with {column.null_count} nulls; "
            f"shape {shape} needs fixed_size_binary[{image_bytes}] in every row."
        )
    rows = [
        np.frombuffer(chunk.buffers()[1], dtype=np.uint8).reshape(-1, image_bytes)[chunk.offset :][: len(chunk)]
        for chunk in column.chunks
    ]
    flat = np.concatenate([np.zeros((0, image_bytes), dtype=np.uint8), *rows]).reshape(-1, *shape)
    return torch.from_numpy(flat.transpose(0, 3, 1, 2).copy())


def _source(info: dict[str, Any]) -> str | None:
    repositories = [f"github.com/{one['repo']}@{one['commit']}" for one in info.get("sources", [])]
    return "; ".join(repositories) or info.get("original")
