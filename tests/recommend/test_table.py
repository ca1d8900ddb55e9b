"""Tables of results: repetitions, single runs, settings, and files from elsewhere."""

from __future__ import annotations

import gzip
import math
import statistics
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.recommend import ResultTable

ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([0.1, 0.2, None]), st.floats(-5, 5)), min_size=1, max_size=40
)


def table_of(rows: list[tuple[str, float | None, float]]) -> ResultTable:
    return ResultTable.from_columns(
        dataset=[row[0] for row in rows], settings={"lr": [row[1] for row in rows]}, metric=[row[2] for row in rows]
    )


@settings(deadline=None, max_examples=25)
@given(ROWS)
def test_means_and_deviations_are_those_of_the_standard_library(rows: list[tuple[str, float | None, float]]) -> None:
    cells = table_of(rows).aggregated()
    assert cells.mean.size == len({row[:2] for row in rows})
    for row in range(cells.mean.size):
        key = (cells.datasets[cells.dataset_index[row]], cells.settings[cells.configuration_index[row]].get("lr"))
        values = [y for dataset, lr, y in rows if (dataset, lr) == key]
        assert cells.n[row] == len(values)
        assert cells.mean[row] == pytest.approx(statistics.mean(values), abs=1e-12)
        sd = statistics.stdev(values) if len(values) > 1 else math.nan
        assert cells.sd[row] == pytest.approx(sd, abs=1e-7, nan_ok=True)


@settings(deadline=None, max_examples=25)
@given(ROWS)
def test_aggregating_in_two_steps_is_aggregating_once(rows: list[tuple[str, float | None, float]]) -> None:
    """Means of two runs with their deviation stand for these runs."""
    twice = table_of([*rows, *((dataset, lr, y + 1.0) for dataset, lr, y in rows)]).aggregated()
    halves = [table_of(rows).aggregated(), table_of([(d, lr, y + 1.0) for d, lr, y in rows]).aggregated()]
    again = ResultTable.from_columns(
        dataset=[half.datasets[i] for half in halves for i in half.dataset_index],
        configuration=[half.configurations[i] for half in halves for i in half.configuration_index],
        metric=np.concatenate([half.mean for half in halves]),
        sd=np.concatenate([half.sd for half in halves]),
        n=np.concatenate([half.n for half in halves]),
    ).aggregated()
    assert again.mean == pytest.approx(twice.mean)
    assert again.sd == pytest.approx(twice.sd, abs=1e-7)
    assert again.n.tolist() == twice.n.tolist()


def test_a_single_run_of_each_cell_is_one_of_its_runs() -> None:
    rng = np.random.default_rng(0)
    rows = [(d, lr, float(rng.normal())) for d in "ab" for lr in (0.1, 0.2) for _ in range(5)]
    table = table_of(rows)
    draws = [table.single(seed=seed) for seed in range(20)]
    for draw in draws:
        assert draw.mean.size == 4
        assert set(draw.mean) <= set(table.mean)
    assert len({tuple(draw.mean) for draw in draws}) > 10
    with pytest.raises(DataError, match="mean of 5 runs"):
        table.aggregated().single()


def test_intervals_are_students() -> None:
    low, high = table_of([("a", 0.1, 1.0), ("a", 0.1, 2.0), ("a", 0.1, 4.0), ("a", 0.2, 1.0)]).aggregated().intervals()
    expected = stats.t.interval(0.95, 2, loc=7 / 3, scale=stats.sem([1.0, 2.0, 4.0]))
    assert (low[0], high[0]) == pytest.approx(expected)
    assert math.isnan(low[1])


def test_settings_that_a_run_lacks_are_no_settings_and_failures_are_counted() -> None:
    table = ResultTable.from_columns(
        dataset=["a", "a", "b"],
        settings={"lr": [0.1, None, 0.1], "depth": [None, 3, None]},
        metric=[1.0, 2.0, math.nan],
        descriptors={"a": {"size": 10, "classes": None}, "b": {"size": 20}},
    )
    assert table.settings == ({"depth": 3}, {"lr": 0.1})
    assert table.n_without_value == 1
    assert table.datasets == ("a",)
    assert table.descriptor_names == ("size",)
    assert table.descriptors_of("a") == {"size": 10.0}


def test_what_was_reached_on_a_data_set() -> None:
    table = table_of([("a", 0.1, 1.0), ("b", 0.2, 2.0), ("a", 0.2, 3.0), ("a", 0.1, 2.0)]).aggregated()
    assert table.values_on("a") == {'{"lr": 0.1}': 1.5, '{"lr": 0.2}': 3.0}
    assert table.values_on("z") == table.values_on(None) == {}


def test_data_sets_left_out_leave_configurations_known() -> None:
    table = table_of([("a", 0.1, 1.0), ("b", 0.2, 2.0)])
    part = table.for_datasets(["b"])
    assert part.datasets == ("b",)
    assert part.configurations == table.configurations
    assert part.mean.tolist() == [2.0]
    with pytest.raises(DataError, match="no row"):
        table.for_datasets(["z"])


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"dataset": ["a"]}, DataError, "'dataset' has 1 rows"),
        ({"metric": ["x", "y"]}, DataError, "not a number"),
        ({"metric": [math.nan, math.inf]}, DataError, "no row"),
        ({"n": [1, 0]}, DataError, "at least one repetition"),
        ({"configuration": None}, ConfigurationError, "names no configuration"),
        ({"descriptors": {"a": {"size": "many"}}}, DataError, "'size' of 'a' is 'many'"),
        ({"configuration": ["x", "x"], "settings": {"lr": [1, 2]}}, DataError, "stands for"),
    ],
)
def test_what_makes_no_table_is_refused(wrong: dict[str, object], error: type[Exception], message: str) -> None:
    good = {"dataset": ["a", "b"], "configuration": ["x", "y"], "metric": [1.0, 2.0]}
    with pytest.raises(error, match=message):
        ResultTable.from_columns(**{**good, **wrong})  # type: ignore[arg-type]


CONTENT = """dataset,options,depth,score,size
a,"{'C': 0.1, 'kernel': 'rbf'}",1,0.5,10
b,{'C': 1.0},2,,20
b,{'C': 1.0},3,0.7,20
"""


def written(path: Path) -> Path:
    plain = path.with_name(path.name.removesuffix(".gz").removesuffix(".zip"))
    if plain.suffix == ".parquet":
        table = pa.csv.read_csv(pa.BufferReader(CONTENT.encode()))
        pa.parquet.write_table(table, plain)
        content = plain.read_bytes()
    elif plain.suffix == ".tsv":
        content = pd.read_csv(pa.BufferReader(CONTENT.encode())).to_csv(sep="\t", index=False).encode()
    else:
        content = CONTENT.encode()
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data" if plain.suffix == ".csv" else plain.name, content)
    else:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet", "t.csv.gz", "t.tsv.gz", "t.csv.zip", "t.parquet.zip"])
def test_files_of_all_kinds_are_read(tmp_path: Path, name: str) -> None:
    table = ResultTable.from_file(written(tmp_path / name), metric="score", descriptors=["size"], maximize=False)
    assert table.datasets == ("a", "b")
    assert table.settings == (
        {"depth": 1, "options.C": 0.1, "options.kernel": "rbf"},
        {"depth": 3, "options.C": 1.0},
    )
    assert table.n_without_value == 1
    assert table.descriptors.tolist() == [[10.0], [20.0]]
    assert (table.metric, table.maximize) == ("score", False)


def test_settings_that_are_lists_are_their_json(tmp_path: Path) -> None:
    rows = {"dataset": ["a", "a", "b"], "sizes": [[8, 8], [16], None], "metric": [1.0, 2.0, 3.0]}
    pa.parquet.write_table(pa.table(rows), tmp_path / "t.parquet")
    table = ResultTable.from_file(tmp_path / "t.parquet")
    assert [table.settings[c] for c in table.configuration_index] == [{"sizes": "[8, 8]"}, {"sizes": "[16]"}, {}]


def test_descriptors_come_from_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(",rows,hash\nb,5,x\na,7,y\n")
    table = ResultTable.from_file(written(tmp_path / "t.csv"), metric="score", descriptors=tmp_path / "d.csv")
    assert table.descriptor_names == ("rows",)
    assert table.descriptors.tolist() == [[7.0], [5.0]]


def test_files_that_make_no_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'metric'; it has 'dataset'"):
        ResultTable.from_file(written(tmp_path / "t.csv"))
    (tmp_path / "t.json").write_text("[]")
    with pytest.raises(DataError, match=r"neither \.csv"):
        ResultTable.from_file(tmp_path / "t.json")
    (tmp_path / "broken.csv.zip").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="cannot be read"):
        ResultTable.from_file(tmp_path / "broken.csv.zip")
    with pytest.raises(DataError, match="cannot be read"):
        ResultTable.from_file(tmp_path / "missing.csv")


@pytest.mark.parametrize("damage", [0xFF, 0x00])
def test_damaged_archives_are_refused(tmp_path: Path, damage: int) -> None:
    for name in ("t.csv.gz", "t.csv.zip"):
        content = bytearray(written(tmp_path / name).read_bytes())
        middle = content.find(b"data") + 10 if name.endswith(".zip") else 12
        content[middle : middle + 20] = bytes([damage]) * 20
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            ResultTable.from_file(tmp_path / name, metric="score")


@pytest.mark.parametrize("text", ["{[1]: 2}", "{1: ", "{" * 10_000])
def test_what_begins_like_a_dictionary_and_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"dataset,options,metric\na,{text},1\n")
    with pytest.raises(DataError, match="begins like a dictionary"):
        ResultTable.from_file(path)
