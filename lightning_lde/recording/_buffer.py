"""Rows that wait for the writer thread; logging metrics costs an append."""

from __future__ import annotations

import functools
import re
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_lde.capture import redact_text
from lightning_lde.schema import Record, arrow_schema, records_to_arrow, storable_text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


_PORTION = 20_000
_LOADER_MARK = re.compile(r"/dataloader_idx_(\d+)$")


class MetricBatch(NamedTuple):
    """Values that were logged together."""

    values: dict[str, Any]
    time_ns: int
    segment: int
    step: int | None
    global_step: int | None
    epoch: int | None
    context: str | None
    source: str


class MetricBlock(NamedTuple):
    """Consecutive batches with the same names; row i of the matrix is batch i."""

    names: tuple[str, ...]
    matrix: npt.NDArray[np.float64]
    batches: list[MetricBatch]


class Buffer:
    """What a run has recorded and the writer has not taken yet.

    Filling and draining need no lock: an append to a deque is atomic, and so is taking from its other end.
    """

    def __init__(self) -> None:
        self._records: deque[tuple[str, Record]] = deque()
        self._metrics: deque[MetricBatch] = deque()

    def add(self, table: str, *records: Record) -> None:
        """Add rows of a table."""
        self._records.extend((table, record) for record in records)

    def add_metrics(
        self,
        values: Mapping[str, Any],
        *,
        segment: int,
        step: int | None,
        global_step: int | None,
        epoch: int | None,
        context: str | None,
        source: str,
    ) -> None:
        """Add the values of metrics; tensors are copied where they are and read later, many at once."""
        kept = {name: value if type(value) is float else _snapshot(value) for name, value in values.items()}
        self._metrics.append(MetricBatch(kept, time.time_ns(), segment, step, global_step, epoch, context, source))

    def take_records(self) -> tuple[dict[str, pa.Table], list[str]]:
        """Take all rows out.

        Returns:
            One Arrow table per table of the lake, and a sentence for each row that cannot be stored.
        """
        rows: dict[str, list[Record]] = defaultdict(list)
        for table, record in _taken(self._records, len(self._records)):
            rows[table].append(record)
        tables: dict[str, pa.Table] = {}
        refused: list[str] = []
        for table, records in rows.items():
            try:
                tables[table] = records_to_arrow(table, records)
            except Exception:
                good = [record for record in records if _storable(table, record, refused)]
                if good:
                    tables[table] = records_to_arrow(table, good)
        return tables, refused

    def take_metrics(self) -> Iterator[tuple[list[MetricBlock], list[str]]]:
        """Take all metric values out, in portions that bound the memory.

        Yields:
            Blocks of numbers, and a sentence for each value that is none.
        """
        while self._metrics:
            blocks: list[MetricBlock] = []
            refused: list[str] = []
            portion = _taken(self._metrics, min(len(self._metrics), _PORTION))
            for names, group in groupby(portion, key=lambda batch: tuple(batch.values)):
                batches = list(group)
                try:
                    blocks.append(MetricBlock(tuple(map(_safe_name, names)), _matrix(batches, len(names)), batches))
                except (TypeError, ValueError, OverflowError, RuntimeError):
                    for batch in batches:
                        block, errors = _numbers_of(batch)
                        blocks.append(block)
                        refused += errors
            yield blocks, refused


def blocks_to_arrow(run_id: str, blocks: Iterable[MetricBlock]) -> pa.Table:
    """Blocks as rows of the table ``metrics``, one per value; words are dictionary-encoded."""
    import pyarrow as pa

    return pa.concat_tables([_block_to_arrow(run_id, block) for block in blocks if block.names]).unify_dictionaries()


def _block_to_arrow(run_id: str, block: MetricBlock) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    width, rows = len(block.names), len(block.batches)
    of_batch = np.repeat(np.arange(rows, dtype=np.int32), width)
    of_name = np.tile(np.arange(width, dtype=np.int32), rows)

    def numbers(name: str) -> pa.Array:
        return pa.array([getattr(batch, name) for batch in block.batches], pa.int64()).take(pa.array(of_batch))

    def words(name: str) -> pa.Array:
        encoded = pa.array([getattr(batch, name) for batch in block.batches], pa.string()).dictionary_encode()
        return encoded.take(pa.array(of_batch))

    shown, loaders = zip(*map(_split_name, block.names), strict=True)
    columns = {
        "run_id": _constant(run_id, width * rows),
        "segment": numbers("segment"),
        "name": pa.DictionaryArray.from_arrays(of_name, list(shown)),
        "context": words("context"),
        "dataloader_idx": pa.array(loaders, pa.int64()).take(pa.array(of_name)),
        "step": numbers("step"),
        "global_step": numbers("global_step"),
        "epoch": numbers("epoch"),
        "time": _timestamps(numbers("time_ns")),
        "value": pa.array(block.matrix.ravel()),
        "rank": pa.repeat(pa.scalar(0, pa.int64()), width * rows),
        "source": words("source"),
    }
    names = arrow_schema("metrics").names
    return pa.table([columns[name] for name in names], names=names)


def _timestamps(nanoseconds: pa.Array) -> pa.Array:
    """Nanoseconds since the epoch as UTC timestamps of microseconds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.divide(nanoseconds, 1000).cast(pa.timestamp("us", tz="UTC"))


@functools.lru_cache(maxsize=10_000)
def _split_name(name: str) -> tuple[str, int | None]:
    """A metric's name without Lightning's mark of the data loader, and the loader's number."""
    found = _LOADER_MARK.search(name)
    return (name, None) if found is None else (name[: found.start()], int(found[1]))


@functools.lru_cache(maxsize=10_000)
def _safe_name(name: str) -> str:
    return redact_text(storable_text(name))


def _constant(word: str, length: int) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(np.zeros(length, dtype=np.int32), [word])


def _matrix(batches: list[MetricBatch], width: int) -> npt.NDArray[np.float64]:
    import numpy as np

    flat = [value for batch in batches for value in batch.values.values()]
    if any(hasattr(kind, "detach") for kind in set(map(type, flat))):
        flat = _tensors_to_floats(flat)
    return np.asarray(flat, dtype=np.float64).reshape(len(batches), width)


def _tensors_to_floats(values: list[Any]) -> list[Any]:
    """One transfer for all tensors of a device instead of one for each."""
    import torch

    places: dict[torch.device, list[int]] = defaultdict(list)
    for place, value in enumerate(values):
        if isinstance(value, torch.Tensor):
            places[value.device].append(place)
    for where in places.values():
        numbers = torch.stack([values[place].reshape(()).to(torch.float64) for place in where]).cpu().tolist()
        for place, number in zip(where, numbers, strict=True):
            values[place] = number
    return values


def _numbers_of(batch: MetricBatch) -> tuple[MetricBlock, list[str]]:
    import numpy as np

    numbers: dict[str, float] = {}
    refused = []
    for name, value in batch.values.items():
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            refused.append(f"metric {name!r} is a {type(value).__name__}, not a number: it was left out")
    row = np.array([list(numbers.values())], dtype=np.float64).reshape(1, len(numbers))
    return MetricBlock(tuple(map(_safe_name, numbers)), row, [batch]), refused


def _snapshot(value: Any) -> Any:
    # The training may go on to change a tensor in place before the writer reads it.
    return value.detach().clone() if hasattr(value, "detach") else value


def _taken(queue: deque[Any], count: int) -> Iterator[Any]:
    for _ in range(count):
        yield queue.popleft()


def _storable(table: str, record: Record, refused: list[str]) -> bool:
    try:
        records_to_arrow(table, [record])
    except Exception as error:
        refused.append(f"a row of {table} was left out: {type(error).__name__}: {error}"[:1000])
        return False
    return True
