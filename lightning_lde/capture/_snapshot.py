"""Sources that git does not keep: which ones there are, and one archive with their text."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_lde.capture._access import get
from lightning_lde.capture._launch import in_notebook
from lightning_lde.capture._pace import Pace
from lightning_lde.capture._redaction import redact_text
from lightning_lde.capture._secrets import is_secret_key

CELLS = "notebook_cells.py"
"""Where the snapshot keeps the cells of a notebook that were run so far."""

_NO_SHELL = """# In place of IPython: its magics and shell commands have no effect here.
class _NoShell:
    def run_cell_magic(self, name, line, cell):
        if name in {"time", "timeit", "capture", "prun"}:
            exec(cell, globals())

    def run_line_magic(self, name, line, *rest):
        if name == "time":
            exec(line, globals())

    def __getattr__(self, name):
        return lambda *words, **options: None


def get_ipython():
    return _NoShell()


"""

LARGEST_FILE_BYTES = 256 << 10
LARGEST_SNAPSHOT_BYTES = 8 << 20
LARGEST_LIST = 1000


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Sources that no commit holds.

    Attributes:
        files: Of each ``path``, ``sha256`` and ``size_bytes`` of the file as it was, ``in_snapshot``, and
            ``note`` where it is not there or not as it was.
        archive: A ``tar.gz`` with equal bytes for equal files, None where it would be empty.
    """

    files: list[dict[str, Any]]
    archive: bytes | None

    @property
    def object_id(self) -> str | None:
        """The archive's id among the objects of a lake."""
        return None if self.archive is None else hashlib.sha256(self.archive).hexdigest()


def take_snapshot(sources: Mapping[str, Path], hide: Callable[[str], str] = str, notes: Sequence[str] = ()) -> Snapshot:
    """Read source files; what looks like a secret in them, or in their names, is replaced.

    Files that are no text are left out. Those of more than 256 KiB, what is above 8 MiB in all, and files named like
    secrets are listed, but not kept.

    Args:
        sources: Files by the names that they get, the important ones first.
        hide: Takes out of a name or a text what does not look like a secret and is known to be one.
        notes: Why there may be further ones.

    Returns:
        The list and the archive.
    """
    return _extended(Snapshot([], None), sources, notebook_cells(), hide, notes)


def extend_snapshot(
    snapshot: Snapshot, sources: Mapping[str, Path], hide: Callable[[str], str] = str
) -> Snapshot | None:
    """A snapshot with further files; what it has already stays as it is.

    Args:
        snapshot: The snapshot.
        sources: Files by their names.
        hide: As for `take_snapshot`.

    Returns:
        The larger one, None where there is nothing that was not listed before.
    """
    listed = {row["path"] for row in snapshot.files}
    later = {name: path for name, path in sources.items() if redact_text(hide(name)) not in listed}
    if not later or len(listed) >= LARGEST_LIST:
        return None
    extended = _extended(snapshot, later, "", hide)
    return None if len(extended.files) == len(snapshot.files) else extended


def rewritten_snapshot(archive: bytes, change: Callable[[str], str]) -> tuple[bytes, set[str]]:
    """A snapshot with other names and texts.

    Args:
        archive: The archive of a snapshot.
        change: Makes a name or a text fit to be stored.

    Returns:
        The archive, the same bytes where nothing changes; and the names, as they are now, of files whose text changed.

    Raises:
        ValueError: If it is no archive of texts.
    """
    try:
        before = _members(archive)
    except (EOFError, OSError, tarfile.TarError, zlib.error) as error:
        raise ValueError(f"a snapshot of {len(archive)} bytes cannot be unpacked: {error}") from error
    after: dict[str, tuple[bytes, int]] = {}
    changed = set()
    for name, (content, mode) in before.items():
        safe_name, safe = change(name), change(content.decode("utf-8")).encode()
        after[safe_name] = safe, mode
        if safe != content:
            changed.add(safe_name)
    return (archive if after == before else _archive(after)), changed


def _extended(
    snapshot: Snapshot,
    sources: Mapping[str, Path],
    cells: str,
    hide: Callable[[str], str],
    notes: Sequence[str] = (),
) -> Snapshot:
    files = list(snapshot.files)
    members = {} if snapshot.archive is None else _members(snapshot.archive)
    room = LARGEST_SNAPSHOT_BYTES - sum(len(text) for text, _ in members.values())
    pace = Pace(gently=True)
    chosen = list(sources.items())
    for unsafe_name, path in chosen[:LARGEST_LIST]:
        name = redact_text(hide(unsafe_name))
        row, text = _read(path, name, room, pace, hide)
        if row is not None:
            files.append(row)
        if text is not None:
            members[name] = (text, 0o755 if os.access(path, os.X_OK) else 0o644)
            room -= len(text)
    files.sort(key=lambda row: str(row["path"]))
    if len(chosen) > LARGEST_LIST:
        notes = [*notes, f"{len(chosen) - LARGEST_LIST} more files are not listed"]
    if notes:
        files.append(_row("…", None, None, False, "; ".join(notes)))
    if cells:
        text = redact_text(hide(cells), pace).encode()
        members[CELLS] = (text, 0o644)
        files.append(_row(CELLS, hashlib.sha256(cells.encode()).hexdigest(), len(text), True, "cells that were run"))
    return Snapshot(files, _archive(members) if members else None)


def notebook_cells() -> str:
    """The cells that were run so far as one program, magics and shell commands without effect; empty elsewhere.

    Of ``%time``, ``%%time``, ``%%timeit``, ``%%capture`` and ``%%prun``, what they measure is run.
    """
    shell = in_notebook()
    cells = [] if shell is None else [str(cell) for cell in get(shell, "user_ns", {}).get("In", []) if cell]
    # IPython keeps a cell as it runs it, with calls for magics; a cell that it could not read stays as it was typed.
    plain = [re.sub(r"^(\s*)([%!?].*)$", r"\1pass  # \2", cell, flags=re.MULTILINE) for cell in cells]
    text = "".join(f"# %%\n{cell}\n\n" for cell in plain)
    return _NO_SHELL + text if "get_ipython()" in text else text


def _row(path: str, sha256: str | None, size: int | None, kept: bool, note: str | None) -> dict[str, Any]:
    return {"path": path, "sha256": sha256, "size_bytes": size, "in_snapshot": kept, "note": note}


def _read(
    path: Path, name: str, room: int, pace: Pace, hide: Callable[[str], str]
) -> tuple[dict[str, Any] | None, bytes | None]:
    try:
        if path.is_symlink():
            return _row(name, None, None, False, "a link"), None
        size = path.stat().st_size
        if size > LARGEST_FILE_BYTES:
            note = f"larger than {LARGEST_FILE_BYTES} bytes"
            return _row(name, _hash_of(path), size, False, note), None
        data = path.read_bytes()
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None, None
    digest = hashlib.sha256(data).hexdigest()
    if "\0" in text:
        return None, None
    if is_secret_key(path.stem) or path.name.startswith(".env"):
        return _row(name, digest, size, False, "named like a secret"), None
    if size > room:
        note = f"the snapshot would be larger than {LARGEST_SNAPSHOT_BYTES} bytes"
        return _row(name, digest, size, False, note), None
    pace.breathe()
    safe = redact_text(hide(text), pace)
    return _row(name, digest, size, True, None if safe == text else "redacted"), safe.encode()


def _hash_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _members(archive: bytes) -> dict[str, tuple[bytes, int]]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {one.name: ((file.read() if (file := tar.extractfile(one)) else b""), one.mode) for one in tar}


def _archive(members: dict[str, tuple[bytes, int]]) -> bytes:
    """A tar.gz without times, owners and anything else that differs between equal contents."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as outer,
        tarfile.open(fileobj=outer, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, (content, mode) in sorted(members.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
