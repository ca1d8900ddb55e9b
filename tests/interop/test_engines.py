"""Other engines give the answers that DuckDB gives, whatever a lake went through."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from lightning_lde import Lake
from lightning_lde.errors import ConfigurationError, LakeNotFoundError, MissingDependencyError
from lightning_lde.interop import to_daft, to_polars, to_spark
from lightning_lde.schema import TABLES
from tests.interop.lakes import fill, fill_points, rows

pytestmark = pytest.mark.filterwarnings("ignore")  # the engines' own
ON_RAY = """
import json, sys, daft, ray
from lightning_lde import Lake
from lightning_lde.interop import to_daft
from tests.interop.lakes import rows
url, options, *tables = sys.argv[1:]
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
daft.set_runner_ray()
lake = Lake(url, json.loads(options))
print(json.dumps({table: rows(to_daft(lake, table).to_arrow()) for table in tables}))
"""
ON_RAY_TABLES = ("runs", "metrics", "datasets")
ROOT = Path(__file__).parents[2]
SEED = 6
NAME = "a lake [of] {odd} words*?"
Reader = Callable[..., pa.Table]


@pytest.fixture(scope="module", params=["folder", pytest.param("s3", marks=[pytest.mark.s3, pytest.mark.slow])])
def lake(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake that no test changes."""
    if request.param == "folder":
        made = Lake(tmp_path_factory.mktemp("engines") / "lake").create()
    else:
        server = request.getfixturevalue("s3_server")
        made = Lake(f"s3://{server.new_bucket()}/team/lake", server.options).create()
    fill(made, seed=SEED)
    return made


def by_polars(lake: Lake, table: str, *, stored: bool = False) -> pa.Table:
    return to_polars(lake, table, stored=stored).collect().to_arrow()


def by_daft(lake: Lake, table: str, *, stored: bool = False) -> pa.Table:
    return to_daft(lake, table, stored=stored).to_arrow()


@pytest.fixture(scope="module")
def by_spark() -> Iterator[Reader]:
    pytest.importorskip("pyspark")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs Java")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        from pyspark.sql import SparkSession

        settings = {
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.sql.shuffle.partitions": "2",
            "spark.ui.enabled": "false",
        }
        session = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
        try:
            yield lambda lake, table, stored=False: to_spark(session, lake, table, stored=stored).toArrow()
        finally:
            session.stop()


def check(lake: Lake, read: Reader) -> None:
    for table in TABLES:
        assert rows(read(lake, table)) == rows(lake.sql(f"select * from {table}")), table
    for table in ("runs", "metrics", "datasets"):
        assert rows(read(lake, table, stored=True)) == rows(lake.sql(f"select * from stored.{table}")), table


def check_points(folder: Path, read: Reader) -> None:
    """Which points count, of many runs."""
    lake = Lake(folder / NAME).create()
    fill_points(lake, seed=0)
    expected = rows(lake.sql("select * from metrics"))
    assert len(expected) < lake.sql("select count(*) as n from stored.metrics").to_pylist()[0]["n"]
    assert rows(read(lake, "metrics")) == expected


def test_the_lake_has_all_cases(lake: Lake) -> None:
    counts = lake.sql("select (select count(*) from metrics) as shown, (select count(*) from stored.metrics) as stored")
    [found] = counts.to_pylist()
    assert 0 < found["shown"] < found["stored"]
    assert set(lake.sql("select distinct status from runs").column("status").to_pylist()) >= {"lost", "finished"}
    assert {path.split("/lake/")[1].split("/")[0] for path in lake.files("metrics")} == {"hot", "cold"}
    hot = {lake.storage.address_of(one.path) for one in lake.storage.store.list("hot/metrics/")}
    assert hot - set(lake.files("metrics"))


def test_polars(lake: Lake) -> None:
    check(lake, by_polars)


def test_polars_knows_which_points_count(tmp_path: Path) -> None:
    check_points(tmp_path, by_polars)


def test_polars_reads_what_only_fsspec_knows(tmp_path: Path) -> None:
    lake = Lake(f"memory://{tmp_path}/lake").create()
    fill_points(lake, seed=1, runs=5)
    assert rows(by_polars(lake, "metrics")) == rows(lake.sql("select * from metrics"))


def test_pandas(lake: Lake) -> None:
    import pandas as pd

    expected = lake.sql("select name, sum(step) as steps from stored.metrics group by name order by name").to_pylist()
    frame = lake.dataset("metrics").to_table().to_pandas()
    assert frame.groupby("name", as_index=False).agg(steps=("step", "sum")).to_dict("records") == expected
    if lake.url.startswith("/"):
        files = pd.concat(pd.read_parquet(path, partitioning=None) for path in lake.files("metrics"))
        assert files.groupby("name", as_index=False).agg(steps=("step", "sum")).to_dict("records") == expected


def test_arrow_reads_only_what_is_asked_for(lake: Lake) -> None:
    wanted = (pc.field("run_id") == "run 0") & (pc.field("name") == "b")
    found = lake.dataset("metrics").to_table(columns=["step"], filter=wanted)
    expected = lake.sql("select step from stored.metrics where run_id = 'run 0' and name = 'b'")
    assert sorted(found.column("step").to_pylist()) == sorted(expected.column("step").to_pylist())


@pytest.mark.parametrize(("read", "package"), [(to_polars, "polars"), (to_daft, "daft")], ids=["polars", "daft"])
def test_an_engine_that_is_not_installed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Reader, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"pip install lightning-lde\[{package}\]"):
        read(Lake(tmp_path).create(), "runs")


def test_questions_that_have_no_answer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LakeNotFoundError, match="lde init"):
        to_polars(Lake(tmp_path), "metrics")
    lake = Lake(tmp_path).create()
    for ask in (lake.files, lake.dataset, lambda table: to_polars(lake, table)):
        with pytest.raises(ConfigurationError, match="no table 'models': there are runs, "):
            ask("models")
    for table in TABLES:
        assert lake.files(table) == []
        assert to_polars(lake, table).collect().columns == lake.sql(f"select * from {table}").column_names


def test_files_that_are_replaced_meanwhile_are_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path / "lake").create()
    fill_points(lake, seed=0, runs=3)
    expected = rows(lake.sql("select * from metrics"))
    whole = lake.storage.snapshot()
    [old] = whole.files["metrics"]
    gone = replace(
        whole, files={**whole.files, "metrics": (replace(old, path=old.path.replace("-000000", "-000001")),)}
    )
    snapshots = iter([gone, gone, whole])
    monkeypatch.setattr(lake.storage, "snapshot", lambda: next(snapshots))
    assert rows(by_polars(lake, "metrics")) == expected
    assert next(snapshots, None) is None


SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "engines.md").read_text(encoding="utf-8"), re.DOTALL)


def run_snippet(word: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [snippet] = [one for one in SNIPPETS if f"import {word}" in one or f"to_{word}()" in one]
    fill_points(Lake(folder / "lake").create(), seed=0, runs=3)
    monkeypatch.chdir(folder)
    exec(compile(snippet, "docs/engines.md", "exec"), {"__name__": "snippet"})


@pytest.mark.parametrize("word", ["polars", "pandas"])
def test_what_the_page_says_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    run_snippet(word, tmp_path, monkeypatch)
    assert "cpu" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("word", ["daft", "SparkSession"])
def test_what_the_page_says_of_the_large_ones_works(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    word: str,
) -> None:
    if word == "daft":
        pytest.importorskip("daft")
    else:
        request.getfixturevalue("by_spark")
    run_snippet(word, tmp_path, monkeypatch)
    assert "cpu" in capsys.readouterr().out


@pytest.mark.slow
def test_daft(lake: Lake) -> None:
    pytest.importorskip("daft")
    check(lake, by_daft)


@pytest.mark.slow
def test_daft_knows_which_points_count(tmp_path: Path) -> None:
    pytest.importorskip("daft")
    check_points(tmp_path, by_daft)


@pytest.mark.slow
def test_daft_on_ray(lake: Lake) -> None:
    pytest.importorskip("daft")
    pytest.importorskip("ray")
    command = [sys.executable, "-c", ON_RAY, lake.url, json.dumps(lake.storage_options), *ON_RAY_TABLES]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=250)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for table in ON_RAY_TABLES:
        assert found[table] == rows(lake.sql(f"select * from {table}")), table


@pytest.mark.slow
def test_spark(lake: Lake, by_spark: Reader) -> None:
    if lake.url.startswith("s3://"):
        pytest.skip("Spark's client for S3 is a Java archive that is not on PyPI")
    check(lake, by_spark)


@pytest.mark.slow
def test_spark_knows_which_points_count(tmp_path: Path, by_spark: Reader) -> None:
    check_points(tmp_path, by_spark)
