"""lde lineage and lde data: every form says the same, whatever stands in names."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from lightning_lde import Lake
from lightning_lde.cli import app
from lightning_lde.cli._lineage_drawing import dot, mermaid
from lightning_lde.cli._lineage_text import text_lines
from lightning_lde.query import Edge, Lineage, Node, Step, lineage
from lightning_lde.schema import Dataset, DatasetConfig, Link, Run, new_run_id, utc_now

NOW = utc_now()
HOSTILE = 'a"b\\"c\\N [x](y) {z} <b>&lt;i</b> `d` #35; --> %% end;\n"]:::x\r\n\x1b[31m|ü☃|'
OLD, NEW = "0" * 32, "1" * 32


def add_run(lake: Lake, name: str, dataset_config_id: str, **facts: object) -> str:
    run = Run(
        run_id=new_run_id(), segment=0, revision=1, project="p", name=name, status="finished", stage="fit",
        started_at=NOW, heartbeat_at=NOW, heartbeat_every_s=5.0,
    )  # fmt: skip
    lake.storage.add_records("runs", [replace(run, **facts)], project="p")
    edge = Link(
        source_kind="run", source_id=run.run_id, relation="trained_on", target_kind="dataset_config",
        target_id=dataset_config_id, run_id=run.run_id, recorded_at=NOW,
    )  # fmt: skip
    lake.storage.add_records("links", [edge], project="p")
    return run.run_id


@pytest.fixture
def lake(lake_path: Path) -> Lake:
    made = Lake(lake_path).create()
    first = Dataset(
        dataset_id=OLD, recorded_at=NOW, name=HOSTILE, n_samples=3, n_classes=2, class_counts={"a": 2, "b": 1},
        size_bytes=3000, fingerprint="f0", fingerprint_method="sha256 of content",
    )  # fmt: skip
    second = replace(
        first, dataset_id=NEW, n_samples=4, n_classes=2, class_counts={"a": 3, "c": 1}, size_bytes=4000,
        fingerprint="f1",
    )  # fmt: skip
    made.storage.add_records("datasets", [first, second], project="p")
    uses = [DatasetConfig(dataset_config_id=f"use{one[:1]}", recorded_at=NOW, dataset_id=one) for one in (OLD, NEW)]
    made.storage.add_records("dataset_configs", uses, project="p")
    add_run(made, HOSTILE, "use0", weights_start_id="w0", weights_end_id="w1")
    add_run(made, "second", "use1", weights_start_id="w1", weights_end_id="w2")
    return made


def lde(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == code, (done.output, done.exception)
    return done


def test_text_has_both_trees_in_columns(lake: Lake) -> None:
    lines = lde("lineage", lake.url, "second").stdout.splitlines()
    assert lines[0].startswith("run second  0")
    assert [line for line in lines if line and line[0].isalpha()][1:] == ["comes from", "leads to"]
    rows = [line for line in lines if line.startswith(("├", "└", "│", " "))]
    assert len(rows) == 8
    # Columns begin at the same place in each line.
    assert (
        len(
            {
                line.index(word)
                for line in rows
                for word in ("use of data", "weights w", "run a", "data set")
                if word in line
            }
        )
        == 1
    )
    assert "\x1b" not in "".join(lines)
    assert lines[-1].split() == ["└─", "made", "weights", "w2"]


def test_json_has_the_same(lake: Lake) -> None:
    found = json.loads(lde("lineage", lake.url, "second", "--format", "json").stdout)
    assert found["root"]["kind"] == "run"
    labels = {(node["kind"], node["id"]): node["label"] for node in found["nodes"]}
    assert HOSTILE in labels.values()
    ends = {(edge[f"{side}_kind"], edge[f"{side}_id"]) for edge in found["edges"] for side in ("source", "target")}
    assert ends == set(labels)
    assert {edge["relation"] for edge in found["edges"]} == {"use_of", "trained_on", "started_with", "produced"}


def test_directions_and_depth(lake: Lake) -> None:
    up = lde("lineage", lake.url, "second", "--direction", "up", "--depth", "1").stdout
    assert "leads to" not in up
    assert "use of data" in up
    assert "data set" not in up
    assert "more beyond this depth" in up
    assert "comes from" not in lde("lineage", lake.url, "second", "--direction", "down").stdout
    assert "it led to nothing" in lde("lineage", lake.url, "w2", "--direction", "down").stdout


def test_errors(lake: Lake, tmp_path: Path) -> None:
    assert "nothing in" in str(lde("lineage", lake.url, "xyz", code=1).exception)
    assert "no data set 'xyz'" in str(lde("data", "history", lake.url, "xyz", code=1).exception)
    assert "2 contents" in str(lde("data", "impact", lake.url, HOSTILE, code=1).exception)
    lde("lineage", lake.url, "second", "--depth", "0", code=2)
    lde("lineage", code=2)


# Drawings -----------------------------------------------------------------------------------------


def read_dot(drawing: str) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """Labels and arrows, by the grammar of https://graphviz.org/doc/info/lang.html, as Graphviz would show them."""
    quoted = r'"((?:[^"\\]|\\.)*)"'
    lines = drawing.splitlines()
    assert (lines[0], lines[-1]) == ("digraph lineage {", "}")
    nodes, arrows = {}, []
    for line in lines[1:-1]:
        if node := re.fullmatch(rf"  (n\d+) \[label={quoted}, shape=\w+(?:, style=bold)?\];", line):
            nodes[node[1]] = shown_by_dot(node[2])
        elif arrow := re.fullmatch(rf"  (n\d+) -> (n\d+) \[label={quoted}\];", line):
            arrows.append((arrow[1], arrow[2], shown_by_dot(arrow[3])))
        else:
            assert re.fullmatch(rf"  (rankdir=LR|(node|edge) \[fontname={quoted}\]);", line), line
    return nodes, arrows


def shown_by_dot(label: str) -> str:
    def escape(match: re.Match[str]) -> str:
        assert match[1] in 'n\\"', "an escape with another meaning"
        return {"n": "\n"}.get(match[1], match[1])

    return html.unescape(re.sub(r"\\(.)", escape, label))


def read_mermaid(drawing: str) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    lines = drawing.splitlines()
    assert lines[0] == "flowchart LR"
    nodes, arrows = {}, []
    for line in lines[1:-1]:
        if node := re.fullmatch(r'  (n\d+)(?:\[|\[\(|\[/|\{\{|>|\(\[)"([^"]*)"(?:\]|\)\]|/\]|\}\}|\]\))', line):
            nodes[node[1]] = shown_by_mermaid(node[2])
        else:
            arrow = re.fullmatch(r'  (n\d+) -->\|"([^"]*)"\| (n\d+)', line)
            assert arrow, line
            arrows.append((arrow[1], arrow[3], shown_by_mermaid(arrow[2])))
    assert re.fullmatch(r"  style n0 stroke-width:3px", lines[-1])
    return nodes, arrows


def shown_by_mermaid(label: str) -> str:
    parts = label.split("<br/>")
    # All else that could mean something to Mermaid, to Markdown or to HTML has to be a number.
    assert all(re.fullmatch(r"(?:[\w \-./:,=+]|#\d+;)*", part) for part in parts), label
    return "\n".join(re.sub(r"#(\d+);", lambda match: chr(int(match[1])), part) for part in parts)


def drawn(label: str) -> Lineage:
    """A run with a name and a file with the same."""
    run, file = Node("run", "r", label, {"status": label, "started_at": NOW}), Node("artifact", "o" * 64, label)
    edge = Edge(("run", "r"), label, ("artifact", "o" * 64))
    nodes = {("run", "r"): run, ("artifact", file.id): file}
    return Lineage(run, nodes, (), (Step(edge, ("artifact", file.id), None, 1),), 0)


@given(st.text() | st.text(alphabet='"\\<>&#;[](){}|`-=%n\n '))
def test_any_name_is_drawn_as_it_is(label: str) -> None:
    found = drawn(label)
    plain = "".join(char if char.isprintable() else " " for char in label)
    for nodes, arrows in (read_dot(dot(found)), read_mermaid(mermaid(found))):
        assert set(nodes) == {"n0", "n1"}
        for node, kind in (("n0", "run"), ("n1", "file")):
            shown = nodes[node].split("\n")[0]
            whole = f"{kind} {plain}"
            assert shown == (whole if len(whole) <= 60 else whole[:59] + "…")
        assert [arrow[:2] for arrow in arrows] == [("n0", "n1")]
    for line in text_lines(found):
        assert all(char.isprintable() for char in line)


def test_drawings_show_what_json_says(lake: Lake) -> None:
    found = lineage(lake, "second")
    expected = sorted((found.nodes[edge.source].label, found.nodes[edge.target].label) for edge in found.edges())
    plain = {node.label: "".join(c if c.isprintable() else " " for c in node.label) for node in found.nodes.values()}
    for form, read in (("dot", read_dot), ("mermaid", read_mermaid)):
        nodes, arrows = read(lde("lineage", lake.url, "second", "--format", form).stdout)
        assert len(nodes) == len(found.nodes)
        assert len(arrows) == len(expected)
        by_number = {f"n{number}": node for number, node in enumerate(found.nodes.values())}
        for number, node in by_number.items():
            assert plain[node.label][:40] in nodes[number]
        assert sorted((by_number[a].label, by_number[b].label) for a, b, _ in arrows) == expected


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_draws_it(lake: Lake) -> None:
    drawing = lde("lineage", lake.url, "second", "--format", "dot").stdout
    done = subprocess.run(["dot", "-Tjson0"], input=drawing.encode(), capture_output=True, check=True)
    assert done.stderr == b""
    objects = json.loads(done.stdout)["objects"]
    nodes, _ = read_dot(drawing)
    shown = {item["name"]: shown_by_dot(item["label"]) for item in objects}
    assert shown == nodes


# Data ---------------------------------------------------------------------------------------------


def forms(*words: str) -> tuple[list[dict[str, Any]], list[dict[str, str]], list[dict[str, Any]]]:
    as_json = json.loads(lde(*words, "--format", "json").stdout)
    as_csv = list(csv.DictReader(io.StringIO(lde(*words, "--format", "csv").stdout)))
    as_parquet = pq.read_table(io.BytesIO(lde(*words, "--format", "parquet").stdout_bytes)).to_pylist()
    return as_json, as_csv, as_parquet


def test_history_in_all_forms(lake: Lake) -> None:
    as_json, as_csv, as_parquet = forms("data", "history", lake.url, HOSTILE)
    for rows in (as_json, as_csv, as_parquet):
        assert [row["dataset_id"] for row in rows] == [OLD, NEW]
        assert [row["changed"] for row in rows] == [
            "first",
            "samples 3 → 4 (+1); classes new: c (1); classes gone: b (1); counts: a 2 → 3; size 3.0 kB → 4.0 kB",
        ]
    assert json.loads(as_json[1]["changes"])["classes"]["added"] == {"c": 1}
    assert as_json[1]["run_ids"] == [Lake(lake.url).resolve_run("second")]
    text = lde("data", "history", lake.url, HOSTILE).stdout
    assert "(2 rows)" in text
    assert "version 2 was used by\n  second  " in text
    assert "\x1b" not in text


def test_impact_in_all_forms(lake: Lake) -> None:
    words = ("data", "impact", lake.url, OLD)
    for rows in forms(*words):
        assert [(row["kind"], row["id"]) for row in rows if row["kind"] != "run"] == [
            ("weights", "w1"),
            ("weights", "w2"),
        ]
        assert [(row["label"][:20], row["how"], str(row["generation"])) for row in rows if row["kind"] == "run"] == [
            (HOSTILE[:20], "trained_on", "1"),
            ("second", "started_with", "2"),
        ]
    done = lde(*words)
    assert "(4 rows)" in done.stdout
    assert "2 runs, 2 sets of weights" in done.stderr
    assert "\x1b" not in done.output


def test_a_data_set_that_nothing_used(lake: Lake) -> None:
    lake.storage.add_records("datasets", [Dataset(dataset_id="2" * 32, recorded_at=NOW, name="new")], project="p")
    done = lde("data", "impact", lake.url, "new")
    assert "(0 rows)" in done.stdout
    assert "nothing" in done.stderr
    assert "not used" in lde("data", "history", lake.url, "new").stdout
    assert "it led to nothing" in lde("lineage", lake.url, "2" * 32).stdout
