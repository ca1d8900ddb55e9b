"""Files on their way to the lake: texts and checkpoints that hold a secret go there as a copy without it."""

from __future__ import annotations

import contextlib
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lightning_lde.capture import PickledValue, find_secrets, pickled_values
from lightning_lde.recording._governance import Governance

LARGEST_TEXT_BYTES = 16 << 20
LARGEST_PICKLE_BYTES = 64 << 20

_MASK = b"*"
_DESCRIPTOR_FLAG = 0x08


@contextlib.contextmanager
def without_secrets(source: Path, governance: Governance) -> Iterator[tuple[Path, int]]:
    """A file as it may be stored, and how many secrets were taken out of it.

    A text is redacted as all text is. In a checkpoint, or any pickle, the characters of a secret are replaced one by
    one, so that everything else stays where it is and it loads as before; tensors are not looked at. The pickle is
    read, never run. Other files, and larger ones, are given as they are.

    Args:
        source: The file.
        governance: Knows secrets.

    Yields:
        The file, or a temporary copy where something was taken out.

    Raises:
        OSError: If it cannot be read, or there is no room for the copy.
    """
    with tempfile.TemporaryDirectory(prefix="lde-") as folder:
        copy = Path(folder) / "copy"
        found = _clean(source, copy, governance)
        yield (copy if found else source), found


def _clean(source: Path, copy: Path, governance: Governance) -> int:
    with source.open("rb") as file:
        head = file.read(4096)
    if head.startswith(b"PK\x03\x04"):
        return _clean_archive(source, copy, governance)
    size_bytes = source.stat().st_size
    if head.startswith(b"\x80") and size_bytes <= LARGEST_PICKLE_BYTES:
        data = source.read_bytes()
        clean, found = masked_pickle(data, governance)
        return _written(copy, clean, found)
    if b"\0" not in head and size_bytes <= LARGEST_TEXT_BYTES:
        with contextlib.suppress(UnicodeDecodeError):
            text = source.read_bytes().decode("utf-8")
            safe = governance.text(text)
            return _written(copy, safe.encode(), max(1, len(find_secrets(text)))) if safe != text else 0
    return 0


def _written(copy: Path, data: bytes, found: int) -> int:
    if found:
        copy.write_bytes(data)
    return found


def _clean_archive(source: Path, copy: Path, governance: Governance) -> int:
    """Mask the pickles in a zip of torch, in place in a copy."""
    changed: list[tuple[zipfile.ZipInfo, bytes]] = []
    total = 0
    try:
        with zipfile.ZipFile(source) as archive:
            directory = archive.start_dir
            for entry in archive.infolist():
                stored = entry.compress_type == zipfile.ZIP_STORED and entry.file_size <= LARGEST_PICKLE_BYTES
                if stored and entry.filename.endswith(".pkl"):
                    clean, found = masked_pickle(archive.read(entry), governance)
                    total += found
                    if found:
                        changed.append((entry, clean))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return 0
    if changed:
        shutil.copyfile(source, copy)
        with copy.open("r+b") as file:
            for entry, clean in changed:
                _replace_entry(file, entry, clean, directory)
    return total


def _replace_entry(file: BinaryIO, entry: zipfile.ZipInfo, data: bytes, directory: int) -> None:
    """Write an entry of the same length and its new checksum, wherever that stands."""
    checksum = struct.pack("<I", zlib.crc32(data))
    file.seek(entry.header_offset + 26)
    name_length, extra_length = struct.unpack("<HH", file.read(4))
    begin = entry.header_offset + 30 + name_length + extra_length
    file.seek(begin)
    file.write(data)
    if entry.flag_bits & _DESCRIPTOR_FLAG:
        signed = file.read(4) == b"PK\x07\x08"
        file.seek(begin + len(data) + (4 if signed else 0))
        file.write(checksum)
    else:
        file.seek(entry.header_offset + 14)
        file.write(checksum)
    at = directory
    while True:
        file.seek(at)
        head = file.read(46)
        if len(head) < 46 or head[:4] != b"PK\x01\x02":
            return
        lengths = struct.unpack("<HHH", head[28:34])
        name = file.read(lengths[0])
        if name == entry.orig_filename.encode("utf-8"):
            file.seek(at + 16)
            file.write(checksum)
            return
        at += 46 + sum(lengths)


def masked_pickle(data: bytes, governance: Governance) -> tuple[bytes, int]:
    """A pickle in which the characters of secrets are asterisks, and how many secrets it had.

    A number that is a secret becomes zero. Everything has the length that it had.

    Args:
        data: The pickle; it is read, never run.
        governance: Knows secrets.
    """
    clean, found = bytearray(data), 0
    for value in pickled_values(data):
        for begin, end in _spans(value, governance):
            clean[begin:end] = (b"\0" if value.kind == "number" else _MASK) * (end - begin)
            found += 1
    return bytes(clean), found


def _spans(value: PickledValue, governance: Governance) -> Iterator[tuple[int, int]]:
    """Where secrets stand in a pickle, of one value of it."""
    if value.name:
        if value.text.strip("*"):
            yield value.begin, value.end
        return
    codec = "utf-8" if value.kind == "text" else "latin-1"
    for start, end in governance.secrets_in(value.text):
        before, inside = value.text[:start], value.text[start:end]
        begin = value.begin + len(before.encode(codec, "surrogatepass"))
        yield begin, begin + len(inside.encode(codec, "surrogatepass"))
