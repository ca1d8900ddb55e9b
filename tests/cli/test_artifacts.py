"""`lde artifacts` and `lde get`: what a run has, and getting it back, whatever its paths are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lightning_lde import Lake
from lightning_lde.cli import app
from lightning_lde.schema import Artifact, Run, utc_now

RUN = "01990000-0000-7000-8000-000000000000"
FILES = {
    "checkpoints/last.ckpt": b"last",
    "checkpoints/epoch=1-step=[2].ckpt": b"second",
    "logs/train.txt": os.urandom(300_000),
}


@pytest.fixture
def lake(lake_path: Path) -> Lake:
    lake = Lake(lake_path).create()
    run = Run(
        run_id=RUN, segment=0, revision=0, project="p", name="one", status="finished", started_at=utc_now(),
        heartbeat_at=utc_now(), heartbeat_every_s=5.0,
    )  # fmt: skip
    lake.storage.add_records("runs", [run], project="p")
    return lake


def add(lake: Lake, path: str, content: bytes) -> None:
    source = Path(lake.url).parent / "source"
    source.write_bytes(content)
    stored = lake.storage.put_artifact(source)
    row = Artifact(
        run_id=RUN, segment=0, path=path, kind="checkpoint" if path.endswith("ckpt") else "log",
        size_bytes=len(content), object_id=stored.object_id, recipe=stored.recipe, score=0.5, weights_id="w" * 32,
        recorded_at=utc_now(),
    )  # fmt: skip
    lake.storage.add_records("artifacts", [row], project="p")


@pytest.fixture
def filled(lake: Lake) -> Lake:
    add(lake, "checkpoints/last.ckpt", b"before")
    for path, content in FILES.items():
        add(lake, path, content)
    return lake


def lde(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_are_listed(filled: Lake) -> None:
    lines = lde("artifacts", filled.url, "one").output.splitlines()
    assert lines[0].split() == ["path", "kind", "size", "tier", "score", "versions", "stored", "weights"]
    [last] = [line for line in lines if line.startswith("checkpoints/last.ckpt")]
    assert last.split()[:6] == ["checkpoints/last.ckpt", "checkpoint", "4", "B", "hot", "0.5"]
    assert last.split()[6] == "2"
    assert lines[-1].startswith("300.0 kB in all")
    # Random bytes cannot be compressed; beside them there are a few small files and a recipe.
    said = lde("artifacts", filled.url, "one", "--space").output.splitlines()[-1]
    assert said.startswith("300.0 kB in all: 300.")
    assert said.endswith("of that in files of no other run")
    rows = json.loads(lde("artifacts", filled.url, "one", "--format", "json").output)
    assert [row["path"] for row in rows] == [
        "checkpoints/epoch=1-step=[2].ckpt", "checkpoints/last.ckpt", "checkpoints/last.ckpt", "logs/train.txt",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], set(FILES)),
        (["checkpoints/last.ckpt"], {"checkpoints/last.ckpt"}),
        (["checkpoints/epoch=1-step=[2].ckpt"], {"checkpoints/epoch=1-step=[2].ckpt"}),
        (["*.ckpt", "checkpoints/*"], {"checkpoints/last.ckpt", "checkpoints/epoch=1-step=[2].ckpt"}),
        (["*.txt"], {"logs/train.txt"}),
    ],
)
def test_files_come_back_as_they_were(filled: Lake, tmp_path: Path, words: list[str], expected: set[str]) -> None:
    result = lde("get", filled.url, RUN[:8], *words, "-o", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert contents(tmp_path / "out") == {path: FILES[path] for path in expected}
    assert all(str(tmp_path / "out" / path) in result.output for path in expected)


def test_the_lake_may_be_named_by_the_variable(filled: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDE_URI", filled.url)
    assert lde("get", "one", "*.txt", "-o", str(tmp_path / "out")).exit_code == 0
    assert set(contents(tmp_path / "out")) == {"logs/train.txt"}


def test_what_is_there_stays_unless_it_is_forced_and_the_others_come(filled: Lake, tmp_path: Path) -> None:
    mine = tmp_path / "out" / "checkpoints" / "last.ckpt"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    result = lde("get", filled.url, "one", "-o", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert f"{mine} exists: it is not replaced; --force replaces it" in result.output
    assert contents(tmp_path / "out") == {**FILES, "checkpoints/last.ckpt": b"mine"}
    assert lde("get", filled.url, "one", "-o", str(tmp_path / "out"), "--force").exit_code == 0
    assert contents(tmp_path / "out") == FILES


HOSTILE = ["../x", "/etc/x", "a/../../x", "a//x", "./x", "", "a/", "..", "x\0y", "/dev/null", "a/" * 400 + "x"]


@pytest.mark.parametrize("path", HOSTILE, ids=range(len(HOSTILE)))
def test_no_path_leads_out_of_the_folder(lake: Lake, tmp_path: Path, path: str) -> None:
    add(lake, path, b"hostile")
    add(lake, "good", b"good")
    folder = tmp_path / "out" / "deep"
    before = contents(tmp_path)
    result = lde("get", lake.url, "one", "-o", str(folder))
    after = contents(tmp_path)
    new = {name: after[name] for name in set(after) - set(before)}
    inside = {name: content for name, content in new.items() if name.startswith("out/deep/")}
    assert new == inside
    assert inside["out/deep/good"] == b"good"
    if path.startswith("a/a/"):
        return
    assert inside == {"out/deep/good": b"good"}
    assert result.exit_code == 2
    assert "is no path below a folder" in result.output


def test_a_link_in_the_folder_leads_nowhere(lake: Lake, tmp_path: Path) -> None:
    add(lake, "checkpoints/x", b"hostile")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "checkpoints").symlink_to(tmp_path / "elsewhere")
    result = lde("get", lake.url, "one", "-o", str(tmp_path / "out"))
    assert (result.exit_code, list((tmp_path / "elsewhere").iterdir())) == (2, [])
    assert "through a link" in result.output


def test_what_is_no_file_is_never_replaced(lake: Lake, tmp_path: Path) -> None:
    add(lake, "pipe", b"content")
    add(lake, "x/y", b"content")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "x").write_text("a file where a folder should be")
    result = lde("get", lake.url, "one", "-o", str(tmp_path), "--force")
    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 2
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "x").is_file()


def test_errors_are_one_line(filled: Lake, tmp_path: Path) -> None:
    from lightning_lde.errors import LDEError

    for words in (["one", "none"], ["three"], ["one", "*.none"]):
        result = lde("get", filled.url, *words, "-o", str(tmp_path / "out"))
        assert isinstance(result.exception, LDEError)
        assert len(str(result.exception).splitlines()) == 1
    assert not (tmp_path / "out").exists()
    assert lde("get", filled.url).exit_code == 2


def test_the_answer_has_a_json_twin(filled: Lake, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "train.txt").write_text("mine")
    result = lde("get", filled.url, "one", "last*", "*.txt", "*last.ckpt", "-o", str(tmp_path), "--format", "json")
    assert result.exit_code == 1
    result = lde("get", filled.url, "one", "*.txt", "*last.ckpt", "-o", str(tmp_path), "--format", "json")
    assert result.exit_code == 2
    rows = {row["path"]: row for row in json.loads(result.output)}
    assert rows["checkpoints/last.ckpt"]["file"] == str(tmp_path / "checkpoints" / "last.ckpt")
    assert "not replaced" in rows["logs/train.txt"]["error"]
