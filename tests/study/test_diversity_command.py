"""`lde diversity` reads what is stored, and only that."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lightning_lde import Lake
from lightning_lde.cli import app
from lightning_lde.study import dataset_diversities

from .planted import planted_lake


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    truth = {"low": 0.0, "high": 0.5, "middle": 0.2, "top": 0.9}
    turned = dict(zip(truth, (0.9, 0.5, 0.2, 0.0), strict=True))
    return planted_lake(tmp_path_factory.mktemp("lake") / "lake", {"a" * 32: truth, "b" * 32: turned}, n_tasks=20)


def asked(*words: str) -> Result:
    return CliRunner().invoke(app, ["diversity", *words])


def test_the_table_is_what_the_function_says(lake: Lake) -> None:
    before = sorted(Path(lake.url).rglob("*"))
    expected = sorted(dataset_diversities(lake, probe_id="a"), key=lambda one: one.coefficient.value)
    rows = json.loads(asked(lake.url, "--probe", "aaa", "--format", "json").stdout)
    assert [row["dataset"] for row in rows] == [one.dataset for one in expected] == ["low", "middle", "high", "top"]
    for row, one in zip(rows, expected, strict=True):
        assert row["diversity"] == pytest.approx(one.coefficient.value)
        assert (row["low"], row["high"]) == pytest.approx((one.coefficient.low, one.coefficient.high))
        assert row["noise"] == pytest.approx(one.coefficient.noise)
        assert (row["n_tasks"], row["n_images"], row["mean_features"]) == (20, 50, None)
    assert sorted(Path(lake.url).rglob("*")) == before


def test_the_subcommand_may_be_left_out(lake: Lake) -> None:
    plain, named = asked(lake.url), asked("table", lake.url)
    assert plain.exit_code == 0, plain.output
    assert plain.stdout == named.stdout
    assert "the probe b" in plain.stdout
    assert "20 tasks; below 30" in plain.stderr
    assert "table" in asked("--help").stdout


def test_a_program_reads_the_table_alone(lake: Lake) -> None:
    rows = list(csv.DictReader(io.StringIO(asked(lake.url, "--format", "csv").stdout)))
    assert len(rows) == 4
    assert {row["probe_id"] for row in rows} == {"b" * 32}
    (one,) = json.loads(asked(lake.url, "--project", "odd", "--format", "json").stdout)[:1]
    assert one["dataset"] in {"low", "top"}


def test_probes_stand_side_by_side(lake: Lake) -> None:
    found = json.loads(asked(lake.url, "--probes", "--format", "json").stdout)
    assert len(found["diversities"]) == 8
    (agreement,) = found["agreements"]
    assert (agreement["n"], agreement["rho"]) == (4, pytest.approx(-0.8))
    text = asked(lake.url, "--probes").stdout
    assert "probe 1 and probe 2: rank correlation -0.80" in text
    assert len(list(csv.DictReader(io.StringIO(asked(lake.url, "--probes", "--format", "csv").stdout)))) == 8


def test_what_cannot_be_answered_says_why(lake: Lake, tmp_path: Path) -> None:
    empty = Lake(tmp_path / "empty").create()
    for words in ((empty.url,), (empty.url, "--probes"), (lake.url, "--project", "none")):
        found = asked(*words)
        assert found.exit_code == 2
        assert "analysis/diversity.py" in found.output
    assert "leave out --probe" in asked(lake.url, "--probes", "--probe", "a").output


def test_names_reach_no_terminal_as_codes(tmp_path: Path) -> None:
    truth = {"\x1b[31mred\r": 0.1, "\x1b]0;title\x07": 0.2}
    made = planted_lake(tmp_path / "lake", {"\x07" + "a" * 31: truth, "b" * 32: truth}, n_tasks=4)
    for words in ((), ("--probes",)):
        shown = CliRunner().invoke(app, ["diversity", made.url, *words], color=True).stdout
        assert "[31mred" in shown
        assert all(char.isprintable() or char == "\n" for char in shown)
