"""Manifests of data sets: a file with one row for each sample, which later versions are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_lde.capture import Samples
from lightning_lde.columns import numbers, words
from lightning_lde.schema import FORMAT_VERSION, Dataset, storable_text, utc_now

if TYPE_CHECKING:
    import pyarrow as pa

    from lightning_lde.recording._recorder import Recorder

MANIFEST = "manifest"
"""What stands in place of a table's name in the file."""

_ROWS_AT_ONCE = 1 << 18
_PATHS_AT_ONCE = 100


def keep_manifest(recorder: Recorder, dataset: Dataset, samples: Samples) -> None:
    """Store the manifest of a data set in the background, and then the row that names it.

    Args:
        recorder: The run's recorder; the row of the data set itself is recorded.
        dataset: The data set.
        samples: Its samples.
    """

    def write(file: Path, text: Callable[[str], str]) -> None:
        write_manifest(file, samples, text)

    def take(object_id: str) -> None:
        recorder.record("datasets", replace(dataset, recorded_at=utc_now(), manifest_object=object_id))

    recorder.store_later(f"the manifest of data set {dataset.name} {dataset.dataset_id[:12]}", write, take)


def write_manifest(file: Path, samples: Samples, text: Callable[[str], str]) -> None:
    """Write the samples of a data set as docs/format.md describes it.

    Args:
        file: The file.
        samples: The samples.
        text: Makes a text fit to be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [("hash", pa.uint64())]
    fields += [] if samples.paths is None else [("path", pa.string())]
    fields += [] if samples.labels is None else [("label", pa.string())]
    metadata = {"lde.table": MANIFEST, "lde.format_version": str(FORMAT_VERSION)}
    schema = pa.schema(fields, metadata=metadata)
    classes = [text(storable_text(name)) for name in samples.classes]
    encodings = {"hash": "PLAIN"} | ({} if samples.paths is None else {"path": "DELTA_BYTE_ARRAY"})
    with pq.ParquetWriter(
        file, schema, compression="zstd", use_dictionary=["label"], column_encoding=encodings, store_schema=False,
        write_statistics=False,
    ) as writer:  # fmt: skip
        for columns in _portions(samples, classes, text):
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _portions(samples: Samples, classes: list[str], text: Callable[[str], str]) -> Iterator[list[pa.Array]]:
    import pyarrow as pa

    names = words(classes) if classes else None
    for first in range(0, len(samples), _ROWS_AT_ONCE):
        part = slice(first, first + _ROWS_AT_ONCE)
        columns: list[Any] = [numbers(samples.hashes[part], pa.uint64())]
        if samples.paths is not None:
            columns.append(words(_safe_paths(samples.paths[part], text)))
        if samples.labels is not None:
            codes = numbers(samples.labels[part], pa.int32())
            columns.append(pa.DictionaryArray.from_arrays(codes, names).cast(pa.string()))
        yield columns


def _safe_paths(paths: list[str], text: Callable[[str], str]) -> list[str]:
    """Paths that are fit to be written; nothing is found in most of them, so many are looked at together first.

    A name between two slashes is looked at for itself too: inside a path an address of a person is taken for a part of
    a URL.
    """
    safe: list[str] = []
    for first in range(0, len(paths), _PATHS_AT_ONCE):
        part = [storable_text(path) for path in paths[first : first + _PATHS_AT_ONCE]]
        names = dict.fromkeys(name for path in part for name in path.split("/"))
        together = "\n".join([*part, *names])
        safe += part if text(together) == together else [_safe_path(path, text) for path in part]
    return safe


def _safe_path(path: str, text: Callable[[str], str]) -> str:
    return "/".join(map(text, text(path).split("/")))
