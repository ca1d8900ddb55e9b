"""Sources that git does not keep: which ones there are, and one archive with their text."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import os
import re
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lightning_lde.capture._access import clean_text, get
from lightning_lde.capture._launch import in_notebook
from lightning_lde.capture._redaction import redact_text
from lightning_lde.capture._secrets import is_secret_key

CELLS = "notebook_cells.py"
"""Where the snapshot keeps the cells of a notebook that were run so far."""

LARGEST_FILE_BYTES = 256 << 10
LARGEST_SNAPSHOT_BYTES = 8 << 20
LARGEST_LIST = 1000
_LARGEST_WALK = 5000
_DEEPEST_WALK = 8
_SUFFIXES = {
    *{".py", ".pyi", ".ipynb", ".pyx", ".pxd", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".sh"},
    *{".cfg", ".conf", ".gin", ".ini", ".json", ".toml", ".yaml", ".yml", ".txt", ".jinja", ".j2"},
}
_OUTPUTS = {
    *{"__pycache__", "lightning_logs", "checkpoints", "wandb", "mlruns", "outputs", "multirun", "node_modules"},
    *{"site-packages", "dist-packages", "build", "dist"},
}
_LAKE, _VENV = "lde.json", "pyvenv.cfg"


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


def take_snapshot(root: Path, paths: Iterable[Path]) -> Snapshot:
    """Read source files below a folder; what looks like a secret in them is replaced.

    Only text files with a suffix of sources or settings are listed. Those of more than 256 KiB, what is above 8 MiB
    in all, and files named like secrets are listed, but not kept.

    Args:
        root: The folder that the paths in the archive are relative to.
        paths: Files below it.

    Returns:
        The list and the archive.
    """
    files: list[dict[str, Any]] = []
    members: dict[str, tuple[bytes, int]] = {}
    room = LARGEST_SNAPSHOT_BYTES
    chosen = sorted({path for path in paths if path.suffix.lower() in _SUFFIXES and not _is_output(path, root)})
    for path in chosen[:LARGEST_LIST]:
        name = clean_text(path.relative_to(root).as_posix())
        row, text = _read(path, name, room)
        if row is not None:
            files.append(row)
        if text is not None:
            members[name] = (text, 0o755 if os.access(path, os.X_OK) else 0o644)
            room -= len(text)
    if len(chosen) > LARGEST_LIST:
        note = f"{len(chosen) - LARGEST_LIST} more files are not listed"
        files.append({"path": "…", "sha256": None, "size_bytes": None, "in_snapshot": False, "note": note})
    if cells := notebook_cells():
        text = redact_text(cells).encode()
        members[CELLS] = (text, 0o644)
        files.append(_row(CELLS, hashlib.sha256(cells.encode()).hexdigest(), len(text), True, "cells that were run"))
    return Snapshot(files, _archive(members) if members else None)


def sources_around(program: Path, root: Path) -> Iterator[Path]:
    """Source files around a program: those of its folder, unless that is a large one, and those that are imported.

    Args:
        program: The program's file.
        root: The folder that it is started in, or its own; imported files below it count.
    """
    folder = program.parent
    yield program
    yield from imported_below(root)
    if folder not in {Path(folder.anchor), Path.home(), Path(tempfile.gettempdir()).resolve()}:
        found = list(_walk(folder))
        yield from found if len(found) < _LARGEST_WALK else folder.glob("*.py")


def imported_below(folder: Path) -> Iterator[Path]:
    """Files of the modules that are imported and lie below a folder."""
    for module in list(sys.modules.values()):
        file = get(module, "__file__")
        if isinstance(file, str) and Path(file).is_relative_to(folder) and Path(file).is_file():
            yield Path(file)


def notebook_cells() -> str:
    """The cells that were run so far as one program, magics as comments; empty outside of notebooks."""
    shell = in_notebook()
    cells = [] if shell is None else [str(cell) for cell in get(shell, "user_ns", {}).get("In", []) if cell]
    # Line magics and shell commands are no Python.
    plain = [re.sub(r"^(\s*)([%!?].*)$", r"\1pass  # \2", cell, flags=re.MULTILINE) for cell in cells]
    return "".join(f"# %%\n{cell}\n\n" for cell in plain)


def _walk(folder: Path) -> Iterator[Path]:
    seen = 0
    for here, folders, names in os.walk(folder):
        at = Path(here)
        depth = len(at.relative_to(folder).parts)
        folders[:] = [name for name in folders if depth < _DEEPEST_WALK and not _skipped(at / name)]
        for name in sorted(names):
            seen += 1
            if seen > _LARGEST_WALK:
                return
            yield at / name


def _skipped(folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name in _OUTPUTS or folder.name.endswith(".egg-info")
    return hidden or folder.is_symlink() or (folder / _LAKE).exists() or (folder / _VENV).exists()


def _is_output(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    return any(_skipped(root.joinpath(*parts[:count])) for count in range(1, len(parts)))


def _row(path: str, sha256: str | None, size: int | None, kept: bool, note: str | None) -> dict[str, Any]:
    return {"path": path, "sha256": sha256, "size_bytes": size, "in_snapshot": kept, "note": note}


def _read(path: Path, name: str, room: int) -> tuple[dict[str, Any] | None, bytes | None]:
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
    safe = redact_text(text)
    return _row(name, digest, size, True, None if safe == text else "redacted"), safe.encode()


def _hash_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


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
