"""Files of runs as their readers get them: listed, read anywhere, saved bit for bit, loaded by torch."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_lde import Lake
from lightning_lde.errors import ArtifactNotFoundError, ConfigurationError, DataError, RunNotFoundError, StoreError
from lightning_lde.schema import Artifact, PipelineConfig, Run, utc_now

NOW = utc_now()
LARGE = 700_000


@dataclass
class Own:
    """A class that no checkpoint of weights only may have."""

    x: int = 1


@pytest.fixture
def lake(lake_path: Path) -> Lake:
    lake = Lake(lake_path).create()
    rows = [
        Run(
            run_id=f"01990000-0000-7000-8000-00000000000{number}", segment=0, revision=0, project="p", name=name,
            status="finished", started_at=NOW, heartbeat_at=NOW, heartbeat_every_s=5.0, pipeline_config_id=name,
        )
        for number, name in enumerate(("one", "two"))
    ]  # fmt: skip
    lake.storage.add_records("runs", rows, project="p")
    return lake


def add(lake: Lake, path: str, content: bytes, *, at: int = 0, **facts: Any) -> Artifact:
    """A file of the run `one`."""
    source = Path(lake.url).parent / "source"
    source.write_bytes(content)
    stored = lake.storage.put_artifact(source)
    row = Artifact(
        run_id="01990000-0000-7000-8000-000000000000", segment=0, path=path, size_bytes=len(content),
        object_id=stored.object_id, recipe=stored.recipe, recorded_at=NOW + timedelta(seconds=at),
        **{"kind": "checkpoint", **facts},
    )  # fmt: skip
    lake.storage.add_records("artifacts", [row], project="p")
    return row


def saved(value: Any) -> bytes:
    import io

    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("size_bytes", [0, 1000, LARGE])
def test_a_file_is_read_opened_and_saved_as_it_was(lake: Lake, tmp_path: Path, size_bytes: int) -> None:
    content = random.Random(1).randbytes(size_bytes)
    add(lake, "a/b.bin", content)
    found = lake.artifact("one", "a/b.bin")
    assert (found.path, found.size_bytes, found.tier) == ("a/b.bin", size_bytes, "hot")
    assert found.read() == lake.read_artifact("one", "a/b.bin") == content
    with found.open() as file:
        assert file.seek(0, os.SEEK_END) == size_bytes
        for at in (0, size_bytes // 2, max(0, size_bytes - 7)):
            file.seek(at)
            assert file.read(5) == content[at : at + 5]
    told: list[int] = []
    assert found.save(tmp_path / "new" / "b.bin", tell=told.append).read_bytes() == content
    assert sum(told) == size_bytes
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["b.bin"]


def test_the_newest_version_of_a_path_is_meant_and_all_are_listed(lake: Lake) -> None:
    for at, content in enumerate((b"1", b"22", b"333")):
        add(lake, "last.ckpt", content, at=at)
    add(lake, "best.ckpt", b"4", score=0.5)
    assert lake.read_artifact("one", "last.ckpt") == b"333"
    rows = lake.artifacts("one").to_pylist()
    assert [(row["path"], row["size_bytes"], row["score"]) for row in rows] == [
        ("best.ckpt", 1, 0.5), ("last.ckpt", 3, None), ("last.ckpt", 2, None), ("last.ckpt", 1, None),
    ]  # fmt: skip
    assert lake.artifacts("two").num_rows == 0


def test_what_is_there_is_not_replaced_unasked(lake: Lake, tmp_path: Path) -> None:
    add(lake, "x", b"new")
    target = tmp_path / "x"
    target.write_bytes(b"old")
    with pytest.raises(FileExistsError, match="not replaced"):
        lake.artifact("one", "x").save(target)
    assert target.read_bytes() == b"old"
    lake.artifact("one", "x").save(target, overwrite=True)
    assert target.read_bytes() == b"new"
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileExistsError, match="is no file"):
        lake.artifact("one", "x").save(tmp_path / "folder", overwrite=True)


def test_a_damaged_file_is_said_and_nothing_of_it_is_left(lake: Lake, tmp_path: Path) -> None:
    add(lake, "x", random.Random(2).randbytes(LARGE))
    for file in (Path(lake.url) / "chunks").rglob("*"):
        if file.is_file() and file.stat().st_size > 10_000:
            data = bytearray(file.read_bytes())
            data[-1] ^= 1
            file.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"):
        lake.artifact("one", "x").read()
    with pytest.raises(StoreError, match="damaged"):
        lake.artifact("one", "x").save(tmp_path / "new" / "x")
    assert list((tmp_path / "new").iterdir()) == []


def test_who_asks_for_what_is_not_there_is_told(lake: Lake) -> None:
    with pytest.raises(ArtifactNotFoundError, match="lde artifacts"):
        lake.artifact("one", "none")
    with pytest.raises(RunNotFoundError):
        lake.artifacts("three")
    with pytest.raises(ArtifactNotFoundError, match="no checkpoint"):
        lake.load_checkpoint("one")


def scored(lake: Lake, *scores: float | None) -> None:
    for at, score in enumerate(scores):
        add(lake, f"checkpoints/{at}.ckpt", saved({"at": torch.tensor(at)}), at=at, score=score)


def told_mode(lake: Lake, *modes: str) -> None:
    settings = [{"class": "x.ModelCheckpoint", "settings": {"mode": mode}} for mode in modes]
    config = PipelineConfig(
        pipeline_config_id="one", recorded_at=NOW, pipeline_id="m", trainer={"callback_settings": settings}
    )
    lake.storage.add_records("pipeline_configs", [config], project="p")


@pytest.mark.parametrize(
    ("scores", "mode", "which", "expected"),
    [
        ((0.3, 0.1, 0.2), "min", "best", 1),
        ((0.3, 0.1, 0.2), "max", "best", 0),
        ((0.3, 0.1, None), "max", "last", 2),
        ((None, None), None, "best", 1),
        ((float("nan"), 0.5, None), None, "best", 1),
        ((0.5, 0.5, None), None, "best", 1),
        ((0.3, 0.1), None, "checkpoints/1.ckpt", 1),
    ],
)
def test_best_and_last(
    lake: Lake, scores: tuple[float | None, ...], mode: str | None, which: str, expected: int
) -> None:
    scored(lake, *scores)
    if mode is not None:
        told_mode(lake, mode)
    assert lake.load_checkpoint("one", which)["at"] == expected


def test_where_nobody_knows_what_is_best_it_has_to_be_said(lake: Lake) -> None:
    scored(lake, 0.3, 0.1, 0.2)
    told_mode(lake, "min", "max")
    with pytest.raises(ConfigurationError, match="mode='min'"):
        lake.load_checkpoint("one")
    assert lake.load_checkpoint("one", mode="max")["at"] == 0
    assert lake.load_checkpoint("one", mode="min")["at"] == 1
    with pytest.raises(ConfigurationError, match="'median'"):
        lake.load_checkpoint("one", mode="median")


def test_nothing_is_run_that_a_checkpoint_holds_unless_it_is_asked_for(lake: Lake) -> None:
    tensor = torch.arange(200_000.0)
    add(lake, "plain.ckpt", saved({"state_dict": {"w": tensor}, "epoch": 3}))
    add(lake, "own.ckpt", saved({"state_dict": {"w": tensor}, "own": Own()}))
    add(lake, "text.ckpt", b"no file of torch")
    loaded = lake.artifact("one", "plain.ckpt").load_checkpoint()
    assert torch.equal(loaded["state_dict"]["w"], tensor)
    with pytest.raises(DataError, match=r"holds more than tensors.*Own.*weights_only=False"):
        lake.artifact("one", "own.ckpt").load_checkpoint()
    assert lake.artifact("one", "own.ckpt").load_checkpoint(weights_only=False)["own"] == Own()
    for weights_only in (True, False):
        with pytest.raises(DataError, match=r"text\.ckpt of run .* cannot be loaded by torch"):
            lake.artifact("one", "text.ckpt").load_checkpoint(weights_only=weights_only)
