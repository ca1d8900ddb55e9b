"""A folder that fills, watched through the command: batches, restarts, broken and hostile files, plateau."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_digits

from lightning_lde.cli import app
from lightning_lde.collecting import FolderWatch
from lightning_lde.collecting._clusters import OUTSIDE, Clusters
from lightning_lde.diversity import MonitorReport
from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot import digits_set, save_pack

PIXELS, LABELS = load_digits(return_X_y=True)
IMAGES = (PIXELS.reshape(-1, 8, 8) * 15).astype(np.uint8)


class Collector:
    """Puts digits into a folder, never the same twice; each file is a second younger than the one before."""

    def __init__(self, folder: Path, *, flat: bool = False) -> None:
        self.folder, self.flat, self.number = folder, flat, 0
        rng = np.random.default_rng(0)
        self.rows = {digit: iter(rng.permutation(np.flatnonzero(digit == LABELS))) for digit in range(10)}

    def put(self, digit: int, n: int = 16, ending: str = "png") -> Path:
        place = self.folder if self.flat else self.folder / f"digit {digit}"
        place.mkdir(parents=True, exist_ok=True)
        for _ in range(n):
            path = place / f"{self.number:05d}.{ending}"
            Image.fromarray(IMAGES[next(self.rows[digit])]).save(path)
            self.age(path)
        return path

    def age(self, path: Path) -> None:
        when = time.time() - 100_000 + self.number
        os.utime(path, (when, when))
        self.number += 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def look(folder: Path, told: list[str] | None = None, **options: Any) -> tuple[list[Any], MonitorReport]:
    options = {"batch": 16, "size": 16, "settle_s": 0.0, **options}
    watch = FolderWatch(folder, tell=(told if told is not None else []).append, **options)
    try:
        return list(watch.look()), watch.report()
    finally:
        watch.close()


def run(*words: Any) -> tuple[int, list[dict[str, Any]], str]:
    given = ["diversity", "watch", *map(str, words), "--batch", "16", "--size", "16", "--settle", "0", "--json"]
    done = CliRunner().invoke(app, given, catch_exceptions=False, standalone_mode=False)
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    from lightning_lde.collecting import _stored_probe

    counts: list[int] = []
    real = _stored_probe.ProbeOfState.features

    def counted(self: Any, images: Any) -> Any:
        counts.append(len(images))
        return real(self, images)

    monkeypatch.setattr(_stored_probe.ProbeOfState, "features", counted)
    return counts


def test_a_plateau_is_said_with_what_would_add_most_and_ends_the_watch(folder: Path) -> None:
    collector = Collector(folder)
    for digit in (0, 1, 2, 3, 4, 6):
        collector.put(digit)
    expected = [word for digit in range(10) for word in ("--expect", f"digit {digit}")]
    code, lines, _ = run(folder, "--once", "--until-plateau", *expected)
    assert code == 0
    assert [line["new"] for line in lines[:-1]] == [True] * 6
    rng = np.random.default_rng(0)
    for _ in range(12):
        collector.put(int(rng.choice([0, 1, 2, 3, 4, 6])))
    code, lines, _ = run(folder, "--once", "--until-plateau", *expected)
    assert code == 3
    alarms = [line["batch"] for line in lines if line.get("alarm")]
    assert 6 < alarms[0] <= 18
    end = lines[-1]
    assert (end["kind"], end["images"], end["stopped"]) == ("end", 18 * 16, True)
    assert "more of digit" in end["warnings"][0]
    assert "4 of 10 expected classes are missing or rare: digit 5" in end["warnings"][1]
    assert {one["label"] for one in end["classes"] if one["missing"]} == {"digit 5", "digit 7", "digit 8", "digit 9"}
    assert end["coefficient"]["low"] < end["coefficient"]["value"] < end["coefficient"]["high"]


def test_nothing_is_embedded_twice_and_a_restart_goes_on_where_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = embedded(monkeypatch)
    collector = Collector(folder)
    for digit in (0, 1, 2):
        collector.put(digit, 20)
    first, before = look(folder)
    assert (len(first), sum(counts)) == (3, 60)
    again, after = look(folder)
    assert (again, after) == ([], before)
    collector.put(3, 8)
    more, _ = look(folder)
    assert (len(more), sum(counts)) == (1, 68)
    # At one go it is the same to the bit: batches depend on the order of the files alone.
    watch = FolderWatch(folder, batch=16, size=16, settle_s=0.0)
    assert watch.report() == more[-1].report
    assert watch.waiting == 4
    watch.close()


def test_a_copy_is_not_embedded_and_brings_nothing_new(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = embedded(monkeypatch)
    collector = Collector(folder)
    collector.put(0)
    look(folder)
    for number in range(16):
        path = folder / "digit 0" / f"copy {number}.png"
        path.write_bytes(sorted((folder / "digit 0").glob("0*.png"))[number].read_bytes())
        collector.age(path)
    (batch,), report = look(folder)
    assert (sum(counts), batch.update.new, report.copies, report.images) == (16, False, 16, 16)


def test_broken_hostile_and_half_written_files_cost_one_line_each(folder: Path) -> None:
    collector = Collector(folder)
    whole = collector.put(0, 17)
    (folder / "digit 0" / "no image.jpg").write_bytes(b"\x00\x01")
    half = folder / "digit 0" / "half.png"
    half.write_bytes(whole.read_bytes()[:60])
    os.utime(half, (1, 1))
    hostile = os.fsencode(folder) + b"/\xff\x1b[31m\n class"
    Path(os.fsdecode(hostile)).mkdir()
    Path(os.fsdecode(hostile + b"/\xfe.png")).write_bytes(whole.read_bytes())
    os.utime(hostile + b"/\xfe.png", (2, 2))
    np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (folder / "words.npy").write_bytes(b"PK\x03\x04")
    (folder / "table.parquet").write_bytes(b"PAR1")
    (folder / "loop").symlink_to(folder)
    told: list[str] = []
    watch = FolderWatch(folder, batch=16, size=16, settle_s=0.0, tell=told.append)
    assert len(list(watch.look())) == 1
    # The oldest file is in the first batch, under a name that every terminal and encoding takes.
    assert watch.state.batch(1)[1][0] == "\\xff\x1b[31m\n class"
    watch.close()
    assert len(told) == 5
    assert all("cannot be read" in line and "\n" not in line for line in told)
    assert look(folder, told)[0] == []
    assert len(told) == 5
    half.write_bytes(whole.read_bytes())
    collector.put(0, 14)
    assert len(look(folder, told)[0]) == 1
    code, lines, errors = run(folder, "--once")
    assert (code, lines[-1]["refused_files"], errors) == (0, 4, "")


def test_a_file_that_is_being_written_is_left_for_the_next_look(folder: Path) -> None:
    collector = Collector(folder)
    collector.put(0, 16)
    young = collector.put(0, 1)
    os.utime(young)
    watch = FolderWatch(folder, batch=16, size=16, settle_s=60.0)
    assert len(list(watch.look())) == 1
    assert watch.waiting == 0
    os.utime(young, (5, 5))
    assert list(watch.look()) == []
    assert watch.waiting == 1
    watch.close()


def test_a_folder_that_goes_and_comes_back_is_told_of_once(folder: Path, tmp_path: Path) -> None:
    collector = Collector(folder)
    collector.put(0)
    told: list[str] = []
    watch = FolderWatch(folder, batch=16, size=16, settle_s=0.0, tell=told.append)
    assert len(list(watch.look())) == 1
    folder.rename(tmp_path / "away")
    assert [*watch.look(), *watch.look()] == []
    assert len(told) == 1
    assert "looking again" in told[0]
    (tmp_path / "away").rename(folder)
    collector.put(1)
    assert len(list(watch.look())) == 1
    watch.close()
    with pytest.raises(DataError, match="is no folder"):
        FolderWatch(tmp_path / "never")


def test_arrays_and_packs_are_read_and_a_file_that_grows_brings_only_its_new_rows(folder: Path) -> None:
    zeros, ones = (IMAGES[digit == LABELS] for digit in (0, 1))
    (folder / "one").mkdir()
    np.save(folder / "one" / "a.npy", ones[:16])
    np.save(folder / "b.npy", np.concatenate([zeros[:8], ones[20:28]])[..., None] / np.float32(255))
    np.save(folder / "b.labels.npy", np.array(["zero"] * 8 + ["one"] * 8))
    batches, report = look(folder)
    assert len(batches) == 2
    assert {one.label: one.images for one in report.classes} == {"one": 24, "zero": 8}
    np.save(folder / "one" / "a.npy", ones[[*range(28, 44), *range(16)]])
    batches, report = look(folder)
    assert len(batches) == 1
    assert {one.label: one.images for one in report.classes} == {"one": 40, "zero": 8}
    pack = digits_set()
    save_pack(pack, folder / "pack.parquet")
    batches, report = look(folder, batch=512)
    assert len(batches) == len(pack) // 512
    # The pack has its images class by class.
    assert {one.label for one in report.classes} == {"one", "zero", *pack.classes[:6]}


def test_train_and_test_folders_are_no_classes(folder: Path) -> None:
    for part in ("train", "test"):
        Collector(folder / part).put(3, 8)
    _, report = look(folder)
    assert [one.label for one in report.classes] == ["digit 3"]


def test_without_classes_a_new_kind_is_found_among_clusters(folder: Path) -> None:
    collector = Collector(folder, flat=True)
    rng = np.random.default_rng(0)
    for digits, n in (([0, 1, 2], 256), ([0, 6, 6, 6], 128)):
        for _ in range(n):
            collector.put(int(rng.choice(digits)), 1)
    batches, report = look(folder, batch=64)
    news = [one.update.new for one in batches]
    assert news[0]
    assert not any(news[2:4])
    assert any(news[4:])
    # Half of the first batch only made the clusters.
    assert report.images + report.waiting + report.copies == 6 * 64 - 32
    assert all(str(one.label).startswith("cluster ") or one.label == OUTSIDE for one in report.classes)


def test_clusters_stay_what_they_were(folder: Path) -> None:
    rng = np.random.default_rng(0)
    first = np.concatenate([rng.normal(size=(40, 6)), 8 + rng.normal(size=(40, 6))])
    found = Clusters.of(first)
    names = found.names(first)
    assert set(names[:40]).isdisjoint(names[40:])
    assert OUTSIDE not in names
    assert found.names(np.full((1, 6), 100.0)) == [OUTSIDE]
    assert Clusters.of(first).names(first) == names
    assert Clusters.of(np.zeros((20, 3))).names(np.zeros((1, 3))) == ["cluster 1"]


def test_a_state_is_for_one_watch_one_probe_and_one_size(folder: Path, tmp_path: Path) -> None:
    Collector(folder).put(0)
    (tmp_path / "states").mkdir()
    watch = FolderWatch(folder, state=tmp_path / "states", batch=16, size=16, settle_s=0.0)
    list(watch.look())
    assert watch.state.path == tmp_path / "states" / "photos.diversity"
    with pytest.raises(ConfigurationError, match="in use by another watch"):
        FolderWatch(folder, state=watch.state.path)
    watch.close()
    for options in ({"probe": "random:1", "size": 16}, {"size": 32}):
        with pytest.raises(ConfigurationError, match="was made with"):
            FolderWatch(folder, state=watch.state.path, **options)  # type: ignore[arg-type]
    (tmp_path / "text").write_text("no state at all, but long enough to be looked at\n" * 100)
    with pytest.raises(DataError, match="is no state of a watch"):
        FolderWatch(folder, state=tmp_path / "text")
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        FolderWatch(folder, state=tmp_path / "not" / "there")
    with pytest.raises(DataError, match="cannot be read as weights"):
        FolderWatch(folder, state=tmp_path / "new", probe="nothing.pth")


def test_another_folder_is_ranked_by_what_it_would_add_and_not_taken(folder: Path, tmp_path: Path) -> None:
    collector = Collector(folder)
    for digit in (0, 0, 0, 1):
        collector.put(digit)
    collector.folder = tmp_path / "pool"
    for digit in (0, 1, 6):
        collector.put(digit)
    (tmp_path / "pool" / "broken.png").write_bytes(b"no image")
    code, lines, errors = run(folder, "--once", "--rank", tmp_path / "pool")
    assert (code, lines[-1]["images"]) == (0, 64)
    ranked = lines[-1]["ranked"]
    assert [one["label"] for one in ranked] == ["digit 6", "digit 1", "digit 0"]
    assert [one["new"] for one in ranked] == [True, False, False]
    assert ranked[-1]["gain"] < 0 < ranked[0]["gain"]
    assert errors.count("broken.png cannot be read") == 1
    code, lines, _ = run(folder, "--once")
    assert (lines[-1]["images"], lines[-1]["refused_files"], "ranked" in lines[-1]) == (64, 0, False)


def test_what_cannot_be_ranked_is_said_before_a_long_watch_or_with_what_is_missing(folder: Path) -> None:
    Collector(folder).put(0, 3)
    with pytest.raises(click.BadParameter, match="'nowhere' does not exist"):
        run(folder, "--rank", "nowhere")
    with pytest.raises(DataError, match="it needs 16 images first"):
        run(folder, "--once", "--rank", folder)


def test_lines_for_people(folder: Path) -> None:
    collector = Collector(folder)
    for digit in range(3):
        collector.put(digit)
    words = ["diversity", "watch", str(folder), "--once", "--batch", "16", "--size", "16", "--settle", "0"]
    done = CliRunner().invoke(app, words, standalone_mode=False)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("batch 1    16 images  coefficient not yet known  1 classes  1 regions")
    assert "coefficient" in lines[2]
    assert "[" in lines[2]
    assert lines[2].endswith("growing  new")
    assert "0 images wait for a full batch, 0 were copies, 0 files cannot be read" in lines[-2]


def test_a_class_named_by_codes_of_a_terminal_is_printed_as_text(folder: Path) -> None:
    name = "\x1b[31m\x9b2J\x7f"
    Collector(folder).put(0, 16)
    (folder / "digit 0").rename(folder / name)
    words = ["diversity", "watch", str(folder), "--once", "--batch", "16", "--size", "16", "--settle", "0"]
    for form in ([], ["--json"]):
        done = CliRunner().invoke(app, [*words, *form], standalone_mode=False, catch_exceptions=False)
        assert all(char.isprintable() or char == "\n" for char in done.stdout)
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["classes"][0]["label"] == name


@pytest.mark.slow
def test_killed_at_any_instant_it_goes_on_and_ends_as_if_it_had_not_been(folder: Path, tmp_path: Path) -> None:
    collector = Collector(folder)
    for digit in range(10):
        collector.put(digit, 40)
    whole = look(folder, state=tmp_path / "whole")[1]
    command = [
        sys.executable, "-m", "lightning_lde.cli", "diversity", "watch", str(folder), "--state", str(tmp_path / "cut"),
        "--batch", "16", "--size", "16", "--settle", "0", "--every", "1s",
    ]  # fmt: skip
    for wanted in (1, 9, 3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(wanted):
                assert process.stdout.readline().startswith("batch")
            process.send_signal(signal.SIGKILL)
    assert look(folder, state=tmp_path / "cut")[1] == whole


@pytest.fixture(autouse=True)
def _few_threads() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_settings_that_cannot_work_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="batch=1"):
        FolderWatch(folder, batch=1)


def test_the_first_batch_is_taken_however_large_it_is_and_however_the_files_divide_it(folder: Path) -> None:
    np.save(folder / "many.npy", IMAGES[:290])
    for number in range(10):
        Image.fromarray(IMAGES[290 + number]).save(folder / f"{number}.png")
    told: list[str] = []
    batches, report = look(folder, told, batch=300)
    assert (len(batches), told) == (1, [])
    # Half of a first batch without classes only makes the clusters.
    assert report.images + report.waiting + report.copies == 150


@pytest.mark.slow
def test_weights_of_a_file_are_a_probe_and_other_weights_are_another(folder: Path, tmp_path: Path) -> None:
    import torch

    from lightning_lde.diversity import resnet18

    weights = tmp_path / "resnet18.pth"
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(resnet18().state_dict(), weights)
        if seed:
            with pytest.raises(ConfigurationError, match="holds other weights"):
                look(folder, probe=str(weights), size=32)
            continue
        Collector(folder).put(0, 32)
        batches, report = look(folder, probe=str(weights), size=32)
        assert (len(batches), report.images) == (2, 32)
        assert look(folder, probe=str(weights), size=32) == ([], report)


@pytest.mark.slow
def test_ctrl_c_ends_a_watch_with_how_things_stand(folder: Path, tmp_path: Path) -> None:
    Collector(folder).put(0, 32)
    command = [
        sys.executable, "-m", "lightning_lde.cli", "diversity", "watch", str(folder), "--batch", "16", "--size", "16",
        "--settle", "0", "--every", "1h", "--until-plateau",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline()[:7] for _ in range(2)] == ["batch 1", "batch 2"]
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert "2 batches, 32 images" in rest
    assert process.returncode == 0
