"""Embeddings are stored a few tasks at a time, and never made twice."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_lde import Lake
from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot import FewShotDataset
from lightning_lde.query import lineage
from lightning_lde.schema import Embedding
from lightning_lde.study import dataset_diversities, measure_diversity
from lightning_lde.study._embedding import PORTION, Portion, embed_missing, embed_portion, missing_tasks
from lightning_lde.study._tasks import HalvedTasks

from .planted import SETTINGS, small_probe, waves

ROOT = Path(__file__).parent.parent.parent
ROWS_PER_TASK = 4
"""Fisher information and mean features of two halves."""

DATA = [waves(1, images=10), waves(2, images=10)]
PROBE = small_probe(DATA)


def stored(lake: Lake) -> dict[tuple[Any, ...], Any]:
    """Every stored row by what it is about, with the time when it was made; none is there twice."""
    rows = lake.sql(
        "select dataset_config_id, probe_id, method, task_index, half, recorded_at from stored.embeddings"
    ).to_pylist()
    found = {tuple(row.values())[:-1]: row["recorded_at"] for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("measured") / "lake").create()
    measure_diversity(lake, DATA, SETTINGS, PROBE, project="p")
    return lake


def test_what_is_stored_is_not_made_again_and_more_tasks_keep_it(measured: Lake) -> None:
    before = stored(measured)
    assert len(before) == len(DATA) * SETTINGS.diversity_tasks * ROWS_PER_TASK
    counts: list[int] = []
    for project in ("p", "another project"):
        measure_diversity(measured, DATA, SETTINGS, PROBE, project=project, progress=counts.append)
    assert stored(measured) == before
    assert sum(counts) == 2 * len(DATA) * SETTINGS.diversity_tasks
    longer = measure_diversity(measured, DATA, SETTINGS.changed(["diversity_tasks=6"]), PROBE, project="p")
    after = stored(measured)
    assert before.items() <= after.items()
    assert {key[3] for key in after.keys() - before.keys()} == {5}
    assert [one.n_tasks for one in longer] == [6, 6]


def test_other_images_or_another_probe_are_measured_beside_it(measured: Lake) -> None:
    before, few = stored(measured), SETTINGS.changed(["diversity_tasks=3"])
    measure_diversity(measured, DATA[:1], few.changed(["diversity_images=6"]), PROBE, project="p")
    with_images = stored(measured)
    other = small_probe(DATA, seed=1)
    measure_diversity(measured, DATA[:1], few, other, project="p", is_main=False)
    with_probe = stored(measured)
    assert before.items() <= with_images.items() <= with_probe.items()
    assert len(with_images) - len(before) == len(with_probe) - len(with_images) == 3 * ROWS_PER_TASK
    assert {key[1] for key in with_probe.keys() - with_images.keys()} == {other.probe_id}
    # The data sets bear the figures of the main probe, and only these have a lineage.
    origins = measured.sql(
        "select distinct target_id from links where source_kind = 'diversity' and target_kind = 'probe'"
    )
    assert origins.column("target_id").to_pylist() == [PROBE.probe_id]
    rows = measured.sql("select distinct diversity_probe_id as id from stored.datasets where diversity is not null")
    assert rows.to_pylist() == [{"id": PROBE.probe_id}]


def test_a_measurement_that_is_broken_off_goes_on_where_it_was(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake").create()
    tasks = [HalvedTasks(DATA[1], ways=5, images_per_class=4, seed=SETTINGS.test_seed)]
    work = embed_missing(lake, tasks, PROBE, n_tasks=PORTION + 2, project="p", jobs=1)
    assert [next(work), next(work)] == [0, PORTION]
    work.close()
    before = stored(lake)
    assert len(before) == PORTION * ROWS_PER_TASK
    _, config = tasks[0].described()
    assert [index for index, _ in missing_tasks(lake, config, PROBE, PORTION + 2)] == [PORTION, PORTION + 1]
    assert list(embed_missing(lake, tasks, PROBE, n_tasks=PORTION + 2, project="p", jobs=1)) == [PORTION, 2]
    after = stored(lake)
    assert before.items() <= after.items()
    assert len(after) == (PORTION + 2) * ROWS_PER_TASK


def test_a_method_that_is_missing_is_all_that_is_made(measured: Lake, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake").create()
    rows = measured.sql(
        "select * from embeddings where method like 'fisher%' and probe_id = ? and n_images = 10 and task_index < 5",
        [PROBE.probe_id],
    ).to_pylist()
    lake.storage.add_records("embeddings", [Embedding(**row) for row in rows], project="p")
    before = stored(lake)
    measure_diversity(lake, DATA, SETTINGS, PROBE, project="p")
    after = stored(lake)
    assert before.items() <= after.items()
    assert len(after) == 2 * len(before) == len(DATA) * SETTINGS.diversity_tasks * ROWS_PER_TASK
    assert {key[2] for key in after.keys() - before.keys()} == {"mean-features"}


def test_a_portion_that_was_sent_gives_the_same_without_the_data_set() -> None:
    tasks = HalvedTasks(waves(2, images=200), ways=5, images_per_class=4, seed=0)
    portion = Portion(tasks, [(3, ("mean-features",)), (0, ("mean-features",))])
    sent = pickle.dumps(portion)
    assert len(sent) < 100_000 < waves(2, images=200).images.nbytes
    here, there = embed_portion(portion, PROBE), embed_portion(pickle.loads(sent), PROBE)
    assert [(one.index, one.half) for one in there] == [(3, 0), (3, 1), (0, 0), (0, 1)]
    for one, other in zip(here, there, strict=True):
        assert np.array_equal(one.embedding.vector, other.embedding.vector)


@pytest.mark.slow
def test_processes_give_the_same_vectors(measured: Lake, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake").create()
    few = SETTINGS.changed(["diversity_tasks=5"])
    measure_diversity(lake, DATA[:1], few, PROBE, project="p", jobs=2)
    query = """select task_index, half, method, vector from embeddings e join datasets d using (dataset_id)
               where d.name = '1 families' and task_index < 5 and probe_id = ? and n_images = 10 order by all"""
    here, there = (one.sql(query, [PROBE.probe_id]).to_pylist() for one in (measured, lake))
    assert here == there
    assert len(here) == 5 * ROWS_PER_TASK


def test_halves_have_the_same_classes_and_share_no_image_and_no_copy() -> None:
    pixels = torch.arange(4 * 8 * 16, dtype=torch.int32).remainder(251).to(torch.uint8).reshape(32, 1, 4, 4)
    pixels[8] = pixels[9]  # two images of the second class are one
    data = FewShotDataset("set", pixels, torch.arange(4).repeat_interleave(8), tuple("abcd"), ("train",) * 4)
    class_of = {
        content(image): int(label) for image, label in zip(data.gather(np.arange(32)), data.labels, strict=True)
    }
    assert len(class_of) == 31
    tasks = HalvedTasks(data, ways=3, images_per_class=6, seed=5)
    seen: list[set[bytes]] = [set(), set()]
    for index in range(20):
        roles = []
        for half in (0, 1):
            images, labels = tasks.half(index, half)
            assert sorted(labels.tolist()) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
            seen[half] |= set(map(content, images))
            roles.append({(class_of[content(one)], int(label)) for one, label in zip(images, labels, strict=True)})
        assert roles[0] == roles[1]
        assert len(roles[0]) == 3
    assert seen[0].isdisjoint(seen[1])
    assert len(seen[0] | seen[1]) == 31


def content(image: torch.Tensor) -> bytes:
    return image.numpy().tobytes()


def test_tasks_that_cannot_be_halved_say_why() -> None:
    with pytest.raises(ConfigurationError, match="even number of at least 4"):
        HalvedTasks(DATA[0], ways=5, images_per_class=5, seed=0)
    with pytest.raises(DataError, match="has 5 images in one of its halves"):
        HalvedTasks(DATA[0], ways=5, images_per_class=12, seed=0)
    with pytest.raises(DataError, match="too few for 6 ways"):
        HalvedTasks(DATA[0], ways=6, images_per_class=4, seed=0)


def test_two_tasks_have_no_diversity(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake").create()
    with pytest.raises(ConfigurationError, match="diversity_tasks is 2: a diversity needs 3 tasks"):
        measure_diversity(lake, DATA, SETTINGS.changed(["diversity_tasks=2"]), PROBE, project="p")
    assert not stored(lake)


def test_the_lineage_leads_from_a_figure_to_its_data_and_probe(measured: Lake) -> None:
    (row,) = measured.sql(
        """select source_id from links join dataset_configs c on c.dataset_config_id = target_id
           join datasets d using (dataset_id) where d.name = '2 families' and source_kind = 'diversity'"""
    ).to_pylist()
    found = lineage(measured, row["source_id"], direction="up")
    assert {step.node[0] for step in found.upstream} == {"dataset_config", "probe", "dataset"}
    assert ("probe", PROBE.probe_id) in found.nodes
    assert found.nodes["probe", PROBE.probe_id].label == PROBE.name
    bearing = measured.sql("select diversity from datasets where name = '2 families'").to_pylist()
    assert [{"diversity": found.root.facts["diversity"]}] == bearing


def start(lake: Path, *words: str) -> subprocess.Popen[bytes]:
    program = [sys.executable, str(ROOT / "analysis/diversity.py"), str(lake), "--project", "p", "--probe", "random"]
    numbers = ("diversity_tasks=60", "diversity_images=8", "width=8")
    settings = [word for number in numbers for word in ("--set", number)]
    return subprocess.Popen([*program, "--dataset", "hebrew", *settings, *words], start_new_session=True)


@pytest.mark.slow
def test_a_device_that_does_not_work_is_said_before_anything_is_made(tmp_path: Path) -> None:
    program = [sys.executable, str(ROOT / "analysis/diversity.py"), str(tmp_path / "lake"), "--device", "cudda"]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 2
    assert "'cudda' does not work here" in done.stderr
    assert not (tmp_path / "lake").exists()


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_kill_minus_nine_loses_the_portion_in_work_at_most(jobs: str, lake_path: Path) -> None:
    lake = Lake(lake_path).create()
    process = start(lake_path, "--jobs", jobs)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None and not stored(lake):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = stored(lake)
    assert 0 < len(before) < 60 * ROWS_PER_TASK
    assert len(before) % (PORTION * ROWS_PER_TASK) == 0
    assert start(lake_path, "--jobs", jobs).wait(400) == 0
    after = stored(lake)
    assert before.items() <= after.items()
    assert len(after) == 60 * ROWS_PER_TASK
    assert [one.n_tasks for one in dataset_diversities(lake)] == [60]


@pytest.mark.gpu
def test_a_gpu_gives_the_same_vectors_up_to_rounding(tmp_path: Path) -> None:
    found = {}
    for device in ("cpu", "cuda"):
        lake = Lake(tmp_path / device).create()
        measure_diversity(lake, DATA[1:], SETTINGS, PROBE.to(device), project="p")
        rows = lake.sql("select vector from embeddings order by method, task_index, half").to_pylist()
        found[device] = [np.array(row["vector"]) for row in rows]
    for here, there in zip(found["cpu"], found["cuda"], strict=True):
        assert np.allclose(here, there, rtol=1e-2, atol=1e-2 * here.max())
