"""The report's words for numbers, and what a page must withstand."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest

from lightning_lde.statistics import compare_dependent, correlate, random_effects
from lightning_lde.study import (
    Comparison,
    ConfigurationResult,
    Effect,
    EffectResult,
    Point,
    QueryResult,
    StudyAnalysis,
)
from lightning_lde.ui import study_report, verdict
from lightning_lde.ui._report import number, probability, signed

NAMES = (
    "settings of the project",
    "metric per data set and configuration",
    "diversity per data set",
    "MAML minus pretraining on the same tasks",
)


def analysis_of(names: list[str], slope: float) -> StudyAnalysis:
    x = np.linspace(0.1, 0.3, len(names))
    noise = 0.001 * np.cos(np.arange(len(names)) * 7.0)
    y = 0.5 + slope * x + noise
    flat = 0.5 + 10 * noise
    points = tuple(
        Point(f"id {i}", name, a, b, 0.1, 50, 1) for i, (name, a, b) in enumerate(zip(names, x, y, strict=True))
    )
    found = correlate(x, y, resamples=200)
    effects = tuple(
        Effect(f"id {i}", name, float(n), 1e-4, 50) for i, (name, n) in enumerate(zip(names, noise, strict=True))
    )
    rows = tuple(
        {
            "dataset_id": f"id {i}", "dataset": name, "n_classes": 5, "n_samples": 9, "diversity": float(a),
            "diversity_low": 0.0,
            "diversity_high": 1.0, "diversity_n_tasks": 30, "diversity_method": "m", "diversity_probe_id": "p",
        }
        for i, (name, a) in enumerate(zip(names, x, strict=True))
    )  # fmt: skip
    return StudyAnalysis(
        lake="lake", project="p", metric="accuracy", made_at=datetime(2026, 1, 2, tzinfo=timezone.utc),
        settings_id="5e77", other_settings=(), notes=("a note with <b>",), datasets=rows,
        configurations=(ConfigurationResult("MAML", "maml", 5, 5, 1, points, found, found.p_permutation, 9),),
        comparisons=(Comparison("MAML", "base", compare_dependent(x, y, flat, resamples=200), 0.0421),),
        effects=(EffectResult("MAML", effects, random_effects([e.difference for e in effects], [1e-4] * len(names))),),
        queries=tuple(QueryResult(name, "select '<b>' as x", []) for name in NAMES),
    )  # fmt: skip


def test_the_verdict_follows_the_figures() -> None:
    names = [f"set {n}" for n in range(8)]
    assert "for 1 of 1 configurations: MAML." in verdict(analysis_of(names, slope=2.0))[0]
    assert "for none of 1 configurations." in verdict(analysis_of(names, slope=0.0))[0]


def test_comparisons_are_judged_after_correction() -> None:
    analysis = analysis_of([f"set {n}" for n in range(8)], slope=2.0)
    (one,) = analysis.comparisons
    assert one.difference.p_williams < 0.05
    assert verdict(analysis)[1].endswith("in 1 of 1 comparisons.")
    assert "<td>0.042</td>" in study_report(analysis)
    corrected = replace(analysis, comparisons=(replace(one, p_holm=0.06),))
    assert verdict(corrected)[1].endswith("in 0 of 1 comparisons.")


def test_notes_and_the_meaning_of_heterogeneity_stand_in_the_page() -> None:
    page = study_report(analysis_of([f"set {n}" for n in range(5)], slope=1.0))
    assert "<li>a note with &lt;b&gt;</li>" in page
    assert "differences between training seeds\ncount as heterogeneity between data sets" in page


def test_data_sets_of_one_name_keep_their_own_figures() -> None:
    page = study_report(analysis_of(["twin"] * 5, slope=2.0))
    table = page[page.index('id="datasets"') :]
    values = re.findall(r"<td>(\d\.\d{3}) <span", table)
    assert len(set(values)) == 5


def test_hostile_names_are_text() -> None:
    names = ["<script>alert(1)</script>", "a & b", "$x^2$ {braces}", "🙂 – ü", "x" * 300]
    page = study_report(analysis_of(names, slope=1.0))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "select &#39;&lt;b&gt;&#39; as x" in page


def test_a_page_is_the_same_twice_and_needs_nothing_beside_itself() -> None:
    analysis = analysis_of([f"set {n}" for n in range(5)], slope=1.0)
    page = study_report(analysis)
    assert page == study_report(replace(analysis))
    assert "src=" not in page
    assert "@import" not in page


def test_missing_numbers_are_dashes() -> None:
    assert (number(None), number(math.nan), signed(None), probability(math.nan)) == ("–", "–", "–", "–")
    assert (number(-0.5), signed(0.25, 1), probability(0.0004)) == ("−0.500", "+0.2", "< 0.001")


@pytest.mark.parametrize("missing", range(4))
def test_a_query_that_is_not_there_is_noticed(missing: int) -> None:
    analysis = analysis_of([f"set {n}" for n in range(5)], slope=1.0)
    queries = tuple(query for index, query in enumerate(analysis.queries) if index != missing)
    with pytest.raises(Exception, match="has no attribute"):
        study_report(replace(analysis, queries=queries))
