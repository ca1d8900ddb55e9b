"""Every text of a lake, one row group after the other, and what in it looks like a secret."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import pickletools
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_lde.capture import REDACTED, Pace, find_secrets, is_secret_key, looks_like_chance, may_be_secret_key
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import KEYS_OF_OTHERS, Rows, blocks_to_tables, spooled

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST_TEXT_BYTES = 64 << 20

_MASKS = {REDACTED, "<withheld>"}
_SHOWN = 3
_NAME = re.compile(r"[\w.\- /]{1,80}")
_PORTION = 1 << 20
_OVERLAP = 4096


@dataclass(frozen=True)
class Finding:
    """One place where something looks like a secret.

    Attributes:
        table: The table, ``objects`` or ``lde.json``.
        run_id: The run whose row or file it is, None where none is named.
        column: The column, and the key inside JSON.
        kind: What it looks like.
        fingerprint: The first 16 digits of the SHA-256 of the secret: equal secrets have equal ones.
        preview: Its first characters and its length.
        file: The file in the lake or of the spool.
    """

    table: str
    run_id: str | None
    column: str
    kind: str
    fingerprint: str
    preview: str
    file: str

    def as_dict(self) -> dict[str, Any]:
        """The finding as names and values."""
        return asdict(self)


Tell = Callable[[int, int], None]


def audit_lake(storage: LakeStorage, *, tell: Tell | None = None) -> Iterator[Finding]:
    """Look through all tables and all objects that are text or a checkpoint.

    Args:
        storage: The lake.
        tell: Called with how many files are done, and of how many.

    Yields:
        What was found, each secret once per file and column.

    Raises:
        LakeNotFoundError: If there is no lake.
    """
    storage.require()
    snapshot = storage.snapshot()
    files = [file for table in sorted(snapshot.files) for file in snapshot.files[table]]
    objects = list(storage.store.list("objects/"))
    total, done = len(files) + len(objects) + 1, 0
    owners: dict[str, str] = {}
    for file in files:
        try:
            for rows in storage.read_groups(file):
                if file.table == "artifacts":
                    owners |= dict(
                        zip(rows.column("object_id").to_pylist(), rows.column("run_id").to_pylist(), strict=True)
                    )
                yield from _distinct(_in_rows(file.table, rows, file.path))
        except FileNotFoundError:
            # Merged meanwhile; what was in it stands in a file that the next audit reads.
            pass
        done += 1
        if tell:
            tell(done, total)
    for stored in objects:
        if stored.size_bytes <= LARGEST_TEXT_BYTES:
            owner = owners.get(stored.path.rsplit("/", 1)[-1])
            yield from _distinct(_in_bytes(storage.store.get(stored.path), owner, stored.path))
        done += 1
        if tell:
            tell(done, total)
    marker = storage.store.get("lde.json").decode("utf-8", "replace")
    yield from _distinct(_in_text(marker, "lde.json", None, "", "lde.json"))
    if tell:
        tell(total, total)


def audit_spool(root: Path) -> Iterator[Finding]:
    """Look through what waits on this machine to be sent.

    Args:
        root: The folder of all spools.
    """
    for path, header, portion in spooled(root):
        for found in _distinct(_in_portion(portion, header.run_id, str(path))):
            yield dataclasses.replace(found, run_id=found.run_id or header.run_id)


def _in_portion(portion: Rows, run_id: str, file: str) -> Iterator[Finding]:
    tables = list(portion.tables.items())
    tables += [("metrics", part) for part in blocks_to_tables(run_id, portion.metrics)]
    for table, part in tables:
        yield from _in_rows(table, part, file)
    for item in portion.objects:
        yield from _in_bytes(item.data, run_id, file)


def _distinct(findings: Iterator[Finding]) -> Iterator[Finding]:
    known: set[Finding] = set()
    for found in findings:
        if found not in known:
            known.add(found)
            yield found


def _in_rows(table: str, rows: pa.Table, file: str) -> Iterator[Finding]:
    import pyarrow as pa

    runs: list[Any] = rows.column("run_id").to_pylist() if "run_id" in rows.column_names else [None] * rows.num_rows
    keys: list[Any] = rows.column("key").to_pylist() if table == "params" else []
    for field in rows.schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            continue
        known: dict[str, list[Finding]] = {}
        for number, cell in enumerate(rows.column(field.name).to_pylist()):
            if cell is None:
                continue
            if keys and field.name == "value_text" and is_secret_key(keys[number]) and _says(cell):
                yield _finding(table, runs[number], f"{field.name} of {keys[number]}", "secret by name", cell, file)
                continue
            if cell not in known:
                if len(known) > _PORTION:
                    known.clear()
                known[cell] = list(_in_cell(cell, table, field.name, file))
            for found in known[cell]:
                yield dataclasses.replace(found, run_id=runs[number])


def _in_cell(cell: str, table: str, column: str, file: str) -> Iterator[Finding]:
    if cell[:1] in {"{", "["}:
        try:
            value = json.loads(cell)
        except ValueError:
            pass
        else:
            yield from _in_json(value, table, column, file, secret=False)
            return
    yield from _in_text(cell, table, None, column, file)


def _in_json(value: Any, table: str, column: str, file: str, *, secret: bool) -> Iterator[Finding]:
    if isinstance(value, dict):
        named = any(isinstance(value.get(word), str) and is_secret_key(value[word]) for word in ("name", "key"))
        for key, item in value.items():
            by_chance = isinstance(item, str) and may_be_secret_key(key) and looks_like_chance(item)
            by_name = is_secret_key(key) or (named and key.lower() == "value")
            below = secret or ((by_chance or by_name) and column.split(".")[0] not in KEYS_OF_OTHERS)
            yield from _in_json(item, table, f"{column}.{key}", file, secret=below)
            yield from _in_text(key, table, None, f"{column} (a key)", file)
    elif isinstance(value, list):
        for item in value:
            yield from _in_json(item, table, column, file, secret=secret)
    elif isinstance(value, str) and secret and _says(value):
        yield _finding(table, None, column, "secret by name", value, file)
    elif isinstance(value, str):
        yield from _in_text(value, table, None, column, file)
    elif secret and isinstance(value, (int, float)) and not isinstance(value, bool):
        yield _finding(table, None, column, "secret by name", str(value), file)


def _in_text(text: str, table: str, run_id: str | None, column: str, file: str) -> Iterator[Finding]:
    for begin in range(0, max(1, len(text)), _PORTION):
        portion = text[max(0, begin - _OVERLAP) : begin + _PORTION]
        # Nobody is to be given way to here.
        for found in find_secrets(portion, Pace()):
            yield _finding(table, run_id, column, found.kind, portion[found.start : found.end], file)


def _in_bytes(data: bytes, run_id: str | None, file: str) -> Iterator[Finding]:
    if data.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for name in archive.namelist():
                    if name.endswith((".pkl", ".json", ".txt", ".yaml", ".py", ".csv", ".ipynb", ".diff", ".toml")):
                        yield from _in_bytes(archive.read(name), run_id, f"{file}!{name}")
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
            pass
        return
    if data.startswith(b"\x1f\x8b"):
        yield from _in_sources(data, run_id, file)
        return
    if data.startswith(b"\x80"):
        yield from _in_pickle(data, run_id, file)
        return
    if data.startswith(b"PAR1"):
        yield from _in_parquet(data, file)
        return
    if b"\0" in data[:4096]:
        return
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return
    yield from _in_text(text, "objects", run_id, "content", file)


def _in_sources(data: bytes, run_id: str | None, file: str) -> Iterator[Finding]:
    """Texts of a snapshot, which is a tar."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for member in archive:
                source = archive.extractfile(member) if member.size <= LARGEST_TEXT_BYTES else None
                if source is not None:
                    yield from _in_bytes(source.read(), run_id, f"{file}!{member.name}")
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error):
        return


def _in_parquet(data: bytes, file: str) -> Iterator[Finding]:
    """Texts of a manifest of a data set."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(io.BytesIO(data)) as parquet:
            names = [field.name for field in parquet.schema_arrow if pa.types.is_string(field.type)]
            for number in range(parquet.num_row_groups if names else 0):
                yield from _in_rows("objects", parquet.read_row_group(number, columns=names, use_threads=False), file)
    except (OSError, pa.ArrowException):
        return


def _in_pickle(data: bytes, run_id: str | None, file: str) -> Iterator[Finding]:
    """Texts of a pickle, which is read and never run."""
    name = ""
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if isinstance(argument, str) and "UNICODE" in opcode.name:
                if name and _says(argument) and not is_secret_key(argument):
                    yield _finding("objects", run_id, f"content.{name}", "secret by name", argument, file)
                else:
                    yield from _in_text(argument, "objects", run_id, "content", file)
                name = argument if _NAME.fullmatch(argument) and is_secret_key(argument) else ""
            elif opcode.name not in {"BINPUT", "LONG_BINPUT", "MEMOIZE", "PUT", "FRAME"}:
                name = ""
    except Exception:
        return


def _says(value: str) -> bool:
    """Whether a value is more than a mask or an empty word."""
    plain = value.strip('"')
    return bool(plain.strip("*")) and plain not in _MASKS and plain not in {"null", "true", "false"}


def _finding(table: str, run_id: str | None, column: str, kind: str, secret: str, file: str) -> Finding:
    digest = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()[:16]
    shown = secret[: min(_SHOWN, len(secret) // 4)]
    visible = "".join(char if char.isprintable() else "?" for char in shown)
    return Finding(table, run_id, column, kind, digest, f"{visible}… ({len(secret)} characters)", file)
