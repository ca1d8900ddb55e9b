"""docs/recommend.md prints what it says; its figures and those of docs/warm-start.md are the ones that were kept."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import pytest

SEARCHES = {
    "random": "random",
    "TPE": "TPE",
    "TPE multivariate": "TPE, multivariate",
    "TPE + enqueued": "TPE after 5 enqueued configurations",
    "warm start": "`warm_start`",
    "sampler alone": "its sampler alone",
}
STEPS = ("1", "5", "10", "25")
DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_true() -> None:
    found = doctest.testfile(str(DOCS / "recommend.md"), module_relative=False)
    assert found.attempted > 8
    assert found.failed == 0


def test_the_table_is_what_was_measured() -> None:
    page = (DOCS / "recommend.md").read_text(encoding="utf-8")
    kept = json.loads((DOCS / "results" / "recommend.json").read_text(encoding="utf-8"))["pmlb"]
    for name, regret in kept["over_divisions"].items():
        figures = " | ".join(f"{regret['regret_mean'][step]:.1f}" for step in ("1", "3", "5", "10", "20"))
        assert f"| {name} | {figures} | {kept['recommenders'][name]['ndcg_at_10']:.3f} |" in page


def test_the_table_of_few_data_sets_is_what_was_measured() -> None:
    page = (DOCS / "recommend.md").read_text(encoding="utf-8")
    kept = json.loads((DOCS / "results" / "recommend.json").read_text(encoding="utf-8"))["pmlb"]["few_datasets"]
    for known, rows in kept.items():
        for name, regret in rows.items():
            figures = " | ".join(f"{regret[step]:.1f}" for step in ("1", "3", "5", "10", "20"))
            assert f"| {known} | {name} | {figures} |" in page


@pytest.mark.parametrize("kind", ["surrogate", "nearest"])
def test_the_searches_are_what_was_measured(kind: str) -> None:
    page = (DOCS / "warm-start.md").read_text(encoding="utf-8").replace("**", "")
    summary = json.loads((DOCS / "results" / "warm-start.json").read_text(encoding="utf-8"))[kind]["summary"]
    for method, name in SEARCHES.items():
        regret, rank = (summary[figure][method]["mean"] for figure in ("regret", "rank"))
        words = [f"{regret[step]:.1f}" for step in STEPS]
        words += [f"{rank[step]:.{0 if rank[step] >= 9.95 else 1}f}" for step in STEPS]
        assert f"| {name} | {' | '.join(words)} |" in page
