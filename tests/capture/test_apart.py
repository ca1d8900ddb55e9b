"""Long lists of files are read by another process: the same is found, and where none can be had it is found here."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from lightning_lde.capture import Pace, _apart
from lightning_lde.capture import _files as files
from lightning_lde.capture._pace import HurriedError


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_apart, "MANY", 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(600):
        place = tmp_path / f"class {number % 3}" / f"{number:04}.bin"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(bytes([number % 256]) * number)
    odd = tmp_path / os.fsdecode(b"class 0/\xff\xfe.bin")
    odd.write_bytes(b"odd")
    return tmp_path


def listed(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*.bin"))


def read(items: Any, root: object, pace: Pace) -> files.FilesRead:
    return files.read_files(items, path_of=_apart._path, label_of=_apart._label, root=root, pace=pace)


@pytest.mark.parametrize(
    ("kind", "fingerprint"),
    [
        *((kind, "cheap") for kind in ("paths", "pairs", "lists", "flags", "relative", "below the root", "missing")),
        ("pairs", "exact"),
    ],
)
def test_the_same_is_found(folder: Path, kind: str, fingerprint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, root = listed(folder), str(folder)
    items: list[Any] = paths
    if kind in {"relative", "below the root"}:
        items = [os.path.relpath(path, folder) for path in paths]
        if kind == "relative":
            monkeypatch.chdir(folder)
            root = None  # type: ignore[assignment]
    elif kind == "missing":
        items = [*paths[:5], f"{folder}/nothing", *paths[5:]]
    elif kind != "paths":
        make: Any = {"pairs": tuple, "lists": list, "flags": tuple}[kind]
        items = [make((path, number % 2 == 0 if kind == "flags" else number)) for number, path in enumerate(paths)]
    found = _apart.read_files_apart(items, root=root, pace=Pace(fingerprint=fingerprint, gently=True))
    assert found is not None
    assert found == read(items, root, Pace(fingerprint=fingerprint))


@pytest.mark.parametrize(
    "odd",
    [Path("x"), np.str_("x"), (np.str_("x"), 1), ("x", torch.zeros(1)), (), ("x", object()), 1, b"x"],
    ids=["path", "numpy text", "numpy text in a pair", "tensor", "nothing", "object", "number", "bytes"],
)
def test_what_would_not_arrive_as_it_is_stays_here(folder: Path, odd: Any) -> None:
    items = [(path, 1) for path in listed(folder)]
    assert _apart.read_files_apart([*items[:300], odd, *items[300:]], root=None, pace=Pace(gently=True)) is None
    assert children() == []


def children() -> list[str]:
    return [child.name() for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("problem", ["no interpreter", "not there", "frozen", "dies", "says nonsense"])
def test_without_a_process_it_is_found_here(folder: Path, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if problem == "no interpreter":
        monkeypatch.setattr(sys, "executable", None)
    elif problem == "not there":
        monkeypatch.setattr(sys, "executable", str(folder / "python"))
    elif problem == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        program = "raise SystemExit(3)" if problem == "dies" else "print('nonsense')"
        monkeypatch.setattr(_apart, "_PROGRAM", program)
    paths = listed(folder)
    assert _apart.read_files_apart(paths, root=None, pace=Pace(gently=True)) is None
    found = files.fingerprint_files(paths, path_of=str, label_of=lambda _: None, root=None, pace=Pace(gently=True))
    assert found.fingerprint == read(paths, None, Pace()).fingerprint
    assert children() == []


def test_who_is_in_a_hurry_does_not_wait(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_apart, "_PROGRAM", "import sys, time; sys.stdin.buffer.read(); time.sleep(60)")
    pace = Pace(gently=True)
    timer = threading.Timer(0.5, pace.hurry)
    timer.start()
    with pytest.raises(HurriedError):
        _apart.read_files_apart(listed(folder), root=None, pace=pace)
    timer.join()
    assert children() == []


def test_beside_a_training_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = _apart.read_files_apart

    def counted(items: Any, **words: Any) -> Any:
        asked.append(len(items))
        return real(items, **words)

    monkeypatch.setattr(_apart, "read_files_apart", counted)
    paths = listed(folder)
    results = [
        files.fingerprint_files(paths, path_of=str, label_of=lambda _: None, root=folder, pace=pace).fingerprint
        for pace in (Pace(), Pace(gently=True))
    ]
    assert asked == [601]
    assert len(set(results)) == 1
    by_sample = Pace(fingerprint="exact", gently=True, by_sample=True)
    found = files.fingerprint_files(paths, path_of=str, label_of=lambda _: None, root=folder, pace=by_sample)
    assert found.samples is not None
    assert asked == [601]
