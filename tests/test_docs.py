"""The documentation is true: commands exist, queries run, links lead somewhere."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from lightning_lde import Lake
from lightning_lde.cli import app
from lightning_lde.schema import Code, Dataset, DatasetConfig, Environment, Link, Metric, Param, Record, Run

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_command_stands_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, command in app.commands.items():
        assert f"`lde {name}" in text
        assert command.help


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        named = re.findall(r"^make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(named) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_a_place_in_a_page_lead_to_a_heading(page: Path) -> None:
    for target, place in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
        text = (page.parent / target if target else page).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert place in {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}, (target, place)


COOKBOOK = dict(
    re.findall(
        r"\*\*([^*]+)\*\*\n\n```sql\n(.*?)```",
        (ROOT / "docs" / "queries.md").read_text(encoding="utf-8"),
        re.DOTALL,
    )
)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)
ONE, TWO, FAILED = (f"01990000-0000-7000-8000-00000000000{digit}" for digit in "123")


def run_row(run_id: str, name: str, *, loss: float, **facts: object) -> Run:
    row = Run(
        run_id=run_id, segment=0, revision=2, project="p", name=name, status="finished", started_at=NOW,
        ended_at=NOW, heartbeat_at=NOW, heartbeat_every_s=5.0, dataset_config_id="use", pipeline_config_id="config",
        environment_id=f"environment of {name}", code_id=f"code of {name}",
        summary={"val/loss": {"min": loss, "last": loss + 1}},
    )  # fmt: skip
    return replace(row, **facts)


def rows_of(run: Run) -> dict[str, list[Record]]:
    """What a run writes, shared rows included: every run, in each of its segments, writes them again."""
    edge = Link(
        source_kind="run", source_id=run.run_id, relation="trained_on", target_kind="dataset_config",
        target_id="use", run_id=run.run_id, recorded_at=NOW,
    )  # fmt: skip
    params = [
        Param(config_id="config", key=key, value_num=value, value_text=str(value), type="float")
        for key, value in (("lr", 0.125), ("momentum", 0.5))
    ]
    packages = {"torch": "2.13" if run.run_id == ONE else "2.12", "numpy": "2.0"}
    config = DatasetConfig(dataset_config_id="use", recorded_at=NOW, dataset_id="d", split="train")
    environment = Environment(
        environment_id=run.environment_id or "", recorded_at=NOW, python="3", platform="l", packages=packages
    )
    return {
        "runs": [replace(run, revision=1, status="running", ended_at=None, summary={}), run],
        "datasets": [Dataset(dataset_id="d", recorded_at=NOW, name="digits")],
        "dataset_configs": [config, config],
        "params": params * 2,
        "links": [edge] * 2,
        "environments": [environment] * 2,
        "code": [Code(code_id=run.code_id or "", recorded_at=NOW, commit="c0", dirty=run.run_id == TWO, diff="+1")] * 2,
        "metrics": [
            Metric(run_id=run.run_id, segment=0, name="train/loss_step", step=step, time=NOW, value=1 / step)
            for step in (2, 1)
        ],
    }


@pytest.fixture
def filled(lake_path: Path) -> Lake:
    """Two runs that share their data and configuration, and one that failed."""
    lake = Lake(lake_path).create()
    for run in (
        run_row(ONE, "one", loss=0.5),
        run_row(TWO, "two", loss=0.25),
        run_row(FAILED, "broken", loss=9.0, status="failed", exception="ValueError: x", pipeline_config_id="other"),
    ):
        for table, rows in rows_of(run).items():
            lake.storage.add_records(table, rows, project="p")
    return lake


def test_every_query_of_the_cookbook_runs(tmp_path: Path, filled: Lake) -> None:
    empty = Lake(tmp_path / "empty").create()
    text = (ROOT / "docs" / "queries.md").read_text(encoding="utf-8")
    assert len(COOKBOOK) == text.count("```sql") >= 7
    for query in COOKBOOK.values():
        assert empty.sql(query).num_rows == 0
        filled.sql(query)


ANSWERS = [
    ("Which runs failed", [(FAILED, "broken", "failed", "ValueError: x", NOW)]),
    ("What are the ten best runs", [("two", 0.25, 0.125), ("one", 0.5, 0.125)]),
    ("One curve", [(1, 1.0), (2, 0.5)]),
    ("Which runs used", [(ONE, "one", "trained_on"), (TWO, "two", "trained_on"), (FAILED, "broken", "trained_on")]),
    ("Same data, same model", [("config", "use", 2, 1.375, pytest.approx(0.1767767))]),
    ("Which package versions", [("torch", ["one: 2.13", "two: 2.12"])]),
    ("What was trained with uncommitted", [("two", "c0", "+1")]),
    ("The states of a run", [(0, 1, None, "running", NOW), (0, 2, None, "finished", NOW)]),
]


@pytest.mark.parametrize(("title", "expected"), ANSWERS, ids=[title for title, _ in ANSWERS])
def test_the_cookbook_gives_the_right_answers(filled: Lake, title: str, expected: list[tuple[object, ...]]) -> None:
    [query] = [query for name, query in COOKBOOK.items() if name.startswith(title)]
    query = query.replace("'…', '…'", f"'{ONE}', '{TWO}'").replace("'…'", f"'{ONE}'")
    rows = [tuple(row.values()) for row in filled.sql(query).to_pylist()]
    if "order by" not in query:
        rows = sorted((tuple(sorted(v) if isinstance(v, list) else v for v in row) for row in rows), key=repr)
    assert rows == expected


def test_every_answer_of_the_cookbook_is_checked() -> None:
    assert all(any(name.startswith(title) for title, _ in ANSWERS) for name in COOKBOOK)
