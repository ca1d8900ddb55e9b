"""Diversities and distances from stored embeddings alone: planted truth, found and in its order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from lightning_lde import Lake
from lightning_lde.diversity import crossvalidated_coefficient, log_profiles
from lightning_lde.errors import DataError
from lightning_lde.study import dataset_diversities, measure_diversity, task_distances

from .planted import FILTERS, SETTINGS, planted_lake, small_probe, waves

TRUTH = {"flat": 0.0, "low": 0.05, "middle": 0.2, "high": 0.8}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return planted_lake(tmp_path_factory.mktemp("planted") / "lake", {"a" * 32: TRUTH, "b" * 32: {"flat": 0.3}})


def test_planted_diversities_are_found_in_their_order(planted: Lake) -> None:
    found = {one.dataset: one for one in dataset_diversities(planted)}
    assert sorted(found, key=lambda name: found[name].coefficient.value) == ["flat", "low", "middle", "high"]
    for name, truth in TRUTH.items():
        c = found[name].coefficient
        # The offset of the logarithm takes a little off large differences.
        assert c.low - 0.02 < truth < c.high + 0.02
        # A half has noise 0.2, a task 0.2 / 2; centring takes a share of 1 / filters.
        assert c.noise == pytest.approx(0.1 * (1 - 1 / FILTERS), rel=0.1)
        assert c.plain == pytest.approx(c.value + c.noise)
        assert (found[name].n_tasks, found[name].n_images, found[name].ways) == (60, 50, 5)
    flat = found["flat"].coefficient
    assert flat.low < 0.0 < flat.high
    assert found["flat"].cosine.low > 0.03  # what is published sees diversity where there is none
    effective = [found[name].effective for name in TRUTH]
    assert [one.value for one in effective if one] == sorted(one.value for one in effective if one)
    shares = [found[name].standardised.value for name in TRUTH]
    assert shares == sorted(shares)


def test_distances_are_those_of_the_definition(planted: Lake) -> None:
    found = task_distances(planted)
    assert found is not None
    rows = planted.sql(
        """select d.name, task_index, half, vector from embeddings join datasets d using (dataset_id)
           where probe_id = ? order by d.name, task_index, half""",
        ["a" * 32],
    ).to_pylist()
    first, second = (log_profiles([row["vector"] for row in rows if row["half"] == half]) for half in (0, 1))
    assert found.labels == tuple((row["name"], row["task_index"]) for row in rows if row["half"] == 0)
    assert found.starts == (0, 60, 120, 180, 240)
    assert found.datasets == ("flat", "high", "low", "middle")
    for i, j in ((0, 1), (3, 70), (130, 239)):
        expected = (first[i] - first[j]) @ (second[i] - second[j]) / (2 * FILTERS)
        assert found.distances[i, j] == pytest.approx(expected)
    assert np.allclose(found.distances, found.distances.T, rtol=0, atol=1e-12)
    block = found.distances[:60, 60:120]
    assert found.between[0, 1].value == pytest.approx(block.mean())
    assert len(found.between) == 6
    inside = found.distances[60:120, 60:120]
    high = next(one for one in dataset_diversities(planted) if one.dataset == "high")
    assert high.coefficient.value == pytest.approx(inside.sum() / (60 * 59))


def test_a_project_has_the_data_sets_that_its_runs_used(planted: Lake) -> None:
    assert [one.dataset for one in dataset_diversities(planted, project="even")] == ["flat", "low"]
    assert [one.dataset for one in dataset_diversities(planted, project="odd")] == ["high", "middle"]
    assert dataset_diversities(planted, project="none") == []
    assert task_distances(planted, project="none") is None


def test_a_probe_is_chosen_by_the_beginning_of_its_id(planted: Lake) -> None:
    (found,) = dataset_diversities(planted, probe_id="bb")
    assert (found.dataset, found.probe_id, found.probe) == ("flat", "b" * 32, f"the probe {'b' * 32}")
    with pytest.raises(DataError, match="beginning of 0 ids"):
        dataset_diversities(planted, probe_id="c")
    with pytest.raises(DataError, match="beginning of 2 ids"):
        dataset_diversities(planted, probe_id="")


def test_a_task_of_which_one_half_is_missing_is_left_out(tmp_path: Path) -> None:
    lake = planted_lake(tmp_path / "lake", {"p": {"set": 0.2}}, n_tasks=10)
    rows = lake.sql("select vector from embeddings order by task_index, half").column("vector").to_pylist()
    stored = next(tmp_path.glob("lake/hot/embeddings/*/*/*.parquet"))
    table = pq.ParquetFile(stored).read()
    keep = [not (row["half"] == 1 and row["task_index"] == 4) for row in table.to_pylist()]
    pq.write_table(table.filter(keep), stored)
    (found,) = dataset_diversities(lake)
    first, second = ([rows[2 * task + half] for task in range(10) if task != 4] for half in (0, 1))
    expected = crossvalidated_coefficient(log_profiles(first), log_profiles(second))
    assert (found.n_tasks, found.coefficient.value) == (9, pytest.approx(expected.value))


@pytest.mark.slow
def test_reading_needs_no_torch(planted: Lake) -> None:
    program = (
        "import sys; from lightning_lde import Lake; from lightning_lde import study;"
        "lake = Lake(sys.argv[1]); assert study.dataset_diversities(lake); assert study.task_distances(lake);"
        "assert study.probe_sensitivity(lake).probes; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, planted.url], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_an_empty_lake_has_no_diversities(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake").create()
    assert dataset_diversities(lake) == []
    assert task_distances(lake) is None


@pytest.mark.slow
@pytest.mark.parametrize("images", [4, 8])
def test_equal_tasks_read_zero_and_more_families_more(images: int, tmp_path: Path) -> None:
    datasets = [waves(families, seed=families) for families in (1, 2, 4)]
    settings = SETTINGS.changed(["diversity_tasks=20", f"diversity_images={images}"])
    found = measure_diversity(
        Lake(tmp_path / "lake").create(), datasets, settings, small_probe(datasets), project="p"
    )  # fmt: skip
    one, two, four = (each.coefficient for each in found)
    assert one.low < 0.0 < one.high
    assert one.plain > 0.02
    assert two.low > 0.0
    assert one.high < two.value < four.value
