"""docs/recommend.md prints what it says, and its figures are those that were kept."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_true() -> None:
    found = doctest.testfile(str(DOCS / "recommend.md"), module_relative=False)
    assert found.attempted > 8
    assert found.failed == 0


def test_the_table_is_what_was_measured() -> None:
    page = (DOCS / "recommend.md").read_text(encoding="utf-8")
    kept = json.loads((DOCS / "results" / "recommend.json").read_text(encoding="utf-8"))["pmlb"]
    for name, row in kept["recommenders"].items():
        figures = " | ".join(f"{row['regret_mean'][step]:.1f}" for step in ("1", "3", "5", "10", "20"))
        assert f"| {name} | {figures} | {row['ndcg_at_10']:.3f} |" in page
