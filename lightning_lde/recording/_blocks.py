"""Metric values as blocks of numbers: compact in memory and in the spool, rows of the table ``metrics`` in the lake."""

from __future__ import annotations

import functools
import json
import re
import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from lightning_lde.columns import column_of, numbers, repeated_words, words
from lightning_lde.schema import arrow_schema

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

MOMENT = ("time_us", "step", "global_step", "epoch")
"""What each row of a block begins with; NaN stands for what is not known."""

ROWS_PER_GROUP = 1 << 16

_HEAD = struct.Struct("<I")
_LOADER_MARK = re.compile(r"/dataloader_idx_(\d{1,9})$", re.ASCII)


class MetricBlock(NamedTuple):
    """Values that were logged under the same names, one row per call.

    Attributes:
        names: The names as they were logged.
        context: ``"train"``, ``"val"``, ``"test"``, ``"system"`` or None.
        source: ``"logged"`` or ``"sampled"``.
        segment: The segment of the run.
        rows: 64-bit floats of shape ``[n, 4 + len(names)]``: the moment, then a value per name.
    """

    names: tuple[str, ...]
    context: str | None
    source: str
    segment: int
    rows: npt.NDArray[np.float64]

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """The values, of shape ``[n, len(names)]``."""
        return self.rows[:, len(MOMENT) :]


def encode_blocks(blocks: Iterable[MetricBlock]) -> list[bytes | memoryview]:
    """Blocks as pieces of bytes, to be written one after the other."""
    import numpy as np

    kept = [block for block in blocks if block.names]
    head = [[block.names, block.context, block.source, block.segment, len(block.rows)] for block in kept]
    text = json.dumps(head).encode()
    numbers = [block.rows.reshape(-1).view(np.uint8).data for block in kept]
    return [_HEAD.pack(len(text)), text, *numbers]


def decode_blocks(payload: bytes | memoryview) -> Iterator[MetricBlock]:
    """The blocks in a piece of bytes that `encode_blocks` made."""
    import numpy as np

    (length,) = _HEAD.unpack_from(payload)
    offset = _HEAD.size + length
    for names, context, source, segment, count in json.loads(bytes(payload[_HEAD.size : offset])):
        width = len(MOMENT) + len(names)
        rows = np.frombuffer(payload, np.float64, count * width, offset).reshape(count, width)
        offset += rows.nbytes
        yield MetricBlock(tuple(names), context, source, segment, rows)


def blocks_to_tables(run_id: str, blocks: Iterable[MetricBlock]) -> Iterator[pa.Table]:
    """Blocks as tables of the schema of ``metrics``, one row per value, each table at most a row group long."""
    waiting: list[MetricBlock] = []
    points = 0
    for block in _portions(blocks):
        if points and points + block.values.size > ROWS_PER_GROUP:
            yield _to_table(run_id, waiting)
            waiting, points = [], 0
        waiting.append(block)
        points += block.values.size
    if points:
        yield _to_table(run_id, waiting)


def _portions(blocks: Iterable[MetricBlock]) -> Iterator[MetricBlock]:
    for block in blocks:
        height = max(1, ROWS_PER_GROUP // max(1, len(block.names)))
        for first in range(0, len(block.rows), height):
            yield block._replace(rows=block.rows[first : first + height])


def _to_table(run_id: str, blocks: list[MetricBlock]) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    sizes = np.array([block.values.size for block in blocks])
    names = _Names(blocks)
    # A moment stands in front of every value that was logged in it.
    moments = [np.concatenate([np.repeat(block.rows[:, at], len(block.names)) for block in blocks]) for at in range(4)]
    codes = np.concatenate([np.tile(names.codes(block.names), len(block.rows)) for block in blocks])
    indices = numbers(codes, pa.int32())
    columns = {
        "run_id": repeated_words([run_id] * len(blocks), sizes),
        "segment": numbers(np.repeat(np.array([block.segment for block in blocks], np.int64), sizes), pa.int64()),
        "name": pa.DictionaryArray.from_arrays(indices, words(names.shown)),
        "context": repeated_words([block.context for block in blocks], sizes),
        "dataloader_idx": column_of(names.loaders, pa.int64()).take(indices),
        "step": _whole(moments[1]),
        "global_step": _whole(moments[2]),
        "epoch": _whole(moments[3]),
        "time": numbers(moments[0].astype(np.int64), pa.timestamp("us", tz="UTC")),
        "value": numbers(np.concatenate([block.values.ravel() for block in blocks]), pa.float64()),
        "rank": numbers(np.zeros(len(codes), np.int64), pa.int64()),
        "source": repeated_words([block.source for block in blocks], sizes),
    }
    order = arrow_schema("metrics").names
    return pa.table([columns[name] for name in order], names=order)


class _Names:
    """The different names of some blocks, and the number of each."""

    def __init__(self, blocks: list[MetricBlock]) -> None:
        self._numbers: dict[str, int] = {}
        for block in blocks:
            for name in block.names:
                self._numbers.setdefault(name, len(self._numbers))
        parts = [_split_name(name) for name in self._numbers]
        self.shown = [shown for shown, _ in parts]
        self.loaders = [loader for _, loader in parts]

    def codes(self, names: tuple[str, ...]) -> npt.NDArray[np.int32]:
        import numpy as np

        return np.array([self._numbers[name] for name in names], np.int32)


@functools.lru_cache(maxsize=10_000)
def _split_name(name: str) -> tuple[str, int | None]:
    """A metric's name without Lightning's mark of the data loader, and the loader's number."""
    found = _LOADER_MARK.search(name)
    return (name, None) if found is None else (name[: found.start()], int(found[1]))


def _whole(moments: npt.NDArray[np.float64]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    missing = np.isnan(moments)
    return numbers(np.where(missing, 0, moments).astype(np.int64), pa.int64(), missing)
