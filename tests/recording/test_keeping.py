"""Files that were deleted, replaced or written over before the lake had taken them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from lightning_lde import Lake, Recorder
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import _keeping, sync_spools
from lightning_lde.recording._journal import Journal
from lightning_lde.testing import FaultyStore

PROGRAM = """
import os, signal, sys
from pathlib import Path
from lightning_lde import Recorder
from lightning_lde.recording._journal import Journal
if sys.argv[3] == "beside":
    Journal.place = None
run = Recorder(sys.argv[1], project="p", system_metrics_every_s=None)
run.__enter__()
source = Path(sys.argv[2])
source.write_bytes(b"beaten")
run.save_file(source, path="checkpoints/best.ckpt", kind="checkpoint", score=0.5)
source.unlink()
run.make_durable()
os.kill(os.getpid(), signal.SIGKILL)
"""


class Closed:
    """A lake that takes no objects until it is opened."""

    def __init__(self, lake_path: Path) -> None:
        self.gate = threading.Event()
        self.storage = LakeStorage(lake_path)
        self.storage.initialise()
        self.storage.store = FaultyStore(self.storage.store, self._wait)

    def _wait(self, operation: str, path: str) -> None:
        if operation.startswith("put") and not path.startswith("hot/"):
            self.gate.wait(20)


@pytest.fixture
def closed(lake_path: Path) -> Iterator[Closed]:
    lake = Closed(lake_path)
    yield lake
    lake.gate.set()


@pytest.fixture(params=["link in the spool", "link beside", "copy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the file system lets a file be kept."""

    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    if request.param == "link beside":
        place = Journal.place.fget
        assert place is not None
        monkeypatch.setattr(Journal, "place", property(lambda journal: (place(journal)[0], -1)))
    elif request.param == "copy":
        monkeypatch.setattr(_keeping.os, "link", no_links)
    return str(request.param)


def opened(closed: Closed) -> Recorder:
    run = Recorder(closed.storage, project="p", flush_every_s=0.05, system_metrics_every_s=None)
    run.start_segment("run")
    return run


def kept_in(*folders: Path, suffixes: Collection[str] = (".kept", ".part", ".done")) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*") if path.suffix in suffixes]


def until(condition: Callable[[], object]) -> None:
    for _ in range(400):
        if condition():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it did not happen")


def stored(lake_path: Path, path: str) -> list[bytes]:
    """The contents of all files of that path, in the order in which they were stored."""
    lake = Lake(lake_path)
    rows = lake.sql("select object_id, recipe from artifacts where path = ? order by recorded_at", [path]).to_pylist()
    return [lake.storage.get_object(row["object_id"], row["recipe"]) for row in rows]


def messages(lake_path: Path) -> list[str]:
    return [row["message"] for row in Lake(lake_path).sql("select message from events").to_pylist()]


def test_a_file_deleted_before_its_upload_is_stored(
    tmp_path: Path, lake_path: Path, own_spool: Path, closed: Closed, way: str
) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    run = opened(closed)
    contents = [os.urandom(1000) for _ in range(5)]
    for number, content in enumerate(contents):
        source = folder / f"{number}.ckpt"
        source.write_bytes(content)
        run.save_file(source, path=source.name, kind="checkpoint", score=float(number))
        until(lambda wanted=number + 1: len(kept_in(folder, own_spool, suffixes={".kept"})) == wanted)
        assert way != "copy" or kept_in(folder) == []
        source.unlink()
        assert list(folder.glob("*.ckpt")) == []
    closed.gate.set()
    assert run.finish_segment("finished")
    assert [stored(lake_path, f"{number}.ckpt") for number in range(5)] == [[content] for content in contents]
    scores = Lake(lake_path).sql("select score from artifacts order by path").to_pylist()
    assert [row["score"] for row in scores] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert messages(lake_path) == []
    assert kept_in(folder, own_spool) == []
    assert list(folder.iterdir()) == []


def test_a_file_replaced_before_its_upload_is_stored_in_each_version(
    tmp_path: Path, lake_path: Path, own_spool: Path, closed: Closed
) -> None:
    run, source, contents = opened(closed), tmp_path / "last.ckpt", []
    for number in range(4):
        contents.append(os.urandom(1000))
        (tmp_path / "new").write_bytes(contents[-1])
        (tmp_path / "new").replace(source)
        run.save_file(source, path="last.ckpt", kind="checkpoint", score=float(number))
    closed.gate.set()
    assert run.finish_segment("finished")
    assert stored(lake_path, "last.ckpt") == contents
    assert kept_in(tmp_path, own_spool) == []


def test_of_a_file_written_over_in_place_the_newest_version_is_stored_and_the_loss_is_said(
    tmp_path: Path, lake_path: Path, closed: Closed
) -> None:
    run, source = opened(closed), tmp_path / "last.ckpt"
    blocker = tmp_path / "blocker"
    blocker.write_bytes(b"first in the row")
    run.save_file(blocker, path="blocker", kind="other")
    for number in range(3):
        source.write_bytes(b"%d" % number * 1000)
        os.utime(source, ns=(number, number))
        run.save_file(source, path="last.ckpt", kind="checkpoint", score=float(number))
    closed.gate.set()
    assert run.finish_segment("finished")
    assert stored(lake_path, "last.ckpt") == [b"2" * 1000]
    assert Lake(lake_path).sql("select score from artifacts where path = 'last.ckpt'").to_pylist() == [{"score": 2.0}]
    assert messages(lake_path) == ["last.ckpt was written over before it could be stored: one version of it is lost"]


def test_a_file_that_went_on_growing_is_stored_as_it_is_later_and_that_is_said(
    tmp_path: Path, lake_path: Path, closed: Closed
) -> None:
    run, source, blocker = opened(closed), tmp_path / "log.txt", tmp_path / "blocker"
    blocker.write_bytes(b"first in the row")
    run.save_file(blocker, path="blocker", kind="other")
    source.write_text("one\n")
    run.save_file(source, path="log.txt", kind="other", score=1.0)
    with source.open("a") as file:
        file.write("two\n")
    closed.gate.set()
    assert run.finish_segment("finished")
    assert stored(lake_path, "log.txt") == [b"one\ntwo\n"]
    assert Lake(lake_path).sql("select score from artifacts where path = 'log.txt'").to_pylist() == [{"score": None}]
    assert messages(lake_path) == ["log.txt was changed after it was given, and was stored as it was later"]


def test_the_link_of_a_link_is_one_to_the_file(tmp_path: Path, lake_path: Path, closed: Closed) -> None:
    run, source = opened(closed), tmp_path / "best.ckpt"
    source.write_bytes(b"best")
    (tmp_path / "last.ckpt").symlink_to("best.ckpt")
    run.save_file(tmp_path / "last.ckpt", path="last.ckpt", kind="checkpoint")
    source.unlink()
    closed.gate.set()
    assert run.finish_segment("finished")
    assert stored(lake_path, "last.ckpt") == [b"best"]


def test_where_the_disk_is_nearly_full_nothing_is_kept(
    tmp_path: Path, lake_path: Path, own_spool: Path, closed: Closed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_keeping, "ROOM_FOR", 1 << 60)
    run, source = opened(closed), tmp_path / "best.ckpt"
    source.write_bytes(b"best")
    run.save_file(source, path="best.ckpt", kind="checkpoint")
    assert kept_in(tmp_path, own_spool) == []
    closed.gate.set()
    assert run.finish_segment("finished")
    assert stored(lake_path, "best.ckpt") == [b"best"]


def test_folders_and_what_is_not_there_are_said(tmp_path: Path, lake_path: Path, closed: Closed) -> None:
    closed.gate.set()
    run = opened(closed)
    (tmp_path / "sharded.ckpt").mkdir()
    run.save_file(tmp_path / "sharded.ckpt", path="sharded.ckpt", kind="checkpoint")
    run.save_file(tmp_path / "none.ckpt", path="none.ckpt", kind="checkpoint")
    assert run.finish_segment("finished")
    assert Lake(lake_path).sql("select * from artifacts").num_rows == 0
    sharded, none = sorted(messages(lake_path), reverse=True)
    assert sharded.startswith("sharded.ckpt could not be read and was not stored")
    assert none == "none.ckpt was gone before it could be stored"


@pytest.mark.parametrize("place", [pytest.param("spool", marks=pytest.mark.slow), "beside"])
def test_what_a_killed_process_kept_is_stored_by_whoever_comes_next(
    tmp_path: Path, own_spool: Path, place: str
) -> None:
    in_the_way, folder = tmp_path / "disk", tmp_path / "password=x9-unlikely-word"
    in_the_way.write_text("not a folder")
    folder.mkdir()
    command = [sys.executable, "-c", PROGRAM, str(in_the_way / "lake"), str(folder / "best.ckpt"), place]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    in_the_way.unlink()
    assert len(kept_in(folder)) == (place == "beside")
    assert not any(b"unlikely" in path.read_bytes() for path in own_spool.rglob("*") if path.is_file())
    assert {outcome.error for outcome in sync_spools(own_spool, LakeStorage)} == {None}
    assert stored(in_the_way / "lake", "checkpoints/best.ckpt") == [b"beaten"]
    assert list(folder.iterdir()) == list(own_spool.iterdir()) == []


@pytest.mark.parametrize("step", ["linked", "noted", "renamed", "let go"])
def test_a_death_between_two_steps_leaves_no_link(tmp_path: Path, own_spool: Path, closed: Closed, step: str) -> None:
    run, source = opened(closed), tmp_path / "best.ckpt"
    source.write_bytes(b"best")
    run.save_file(source, path="best.ckpt", kind="checkpoint")
    run.make_durable()
    [note], [kept] = own_spool.glob("*/*.file"), own_spool.glob("*/*.kept")
    text, folder = note.read_text(), note.parent
    closed.gate.set()
    assert run.finish_segment("finished")
    assert list(own_spool.iterdir()) == []
    folder.mkdir()
    if step in {"linked", "noted", "renamed"}:
        os.link(source, kept)
    if step != "linked":
        note.with_suffix(".file" if step == "noted" else ".done").write_text(text)
    assert {outcome.error for outcome in sync_spools(own_spool, LakeStorage)} <= {None}
    assert list(own_spool.iterdir()) == []
