"""Files of many kinds for tests of objects."""

from __future__ import annotations

import io
import json
import struct
import zipfile

import numpy as np
import torch


def random_bytes(n_bytes: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(n_bytes)


def saved(content: object, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def numbers(n: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed)).to(dtype)


def odd_tensors() -> dict[str, torch.Tensor]:
    base = numbers(60_000, 1)
    return {
        "base": base,
        "shared": base[100:50_000].view(-1, 2),
        "empty": torch.zeros(0, 7),
        "scalar": torch.tensor(3.5),
        "half": numbers(40_000, 2, torch.bfloat16),
        "double": numbers(30_000, 3, torch.float64),
        "words": torch.arange(70_000),
        "flags": numbers(50_000, 4) > 0,
        "zeros": torch.zeros(100_000),
        "one more of zeros": torch.zeros(100_000),
    }


def safetensors() -> bytes:
    tensors = {f"layer.{number}": numbers(50_000, number).numpy().tobytes() for number in range(4)}
    header, at = {}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "F32", "shape": [50_000], "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(tensors.values())


def zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"")
        for number in range(30):
            archive.writestr(f"archive/data/{number}", bytes(10 << 20))
    return buffer.getvalue() + random_bytes(300_000)


def lying_zip(change: str) -> bytes:
    """A checkpoint whose directory says something wrong of where storages lie or how large they are."""
    data = bytearray(saved({str(number): numbers(30_000, number) for number in range(4)}))
    at = [start for start in range(len(data)) if data.startswith(b"PK\1\2", start)]
    for number, start in enumerate(at):
        if change == "offset":
            struct.pack_into("<I", data, start + 42, 0xFFFFFF00)
        elif change == "size":
            struct.pack_into("<II", data, start + 20, 0x7FFFFFFF, 0x7FFFFFFF)
        elif change == "same place":
            struct.pack_into("<I", data, start + 42, struct.unpack_from("<I", data, at[3] + 42)[0])
        elif change == "into each other":
            struct.pack_into("<II", data, start + 20, 200_000, 200_000)
        elif change == "header" and number % 2:
            offset = struct.unpack_from("<I", data, start + 42)[0]
            data[offset : offset + 2] = b"XX"
    return bytes(data)


def lying_end(n_bytes: int) -> bytes:
    """A zip that says that its directory is huge."""
    data = bytearray(saved({"a": numbers(100_000, 1)}))
    end = data.rindex(b"PK\5\6")
    struct.pack_into("<II", data, end + 12, n_bytes, 0)
    return bytes(data)


ODD_FILES = {
    "empty": b"",
    "one byte": b"x",
    "just below the limit": random_bytes((256 << 10) - 1),
    "at the limit": random_bytes(256 << 10),
    "zeros": bytes(3 << 20),
    "text": b"epoch,step,loss\n" * 40_000,
    "checkpoint": saved(odd_tensors()),
    "legacy checkpoint": saved(odd_tensors(), legacy=True),
    "one large storage": saved({"w": numbers(5 << 20, 5)}),
    "safetensors": safetensors(),
    "truncated checkpoint": saved(odd_tensors())[:-3000],
    "checkpoint behind other bytes": b"#!/usr/bin/env python\n" + saved(odd_tensors()),
    "checkpoint before other bytes": saved(odd_tensors()) + b"comment" * 100,
    "zip bomb": zip_bomb(),
    **{f"lying about {change}": lying_zip(change) for change in ("offset", "size", "same place", "into each other")},
    "lying header": lying_zip("header"),
    "lying end": lying_end(0xFFFFFFF0),
    "negative directory": lying_end(0x00100000),
}
